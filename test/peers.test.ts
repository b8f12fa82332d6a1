/** What bench:peers rests on, without any peer: the GGUF file, the sums over runs, the accounting of foreign CPU. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type GgufWeights, writeGguf } from '../bench/peers/gguf.ts'
import { countQuiet, foreignShare, parseTicks, quietest } from '../bench/peers/processes.ts'
import { markdown, rowsOf, type Series } from '../bench/peers/table.ts'
import { failure, gtaConfig, temporary } from './fixtures/checkpoints.ts'

const config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 300,
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 32,
  qkv_bias: true,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-5,
  rope_theta: 5000,
  tie_word_embeddings: true,
}

interface GgufFile {
  version: number
  metadata: Map<string, unknown>
  tensors: { name: string; shape: number[]; type: number; offset: number }[]
  data: DataView
}

/** A reader after the format's description, knowing nothing of the writer. */
function readGguf(bytes: Uint8Array): GgufFile {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let at = 0
  const take = <T>(size: number, get: (position: number) => T) => {
    at += size
    return get(at - size)
  }
  const u32 = () => take(4, (position) => view.getUint32(position, true))
  const u64 = () => take(8, (position) => Number(view.getBigUint64(position, true)))
  const string = () => {
    const length = u64()
    return take(length, (position) => new TextDecoder().decode(bytes.subarray(position, position + length)))
  }
  const value = (type: number): unknown => {
    if (type === 4) return u32()
    if (type === 5) return take(4, (position) => view.getInt32(position, true))
    if (type === 6) return take(4, (position) => view.getFloat32(position, true))
    if (type === 8) return string()
    assert.is(type, 9)
    const element = u32()
    return Array.from({ length: u64() }, () => value(element))
  }
  assert.is(new TextDecoder().decode(bytes.subarray(0, 4)), 'GGUF')
  at = 4
  const version = u32()
  const [tensorCount, entryCount] = [u64(), u64()]
  const metadata = new Map(Array.from({ length: entryCount }, () => [string(), value(u32())]))
  const tensors = Array.from({ length: tensorCount }, () => {
    const name = string()
    const shape = Array.from({ length: u32() }, u64)
    return { name, shape, type: u32(), offset: u64() }
  })
  const alignment = metadata.get('general.alignment') as number
  const start = Math.ceil(at / alignment) * alignment
  return {
    version,
    metadata,
    tensors,
    data: new DataView(bytes.buffer, bytes.byteOffset + start, bytes.length - start),
  }
}

/** IEEE half of a normal number. */
const half = (bits: number) => (1 + (bits & 1023) / 1024) * 2 ** ((bits >> 10) - 15)

/** All weights of a tensor, by the block layouts of ggml. */
function dequantise({ data }: GgufFile, { type, shape, offset }: GgufFile['tensors'][number]): number[] {
  const count = shape.reduce((a, b) => a * b)
  if (type === 0) return Array.from({ length: count }, (_, i) => data.getFloat32(offset + 4 * i, true))
  const blockBytes = type === 8 ? 34 : 18
  return Array.from({ length: count }, (_, i) => {
    const block = offset + Math.floor(i / 32) * blockBytes
    const scale = half(data.getUint16(block, true))
    const lane = i % 32
    if (type === 8) return scale * data.getInt8(block + 2 + lane)
    const pair = data.getUint8(block + 2 + (lane % 16))
    return scale * ((lane < 16 ? pair & 15 : pair >> 4) - 8)
  })
}

const path = join(temporary(), 'model.gguf')
async function write(change: object, weights: GgufWeights): Promise<{ file: GgufFile; bytes: Uint8Array }> {
  const size = await writeGguf(path, { ...config, ...change }, weights)
  const bytes = Uint8Array.from(readFileSync(path))
  assert.is(bytes.length, size)
  return { file: readGguf(bytes), bytes }
}

for (const [weights, id, blockBytes, fileType] of [
  ['Q8_0', 8, 34, 7],
  ['Q4_0', 2, 18, 2],
] as const) {
  test(`a ${weights} file says what the config says`, async () => {
    const { file } = await write({}, weights)
    assert.is(file.version, 3)
    const expected = {
      'general.architecture': 'llama',
      'general.file_type': fileType,
      'llama.block_count': 2,
      'llama.context_length': 128,
      'llama.embedding_length': 64,
      'llama.feed_forward_length': 96,
      'llama.attention.head_count': 4,
      'llama.attention.head_count_kv': 2,
      'llama.attention.key_length': 32,
      'llama.attention.value_length': 32,
      'llama.rope.dimension_count': 32,
      'llama.rope.freq_base': 5000,
      'llama.attention.layer_norm_rms_epsilon': Math.fround(1e-5),
      'llama.vocab_size': 300,
      'tokenizer.ggml.model': 'llama',
    }
    for (const [key, value] of Object.entries(expected)) assert.is(file.metadata.get(key), value, key)
    const tokens = file.metadata.get('tokenizer.ggml.tokens') as string[]
    assert.equal(tokens.slice(1, 4), ['<s>', '</s>', '<0x00>'])
    assert.is(tokens[3 + 10], '<0x0A>')
    assert.is(new Set(tokens).size, 300)
    assert.is((file.metadata.get('tokenizer.ggml.scores') as number[]).length, 300)
    assert.equal((file.metadata.get('tokenizer.ggml.token_type') as number[]).slice(0, 4), [2, 3, 3, 6])
  })

  test(`the tensors of a ${weights} file lie one behind the other to its end`, async () => {
    const { file } = await write({}, weights)
    assert.equal(file.tensors.find(({ name }) => name === 'blk.1.attn_k.weight')?.shape, [64, 64])
    assert.equal(file.tensors.find(({ name }) => name === 'blk.1.ffn_down.weight')?.shape, [96, 64])
    assert.equal(file.tensors.find(({ name }) => name === 'blk.0.attn_q.bias')?.shape, [128])
    let end = 0
    for (const { name, shape, type, offset } of file.tensors) {
      const isMatrix = shape.length === 2
      assert.is(type, isMatrix ? id : 0, name)
      assert.is(offset, Math.ceil(end / 32) * 32, name)
      const count = shape.reduce((a, b) => a * b)
      end = offset + (isMatrix ? (count / 32) * blockBytes : count * 4)
    }
    assert.is(file.data.byteLength, Math.ceil(end / 32) * 32)
  })

  test(`${weights} weights are random, of variance 1 / cols, in blocks of one scale`, async () => {
    const { file } = await write({}, weights)
    for (const tensor of file.tensors) {
      const values = dequantise(file, tensor)
      if (tensor.shape.length === 1) {
        assert.ok(values.every((value) => value === (tensor.name.endsWith('norm.weight') ? 1 : 0)))
        continue
      }
      // A scale read from the wrong place, or nibbles of the wrong offset, would be far from this.
      const variance = values.reduce((sum, value) => sum + value * value, 0) / values.length
      const ratio = variance * (tensor.shape[0] as number)
      assert.ok(Math.abs(ratio - 1) < 0.05, `${tensor.name}: ${ratio}`)
      const step = Math.min(...values.map(Math.abs).filter((value) => value > 0))
      const integers = values.map((value) => value / step)
      assert.ok(integers.every((value) => Math.abs(value - Math.round(value)) < 1e-6))
      const limits = weights === 'Q8_0' ? [-127, 127] : [-8, 7]
      assert.equal([Math.min(...integers), Math.max(...integers)].map(Math.round), limits, tensor.name)
    }
  })
}

test('the same config gives the same bytes, and no two tensors are alike', async () => {
  const { file, bytes } = await write({}, 'Q8_0')
  assert.equal((await write({}, 'Q8_0')).bytes, bytes)
  const matrices = file.tensors.filter(({ shape }) => shape.length === 2)
  const beginnings = matrices.map((tensor) => dequantise(file, { ...tensor, shape: [32] }).join())
  assert.is(new Set(beginnings).size, matrices.length)
})

test('an output matrix is written only where the embedding does not serve as one', async () => {
  const names = async (change: object) => (await write(change, 'Q4_0')).file.tensors.map(({ name }) => name)
  assert.not.ok((await names({})).includes('output.weight'))
  assert.ok((await names({ tie_word_embeddings: false })).includes('output.weight'))
  assert.not.ok((await names({ qkv_bias: false })).some((name) => name.endsWith('.bias')))
})

test('what llama.cpp cannot run is refused', async () => {
  assert.match((await failure(write(gtaConfig, 'Q8_0'))).message, /a class that llama\.cpp has, found GTAForCausalLM/)
  assert.match((await failure(write({ hidden_size: 48 }, 'Q8_0'))).message, /multiple of 32/)
})

/** Runs of one engine with these speeds of one test. */
function series(engine: string, speeds: number[], foreignCpu: number | undefined, ours?: Series): Series {
  const runs = speeds.map((speed, i) => {
    const tokensPerSecond = { median: speed, min: speed, max: speed }
    const results = [{ test: 'tg' as const, tokens: 32, depth: 16, threads: 2, tokensPerSecond }]
    return { report: { schema: 1 as const, engine, results, peakRssBytes: 1e8 + i }, foreignCpu }
  })
  return { engine, model: 'm', weights: 'q8', runs, ours }
}

test('rows are medians with their ratio, highest memory and worst neighbour', () => {
  const ours = series('ours', [10, 30, 20], 0.25)
  const [mine] = rowsOf(ours)
  assert.equal(mine?.tokensPerSecond, { median: 20, min: 10, max: 30 })
  assert.is(mine?.oursToPeer, undefined)
  const peer = rowsOf(series('peer', [40, 20, 10, 30], undefined, ours))
  assert.equal(peer[0]?.tokensPerSecond, { median: 25, min: 10, max: 40 })
  assert.is(peer[0]?.oursToPeer, 0.8)
  assert.is(peer[0]?.peakRssBytes, 1e8 + 3)
  assert.equal(rowsOf(series('failed', [], 0, ours)), [])
  const [, , first, second] = markdown([...rowsOf(ours), ...peer]).split('\n')
  assert.is(first, '| ours | m | q8 | 2 | decode @16 | 20.0 [10.0–30.0] |  | 100 | 25 % |')
  assert.is(second, '| peer | m | q8 | 2 | decode @16 | 25.0 [10.0–40.0] | 0.80 ? | 100 | ? |')
})

test('of more runs than wanted the quietest count', () => {
  const runs = [0.3, 0.05, undefined, 0.5].flatMap((foreignCpu, i) => series('peer', [i], foreignCpu).runs)
  assert.is(countQuiet(runs), 2)
  assert.equal(
    quietest(runs, 3).map(({ foreignCpu }) => foreignCpu),
    [undefined, 0.05, 0.3],
  )
})

test('foreign CPU is what was busy without being ours, steal included', () => {
  const self = (own: number[]) => `1 (a (b) c) R 1 1 1 0 -1 4194304 0 0 0 0 ${own.join(' ')} 20 0 11`
  const before = parseTicks('cpu  100 10 50 1000 20 1 2 3 0 0\ncpu0 9 9 9 9\n', self([5, 1, 20, 4]))
  assert.equal(before, { all: 1186, busy: 166, own: 30 })
  const after = parseTicks('cpu  180 10 60 1090 20 1 2 23 0 0\ncpu0 9 9 9 9\n', self([6, 1, 75, 8]))
  assert.is(foreignShare(before, after), (110 - 60) / 200)
  assert.is(foreignShare(before, before), undefined)
  assert.is(foreignShare(undefined, after), undefined)
})

test.run()
