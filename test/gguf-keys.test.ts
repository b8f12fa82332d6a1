/** Keys of a GGUF file that change the numbers, or say that it is another kind of model: read as llama.cpp reads them, or refused. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readGguf } from '../host/files/gguf/file.ts'
import { openGguf } from '../host/files/gguf/model.ts'
import { tokenizerOf } from '../host/files/gguf/tokenizer.ts'
import { failure, temporary } from './fixtures/checkpoints.ts'
import { bytesInMemory, type GgufWriter, withValues } from './fixtures/gguf.ts'
import { golden } from './fixtures/goldens.ts'

const folder = temporary()
const qwen3 = readFileSync(golden('gguf/tiny-qwen3.gguf'))

/** config.json of the small Qwen 3 with further values. */
async function configWith(count: number, add: (writer: GgufWriter) => void): Promise<Record<string, unknown>> {
  const path = join(folder, 'changed.gguf')
  writeFileSync(path, withValues(qwen3, count, add))
  const { files, store } = await openGguf(path)
  await store.close()
  return files.config as Record<string, unknown>
}

const key = (name: string) => `qwen3.${name}`
const yarn = (writer: GgufWriter) =>
  writer
    .word(key('rope.scaling.type'), 'yarn')
    .f32(key('rope.scaling.factor'), 4)
    .integer(key('rope.scaling.original_context_length'), 64)

test('scaling of frequencies: linear where the type is not said, the old key, and none', async () => {
  const plain = await configWith(0, () => {})
  assert.is(plain.rope_scaling, undefined)
  const linear = { type: 'linear', factor: 4 }
  const said = (add: (writer: GgufWriter) => GgufWriter, count: number) => configWith(count, add)
  for (const [count, add] of [
    [1, (writer) => writer.f32(key('rope.scaling.factor'), 4)],
    [1, (writer) => writer.f32(key('rope.scale_linear'), 4)],
    [2, (writer) => writer.word(key('rope.scaling.type'), 'linear').f32(key('rope.scale_linear'), 4)],
  ] as [number, (writer: GgufWriter) => GgufWriter][])
    assert.equal((await said(add, count)).rope_scaling, linear)
  for (const [count, add] of [
    [2, (writer) => writer.word(key('rope.scaling.type'), 'none').f32(key('rope.scale_linear'), 4)],
    [1, (writer) => writer.f32(key('rope.scaling.factor'), 1)],
  ] as [number, (writer: GgufWriter) => GgufWriter][])
    assert.equal(await said(add, count), plain)
  assert.is((await said(yarn, 3)).rope_scaling?.constructor, Object)
})

test('what is not read is refused by name', async () => {
  for (const [count, add, word] of [
    [1, (writer) => writer.value(key('attention.causal'), 7, 0), /qwen3\.attention\.causal/],
    [1, (writer) => writer.integer(key('pooling_type'), 3), /qwen3\.pooling_type.*one vector/],
    [1, (writer) => writer.value('split.count', 2, 2, 0), /one part of 2.*llama-gguf-split/],
    [4, (writer) => yarn(writer).f32(key('rope.scaling.yarn_beta_fast'), 8), /yarn_beta_fast.*must be 32/],
    [4, (writer) => yarn(writer).f32(key('rope.scaling.attn_factor'), 2), /attn_factor.*must be 1/],
  ] as [number, (writer: GgufWriter) => GgufWriter, RegExp][]) {
    const error = await failure(configWith(count, add))
    assert.match(error.message, word)
  }
})

test('a part of each head that is rotated is refused where the family rotates all of it', async () => {
  const at = qwen3.indexOf(key('rope.dimension_count')) + key('rope.dimension_count').length + 4
  const changed = Buffer.from(qwen3)
  assert.is(changed.readUInt32LE(at), 32)
  changed.writeUInt32LE(8, at)
  const path = join(folder, 'part.gguf')
  writeFileSync(path, changed)
  assert.match((await failure(openGguf(path))).message, /rope\.dimension_count.*must be 32/)
})

test('a token of a million characters takes no time that grows with its square', async () => {
  const tokens = ['<unk>', '<s>', '</s>', 'a', 'aa', 'a'.repeat(1e6)]
  const gguf = await readGguf('x.gguf', bytesInMemory(qwen3))
  const values = new Map<string, unknown>([
    ['tokenizer.ggml.model', 'llama'],
    ['tokenizer.ggml.tokens', tokens],
    ['tokenizer.ggml.scores', Float32Array.from(tokens, (_, id) => -id)],
    ['tokenizer.ggml.token_type', Int32Array.from([2, 3, 3, 1, 1, 1])],
    ['tokenizer.ggml.bos_token_id', 1n],
  ])
  const { tokenizer, tokenizerConfig } = tokenizerOf({ ...gguf, values } as typeof gguf)
  assert.equal(JSON.parse(new TextDecoder().decode(tokenizer)).model.merges, [['a', 'a']])
  // An id of 64 bits is one too.
  assert.is((tokenizerConfig as { bos_token?: unknown }).bos_token, '<s>')
})

test.run()
