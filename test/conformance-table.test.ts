/** What `npm run conformance:gpu` makes of what adapters answer: a fault must show, and a case that was not run too. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compute } from './conformance-gpu/compute.ts'
import type { Answer, Figures } from './conformance-gpu/job.ts'
import { models } from './conformance-gpu/models.ts'
import { faultsOf, lastOf, markdown, type Result, replaceBlock, sources } from './conformance-gpu/table.ts'
import { kinds } from './fixtures/goldens.ts'

const good: Figures = {
  ...{ engine: 'webgpu x', places: 12, difference: 3e-6, beyond: 0, equal: 0, otherTokens: 0, slices: 0, changed: 0 },
}
const answer = (changed: Partial<Figures> = {}, type: 'f32' | 'q8' = 'f32'): Answer => ({
  ...{ model: 'gta', type, seconds: 1, ...good, ...changed },
})
const result = (one: Answer, adapter: Result['adapter'] = 'lavapipe'): Result => ({
  ...{ adapter, date: '2026-11-30', ...one },
})

test('each thing that is not as it should be is a fault, NaN too', () => {
  assert.equal(faultsOf(answer()), [])
  assert.equal(faultsOf(answer({ difference: 1.9e-3 })), [])
  for (const [changed, words] of [
    [{ places: 0 }, /nothing was compared/],
    [{ difference: 2.1e-3, beyond: 1 }, /differ by 2\.1e-3 at 1 of 12 places, where 0\.002/],
    [{ difference: Number.NaN, beyond: 12 }, /differ by NaN/],
    [{ otherTokens: 1 }, /1 tokens are others/],
    [{ slices: 2e-3 }, /step by step differ by 2\.0e-3/],
    [{ slices: Number.NaN }, /step by step/],
    [{ changed: 3 }, /3 logits are other bits/],
  ] as [Partial<Figures>, RegExp][]) {
    const faults = faultsOf(answer(changed))
    assert.is(faults.length, 1, String(words))
    assert.match(faults[0] as string, words)
  }
  assert.is(faultsOf(answer({ difference: 1.5e-3 }, 'q8')).length, 1, 'q8 has a bound of its own')
  assert.equal(faultsOf({ model: 'gta', type: 'q8', seconds: 0, failed: 'it crashed' }), ['it crashed'])
})

test('the table: the last word on each case, what failed, what was not run', () => {
  const results = [
    result({ model: 'gta', type: 'f32', seconds: 0, failed: 'it crashed' }),
    result(answer({ difference: 4e-6 })),
    result(answer({ equal: 12, difference: 0 }, 'q8')),
    result(answer({ difference: 1, beyond: 2 }), 'chromium'),
  ]
  assert.is(lastOf(results, 'lavapipe').length, 2)
  const cases = [{ model: 'gta', type: 'f32' } as const, { model: 'mla', type: 'f32' } as const]
  const [head, , gta, mla, ...others] = markdown(results, ['lavapipe', 'chromium'], cases).split('\n')
  assert.is(head, '|  | lavapipe, f32 | lavapipe, q8 | SwiftShader in chromium, f32 | SwiftShader in chromium, q8 |')
  assert.match(gta as string, /^\| gta \| 4\.0e-6 \| every bit \| \*\*logits differ by 1.* \| not run \|$/)
  assert.is(mla, '| mla | not run | not run | not run | not run |')
  assert.is(others.length, 3)
  assert.is(sources(results.slice(0, 3), ['lavapipe']), 'lavapipe: webgpu x, 2026-11-30')
})

test('a document gets the table between its marks, and only there', () => {
  const [begin, end] = ['<!-- npm run conformance:gpu writes this -->', '<!-- up to here -->']
  assert.is(replaceBlock(`a\n${begin}\nold\n${end}\nb`, 'new'), `a\n${begin}\nnew\n${end}\nb`)
  for (const text of ['', begin, `${end}${begin}`, `${begin}${end}${begin}${end}`])
    assert.throws(() => replaceBlock(text, 'new'), /must have/)
})

test('every kind and family is there, each with texts that it can hold', () => {
  assert.equal(
    models.slice(0, kinds.length).map(({ name }) => name),
    [...kinds],
  )
  assert.ok(models.length >= 32)
  for (const { name, texts } of models) assert.ok(texts.length > 0, name)
})

/** A model of three tokens that says what it was told last; `broken` changes what the GPU says. */
function placeOf(broken: (logits: Float32Array, call: number) => void, poisoned = 20) {
  let calls = 0
  const load = async (_: string, { gpu }: { gpu?: 'on' }) => ({
    engineName: 'twin',
    close: async () => undefined,
    open() {
      let told: number[] = []
      return {
        rewind(length: number) {
          told = told.slice(0, length)
        },
        async logits(prompt: number[]) {
          told.push(...prompt)
          const logits = Float32Array.from([0, 1, 2], (id) => Number(id === told.at(-1)))
          if (gpu) broken(logits, calls++)
          return logits
        },
        generate(_: undefined, { maxTokens }: { maxTokens: number }) {
          const result = Promise.resolve({ tokens: Array.from({ length: maxTokens }, () => told.at(-1) as number) })
          return Object.assign((async function* () {})(), { result })
        },
        close() {},
      }
    },
  })
  return { load, poison: async () => poisoned }
}
const text = { prompt: [0, 1], next: [1, 1], logits: [0, 1, 0], after: [0, 1, 0], best: [0, 1] }

test('a case sees what a GPU does wrong, of each sort', async () => {
  for (const type of ['f32', 'q8'] as const) {
    const figures = (broken: Parameters<typeof placeOf>[0]) => compute('', type, [text], placeOf(broken))
    const right = await figures(() => undefined)
    assert.equal(faultsOf(answer(right, type)), [], type)
    assert.is(right.equal, right.places)
    assert.ok(right.places >= 3)
    const wrong = await figures((logits) => logits.fill(0.1, 2))
    assert.is(wrong.beyond, wrong.places)
    const token = await figures((logits) => logits.reverse())
    assert.ok(token.otherTokens > 0)
    // f32: twice at once, 2 steps, 2 in threes, and again; q8: 4 steps, twice at once, 2 in threes, and again.
    const at = (wrong: number) => figures((logits, call) => void (call === wrong && logits.fill(0.5, 0, 1)))
    const [atOnce, threes, again] = type === 'f32' ? [0, 5, 6] : [5, 6, 8]
    assert.ok((await at(atOnce)).slices >= 0.5, type)
    assert.ok((await at(threes)).slices >= 0.5, type)
    assert.is((await at(again)).slices, 0, type)
    assert.is((await at(again)).changed, 1, type)
  }
  try {
    await compute(
      '',
      'f32',
      [text],
      placeOf(() => undefined, 0),
    )
    assert.unreachable()
  } catch (error) {
    assert.match((error as Error).message, /only 0 buffers/)
  }
})

test.run()
