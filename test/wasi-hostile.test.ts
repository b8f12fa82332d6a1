/**
 * gta.wasm and files that are not what they say: cut at every boundary, changed in every byte of record, plan and tables.
 * Each ends with a sentence and exit code 1, or runs as if nothing were wrong where nothing that counts was changed; never
 * with a trap, which would throw here.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../assembly/abi.ts'
import { CommandHeader, TokenizerTables } from '../assembly/wasi/abi.ts'
import { convert } from '../host/files/convert.ts'
import { describe } from '../models/index.ts'
import { PLAN_VERSION } from '../models/plan.ts'
import { fieldsOf, placesOf } from '../models/records.ts'
import { type Config, gqaConfig, gtaConfig, randomTensors, writeCheckpoint } from './fixtures/checkpoints.ts'
import { golden, readJson } from './fixtures/goldens.ts'
import { openDebug, Random } from './harness/debug-engine.ts'
import { type Outcome, runOnShim } from './harness/wasi-engines.ts'

/** A small model with a tokenizer of bytes alone: GPT-2's names of them, in order. */
async function packed(config: Config, type: 'q8' | 'f32', change: object = {}): Promise<Buffer> {
  const directory = writeCheckpoint({ ...config, vocab_size: 256 }, randomTensors({ ...config, vocab_size: 256 }))
  const tokenizer = JSON.parse(readFileSync(golden('stories/tokenizer.json'), 'utf8'))
  const names = Object.entries<number>(tokenizer.model.vocab)
    .filter(([name]) => Array.from(name).length === 1)
    .map(([name]) => name)
  tokenizer.model.vocab = Object.fromEntries(names.map((name, id) => [name, id]))
  tokenizer.model.merges = []
  tokenizer.added_tokens = [{ id: 255, content: names[255], special: true }]
  writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify({ ...tokenizer, ...change }))
  writeFileSync(join(directory, 'tokenizer_config.json'), '{}')
  writeFileSync(join(directory, 'generation_config.json'), '{"temperature": 0, "eos_token_id": 7}')
  const path = join(directory, 'model.gta')
  await convert(directory, path, { type })
  return readFileSync(path)
}

/** Layers of two kinds, a window, norms behind the blocks, two rotations. */
const gemmaConfig: Config = {
  ...gqaConfig,
  architectures: ['Gemma3ForCausalLM'],
  head_dim: 8,
  sliding_window: 5,
  sliding_window_pattern: 2,
}
const good = await packed(gtaConfig, 'q8')
const headerLength = Number(good.readBigUInt64LE())
const dataStart = 8 + headerLength
interface Entry {
  shape: number[]
  data_offsets: [number, number]
}
/** Tensors of a packed file. */
function entriesOf(bytes: Buffer): Record<string, Entry> {
  const { __metadata__: _, ...found } = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString())
  return found
}

/** Where the plan lies in the file. */
const planStart = (bytes: Buffer) =>
  8 + Number(bytes.readBigUInt64LE()) + (entriesOf(bytes).plan as Entry).data_offsets[0]

const entries = entriesOf(good)
const recordFields = Object.keys(new CommandHeader())
const tableFields = Object.keys(new TokenizerTables())

const run = (bytes: Uint8Array, ...given: string[]): Outcome =>
  runOnShim(['m.gta', ...(given.length > 0 ? given : ['-p', 'ab c1']), '-n', '2', '-s', '1'], {
    'm.gta': bytes,
  })

/** One sentence and exit code 1. */
function expectRefused({ status, stdout, stderr }: Outcome, what: string, pattern = /^gta: [^\n]+\n$/): void {
  assert.is(status, 1, `${what}: ${stderr}`)
  assert.is(stdout, '', what)
  assert.match(stderr, pattern, what)
}

function changed(at: number, value: number, source = good): Buffer {
  const bytes = Buffer.from(source)
  bytes[at] = value
  return bytes
}

test('the file itself is good', () => {
  const { status, stderr } = run(good)
  assert.is(status, 0, stderr)
})

test('cut at every boundary, and one byte before and behind it', () => {
  const ends = Object.values(entries).map(({ data_offsets: [, end] }) => dataStart + end)
  for (const end of [0, 8, dataStart, ...ends])
    for (const length of [end - 1, end, end + 1]) {
      if (length < 0 || length >= good.length) continue
      expectRefused(
        run(good.subarray(0, length)),
        `${length} bytes`,
        /^gta: (the (size|header length) of "m\.gta" must be |"m\.gta" must be a packed model, found a file)/,
      )
    }
  expectRefused(run(Buffer.concat([good, Buffer.alloc(1)])), 'one byte more', /^gta: the size of "m\.gta" must be /)
})

test('each byte of the length of the JSON and of the record changed', () => {
  const expected = run(good)
  const [, end] = (entries.command as Entry).data_offsets
  const places = [...Array(8).keys(), ...Array.from({ length: end }, (_, i) => dataStart + i)]
  const free = new Set<string>()
  for (const at of places)
    for (const value of [(good[at] as number) ^ 1, 0, 0x7f, 0x80, 0xff]) {
      if (value === good[at]) continue
      const found = run(changed(at, value))
      if (found.status !== 0) expectRefused(found, `byte ${at} is ${value}`)
      else
        free.add(
          recordFields[Math.floor((at - dataStart) / 4)] ??
            (at - dataStart < 4 * recordFields.length + 4 ? 'eos' : 'padding'),
        )
      // What it recommends may be any number that can be one, and so may tokens.
      if (found.status === 0 && free.size === 0) assert.is(found.stdout, expected.stdout, `byte ${at} is ${value}`)
    }
  assert.equal([...free].sort(), [
    'bos',
    'eos',
    'eosCount',
    'hasBos',
    'minP',
    'padding',
    'repeatPenalty',
    'temperature',
    'topK',
    'topP',
  ])
})

test('each number of the record at its limits and beyond: refused, or as good as it was', () => {
  const expected = run(good)
  const isPlace = (name: string) => /(Begin|End)$/.test(name)
  for (const [i, name] of recordFields.entries()) {
    const at = dataStart + 4 * i
    for (const value of [0, 1, 2, 3, 4, good.readUInt32LE(at) - 1, good.readUInt32LE(at) + 1, 0x3ffffff, 0x4000000, 0x7fffffff, 0x80000000, 0xffffffff]) {
      if (value === good.readUInt32LE(at) || value < 0) continue
      const bytes = Buffer.from(good)
      bytes.writeUInt32LE(value, at)
      const found = run(bytes)
      if (found.status === 0) assert.ok(!isPlace(name), `${name} ${value}`)
      else expectRefused(found, `${name} is ${value}`)
    }
  }
  assert.is(run(good).stdout, expected.stdout)
}) // biome-ignore format: a table

/** Which record and field each word of a plan is, and 'table' for slot heads of maps. */
function fieldsOfPlan(file: Buffer, start: number): string[] {
  const word = (index: number) => file.readUInt32LE(start + 4 * index)
  const names: string[] = []
  const push = (owner: string, record: object) => names.push(...fieldsOf(record).map((name) => `${owner}.${name}`))
  const count = (field: keyof abi.Plan) => word(placesOf(new abi.Plan())[field])
  push('plan', new abi.Plan())
  push('buffers', new abi.Buffers())
  for (const owner of ['embed', 'positions', 'head']) push(owner, new abi.Matrix())
  for (let i = 0; i < count('nPageKinds'); i++) push('pageKind', new abi.PageKind())
  for (let i = 0; i < count('nRotations'); i++) push('rotation', new abi.Rotation())
  for (let i = 0; i < count('nLayerKinds'); i++) {
    const { maps: mapsAt, mixer } = placesOf(new abi.LayerKind())
    const maps = word(names.length + mapsAt)
    const hasState = word(names.length + mixer) !== abi.MIXER_ATTENTION
    push('kind', new abi.LayerKind())
    if (hasState) push('state', new abi.Recurrence())
    names.push(...Array.from({ length: 3 * maps }, () => 'table'))
  }
  for (let i = 0; i < count('nLayers'); i++) {
    push('layer', new abi.Layer())
    for (const owner of fieldsOf(new abi.LayerMatrices())) push(owner, new abi.Matrix())
  }
  return names
}

/** Numbers that may be any finite ones, and what is a matter of the model as long as it is there and fits. */
const free = new Set([
  ...['plan.embeddingScale', 'plan.headNormEps', 'plan.headSoftcap', 'plan.maxContext', 'rotation.magnitude', 'table'],
  ...[
    'slot0Eps',
    'slot1Eps',
    'lowEps',
    'queryEps',
    'scale',
    'softcap',
    'repeat',
    'slot0Norm',
    'slot1Norm',
    'queryNorm',
  ].map((name) => `kind.${name}`),
  ...['state.eps', 'state.isTiled'],
  ...['key0Slot', 'key1Slot', 'valueSlot', 'window', 'activation'].map((name) => `kind.${name}`),
  ...['mixerInEps', 'mixerOutEps', 'ffnInEps', 'ffnOutEps'].map((name) => `kind.${name}`),
])

test('each word of the plan changed: refused, but for a number that may be any', async () => {
  for (const file of [good, await packed(gemmaConfig, 'q8')]) {
    const from = planStart(file)
    const fields = fieldsOfPlan(file, from)
    assert.ok(fields.length > 200)
    let refused = 0
    for (const [index, name] of fields.entries()) {
      const at = from + 4 * index
      for (const value of [0, 1, 2, 3, 63, 64, 65, 4096, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fc00000]) {
        const bytes = Buffer.from(file)
        if (bytes.readUInt32LE(at) === value) continue
        bytes.writeUInt32LE(value, at)
        const found = run(bytes)
        if (found.status === 0 && free.has(name)) continue
        expectRefused(found, `${name} (word ${index}) is ${value}`, /^gta: [^\n]+\n$/)
        refused++
      }
    }
    assert.ok(refused > 10 * (fields.length - 100))
  }
})

const hybrids = ['lfm2', 'qwen3_5_text'].map((name) => readJson(golden(`families/${name}/config.json`)))

test('the engine itself refuses such a plan, whoever its host is', () => {
  for (const config of [gtaConfig, gemmaConfig, ...hybrids]) {
    const engine = openDebug(describe(config), 'q8')
    const words = engine.words(abi.WEIGHTS, engine.plan.words.length)
    const fields = fieldsOfPlan(Buffer.from(words.buffer as ArrayBuffer, words.byteOffset, words.byteLength), 0)
    assert.ok(engine.exports.layout(abi.LAYOUT_REQUEST) > 0)
    let refused = 0
    for (const [index, name] of fields.entries()) {
      const right = words[index] as number
      for (const value of [0, 1, 2, 3, 63, 64, 65, 4096, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fc00000]) {
        if (value === right) continue
        words[index] = value
        const end = engine.exports.layout(abi.LAYOUT_REQUEST)
        if (!free.has(name)) assert.ok(end < 0 && end >= -abi.PLAN_BAD_TENSOR, `${name} is ${value}: ${end}`)
        if (end < 0) refused++
      }
      words[index] = right
    }
    assert.ok(refused > 10 * (fields.length - 100))
    assert.ok(engine.exports.layout(abi.LAYOUT_REQUEST) > 0)
  }
})

test('words of the plan changed at random, several at a time, in models of two kinds and types', async () => {
  for (const [source, seed] of [
    [good, 1],
    [await packed(gqaConfig, 'f32'), 2],
  ] as const) {
    // biome-ignore format: a table
    const random = new Random(seed)
    const from = planStart(source)
    const fields = fieldsOfPlan(source, from).length
    for (let i = 0; i < 3000; i++) {
      const bytes = Buffer.from(source)
      const words = 1 + random.below(3)
      for (let k = 0; k < words; k++) {
        const at = from + 4 * random.below(fields)
        const other = from + 4 * random.below(fields)
        const value = random.pick([0, 1, 2, 4, 8, 16, 64, 128, source.readUInt32LE(other), source.readUInt32LE(at) * 2])
        bytes.writeUInt32LE(value >>> 0, at)
      }
      const found = run(bytes)
      if (found.status !== 0) expectRefused(found, `case ${i}`)
    }
  }
})

test('each byte of the tables changed: refused, or other text', () => {
  for (const name of ['tokenizer.tables']) {
    const [begin, end] = (entries[name] as Entry).data_offsets
    for (let at = begin; at < end; at++)
      for (const value of [(good[dataStart + at] as number) ^ 0x81, 0xff]) {
        const found = run(changed(dataStart + at, value))
        if (found.status !== 0) expectRefused(found, `${name} byte ${at - begin}`)
      }
  }
})

test('weights that no conversion writes, frequencies that are none', () => {
  const [embed] = (entries.embed as Entry).data_offsets
  expectRefused(run(changed(dataStart + embed, 0x80)), 'a wide weight', /^gta: q8 weights must be bytes below 128/)
  const [scale] = (entries['embed.scale'] as Entry).data_offsets
  const endless = Buffer.from(good)
  for (let i = 0; i < 256; i++) endless.writeFloatLE(Number.POSITIVE_INFINITY, dataStart + scale + 4 * i)
  expectRefused(run(endless), 'infinite scales', /^gta: logits must be finite, found NaN or infinity/)
  const [freqs] = (entries['rotations.0.inv_freq'] as Entry).data_offsets
  for (const value of [Number.NaN, 1e300, -1]) {
    const bytes = Buffer.from(good)
    bytes.writeDoubleLE(value, dataStart + freqs)
    expectRefused(run(bytes), `frequency ${value}`, /^gta: tensor "inv_freq" of "m\.gta" must be frequencies/)
  }
})

/** The file with another JSON before its data. */
function withJson(json: string): Buffer {
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(Buffer.byteLength(json)))
  return Buffer.concat([prefix, Buffer.from(json), good.subarray(dataStart)])
}

test('the JSON is not read, whatever it is', () => {
  const expected = run(good)
  for (const json of ['', '{}', '[[[[', 'x'.repeat(100_001)])
    assert.is(run(withJson(json)).stdout, expected.stdout, json.slice(0, 10))
})

test('files of other forms', () => {
  const word = (value: number) => {
    const bytes = Buffer.from(good)
    bytes.writeUInt32LE(value, dataStart)
    return bytes
  }
  const [, end] = (entries.command as Entry).data_offsets
  const withoutRecord = Buffer.concat([good.subarray(0, dataStart), good.subarray(dataStart + end)])
  const version = Buffer.from(good)
  version.writeUInt32LE(9, dataStart + 4 * recordFields.indexOf('version'))
  const foreign =
    /^gta: "m\.gta" must be a packed model, found a file that "gta convert" did not write: give a \.gta file\n$/
  for (const [bytes, pattern] of [
    [word(0), foreign],
    [word(0x12345678), foreign],
    [good.subarray(0, dataStart + 8), foreign],
    [word(1), /found version 1: convert the original model again with this version of gta\n$/],
    [word(PLAN_VERSION - 1), new RegExp(`version ${PLAN_VERSION}, found version ${PLAN_VERSION - 1}: convert`)],
    [withoutRecord, foreign],
    [version, new RegExp(`must be a packed model of format version ${PLAN_VERSION}, found version 9: convert`)],
  ] as [Buffer, RegExp][]) // biome-ignore format: a table
    expectRefused(run(bytes), `${pattern}`, pattern)
})

test('a tokenizer of another way: ids only, and its name', async () => {
  const other = await packed(gtaConfig, 'q8', { normalizer: { type: 'NFKC' } })
  assert.is(run(other, '--tokens', '1,2').status, 0)
  assert.match(run(other, '--tokens', '1,2').stdout, /^\d+ \d+ \n$/)
  assert.is(
    run(other).stderr,
    'gta: the tokenizer of "m.gta" must be of a kind that this command knows, found the normalizer "NFKC": use --tokens with ids\n',
  )
  const [begin, end] = (entriesOf(other)['tokenizer.tables'] as Entry).data_offsets
  const start = 8 + Number(other.readBigUInt64LE())
  for (let at = begin; at < end; at++) {
    const found = run(changed(start + at, 0xff, other))
    expectRefused(found, `byte ${at - begin}`)
  }
})

test('a tokenizer with a normalizer: each word of its table changed', async () => {
  const source = await packed(gtaConfig, 'q8', { normalizer: { type: 'NFC' } })
  const start = 8 + Number(source.readBigUInt64LE())
  const [begin] = (entriesOf(source)['tokenizer.tables'] as Entry).data_offsets
  const count = source.readUInt32LE(start + begin + 4 * tableFields.indexOf('nfcEntries'))
  assert.ok(count > 3000)
  const random = new Random(9)
  const text = 'e\u0301 \u0958\uac00\u1100\u1161\u11a8 q\u0307\u0323\u{1D160}'
  const { status, stderr } = run(source, '-p', text)
  assert.is(status, 0, stderr)
  for (let i = 0; i < 1500; i++) {
    const bytes = Buffer.from(source)
    const at = start + begin + 4 * (i < 200 ? i % tableFields.length : tableFields.length + random.below(3 * count))
    bytes.writeUInt32LE(random.pick([0, 1, 0x10ffff, 0x110000, 0x80000004, 0x80000007, 0xffffffff, bytes.readUInt32LE(at) ^ (1 << random.below(31))]) >>> 0, at)
    const found = run(bytes, '-p', text)
    if (found.status !== 0) expectRefused(found, `case ${i}`)
  }
}) // biome-ignore format: one line per thought

test.run()
