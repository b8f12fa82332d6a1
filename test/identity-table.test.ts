/** What `npm run identity` makes of what platforms answer: a token or a bit that differs must show, and nothing else. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { prompts } from './fixtures/prompts.ts'
import type { Answer, Found } from './identity/job.ts'
import { rows } from './identity/rows.ts'
import { judge, laneLines, markdown, type Result } from './identity/table.ts'

const size = { prompts: 2, tokens: 3 }
const [row, other] = rows as [Result['row'], Result['row']]
const answerOf = (change: (found: Found[]) => void = () => {}): Answer => {
  const found = Array.from({ length: 4 }, (_, i) => ({ tokens: [i, 5, 9], logitsHash: `hash ${i}` }))
  change(found)
  return [found]
}
const result = (changed: Partial<Result>): Result => ({ row: other, size, seconds: 1, answer: answerOf(), ...changed })
const first = result({ row })
/** The verdict on one platform beside the first. */
const verdict = (changed: Partial<Result>) => judge([first, result(changed)])[1]

test('the same ids and logits are the same', () => {
  const found = verdict({})
  assert.is(found?.verdict, 'same')
  assert.ok(found?.isGood)
  const [expected] = judge([first])
  assert.equal([found?.greedy, found?.seeded], [expected?.greedy, expected?.seeded])
  assert.is.not(found?.greedy, found?.seeded)
})

test('one token, one token less, other logits: it says where', () => {
  for (const [change, words] of [
    [(found) => found[1]?.tokens.splice(2, 1, 8), 'DIFFERS: threads 1, greedy prompt 2, token 3'],
    [(found) => found[2]?.tokens.splice(0, 1, 8), 'DIFFERS: threads 1, seeded prompt 1, token 1'],
    [(found) => found[3]?.tokens.push(1), 'DIFFERS: threads 1, seeded prompt 2, 4 tokens'],
    [
      (found) => Object.assign(found[0] as Found, { logitsHash: 'another' }),
      'DIFFERS: threads 1, greedy prompt 1, logits',
    ],
    [(found) => found.pop(), 'DIFFERS: threads 1, seeded prompt 2, token 1'],
  ] as [(found: Found[]) => void, string][]) {
    const found = verdict({ answer: answerOf(change) })
    assert.is(found?.verdict, words)
    assert.not.ok(found?.isGood)
  }
})

test('a team that differs from another of the same row: both hashes are there', () => {
  const threads = [2, 3]
  const answer = [...answerOf(), ...answerOf((found) => found[0]?.tokens.splice(1, 1, 7))]
  const found = verdict({ row: { ...other, threads }, answer })
  assert.is(found?.verdict, 'DIFFERS: threads 3, greedy prompt 1, token 2')
  assert.match(found?.greedy ?? '', /^[0-9a-f]{16} [0-9a-f]{16}$/)
  assert.match(found?.seeded ?? '', /^[0-9a-f]{16}$/)
})

test('what failed is not good, what was skipped says why, and nothing is compared with nothing', () => {
  assert.equal(verdict({ answer: undefined, failed: 'no memory' })?.verdict, 'FAILED: no memory')
  const skipped = verdict({ answer: undefined, skipped: 'no browser' })
  assert.is(skipped?.verdict, 'skipped: no browser')
  assert.ok(skipped?.isGood)
  const [lost] = judge([result({ answer: undefined, failed: 'lost' }), first])
  assert.not.ok(lost?.isGood)
  assert.match(
    judge([result({ answer: undefined, failed: 'lost' }), first])[1]?.verdict ?? '',
    'nothing to compare with',
  )
  assert.match(verdict({ size: { prompts: 1, tokens: 3 }, answer: undefined, failed: 'x' })?.verdict ?? '', 'FAILED')
})

test('lanes are counted, with what they skipped', () => {
  const lane = { ...row, lane: 'browser' }
  const verdicts = judge([
    first,
    result({ row: lane, answer: undefined, skipped: 'no browser' }),
    result({ row: lane, answer: answerOf((found) => found.pop()) }),
  ])
  assert.equal(laneLines(verdicts), [
    'lane identity, Node 24: 1 passed, 0 failed, 0 skipped, 1 s',
    'lane identity, browser: 0 passed, 1 failed, 1 skipped, 2 s; skipped: no browser',
  ])
  assert.is(markdown(verdicts).split('\n').length, 5)
})

test('every platform is in the table, and slow ones get prompts of each sort', () => {
  for (const lane of ['Node 20', 'Node 22', 'Node 24', 'Node 26', 'WASI engines', 'browser', 'arm64 a76', 'arm64 a72'])
    for (const build of ['relaxed', 'strict'])
      assert.ok(
        rows.some((one) => one.lane === lane && one.build === build),
        `${lane}, ${build}`,
      )
  const few = prompts.filter((_, i) => i % 4 === 0)
  assert.is(few.length, 5)
  assert.is(new Set(prompts).size, 20)
  assert.ok(few.some((prompt) => prompt.trim() === ''))
  assert.ok(few.some((prompt) => prompt.length > 500))
  assert.ok(few.some((prompt) => /[^\0-\x7f]/.test(prompt)))
})

test.run()
