/** What the papers print, computed from the specs alone: Table 5 of arXiv 2506.17286 and the claims of its abstract. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { cacheBytes, cost, describe, PAGE_TOKENS, pageBytes } from '../models/index.ts'
import { golden, readJson } from './fixtures/goldens.ts'

const config = (name: string) => describe(readJson(new URL(`../models/configs/${name}.json`, import.meta.url).pathname))

// name, parameters, as the paper prints them (in 2^20), cache elements per token and layer
const table5: [string, number, string, number][] = [
  ['160m-mha', 187_460_352, '178.78', 1536],
  ['160m-mla', 180_923_136, '172.54', 288],
  ['160m-gqa', 166_199_040, '158.50', 384],
  ['160m-gta1', 168_558_336, '160.75', 192],
  ['160m-gta2', 172_101_888, '164.13', 192],
  ['500m-mha', 569_662_720, '543.27', 2560],
  // The paper prints 342: a misprint of 320 + 32.
  ['500m-mla', 541_070_080, '516.00', 352],
  ['500m-gqa', 506_699_008, '483.23', 512],
  ['500m-gta3', 510_631_168, '486.98', 192],
  ['500m-gta4', 524_404_480, '500.11', 320],
  ['gqa-1b', 1_128_669_440, '1076.38', 640],
  ['gta-1b', 1_128_766_208, '1076.48', 192],
]

for (const [name, parameters, printed, elements] of table5)
  test(`${name}: ${printed} M parameters, ${elements} cached numbers`, () => {
    const found = cost(config(name))
    assert.is(found.parameters, parameters)
    assert.is((found.parameters / 2 ** 20).toFixed(2), printed)
    assert.is(found.cacheElements, elements)
  })

test('GTA-1B against GQA-1B: 62.5 % less attention, 70 % less cache, the same linear work', () => {
  const [gta, gqa] = [cost(config('gta-1b')), cost(config('gqa-1b'))]
  assert.is(1 - gta.attentionPairMacs / gqa.attentionPairMacs, 0.625)
  assert.is(Math.round(1000 * (1 - gta.cacheElements / gqa.cacheElements)), 700)
  assert.is(gta.attentionLinearMacs, 4_096_000)
  assert.is(gqa.attentionLinearMacs, 4_096_000)
  assert.is(gta.ffnMacs, 13_762_560)
})

test('cache bytes: elements, and scales apart', () => {
  const { spec } = config('gta-1b')
  assert.equal(cacheBytes(spec, 'int8', 2048), { elements: 21_233_664, scales: 2048 * 54 * 2 * 4, states: 0 })
  assert.equal(cacheBytes(spec, 'f32', 1), { elements: 192 * 54 * 4, scales: 0, states: 0 })
})

test('a page takes what its rows need', () => {
  const { spec } = config('gta-1b')
  const { elements, scales } = cacheBytes(spec, 'int8', PAGE_TOKENS)
  assert.is(pageBytes(spec, 'int8'), elements + scales)
})

test('a state is as large after a thousand tokens as after one, and counts its own multiply-adds', () => {
  for (const [name, numbers, macs] of [
    // (taps − 1) columns of all channels; S of each value head, and three products with it.
    ['lfm2', 2 * 64, 4 * 64 * 64 + 3 * 64],
    ['qwen3_5_text', 3 * 64 + 4 * 8 * 8, 64 * (64 + 32 + 8) + 32 * 64 + 4 * 64 + 3 * 4 * 8 * 8],
  ] as const) {
    const model = describe(readJson(golden(`families/${name}/config.json`)))
    const { layers, stateBytes } = cost(model)
    const [state] = layers
    assert.equal([state?.stateBytes, state?.cacheElements, state?.attentionPairMacs], [4 * numbers, 0, 0])
    assert.equal([state?.attentionLinearMacs, state?.executed.linearMacs], [macs, macs])
    assert.is(stateBytes, (3 / 4) * 4 * numbers)
    for (const context of [1, 1000]) assert.is(cacheBytes(model.spec, 'int8', context).states, 3 * 4 * numbers)
  }
})

test.run()
