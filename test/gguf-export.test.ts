/**
 * Checkpoints written as GGUF files and read again: the same model, for every family that llama.cpp has an architecture for.
 * bench/peers/exports.ts compares the same files with llama.cpp itself.
 */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Checkpoint } from '../host/files/checkpoint.ts'
import { convert } from '../host/files/convert.ts'
import { readGguf } from '../host/files/gguf/file.ts'
import { openGguf } from '../host/files/gguf/model.ts'
import { blocksOf } from '../host/files/gguf/write/blocks.ts'
import { encodeHeader } from '../host/files/gguf/write/header.ts'
import { writers } from '../host/files/gguf/write/keys.ts'
import { modelDifference } from '../host/files/gguf/write/match.ts'
import { layOut, planGguf } from '../host/files/gguf/write/plan.ts'
import { f16, f16Bits } from '../host/files/half.ts'
import { packTensors } from '../host/files/tensors.ts'
import { load } from '../host/index.ts'
import { attentionOf, describe, type ModelSpec, planModel } from '../models/index.ts'
import { failure, parseSafetensors, temporary, writeCheckpoint } from './fixtures/checkpoints.ts'
import { bytesInMemory } from './fixtures/gguf.ts'
import { exportedConfigs, refusedConfigs, sensibleTensors } from './fixtures/gguf-models.ts'
import { golden, readJson, worst } from './fixtures/goldens.ts'

/** All weights as the engine would have them, in f32, and what the model is. */
async function modelOf(path: string): Promise<{ spec: ModelSpec; weights: Map<string, Float32Array> }> {
  const checkpoint = await Checkpoint.open(path)
  const plan = planModel(checkpoint.model, 'f32')
  const bytes = new Uint8Array(plan.bytes)
  await packTensors(checkpoint, plan, (offset, part) => bytes.set(part, offset))
  await checkpoint.close()
  const floats = new Float32Array(bytes.buffer)
  const matrices = plan.tensors.filter(({ content }) => content.is === 'vector' || content.is === 'matrix')
  const weights = matrices.map((tensor): [string, Float32Array] => {
    const from = tensor.offset / 4
    return [tensor.name, floats.subarray(from, from + tensor.bytes / 4)]
  })
  return { spec: checkpoint.model.spec, weights: new Map(weights) }
}

/** The same model, but for the rounding of factors to f32: both its numbers and its weights. */
async function isSame(path: string, directory: string): Promise<void> {
  const [found, own] = [await modelOf(path), await modelOf(directory)]
  const scales = ({ layers }: ModelSpec) => layers.map((layer) => attentionOf(layer)?.scale ?? 0)
  const hasScales = worst(scales(found.spec), scales(own.spec)) < 1e-6
  if (hasScales) assert.is(modelDifference(own.spec, found.spec), undefined)
  assert.equal([...found.weights.keys()], [...own.weights.keys()])
  for (const [name, weights] of own.weights) {
    // Scales that the file has no word for are in the queries.
    if (!hasScales && /query_norm|\.in$/.test(name)) continue
    const size = weights.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    assert.ok(worst(found.weights.get(name) ?? [], weights) <= 1e-6 * size, name)
  }
}

async function exported(directory: string, type: 'f32' | 'f16' | 'q8_0' = 'f32'): Promise<string> {
  const path = join(temporary(), 'model.gguf')
  await convert(directory, path, { type })
  return path
}

const families = `
  gemma2 gemma3_text gemma3_text_linear gpt2 gpt_neox granite llama3_rope llama_bias llama_dynntk minicpm3 mistral_swa olmo2
  phi3 phi3_longrope plm qwen3 smollm3
`
for (const name of families.trim().split(/\s+/))
  test(`${name} there and back`, async () =>
    isSame(await exported(golden(`families/${name}`)), golden(`families/${name}`)))

for (const name of ['gemma2', 'gemma3_text', 'gpt2', 'gpt_neox', 'mistral_swa', 'plm'])
  test(`${name} in a GGUF file: logits`, async () => {
    const directory = golden(`families/${name}`)
    const { prompt, logits } = readJson(join(directory, 'golden.json'))
    const model = await load(await exported(directory), { type: 'f32', threads: 1 })
    assert.ok(worst(await model.logits(prompt), logits) <= 1e-4)
    await model.close()
  })

test('families without goldens there and back, each class of each architecture at least once', async () => {
  const classes = new Set(
    families
      .trim()
      .split(/\s+/)
      .flatMap((name) => readJson(golden(`families/${name}/config.json`)).architectures),
  )
  for (const config of Object.values(exportedConfigs)) {
    const directory = writeCheckpoint(config, sensibleTensors(config))
    await isSame(await exported(directory), directory)
    for (const one of config.architectures as string[]) classes.add(one)
  }
  const missing = Object.values(writers)
    .flatMap((writer) => writer.classes)
    .filter((one) => !classes.has(one))
  assert.equal(missing, [])
})

test('what the file or llama.cpp cannot say is refused before anything is written, and named', async () => {
  for (const [name, [config, word]] of Object.entries(refusedConfigs)) {
    const directory = writeCheckpoint(config, sensibleTensors(config))
    const error = await failure(exported(directory))
    assert.is(error.code, 'NOT_A_MODEL', `${name}: ${error.stack}`)
    assert.match(error.message, word)
  }
})

for (const [type, name] of [
  ['f32', 'stories260K-f32'],
  ['f16', 'stories260K-v3-f16'],
  ['q8_0', 'stories260K-v3-q8_0'],
] as const)
  test(`stories260K as ${type}: the bytes that llama.cpp has, and its vocabulary`, async () => {
    const expected = readFileSync(golden(`gguf/${name}.gguf`))
    const theirs = await readGguf(name, bytesInMemory(expected))
    const directory = temporary()
    for (const file of ['config.json', 'model.safetensors'])
      writeFileSync(join(directory, file), readFileSync(golden(`stories260K/${file}`)))
    const { files, store } = await openGguf(golden(`gguf/${name}.gguf`))
    await store.close()
    writeFileSync(join(directory, 'tokenizer.json'), files.tokenizer as Uint8Array)
    writeFileSync(join(directory, 'tokenizer_config.json'), JSON.stringify(files.tokenizerConfig))
    const path = await exported(directory, type)
    const found = readFileSync(path)
    const ours = await readGguf(path, bytesInMemory(found))
    for (const [tensor, { begin, bytes, shape, type: block }] of theirs.tensors) {
      // Theirs has the embedding twice.
      const own = ours.tensors.get(tensor === 'output.weight' ? 'token_embd.weight' : tensor)
      assert.equal([own?.shape, own?.type.name], [shape, block.name], tensor)
      const { begin: ownBegin = 0 } = own ?? {}
      assert.ok(found.subarray(ownBegin, ownBegin + bytes).equals(expected.subarray(begin, begin + bytes)), tensor)
    }
    for (const [key, value] of theirs.values) {
      if (/^general\.name|tensor_data_layout|\.scores$/.test(key)) continue
      assert.equal(ours.values.get(key), value, key)
    }
    const again = await openGguf(path)
    await again.store.close()
    assert.equal(
      JSON.parse(Buffer.from(again.files.tokenizer ?? []).toString()),
      JSON.parse(Buffer.from(files.tokenizer ?? []).toString()),
    )
    assert.equal(again.files.config, { ...(files.config as object), tie_word_embeddings: true })
  })

test('rows of fused tensors as llama.cpp has them: all of q, of k, of v; matrices of GPT-2 by what comes out', async () => {
  const numbers = async (path: string, tensor: string) => {
    const bytes = readFileSync(path)
    const { tensors } = await readGguf(path, bytesInMemory(bytes))
    const { begin = 0, bytes: length = 0, shape } = tensors.get(tensor) ?? {}
    return {
      shape,
      values: new Float32Array(bytes.buffer.slice(bytes.byteOffset + begin, bytes.byteOffset + begin + length)),
    }
  }
  const neox = golden('families/gpt_neox')
  const { num_attention_heads: heads, hidden_size: width } = readJson(join(neox, 'config.json'))
  const { values, shape } = await numbers(await exported(neox), 'blk.1.attn_qkv.weight')
  const own = parseSafetensors(readFileSync(join(neox, 'model.safetensors')))
  const { data } = own.get('gpt_neox.layers.1.attention.query_key_value.weight') as { data: Float32Array }
  assert.equal(shape, [3 * width, width])
  const dim = width / heads
  const expected = ['q', 'k', 'v'].flatMap((_, part) =>
    Array.from({ length: heads }, (_, head) => [
      ...data.subarray((3 * head + part) * dim * width, (3 * head + part + 1) * dim * width),
    ]),
  )
  assert.is(worst(values, expected.flat()), 0)
  const gpt2 = golden('families/gpt2')
  const up = await numbers(await exported(gpt2), 'blk.0.ffn_up.weight')
  const tensors = parseSafetensors(readFileSync(join(gpt2, 'model.safetensors')))
  const [name = ''] = [...tensors.keys()].filter((one) => one.endsWith('h.0.mlp.c_fc.weight'))
  const {
    data: conv,
    shape: [ins = 0, outs = 0],
  } = tensors.get(name) as { data: Float32Array; shape: number[] }
  assert.equal(up.shape, [outs, ins])
  assert.equal([up.values[1], up.values[ins]], [conv[outs], conv[1]])
})

test('a byte-level vocabulary there and back, and what has no name in llama.cpp', async () => {
  const path = join(temporary(), 'gpt-2.gguf')
  writeFileSync(path, gunzipSync(readFileSync(golden('gguf/vocab-gpt-2.gguf.gz'))))
  const { tokenizerOf } = await import('../host/files/gguf/tokenizer.ts')
  const { tokenizerEntries } = await import('../host/files/gguf/write/tokenizer.ts')
  const files = { config: {}, ...tokenizerOf(await readGguf(path, bytesInMemory(readFileSync(path)))) }
  const spec = { vocabSize: 50_300, eos: [50_256] } as unknown as Parameters<typeof tokenizerEntries>[2]
  const { values, left } = tokenizerEntries(path, files, spec)
  assert.equal(left, [])
  const again = tokenizerOf(await readGguf('again', bytesInMemory(encodeHeader(values, []))))
  const [before, after] = [files, again].map(({ tokenizer }) => JSON.parse(Buffer.from(tokenizer ?? []).toString()))
  // The embedding has rows that nobody names.
  for (let id = 50_257; id < spec.vocabSize; id++) before.model.vocab[`[PAD${id}]`] = id
  assert.equal(after, before)
  const odd = { ...before, pre_tokenizer: { type: 'Split', pattern: { Regex: 'x+' }, behavior: 'Isolated' } }
  const change = { ...files, tokenizer: Buffer.from(JSON.stringify(odd)) }
  assert.throws(() => tokenizerEntries(path, change, spec), /no word for the way it cuts text, .*x\+/)
})

test('f16 of any number that has one, and of the numbers between two', () => {
  for (let bits = 0; bits < 0x7c00; bits++) {
    assert.is(f16Bits(f16(bits)), bits)
    assert.is(f16Bits(-f16(bits)), bits | 0x8000)
    if (bits < 0x7bff) assert.is(f16Bits((f16(bits) + f16(bits + 1)) / 2), bits % 2 === 0 ? bits : bits + 1)
  }
  assert.equal([65519.9, 65520, -1e30].map(f16Bits), [0x7bff, 0x7c00, 0xfc00])
})

test('a file of a model that is too large is refused by its header, with what would fit', async () => {
  const sizes = { hidden_size: 8192, intermediate_size: 28_672, num_attention_heads: 64, num_key_value_heads: 8 }
  const config = {
    ...sizes,
    architectures: ['LlamaForCausalLM'],
    vocab_size: 32_000,
    num_hidden_layers: 80,
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-5,
  }
  const path = join(temporary(), '70b.gguf')
  const { values, tensors } = await planGguf(path, describe(config), config)
  const laid = layOut(tensors, blocksOf.f32, () => blocksOf.q8_0)
  const { offset = 0, bytes = 0 } = laid.at(-1) ?? {}
  const header = encodeHeader(values, laid)
  writeFileSync(path, header)
  // A hole, of which no disk has anything.
  truncateSync(path, header.length + offset + bytes)
  const started = process.memoryUsage.rss()
  for (const open of [
    () => load(path),
    () => load(path, { type: 'q4' }),
    () => convert(path, join(temporary(), '70b.gta'), { type: 'f32' }),
  ]) {
    const error = await failure(open())
    assert.is(error.code, 'TOO_LARGE', error.stack)
    assert.match(
      error.message,
      /must fit in 4\.29 GB, it needs \d+(\.\d+)? GB: .*with q4 a model of 7\.\d billion parameters would/,
    )
  }
  assert.ok(process.memoryUsage.rss() - started < 2 ** 28)
})

test.run()
