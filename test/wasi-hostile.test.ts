/**
 * gta.wasm and files that are not what they say: cut at every boundary, changed in every byte of header, plan and tables.
 * Each ends with a sentence and exit code 1, or runs as if nothing were wrong where nothing that counts was changed; never
 * with a trap, which would throw here.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../assembly/abi.ts'
import { convert } from '../host/files/convert.ts'
import { describe } from '../models/index.ts'
import { PLAN_VERSION } from '../models/plan.ts'
import { fieldsOf, placesOf } from '../models/records.ts'
import { type Config, gqaConfig, gtaConfig, randomTensors, writeCheckpoint } from './checkpoints.ts'
import { openDebug, Random } from './debug-engine.ts'
import { golden } from './goldens.ts'
import { type Outcome, runOnShim } from './wasi-engines.ts'

/** A small model with a tokenizer of bytes alone: GPT-2's names of them, in order. */
async function packed(config: Config, type: 'q8' | 'f32'): Promise<Buffer> {
  const directory = writeCheckpoint({ ...config, vocab_size: 256 }, randomTensors({ ...config, vocab_size: 256 }))
  const tokenizer = JSON.parse(readFileSync(golden('stories/tokenizer.json'), 'utf8'))
  const names = Object.entries<number>(tokenizer.model.vocab)
    .filter(([name]) => Array.from(name).length === 1)
    .map(([name]) => name)
  tokenizer.model.vocab = Object.fromEntries(names.map((name, id) => [name, id]))
  tokenizer.model.merges = []
  tokenizer.added_tokens = [{ id: 255, content: names[255], special: true }]
  writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify(tokenizer))
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
const { __metadata__: _, ...entries } = JSON.parse(good.subarray(8, dataStart).toString()) as Record<string, Entry>

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
        /^gta: the (size|header length) of "m\.gta" must be /,
      )
    }
  expectRefused(run(Buffer.concat([good, Buffer.alloc(1)])), 'one byte more', /^gta: the size of "m\.gta" must be /)
})

test('each byte of the header changed', () => {
  let refused = 0
  const expected = run(good)
  for (let at = 0; at < dataStart; at++)
    for (const value of [(good[at] as number) ^ 1, 0x22, 0x39]) {
      if (value === good[at]) continue
      const found = run(changed(at, value))
      if (found.status !== 0) {
        expectRefused(found, `byte ${at} is ${value}`)
        refused++
        // Texts of config and the like are not read by this command, nor is the name of a tensor that it does without.
      } else if (!found.stderr.startsWith('gta: warning'))
        assert.is(found.stdout, expected.stdout, `byte ${at} is ${value}`)
    }
  assert.ok(refused > dataStart)
})

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
    const maps = word(names.length + placesOf(new abi.LayerKind()).maps)
    push('kind', new abi.LayerKind())
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
  ...['key0Slot', 'key1Slot', 'valueSlot', 'window', 'activation'].map((name) => `kind.${name}`),
  ...['mixerInEps', 'mixerOutEps', 'ffnInEps', 'ffnOutEps'].map((name) => `kind.${name}`),
])

test('each word of the plan changed: refused, but for a number that may be any', async () => {
  for (const file of [good, await packed(gemmaConfig, 'q8')]) {
    const from = 8 + Number(file.readBigUInt64LE())
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

test('the engine itself refuses such a plan, whoever its host is', () => {
  for (const config of [gtaConfig, gemmaConfig]) {
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
    const fields = fieldsOfPlan(source, 8 + Number(source.readBigUInt64LE())).length
    const from = 8 + Number(source.readBigUInt64LE())
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
  for (const name of ['generation.table', 'tokenizer.tables']) {
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

/** The file with another header, as long as the JSON is. */
function withHeader(json: string): Buffer {
  const length = Math.ceil((json.length + 8) / 64) * 64 - 8
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(length))
  return Buffer.concat([prefix, Buffer.from(json.padEnd(length)), good.subarray(dataStart)])
}

test('headers of other forms', () => {
  const json = good.subarray(8, dataStart).toString().trim()
  const { status } = run(withHeader(json.replaceAll(',"', ' ,\n\t"')))
  assert.is(status, 0, 'white space is JSON')
  for (const [header, pattern] of [
    ['{}', /must be 0? ?.*bytes as its header says|the size/],
    ['[]', /the header of "m\.gta" must be JSON that starts with "\{", found byte 91/],
    [`${'{"a":'.repeat(50000)}`, /must be valid JSON: its header is not at byte \d+\. Get/],
    [
      json.replace(`"version":"${PLAN_VERSION}"`, '"version":"9"'),
      new RegExp(`must be a packed model of format version ${PLAN_VERSION}, found version 9: convert`),
    ],
    [json.replace('gta-edge', 'pt'), /must be a packed model, found a safetensors file that "gta convert" did not write/],
    [json.replace('"type":"q8"', '"type":"q5"'), /the weight type of "m\.gta" must be one of f32, q8, q4/],
    [json.replace('"type":"q8"', '"type":"f32"'), /the plan of "m\.gta" must be that of its tensors/],
    [json.replace('"plan"', '"plam"'), /the first tensor of "m\.gta" must be the plan, found tensor "plam" at 0/],
    [json.replace('"dtype":"U32"', '"dtype":"BF16"'), /must be valid JSON/],
    [json.replace('"U32"', '"\\u0055\\ud8"'), /must be valid JSON/],
    [json.replace('[0,', '[00,'), /must be valid JSON/],
    [json.replace('[0,', '[99999999999999999999,'), /must be valid JSON/],
    [json.replace('"plan"', '"pl\u0001n"'), /must be valid JSON/],
    [json.slice(0, -1), /must be valid JSON/],
    [`${json},`, /must be valid JSON/],
  ] as [string, RegExp][]) // biome-ignore format: a table
    expectRefused(run(withHeader(header)), header.slice(0, 80), pattern)
})

/** The file without the two tables of this command, as earlier versions wrote it. */
function withoutTables(): Buffer {
  const json = JSON.parse(good.subarray(8, dataStart).toString())
  const [begin] = json['generation.table'].data_offsets
  delete json['generation.table']
  delete json['tokenizer.tables']
  delete json.sha256
  const file = withHeader(JSON.stringify(json))
  return file.subarray(0, 8 + Number(file.readBigUInt64LE()) + begin)
}

test('a file of an earlier version: ids only, and it says so', () => {
  const old = withoutTables()
  const ids = run(old, '--tokens', '1,2')
  assert.is(ids.status, 0, ids.stderr)
  assert.match(ids.stdout, /^\d+ \d+ \n$/)
  assert.match(ids.stderr, /^gta: warning: the file was packed without a table of recommended settings/)
  const text = run(old)
  assert.is(text.status, 1)
  assert.match(text.stderr, 'must have compact tables, found none')
})

test.run()
