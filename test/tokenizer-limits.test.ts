/** Tokenizers of strangers: what never ends, or makes much of little, is refused or stopped with a name, and blocks nobody for long. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { GtaError } from '../host/index.ts'
import { Tokenizer } from '../host/text/tokenizer.ts'

const letters = Object.fromEntries([...'abcdefghijklmnopqrstuvwxyz'].map((letter, id) => [letter, id]))

/** A tokenizer of 26 letters, over the library; changed. */
function open(change: object): Promise<Tokenizer> {
  const plain = {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: 'ByteLevel' },
  }
  const json = { ...plain, model: { type: 'BPE', vocab: letters, merges: [] }, ...change }
  return Tokenizer.open('strange', new TextEncoder().encode(JSON.stringify(json)), {})
}

async function refused(change: object, words: RegExp, text = 'abc'): Promise<void> {
  try {
    const tokenizer = await open(change)
    assert.unreachable(`${JSON.stringify(change)} gives ${tokenizer.encode(text)}`)
  } catch (error) {
    assert.equal([(error as GtaError).name, (error as GtaError).code], ['GtaError', 'BAD_TOKENIZER'], `${error}`)
    assert.match((error as Error).message, words)
  }
}

test('steps that never end', async () => {
  for (const length of [0, -1, 0.5, '3', null, undefined])
    await refused({ pre_tokenizer: { type: 'FixedLength', length } }, /length of FixedLength/)
  const within = {
    type: 'Sequence',
    pretokenizers: [{ type: 'Sequence', pretokenizers: [{ type: 'FixedLength', length: 0 }] }],
  }
  await refused({ pre_tokenizer: within }, /length of FixedLength/)
})

test('steps that multiply a text, each alone or all together', async () => {
  const replace = (pattern: object, content: string) => ({ type: 'Replace', pattern, content })
  const many = (step: object, count: number) => ({ type: 'Sequence', normalizers: Array(count).fill(step) })
  for (const normalizer of [
    replace({ String: 'a' }, 'b'.repeat(2000)),
    replace({ Regex: '' }, 'b'.repeat(2000)),
    many(replace({ String: 'a' }, 'aa'), 40),
    many(replace({ Regex: 'x*' }, 'aa'), 30),
    many({ type: 'Lowercase' }, 2000),
  ])
    await refused({ normalizer }, /1000/)
  await refused({ normalizer: replace({ String: 'a' }, 'b'.repeat(20_000)) }, /at most 10000 characters/)
  await refused(
    { decoder: { type: 'Sequence', decoders: [replace({ String: 'a' }, 'b'.repeat(2000))] } },
    /1000 times as long/,
  )
  const spread = await open({ normalizer: many(replace({ String: 'a' }, 'ab'), 9) })
  assert.equal(spread.encode('a'), [letters.a, ...Array(9).fill(letters.b)])
})

test('an expression that tries every way is stopped, and the tokenizer still works', async () => {
  const split = { type: 'Split', pattern: { Regex: '(a+)+$' }, behavior: 'Isolated', invert: false }
  await refused({ pre_tokenizer: split }, /stopped after 1\.5/, `${'a'.repeat(44)}!`)
  const tokenizer = await open({ pre_tokenizer: split })
  assert.throws(() => tokenizer.encode(`${'a'.repeat(44)}!`), /stopped/)
  assert.equal(tokenizer.encode('aab'), [letters.a, letters.a, letters.b])
})

test.run()
