/**
 * Models in GGUF files against what llama.cpp v0.4.0 makes of the same files: tokens of texts, greedy continuations, logits.
 * How close logits must be: its GELU goes through a table of f16, which costs Gemma 2e-3; all else is f32 there too.
 */
import { createHash } from 'node:crypto'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { convert } from '../host/files/convert.ts'
import { describeModel } from '../host/files/describe.ts'
import { type BlockType, blockTypes } from '../host/files/gguf/blocks.ts'
import { type GgufTensor, readGguf } from '../host/files/gguf/file.ts'
import { llamaNames } from '../host/files/gguf/layout.ts'
import { pres } from '../host/files/gguf/pre.ts'
import { tokenizerOf } from '../host/files/gguf/tokenizer.ts'
import { storeOf } from '../host/files/gguf/weights.ts'
import { type Generation, GtaError, type LoadOptions, load, type Model } from '../host/index.ts'
import { Tokenizer } from '../host/text/tokenizer.ts'
import { failure, temporary } from './fixtures/checkpoints.ts'
import { bytesInMemory, llamaAsGguf } from './fixtures/gguf.ts'
import { cuttingVocabulary, preTextsOf } from './fixtures/gguf-pre.ts'
import { golden, readJson } from './fixtures/goldens.ts'

const file = (name: string) => golden(`gguf/${name}`)
interface Run {
  prompt: string
  tokens: number[]
  greedy: number[]
}
const expected: { stories: Record<string, Run[]>; tiny: Record<string, { tokens: number[]; logits: number[] }> } =
  readJson(file('expected.json'))

async function greedy(model: Model, prompt: string): Promise<Generation> {
  const pieces = model.generate(prompt, { temperature: 0, maxTokens: 24, stopAtEos: false })
  for (;;) {
    const step = await pieces.next()
    if (step.done) return step.value
  }
}

for (const [name, type] of [
  ['stories260K-f32', 'f32'],
  ['stories260K-v3-f16', 'f16'],
  ['stories260K-v3-q8_0', 'q8_0'],
  ['stories260K-v3-q4_k_m', 'q4_k_m'],
] as const)
  test(`${name}: ids of the prompt and 24 greedy tokens`, async () => {
    const model = await load(file(`${name}.gguf`), { type: 'f32', threads: 1 })
    const runs = expected.stories[type] ?? []
    assert.ok(runs.length >= 2)
    for (const { prompt, tokens, greedy: continuation } of runs) {
      assert.equal(model.promptIds(prompt), tokens)
      assert.equal((await greedy(model, prompt)).tokens, continuation, prompt)
    }
    await model.close()
  })

/** The largest difference from logits that are expected. */
function distance(found: Float32Array, logits: number[]): number {
  assert.is(found.length, logits.length)
  return logits.reduce((most, value, i) => Math.max(most, Math.abs(value - (found[i] as number))), 0)
}

async function distanceOf(path: string, name: string, options: LoadOptions = {}): Promise<number> {
  const { tokens, logits } = expected.tiny[name] ?? { tokens: [], logits: [] }
  const model = await load(path, { type: 'f32', threads: 1, ...options })
  const found = await model.logits(tokens)
  await model.close()
  return distance(found, logits)
}

for (const [name, limit] of [
  ['qwen3', 1e-4],
  ['gemma3', 4e-3],
  // Pairs and four factors; MLA whose kv_b is in two parts.
  ['granite', 1e-4],
  ['deepseek2', 1e-4],
  // Layers that keep a state.
  ['lfm2', 1e-4],
  ['qwen35', 1e-4],
] as const)
  test(`${name}: logits`, async () => {
    const found = await distanceOf(file(`tiny-${name}.gguf`), name)
    assert.ok(found <= limit, `${found}`)
  })

for (const name of ['phi3', 'minicpm3'])
  test(`${name}: logits with the factors of a context beyond the original one`, async () => {
    // llama.cpp takes the long ones for its default context, transformers and this runtime the short ones.
    assert.ok((await distanceOf(file(`tiny-${name}.gguf`), name)) > 0.05)
    const found = await distanceOf(file(`tiny-${name}.gguf`), name, { context: 256 })
    assert.ok(found <= 1e-4, `${found}`)
  })

test("Llama 3's scaling is a table of factors there, and the rule that made it here", async () => {
  const path = join(temporary(), 'llama3.gguf')
  writeFileSync(path, await llamaAsGguf(golden('families/llama3_rope')))
  const { prompt, logits } = readJson(golden('families/llama3_rope/golden.json'))
  const model = await load(path, { type: 'f32', threads: 1 })
  const found = distance(await model.logits(prompt), logits)
  assert.ok(found <= 1e-4, `${found}`)
  await model.close()
})

for (const name of ['llama-spm', 'gpt-2'])
  test(`${name}: ids of llama.cpp's texts`, async () => {
    const bytes = gunzipSync(readFileSync(file(`vocab-${name}.gguf.gz`)))
    const gguf = await readGguf(name, bytesInMemory(bytes))
    const { tokenizer = new Uint8Array(), tokenizerConfig } = tokenizerOf(gguf)
    const own = await Tokenizer.open(name, tokenizer, tokenizerConfig)
    const texts = readFileSync(file(`vocab-${name}.inp`), 'utf8').split('\n__ggml_vocab_test__\n')
    const ids = readFileSync(file(`vocab-${name}.out`), 'utf8').split('\n')
    assert.is(texts.length, 47)
    for (const [i, text] of texts.entries()) assert.is(own.encode(text).join(' '), ids[i]?.trim(), JSON.stringify(text))
  })

/** The tokenizer of a vocabulary that says that text is cut so. */
async function cutBy(pre: string): Promise<Tokenizer> {
  const { tokenizer = new Uint8Array(), tokenizerConfig } = tokenizerOf(
    await readGguf(pre, bytesInMemory(cuttingVocabulary(pre))),
  )
  return await Tokenizer.open(pre, tokenizer, tokenizerConfig)
}

test('every name of how text is cut: ids of llama.cpp', async () => {
  const { ids } = readJson(file('pre.json'))
  assert.equal(Object.keys(ids).sort(), [...pres.keys()].sort())
  for (const name of pres.keys()) {
    const tokenizer = await cutBy(name)
    const lines = preTextsOf(name).map((text) => tokenizer.encode(text).join(' '))
    assert.is(createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 16), ids[name], name)
  }
})

test('a name that is not known is refused, and one that every object has', async () => {
  for (const pre of ['superbpe', 'constructor', '__proto__', 'toString', '']) {
    const error = await failure(cutBy(pre))
    assert.is((error as GtaError).code, 'BAD_FILE', pre)
    assert.match(error.message, /"tokenizer\.ggml\.pre".*one of default, gpt-2/)
  }
})

test('a text begins as llama.cpp begins it where the file says nothing', async () => {
  for (const [pre, before] of [
    ['llama-bpe', [0]],
    ['tekken', [0]],
    ['gpt-2', []],
    ['smaug-bpe', []],
  ] as const)
    assert.equal((await cutBy(pre)).ends.before, before, pre)
})

test('a GGUF file is converted, described and run like a directory', async () => {
  const folder = temporary()
  const packed = join(folder, 'stories.gta')
  const { hasTokenizer, unused } = await convert(file('stories260K-v3-q8_0.gguf'), packed)
  assert.equal([hasTokenizer, unused], [true, []])
  const { model } = await describeModel(file('stories260K-v3-q8_0.gguf'))
  assert.equal([model.spec.kind, model.spec.order.length, model.spec.vocabSize], ['gqa', 5, 512])
  const directly = await load(file('stories260K-v3-q8_0.gguf'), { threads: 1 })
  const converted = await load(packed, { threads: 1 })
  const [first, second] = [await greedy(directly, 'One day'), await greedy(converted, 'One day')]
  assert.equal([second.tokens, second.logitsHash], [first.tokens, first.logitsHash])
  for (const model of [directly, converted]) await model.close()
})

test('what is not read is named, and the source is not overwritten', async () => {
  const folder = temporary()
  const bytes = readFileSync(file('tiny-qwen3.gguf'))
  const changed = (from: string, to: string) => {
    const text = bytes.toString('latin1').replaceAll(from, to)
    const path = join(folder, `${to}.gguf`)
    writeFileSync(path, text, 'latin1')
    return path
  }
  for (const [path, words] of [
    [changed('qwen3', 'qwen9'), /"qwen9"/],
    [changed('attn_q.weight', 'attn_x.weight'), /self_attn\.q_proj\.weight/],
    [changed('qwen3.block_count', 'qwen3.block_cOunt'), /qwen3\.block_count/],
    [changed('tokenizer.ggml.scores', 'tokenizer.ggml.sCores'), /tokenizer\.ggml\.scores/],
  ] as const) {
    const error = await failure(load(path))
    assert.instance(error, GtaError, `${error.stack}`)
    assert.match(error.message, words)
  }
  const copy = join(folder, 'copy.gguf')
  copyFileSync(file('tiny-qwen3.gguf'), copy)
  assert.match((await failure(convert(copy, copy, { force: true }))).message, 'the same file')
  assert.ok(readFileSync(copy).equals(bytes))
})

test('a vector in blocks whose order is another than here is refused', async () => {
  const tensor = { type: blockTypes.get(8) as BlockType, begin: 0, bytes: 34, shape: [32] }
  const tensors = ['blk.0.attn_q.bias', 'blk.0.attn_v.bias'].map((name): [string, GgufTensor] => [
    name,
    { ...tensor, name },
  ])
  const gguf = {
    path: 'x',
    file: bytesInMemory(new Uint8Array(34)),
    version: 3,
    values: new Map(),
    tensors: new Map(tensors),
  }
  const store = storeOf(gguf, { names: llamaNames(), pairs: { heads: 2, kvHeads: 2 } })
  assert.equal(
    [...store.tensors.values()].map(({ isReadable }) => isReadable),
    [false, true],
  )
})

test.run()
