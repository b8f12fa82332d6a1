/** From Hugging Face directories to packed files: numbers, shards, refusals, and what is left behind. */
import { execFile } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { GtaError } from '../host/errors.ts'
import { type ConvertOptions, convert } from '../host/files/convert.ts'
import { describeModel } from '../host/files/describe.ts'
import { openSafetensors } from '../host/files/files.ts'
import { quantizeRows } from '../host/files/quantize.ts'
import { encodeHeader } from '../host/files/safetensors.ts'
import { ModelError } from '../models/index.ts'
import {
  type Config,
  encode,
  failure,
  gqaConfig,
  gtaConfig,
  openFiles,
  random,
  randomTensors,
  safetensors,
  sourcesOf,
  type Tensor,
  type Tensors,
  temporary,
  writeCheckpoint,
  writeIndex,
} from './fixtures/checkpoints.ts'
import { attentionOf } from './fixtures/goldens.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const run = promisify(execFile)

/** Converts into a folder of its own, and returns the bytes of the packed file, which must be the only thing there. */
async function packed(directory: string, options: ConvertOptions = {}): Promise<Buffer> {
  const path = join(temporary(), 'model.gta')
  const { bytes } = await convert(directory, path, options)
  assert.equal(readdirSync(join(path, '..')), ['model.gta'])
  assert.is(bytes, statSync(path).size)
  return readFileSync(path)
}

/** A tensor of a packed file, as the bytes that it holds. */
async function packedTensors(bytes: Uint8Array): Promise<Map<string, { shape: number[]; data: Uint8Array }>> {
  const path = join(temporary(), 'model.gta')
  writeFileSync(path, bytes)
  const { file, tensors } = await openSafetensors(path)
  await file.close()
  return new Map(
    [...tensors].map(([name, { shape, begin, bytes: size }]) => [
      name,
      { shape, data: Uint8Array.from(bytes.subarray(begin, begin + size)) },
    ]),
  )
}

/** The numbers of a tensor that must be there. */
function floats(tensor: { data: Uint8Array } | undefined): Float32Array {
  assert.ok(tensor, 'the tensor is missing')
  return new Float32Array(Uint8Array.from(tensor?.data ?? []).buffer)
}

/** The conversion must fail with this code and these words, and leave nothing behind, neither files nor handles. */
async function refused(directory: string, code: string, ...words: string[]): Promise<Error> {
  const folder = temporary()
  const error = await failure(convert(directory, join(folder, 'model.gta')))
  assert.instance(error, GtaError, `${error.stack}`)
  assert.is(error.code, code, error.message)
  for (const word of words) assert.ok(error.message.includes(word), `"${word}" is not in: ${error.message}`)
  assert.equal(readdirSync(folder), [])
  for (const place of [folder, directory]) assert.equal(openFiles(place) ?? [], [])
  return error
}

/** A directory of gqaConfig with some tensors changed. */
function changed(change: (tensors: Tensors) => void, config: Config = gqaConfig): string {
  const tensors = randomTensors(config)
  change(tensors)
  return writeCheckpoint(config, tensors)
}

const NORM = 'model.norm.weight'
const f32Tensor = (shape: number[], values: ArrayLike<number>): Tensor => ({
  dtype: 'F32',
  shape,
  data: encode(values, 'F32'),
})

for (const [name, config] of Object.entries({ gqa: gqaConfig, gta: gtaConfig }))
  for (const type of ['q8', 'f32'] as const)
    test(`${name} ${type}: F32, F16, BF16 and shards of each give the same file`, async () => {
      const expected = await packed(writeCheckpoint(config, randomTensors(config, 'F32')), { type })
      for (const dtype of ['F32', 'F16', 'BF16'] as const)
        for (const shards of [0, 1, 3]) {
          const directory = writeCheckpoint(config, randomTensors(config, dtype), { shards })
          assert.ok(expected.equals(await packed(directory, { type })), `${dtype} in ${shards} shards`)
        }
      const other = await packed(writeCheckpoint(config, randomTensors(config, 'F32', 2)), { type })
      assert.not.ok(expected.equals(other), 'other weights give another file')
    })

/** Every bit pattern of a 16-bit type that is finite, and what it is worth. */
function allFinite(isBrain: boolean): { bits: Uint16Array; values: Float32Array } {
  const patterns = Array.from({ length: 65536 }, (_, i) => i)
  const [fractionBits, top, bias] = isBrain ? [7, 255, 127] : [10, 31, 15]
  const bits = Uint16Array.from(patterns.filter((i) => ((i >> fractionBits) & top) !== top))
  const values = Float32Array.from(bits, (i) => {
    const [exponent, fraction] = [(i >> fractionBits) & top, (i & (2 ** fractionBits - 1)) / 2 ** fractionBits]
    const size = exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias)
    return i >> 15 ? -size : size
  })
  return { bits, values }
}

for (const dtype of ['F16', 'BF16'] as const)
  test(`${dtype}: every finite number is read right, subnormals and -0 too`, async () => {
    const { bits, values } = allFinite(dtype === 'BF16')
    const config = { ...gqaConfig, hidden_size: 256, vocab_size: bits.length / 256, tie_word_embeddings: true }
    const tensors = randomTensors(config, dtype)
    const shape = [bits.length / 256, 256]
    tensors.set('model.embed_tokens.weight', { dtype, shape, data: new Uint8Array(bits.buffer) })
    const found = await packedTensors(await packed(writeCheckpoint(config, tensors), { type: 'f32' }))
    assert.equal(found.get('embed')?.shape, shape)
    const wrong = floats(found.get('embed')).findIndex((value, i) => !Object.is(value, values[i]))
    assert.is(wrong, -1, `pattern ${bits[wrong]?.toString(16)} is ${values[wrong]}`)
  })

test('F32: every bit comes through, denormals and the largest numbers too', async () => {
  const next = random(7)
  const values = [1e-45, -1e-45, 1.1754942e-38, 3.4028234663852886e38, -3.4028234663852886e38, -0, 1 / 3]
  const count = 96 * 32
  const bits = new Uint32Array(count).map(() => {
    const word = Math.floor(next() * 2 ** 32)
    return ((word >>> 23) & 255) === 255 ? word & 0x807fffff : word
  })
  const all = new Float32Array(bits.buffer)
  all.set(values)
  const directory = changed((tensors) => tensors.set('model.embed_tokens.weight', f32Tensor([96, 32], all)))
  const found = await packedTensors(await packed(directory, { type: 'f32' }))
  assert.equal(Buffer.from(found.get('embed')?.data as Uint8Array), Buffer.from(bits.buffer))
})

test('rows are fused in order, padded, and the value decoder is transposed block by block', async () => {
  const tensors = randomTensors(gtaConfig)
  const { spec } = (await describeModel(writeCheckpoint(gtaConfig, tensors))).model
  const found = await packedTensors(await packed(writeCheckpoint(gtaConfig, tensors), { type: 'f32' }))
  const values = (name: string) => floats(tensors.get(`model.layers.1.${name}`))
  const concatenated = (...names: string[]) => names.flatMap((name) => [...values(name)])
  const padded = (rows: number[], cols: number, width: number) =>
    rows.flatMap((value, i) => (i % cols === cols - 1 ? [value, ...Array(width - cols).fill(0)] : [value]))

  const projections = ['q', 'k', 'v', 'g'].map((name) => `self_attn.${name}_proj`)
  const weights = concatenated(...projections.map((name) => `${name}.weight`))
  assert.equal([...floats(found.get('layers.1.in'))], padded(weights, 48, 48))
  const biases = concatenated(...projections.map((name) => `${name}.bias`))
  assert.is(biases.length, 16 + 8 + 12 + 48)
  assert.equal([...floats(found.get('layers.1.in_bias'))], [...biases, ...Array(96 - biases.length).fill(0)])
  const gateUp = concatenated('mlp.gate_proj.weight', 'mlp.up_proj.weight')
  assert.equal([...floats(found.get('layers.1.gate_up'))], padded(gateUp, 48, 48))
  assert.equal([...floats(found.get('layers.1.down'))], padded(concatenated('mlp.down_proj.weight'), 40, 48))

  // P[j][a][b] of the stored memory, applied from the left: row b of map j is P[j][·][b].
  const stored = values('self_attn.v_b_proj.weight')
  const [maps, latent, width] = [2, 12, 24]
  assert.is(attentionOf(spec).outDim, width)
  const decoder: number[] = []
  for (let j = 0; j < maps; j++)
    for (let b = 0; b < width; b++)
      for (let a = 0; a < latent; a++) decoder.push(stored[(j * latent + a) * width + b] as number)
  assert.equal([...floats(found.get('layers.1.decoder'))], padded(decoder, latent, 16))
  assert.not.ok(found.has('head'), 'a tied head is not stored twice')
})

test('a q8 matrix is its rows quantised, its scales beside it', async () => {
  const tensors = randomTensors(gqaConfig)
  const found = await packedTensors(await packed(writeCheckpoint(gqaConfig, tensors)))
  const values = floats(tensors.get('model.layers.0.mlp.down_proj.weight'))
  const { shape, data } = found.get('layers.0.down') as { shape: number[]; data: Uint8Array }
  assert.equal(shape, [32, 64])
  const scales = floats(found.get('layers.0.down.scale'))
  for (let r = 0; r < 32; r++) {
    const row = values.subarray(r * 40, r * 40 + 40)
    assert.is(scales[r], Math.fround(Math.max(...row.map(Math.abs)) / 63))
    row.forEach((value, c) => {
      const error = Math.abs(((data[r * 64 + c] as number) - 64) * (scales[r] as number) - value)
      assert.ok(error <= (scales[r] as number) * 0.500001, `row ${r} column ${c}`)
    })
    assert.ok(data.subarray(r * 64 + 40, r * 64 + 64).every((byte) => byte === 64))
  }
})

test('slices do not show: a matrix of several slices is quantised like one', async () => {
  const config = { ...gqaConfig, vocab_size: 70_000, tie_word_embeddings: true }
  const tensors = randomTensors(config)
  const found = await packedTensors(await packed(writeCheckpoint(config, tensors)))
  const scales = new Float32Array(70_000)
  const bytes = quantizeRows(floats(tensors.get('model.embed_tokens.weight')), 32, 64, scales)
  assert.ok(Buffer.from(bytes).equals(found.get('embed')?.data as Uint8Array))
  assert.equal(floats(found.get('embed.scale')).subarray(0, 70_000), scales)
})

test('quantizeRows: error at most half a step, bytes in 1..127, padding and zero rows are 64', () => {
  const next = random(3)
  for (const cols of [1, 7, 40, 64, 65]) {
    const stride = Math.ceil(cols / 64) * 64
    const rows = 40
    const values = Float32Array.from({ length: rows * cols }, (_, i) => {
      const row = Math.floor(i / cols)
      if (row === 0) return 0
      if (row === 1) return -0
      return (next() * 2 - 1) ** 3 * 10 ** (row - 20)
    })
    const scales = new Float32Array(rows).fill(Number.NaN)
    const bytes = quantizeRows(values, cols, stride, scales)
    assert.is(bytes.length, rows * stride)
    for (let r = 0; r < rows; r++) {
      const scale = scales[r] as number
      const peak = Math.max(...values.subarray(r * cols, (r + 1) * cols).map(Math.abs))
      assert.is(scale, Math.fround(peak / 63))
      for (let c = 0; c < stride; c++) {
        const byte = bytes[r * stride + c] as number
        assert.ok(byte >= 1 && byte <= 127)
        if (c >= cols || peak === 0) assert.is(byte, 64)
        else {
          const error = Math.abs((byte - 64) * scale - (values[r * cols + c] as number))
          assert.ok(error <= scale * (0.5 + 1e-5), `${error} with a step of ${scale}`)
        }
      }
      if (peak > 0) assert.ok(bytes.subarray(r * stride, r * stride + cols).some((byte) => byte === 1 || byte === 127))
    }
  }
})

test('quantizeRows: both ends of f32', () => {
  for (const peak of [3.4028234663852886e38, 1e-38, 1e-45]) {
    const scales = new Float32Array(1)
    const bytes = quantizeRows(Float32Array.of(peak, -peak, 0), 3, 64, scales)
    assert.equal([...bytes.subarray(0, 4)], [127, 1, 64, 64])
    assert.ok(Number.isFinite(scales[0]))
  }
})

test('the result tells what was converted', async () => {
  const path = join(temporary(), 'model.gta')
  const directory = writeCheckpoint(gtaConfig, randomTensors(gtaConfig))
  const progress: { done: number; total: number }[] = []
  const result = await convert(directory, path, { type: 'f32', onProgress: (step) => progress.push(step) })
  const parameters = sourcesOf(gtaConfig).reduce((sum, { shape }) => sum + shape.reduce((n, m) => n * m, 1), 0)
  assert.equal(result, {
    path,
    type: 'f32',
    bytes: statSync(path).size,
    parameters,
    unused: [],
    errors: [],
    hasTokenizer: false,
    left: [],
  })
  assert.ok(progress.every(({ done }, i) => done > (progress[i - 1]?.done ?? 0)))
  assert.is(progress.at(-1)?.done, progress.at(-1)?.total)
})

test('an existing file is refused; with force a good conversion replaces it, a failed one keeps it', async () => {
  const folder = temporary()
  const path = join(folder, 'model.gta')
  writeFileSync(path, 'precious')
  const bad = changed((tensors) => tensors.set(NORM, f32Tensor([32], Array(32).fill(Number.NaN))))
  const good = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  for (const options of [{}, { force: false }]) {
    let steps = 0
    const error = await failure(convert(good, path, { ...options, onProgress: () => steps++ }))
    assert.is(steps, 0, 'it was converted before it was refused')
    assert.is(error.code, 'BAD_OPTION')
    assert.match(error.message, '--force (force)')
    assert.ok(error.message.includes(path))
    assert.is(readFileSync(path, 'utf8'), 'precious')
  }
  await failure(convert(bad, path, { force: true }))
  assert.is(readFileSync(path, 'utf8'), 'precious')
  await convert(good, path, { force: true })
  assert.ok(statSync(path).size > 1000)
  assert.equal(readdirSync(folder), ['model.gta'])
})

test('a file that comes while another one is converted to its name is not replaced', async () => {
  const folder = temporary()
  const path = join(folder, 'model.gta')
  const directory = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  const error = await failure(convert(directory, path, { onProgress: () => writeFileSync(path, 'precious') }))
  assert.is(error.code, 'BAD_OPTION')
  assert.is(readFileSync(path, 'utf8'), 'precious')
  assert.equal(readdirSync(folder), ['model.gta'])
})

test('all missing tensors are named at once', async () => {
  const gone = [NORM, 'lm_head.weight', 'model.layers.1.mlp.up_proj.weight']
  const directory = changed((tensors) => {
    for (const name of gone) tensors.delete(name)
  })
  await refused(directory, 'BAD_TENSOR', directory, '3 more tensors', ...gone)
  await refused(
    changed((tensors) => tensors.clear()),
    'BAD_TENSOR',
    `${sourcesOf(gqaConfig).length} more tensors`,
    ...sourcesOf(gqaConfig).map(({ tensor }) => tensor),
  )
  const noBias = changed((tensors) => tensors.delete('model.layers.0.self_attn.g_proj.bias'), gtaConfig)
  await refused(noBias, 'BAD_TENSOR', '1 more tensor ', 'model.layers.0.self_attn.g_proj.bias')
})

test('a wrong shape is refused with both shapes', async () => {
  const cases: [string, number[], string, string][] = [
    [NORM, [31], '(32)', '(31)'],
    [NORM, [32, 1], '(32)', '(32, 1)'],
    [NORM, [], '(32)', '()'],
    ['model.layers.0.mlp.down_proj.weight', [40, 32], '(32, 40)', '(40, 32)'],
    ['model.embed_tokens.weight', [97, 32], '(96, 32)', '(97, 32)'],
    ['model.layers.1.self_attn.k_proj.weight', [32, 32], '(16, 32)', '(32, 32)'],
  ]
  for (const [name, shape, expected, found] of cases) {
    const count = shape.reduce((n, m) => n * m, 1)
    const directory = changed((tensors) => tensors.set(name, f32Tensor(shape, Array(count).fill(0))))
    await refused(directory, 'BAD_TENSOR', `"${name}"`, expected, found)
  }
})

test('a type that is not converted is refused by name', async () => {
  for (const dtype of ['I8', 'U8', 'F8_E4M3', 'F8_E5M2', 'F64', 'I32', 'BOOL'] as const) {
    const width = dtype === 'F64' ? 8 : dtype === 'I32' ? 4 : 1
    const directory = changed((tensors) => tensors.set(NORM, { dtype, shape: [32], data: new Uint8Array(32 * width) }))
    await refused(directory, 'BAD_TENSOR', `"${NORM}"`, 'F32, F16 or BF16', dtype)
  }
})

test('tensors that are not used are reported; what carries no information is not', async () => {
  const extra = ['model.layers.2.mlp.up_proj.weight', 'model.layers.0.self_attn.q_proj.bias', '__proto__', 'x']
  const silent = ['model.layers.0.self_attn.rotary_emb.inv_freq', 'model.layers.1.self_attn.rotary_emb.inv_freq']
  const directory = changed((tensors) => {
    for (const name of [...extra, ...silent]) tensors.set(name, f32Tensor([4], [1, 2, 3, 4]))
    // What is not used is not read: neither its type nor its numbers matter.
    tensors.set('x', { dtype: 'I8', shape: [4], data: new Uint8Array(4) })
  })
  const { unused } = await convert(directory, join(temporary(), 'model.gta'))
  assert.equal(unused.sort(), [...extra].sort())
})

test('a tied lm_head.weight in the checkpoint is silent; with a head of its own it is used', async () => {
  const tied = { ...gqaConfig, tie_word_embeddings: true }
  const tensors = randomTensors(gqaConfig)
  const { unused } = await convert(writeCheckpoint(tied, tensors), join(temporary(), 'model.gta'))
  assert.equal(unused, [])
  const untied = await packedTensors(await packed(writeCheckpoint(gqaConfig, tensors), { type: 'f32' }))
  assert.equal([...floats(untied.get('head'))], [...floats(tensors.get('lm_head.weight'))])
})

test('NaN and infinity are refused with tensor and place', async () => {
  const { POSITIVE_INFINITY, NEGATIVE_INFINITY, NaN: NAN } = Number
  for (const value of [NAN, POSITIVE_INFINITY, NEGATIVE_INFINITY])
    for (const name of [NORM, 'lm_head.weight', 'model.layers.1.self_attn.o_proj.weight']) {
      const directory = changed((tensors) => {
        const tensor = tensors.get(name) as Tensor
        const values = floats(tensor)
        values[21] = value
        tensors.set(name, f32Tensor(tensor.shape, values))
      })
      await refused(directory, 'BAD_WEIGHTS', `"${name}"`, `${value} at index 21`)
    }
  const halves: [Tensor['dtype'], number, string][] = [
    ['F16', 0x7c00, 'Infinity'],
    ['F16', 0xfc00, '-Infinity'],
    ['F16', 0x7c01, 'NaN'],
    ['F16', 0xffff, 'NaN'],
    ['BF16', 0x7f80, 'Infinity'],
    ['BF16', 0xff80, '-Infinity'],
    ['BF16', 0x7fc0, 'NaN'],
    ['BF16', 0x7f81, 'NaN'],
  ]
  for (const [dtype, bits, found] of halves) {
    const data = new Uint8Array(Uint16Array.from({ length: 32 }, (_, i) => (i === 5 ? bits : 0)).buffer)
    const directory = changed((tensors) => tensors.set(NORM, { dtype, shape: [32], data }))
    await refused(directory, 'BAD_WEIGHTS', `"${NORM}"`, `${found} at index 5`)
  }
})

test('the place of a bad number counts from the start of its tensor, not of a slice', async () => {
  const config = { ...gqaConfig, vocab_size: 70_000, tie_word_embeddings: true }
  const tensors = randomTensors(config)
  const embed = floats(tensors.get('model.embed_tokens.weight'))
  embed[2_200_000] = Number.NaN
  tensors.set('model.embed_tokens.weight', f32Tensor([70_000, 32], embed))
  await refused(writeCheckpoint(config, tensors), 'BAD_WEIGHTS', 'at index 2200000')
})

test('shard names lead to no other place', async () => {
  const single = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  const name = basename(single)
  // A single file would count more than the index.
  renameSync(join(single, 'model.safetensors'), join(single, 'weights.safetensors'))
  const bad = [
    '../x.safetensors',
    `../${name}/model.safetensors`,
    'sub/model.safetensors',
    './model.safetensors',
    `${single}/model.safetensors`,
    '..\\model.safetensors',
    'C:\\model.safetensors',
    '..',
    '.',
    '',
    'config.json',
    'model.safetensors/',
    '/dev/zero',
    7,
    null,
    {},
    ['model.safetensors'],
  ]
  mkdirSync(join(single, 'sub'))
  writeFileSync(join(single, 'sub', 'model.safetensors'), safetensors(randomTensors(gqaConfig)))
  for (const shard of bad) {
    writeIndex(single, { [NORM]: shard, 'lm_head.weight': 'weights.safetensors' })
    const error = await refused(single, 'BAD_FILE', 'index.json', 'shard name')
    assert.ok(error.message.includes(JSON.stringify(shard).slice(0, 80)))
  }
  writeIndex(single, { [NORM]: 'model\0.safetensors' })
  await refused(single, 'NOT_FOUND')
})

test('a single file counts more than an index that is left over beside it', async () => {
  const directory = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  const expected = await packed(directory)
  const old = randomTensors(gqaConfig, 'F32', 7)
  writeFileSync(join(directory, 'model-00001-of-00001.safetensors'), safetensors(old))
  writeIndex(directory, Object.fromEntries([...old.keys()].map((name) => [name, 'model-00001-of-00001.safetensors'])))
  assert.ok((await packed(directory)).equals(expected))
  rmSync(join(directory, 'model-00001-of-00001.safetensors'))
  assert.ok((await packed(directory)).equals(expected), 'with an index of shards that are not there')
})

/** What people point at instead of a model, and the word that says so. */
const otherKinds: [begin: string, word: string][] = [
  ['GGUF\x03\0\0\0\x10\0\0\0', 'GGUF'],
  ['version https://git-lfs.github.com/spec/v1\noid sha256:12', 'git lfs pull'],
  ['<!DOCTYPE html><html><body>Not found', 'HTML'],
  ['\n<html lang="en">', 'HTML'],
  ['PK\x03\x04\x14\0\0\0\0\0', 'ZIP'],
  ['\x1f\x8b\x08\0\0\0\0\0\0', 'compressed'],
  ['\x80\x02ctorch._utils\n', 'pickle'],
]

test('a file of another kind is named, whichever of the files it stands for', async () => {
  for (const [begin, word] of otherKinds) {
    const directory = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
    for (const name of ['model.safetensors', 'tokenizer.json', 'generation_config.json', 'config.json']) {
      writeFileSync(join(directory, name), `${begin}${' '.repeat(40)}`, 'latin1')
      await refused(directory, 'NOT_A_MODEL', name, word)
      if (name === 'model.safetensors') writeFileSync(join(directory, name), safetensors(randomTensors(gqaConfig)))
      else if (name !== 'config.json') rmSync(join(directory, name))
    }
  }
})

test('a tokenizer that cannot be used is refused before anything is converted', async () => {
  const directory = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  for (const [json, word] of [
    ['{}', 'vocabulary'],
    ['{"model":{"vocab":{"a":0}},"decoder":{"type":"Unheard"}}', 'decoder'],
    ['{"model":{"vocab":{"a":0}},"decoder":{"type":"ByteLevel"},"post_processor":{"type":"Unheard"}}', 'Unheard'],
  ] as const) {
    writeFileSync(join(directory, 'tokenizer.json'), json)
    await refused(directory, 'BAD_TOKENIZER', word)
  }
})

test('an index that is none', async () => {
  const directory = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  rmSync(join(directory, 'model.safetensors'))
  for (const map of [null, 'model.safetensors', 7, true]) {
    writeIndex(directory, map)
    await refused(directory, 'BAD_FILE', 'index.json', 'weight_map')
  }
  const path = join(directory, 'model.safetensors.index.json')
  for (const text of ['null', '7', '{}', '"x"']) {
    writeFileSync(path, text)
    await refused(directory, 'BAD_FILE', 'index.json', 'weight_map')
  }
  for (const text of ['', '{', '{"weight_map":{}'] as const) {
    writeFileSync(path, text)
    await refused(directory, 'BAD_FILE', 'index.json', 'valid JSON')
  }
  writeIndex(directory, {})
  await refused(directory, 'BAD_TENSOR', 'more tensors')
})

test('a shard that is missing or damaged, and a tensor that is in two', async () => {
  const tensors = randomTensors(gqaConfig)
  const gone = writeCheckpoint(gqaConfig, tensors, { shards: 3 })
  rmSync(join(gone, 'model-00002-of-00003.safetensors'))
  await refused(gone, 'NOT_FOUND', 'model-00002-of-00003.safetensors')

  const cut = writeCheckpoint(gqaConfig, tensors, { shards: 3 })
  truncateSync(join(cut, 'model-00003-of-00003.safetensors'), 1000)
  await refused(cut, 'BAD_FILE', 'model-00003-of-00003.safetensors')

  const twice = writeCheckpoint(gqaConfig, tensors, { shards: 2 })
  const first = join(twice, 'model-00001-of-00002.safetensors')
  const second = join(twice, 'model-00002-of-00002.safetensors')
  writeFileSync(first, safetensors(tensors))
  await refused(twice, 'BAD_TENSOR', basename(first), basename(second))
  // The copy need not be one that the model uses.
  const extra = writeCheckpoint(gqaConfig, tensors, { shards: 2 })
  const some = f32Tensor([1], [1])
  writeFileSync(join(extra, 'a.safetensors'), safetensors(new Map([...tensors, ['x', some]])))
  writeFileSync(join(extra, 'b.safetensors'), safetensors(new Map([['x', some]])))
  writeIndex(extra, { [NORM]: 'a.safetensors', x: 'b.safetensors' })
  await refused(extra, 'BAD_TENSOR', '"x"', 'a.safetensors', 'b.safetensors')
})

test('a directory that is no model', async () => {
  await refused(join(temporary(), 'missing'), 'NOT_FOUND', 'missing')
  await refused(temporary(), 'NOT_A_MODEL', 'config.json')
  const file = join(temporary(), 'file')
  writeFileSync(file, 'x')
  await refused(file, 'NOT_A_MODEL', file)
  const alone = temporary()
  writeFileSync(join(alone, 'config.json'), JSON.stringify(gqaConfig))
  await refused(alone, 'NOT_A_MODEL', 'model.safetensors')
  for (const text of ['', '{', '\xff']) {
    writeFileSync(join(alone, 'config.json'), text, 'latin1')
    await refused(alone, 'BAD_FILE', 'config.json', 'valid JSON')
  }
  for (const name of ['generation_config.json', 'tokenizer_config.json']) {
    const directory = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
    writeFileSync(join(directory, name), '{')
    await refused(directory, 'BAD_FILE', name)
  }
  const directory = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  rmSync(join(directory, 'model.safetensors'))
  mkdirSync(join(directory, 'model.safetensors'))
  await refused(directory, 'BAD_FILE', 'model.safetensors')
  rmSync(join(directory, 'config.json'))
  mkdirSync(join(directory, 'config.json'))
  await refused(directory, 'NOT_FOUND', 'config.json')
})

test('a config that cannot be is refused before the weights are opened', async () => {
  const directory = temporary()
  writeFileSync(join(directory, 'model.safetensors'), 'not even safetensors')
  writeFileSync(join(directory, 'config.json'), JSON.stringify({ ...gqaConfig, num_attention_heads: 3 }))
  assert.instance(await failure(convert(directory, join(directory, 'x.gta'))), ModelError)
  const large = { ...gqaConfig, hidden_size: 4096, intermediate_size: 16384, num_hidden_layers: 40 }
  writeFileSync(join(directory, 'config.json'), JSON.stringify(large))
  await refused(directory, 'TOO_LARGE', 'address space')
})

test('a config nested too deep to write down is refused like any other', async () => {
  const directory = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  const deep = '['.repeat(200_000) + ']'.repeat(200_000)
  const text = JSON.stringify(gqaConfig).slice(0, -1)
  for (const field of ['comment', 'vocab_size', 'rope_scaling']) {
    writeFileSync(join(directory, 'config.json'), `${text},"${field}":${deep}}`)
    const error = await failure(convert(directory, join(temporary(), 'model.gta')))
    assert.ok(error instanceof GtaError || error instanceof ModelError, `${field}: ${error.name} ${error.message}`)
  }
})

test('where nothing can be written', async () => {
  const directory = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  const folder = temporary()
  const missing = join(folder, 'missing', 'model.gta')
  const error = await failure(convert(directory, missing))
  assert.is(error.code, 'WRITE_FAILED')
  assert.ok(error.message.includes(missing))
  assert.equal(readdirSync(folder), [])

  const target = join(folder, 'model.gta')
  mkdirSync(target)
  writeFileSync(join(target, 'file'), 'precious')
  assert.is((await failure(convert(directory, target))).code, 'WRITE_FAILED')
  assert.equal(readdirSync(folder), ['model.gta'])
  assert.equal(readdirSync(target), ['file'])

  assert.equal(readdirSync(folder), ['model.gta'])
  assert.equal(openFiles(directory) ?? [], [])
})

test('a file where a folder should be', async () => {
  const directory = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  const file = join(temporary(), 'file')
  writeFileSync(file, 'precious')
  const error = await failure(convert(directory, join(file, 'model.gta')))
  assert.is(error.code, 'WRITE_FAILED', error.message)
  assert.is(readFileSync(file, 'utf8'), 'precious')
})

test('a name that is too long for the file system', async () => {
  const directory = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  const error = await failure(convert(directory, join(temporary(), `${'n'.repeat(300)}.gta`)))
  assert.is(error.code, 'WRITE_FAILED', error.message)
})

test('a disk that is full in the middle', async () => {
  const directory = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  const folder = temporary()
  const limited = (blocks: number) =>
    run('bash', [
      '-c',
      `trap '' XFSZ; ulimit -f ${blocks}; exec "$0" "$@"`,
      process.execPath,
      join(root, 'dist', 'gta.mjs'),
      'convert',
      directory,
      join(folder, 'model.gta'),
    ])
  const error = (await failure(limited(8))) as Error & { code?: unknown; stderr?: string }
  assert.is(error.code, 1, error.stderr)
  assert.match(error.stderr ?? '', /^gta: ".*model\.gta" cannot be written: EFBIG.*\n$/)
  assert.equal(readdirSync(folder), [])
  await limited(1000)
  assert.equal(readdirSync(folder), ['model.gta'])
})

test('an abort leaves nothing, before, while and before the last tensor', async () => {
  const directory = writeCheckpoint(gtaConfig, randomTensors(gtaConfig))
  // Behind them are a table and the hashes.
  const tensors = (await packedTensors(await packed(directory))).size - 2
  const folder = temporary()
  const reason = new Error('enough')
  const abortAfter = async (steps: number) => {
    const controller = new AbortController()
    let count = 0
    if (steps === 0) controller.abort(reason)
    const onProgress = () => {
      if (++count === steps) controller.abort(reason)
    }
    return failure(convert(directory, join(folder, 'model.gta'), { signal: controller.signal, onProgress }))
  }
  for (const steps of [0, 1, 2, 5, 10, tensors]) {
    assert.is(await abortAfter(steps), reason, `after ${steps} tensors`)
    assert.equal(readdirSync(folder), [])
    assert.equal(openFiles(directory) ?? [], [])
  }
})

test('an abort is heard within a tensor', async () => {
  const config = { ...gqaConfig, vocab_size: 140_000, tie_word_embeddings: true }
  const tensors = new Map(sourcesOf(config).map(({ tensor, shape }) => [tensor, zeros(shape)]))
  const directory = writeCheckpoint(config, tensors)
  const folder = temporary()
  const controller = new AbortController()
  // The embedding is the third tensor: plan and frequencies before it are told at once.
  let told = 0
  const onProgress = () => {
    if (++told === 2) setImmediate(() => controller.abort())
  }
  const error = await failure(convert(directory, join(folder, 'model.gta'), { signal: controller.signal, onProgress }))
  assert.is(error.name, 'AbortError')
  assert.is(told, 2)
  assert.equal(readdirSync(folder), [])
})

const zeros = (shape: number[]): Tensor => f32Tensor(shape, new Float32Array(shape.reduce((n, m) => n * m, 1)))

test('the source is not overwritten by its own conversion', async () => {
  const directory = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  const path = join(directory, 'model.safetensors')
  const before = readFileSync(path)
  for (const force of [false, true]) await failure(convert(directory, path, { force }))
  assert.ok(before.equals(readFileSync(path)), 'the weights that were converted are gone')
})

test('memory does not grow with the model', async () => {
  const config = {
    ...gqaConfig,
    vocab_size: 36_864,
    hidden_size: 1024,
    num_hidden_layers: 1,
    num_attention_heads: 16,
    num_key_value_heads: 2,
    tie_word_embeddings: true,
  }
  const sources = sourcesOf(config)
  let offset = 0
  const entries = sources.map(({ tensor, shape }) => {
    const bytes = 4 * shape.reduce((n, m) => n * m, 1)
    const entry = { name: tensor, dtype: 'F32' as const, shape, offset, bytes }
    offset += bytes
    return entry
  })
  const largest = Math.max(...entries.map(({ bytes }) => bytes))
  assert.is(largest, 150_994_944)
  const directory = temporary()
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config))
  const header = encodeHeader({}, entries)
  const path = join(directory, 'model.safetensors')
  const file = openSync(path, 'w')
  writeSync(file, header)
  for (let row = 0; row < 36_864; row += 4096)
    writeSync(file, encode(Array(1024).fill(row + 1), 'F32'), 0, 4096, header.length + row * 4096)
  closeSync(file)
  // The rest is a hole: zeros that take no place on the disk.
  truncateSync(path, header.length + offset)

  const script = `
    const { convert } = await import(${JSON.stringify(new URL('../host/files/convert.ts', import.meta.url).href)})
    await convert(process.argv[1], process.argv[2])
    process.stdout.write(String(process.resourceUsage().maxRSS * 1024))`
  const out = join(temporary(), 'model.gta')
  // A shell in between: on Linux the peak of a process counts that of the process that started it.
  const command = [process.execPath, '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script]
  const { stdout } = await run('sh', ['-c', '"$@"; exit $?', 'sh', ...command, directory, out])
  const peak = Number(stdout)
  assert.ok(peak > 20e6 && peak < 2 * largest + 200e6, `${(peak / 1e6).toFixed()} MB`)
  assert.ok(peak < 250e6, `${(peak / 1e6).toFixed()} MB: not in slices any more?`)
  assert.ok(statSync(out).size > 36_864 * 1024)
})

test('what a directory brings goes along as it is', async () => {
  const directory = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  const tokenizer = Buffer.from(
    '{"model":{"type":"BPE","vocab":{"ü":0},"merges":[]},"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":{"type":"ByteLevel"}}',
  )
  writeFileSync(join(directory, 'tokenizer.json'), tokenizer)
  writeFileSync(join(directory, 'generation_config.json'), '{"temperature":0.5}')
  const bytes = await packed(directory)
  const stored = (await packedTensors(bytes)).get('tokenizer.json')?.data as Uint8Array
  assert.is(stored.length % 64, 0)
  assert.is(Buffer.from(stored).toString().trimEnd(), tokenizer.toString())
  const length = Number(bytes.readBigUInt64LE())
  const { __metadata__: metadata } = JSON.parse(bytes.subarray(8, 8 + length).toString())
  assert.is(metadata.format, 'gta-edge')
  assert.is(metadata.type, 'q8')
  assert.equal(JSON.parse(metadata.config), gqaConfig)
  assert.equal(JSON.parse(metadata.generation), { temperature: 0.5 })
  assert.is(metadata.tokenizer_config, undefined)
})

test('converting twice gives the same bytes', async () => {
  const directory = writeCheckpoint(gtaConfig, randomTensors(gtaConfig))
  assert.ok((await packed(directory)).equals(await packed(directory)))
  const moved = join(temporary(), 'elsewhere')
  renameSync(directory, moved)
  assert.ok((await packed(moved)).length > 0)
})

test('a kind that only tensor names tell is the same to those who describe, convert and open', async () => {
  const named = { ...gqaConfig, attention_kind: 'tied', rope_dim: 4 }
  const { attention_kind: _, rope_dim: __, ...unnamed } = named
  const directory = writeCheckpoint(named, randomTensors(named))
  writeFileSync(join(directory, 'config.json'), JSON.stringify(unnamed))
  const out = join(temporary(), 'tied.gta')
  await convert(directory, out)
  for (const path of [directory, out]) assert.is((await describeModel(path)).model.spec.kind, 'tied', path)
  assert.is((await describeModel(join(directory, 'config.json'))).model.spec.kind, 'gqa')
})

test.run()
