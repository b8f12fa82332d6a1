/** The safetensors reader against files that lie. */
import { chmodSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { GtaError } from '../host/errors.ts'
import { openSafetensors } from '../host/files/files.ts'
import { dtypeBytes, encodeHeader } from '../host/files/safetensors.ts'
import { failure, openFiles, random, safetensors, temporary } from './fixtures/checkpoints.ts'

const folder = temporary()
const path = join(folder, 'file.safetensors')

/** A file with any header: text or bytes, its true length or another. */
function file(header: string | Uint8Array | object, data = new Uint8Array(), length?: bigint): Uint8Array {
  const bytes =
    header instanceof Uint8Array ? header : Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(length ?? BigInt(bytes.length))
  return Buffer.concat([prefix, bytes, data])
}

async function open(bytes: Uint8Array, where = path) {
  writeFileSync(where, bytes)
  const opened = await openSafetensors(where)
  await opened.file.close()
  return opened
}

/** The file must be refused as damaged, with all of `words` in the message. */
async function refused(bytes: Uint8Array, ...words: string[]): Promise<void> {
  const error = await failure(open(bytes))
  const start = Buffer.from(bytes.subarray(8, 108)).toString()
  assert.instance(error, GtaError, `${error.name}: ${error.message.slice(0, 200)} for ${start}`)
  assert.is(error.code, 'BAD_FILE')
  assert.ok(error.message.includes(path))
  for (const word of words) assert.ok(error.message.includes(word), `"${word}" is not in: ${error.message}`)
  assert.ok(error.message.length < 2000, 'a message that nobody reads to its end')
}

/** One F32 tensor of two numbers with some fields changed. */
const tensor = (change: Record<string, unknown> = {}) => ({ dtype: 'F32', shape: [2], data_offsets: [0, 8], ...change })
const eight = new Uint8Array(8)

const small = safetensors(
  new Map([
    ['a', { dtype: 'F32', shape: [2], data: Uint8Array.of(0, 0, 128, 63, 0, 0, 0, 192) }],
    ['b.weight', { dtype: 'BF16', shape: [2, 3], data: new Uint8Array(12).fill(1) }],
    ['empty', { dtype: 'I64', shape: [4, 0], data: new Uint8Array() }],
    ['c', { dtype: 'U8', shape: [], data: Uint8Array.of(7) }],
  ]),
  { format: 'pt', 'a key': 'a "text"\n' },
)

test('a file that encodeHeader began is read as it was meant', async () => {
  writeFileSync(path, small)
  const { file, metadata, tensors, dataStart, ...rest } = await openSafetensors(path)
  try {
    assert.is(dataStart % 64, 0)
    assert.is(rest.path, path)
    assert.equal(metadata, { format: 'pt', 'a key': 'a "text"\n' })
    assert.equal(
      [...tensors.values()],
      [
        { name: 'a', dtype: 'F32', shape: [2], begin: dataStart, bytes: 8 },
        { name: 'b.weight', dtype: 'BF16', shape: [2, 3], begin: dataStart + 8, bytes: 12 },
        { name: 'empty', dtype: 'I64', shape: [4, 0], begin: dataStart + 20, bytes: 0 },
        { name: 'c', dtype: 'U8', shape: [], begin: dataStart + 20, bytes: 1 },
      ],
    )
    const values = new Uint8Array(8)
    await file.read(values, dataStart)
    assert.equal([...new Float32Array(values.buffer)], [1, -2])
  } finally {
    await file.close()
  }
})

test('encodeHeader pads with spaces to a multiple of 64, whatever the length of the text', () => {
  for (let n = 0; n < 130; n++) {
    const header = encodeHeader({ text: 'x'.repeat(n) }, [])
    const length = Number(Buffer.from(header).readBigUInt64LE())
    assert.is(header.length, 8 + length)
    assert.is(header.length % 64, 0)
    const json = Buffer.from(header.subarray(8)).toString()
    assert.equal(JSON.parse(json), { __metadata__: { text: 'x'.repeat(n) } })
    assert.ok(json.length - json.trimEnd().length < 64)
  }
})

test('tensors may come in any order in the header, and there may be none', async () => {
  const { tensors } = await open(file({ b: tensor({ data_offsets: [8, 16] }), a: tensor() }, new Uint8Array(16)))
  assert.equal([...tensors.keys()].sort(), ['a', 'b'])
  assert.is((await open(file('{}'))).tensors.size, 0)
  assert.is((await open(file('{}   \n '))).tensors.size, 0)
})

test('a tensor without numbers lies where the next one begins', async () => {
  const none = tensor({ shape: [0], data_offsets: [0, 0] })
  for (const header of [
    { none, a: tensor() },
    { a: tensor(), none },
  ])
    assert.is((await open(file(header, eight))).tensors.size, 2)
  await refused(file({ a: tensor(), none: tensor({ shape: [0], data_offsets: [4, 4] }) }, eight), 'tensor "none"')
})

test('every type has its width', async () => {
  const widths = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1 }
  for (const [dtype, width] of Object.entries({ ...widths, BOOL: 1, F8_E4M3: 1, F8_E5M2: 1 })) {
    assert.is(dtypeBytes[dtype as keyof typeof dtypeBytes], width)
    const { tensors } = await open(
      file({ a: tensor({ dtype, shape: [3], data_offsets: [0, 3 * width] }) }, new Uint8Array(3 * width)),
    )
    assert.is(tensors.get('a')?.bytes, 3 * width)
  }
})

test('names that objects know are names like any others', async () => {
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '', 'ü\u0000"']) {
    const { tensors, metadata } = await open(file(`{${JSON.stringify(name)}:${JSON.stringify(tensor())}}`, eight))
    assert.equal([...tensors.keys()], [name])
    assert.is(tensors.get(name)?.bytes, 8)
    assert.equal(metadata, {})
    assert.is(({} as Record<string, unknown>).dtype, undefined)
  }
  const { metadata } = await open(file('{"__metadata__":{"__proto__":"x","constructor":"y"}}'))
  assert.is(metadata.constructor as unknown, 'y')
  assert.is(Object.getPrototypeOf(metadata), Object.prototype)
  for (const dtype of ['__proto__', 'constructor', 'toString'])
    await refused(file({ a: tensor({ dtype }) }, eight), 'dtype')
})

test('too short for a header length', async () => {
  for (let size = 0; size < 8; size++) await refused(new Uint8Array(size), 'at least 8 bytes', `found ${size}`)
})

test('a header longer than the file, or than any header', async () => {
  await refused(file('{}', undefined, 3n), 'header length', 'at most the 2 bytes', 'found 3')
  await refused(file('{}', eight, 11n), 'header length')
  await refused(file('{}', undefined, 2n ** 63n), 'header length', String(2n ** 63n))
  await refused(file('{}', undefined, 2n ** 64n - 1n), 'header length')
  await refused(file('{}', undefined, 2n ** 53n + 1n), 'header length')
  await refused(file('{}', undefined, 100_000_001n), 'header length', 'at most 100000000')
})

test('a header of more than 100 MB is refused unread even if the file is long enough', async () => {
  writeFileSync(path, file('{}', undefined, 100_000_001n))
  truncateSync(path, 100_000_100)
  const before = process.memoryUsage().arrayBuffers
  const error = await failure(openSafetensors(path))
  assert.is(error.code, 'BAD_FILE')
  assert.match(error.message, 'header length')
  assert.ok(process.memoryUsage().arrayBuffers - before < 50e6)
})

test('a header that is not a JSON object in UTF-8', async () => {
  await refused(file(''), 'starts with "{"')
  await refused(file('[]'), 'starts with "{"', 'byte 91')
  await refused(file(' {}'), 'starts with "{"')
  await refused(file('\ufeff{}'), 'starts with "{"')
  await refused(file('null'), 'starts with "{"')
  for (const text of ['{', '{}}', '{"a":}', "{'a':1}", '{"a":1,}', '{}\0', '{"a":NaN}', '{"\\ud800":1', '{//\n}'])
    await refused(file(text), 'valid JSON')
  await refused(file(Buffer.from('{"\xff\xfe":1}', 'latin1')), 'valid JSON')
  await refused(file(Buffer.from([0x7b, 0x22, 0xc3, 0x22, 0x3a, 0x31, 0x7d])), 'valid JSON')
  await refused(file(Buffer.from([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d])), 'valid JSON')
})

test('a tensor that is no tensor', async () => {
  for (const value of [null, 1, 'F32', true, [], {}, [tensor()]]) await refused(file({ a: value }, eight), 'tensor "a"')
})

test('an unknown or missing type', async () => {
  for (const dtype of [undefined, null, '', 'f32', 'F32 ', 'F128', 'Q4_0', 4, ['F32'], {}, 'F4'])
    await refused(file({ a: tensor({ dtype }) }, eight), 'dtype of tensor "a"', 'F32')
})

test('a shape that is no list of counts', async () => {
  const bad = [
    undefined,
    null,
    2,
    '2',
    {},
    { length: 1 },
    [-2],
    [1.5],
    ['2'],
    [null],
    [true],
    [[2]],
    [2 ** 53],
    [1e300],
  ]
  for (const shape of [...bad, [2, -1, -1], Array(9).fill(1), Array(100_000).fill(1)])
    await refused(file({ a: tensor({ shape }) }, eight), 'shape of tensor "a"')
  await refused(file('{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,8]}}', eight), 'shape of tensor "a"')
})

test('offsets that are no pair of counts', async () => {
  const bad = [
    undefined,
    null,
    8,
    '0,8',
    {},
    [],
    [0],
    [0, 8, 8],
    [-8, 0],
    [0, 8.5],
    ['0', '8'],
    [null, 8],
    [0, 2 ** 53],
  ]
  for (const offsets of bad)
    await refused(file({ a: tensor({ data_offsets: offsets }) }, eight), 'data_offsets of tensor "a"')
})

test('a size that is not shape × dtype', async () => {
  for (const shape of [[1], [3], [], [0], [2, 2], [2, 0]])
    await refused(file({ a: tensor({ shape }) }, eight), 'data_offsets of tensor "a"', 'bytes apart')
  for (const dtype of ['F64', 'F16', 'U8'])
    await refused(file({ a: tensor({ dtype }) }, eight), 'data_offsets of tensor "a"')
  await refused(file({ a: tensor({ data_offsets: [8, 0] }) }, eight), 'data_offsets of tensor "a"')
})

test('products that overflow 32, 53 or 64 bits', async () => {
  const overflows: [number[], string][] = [
    [[2 ** 31, 2 ** 31], 'U8'],
    [[2 ** 32, 2 ** 32], 'U8'],
    [[2 ** 30], 'F32'],
    [[2 ** 31 + 1, 2], 'F32'],
    [[2 ** 51, 1], 'F32'],
    [[2 ** 53 - 1], 'F64'],
    [Array(8).fill(2 ** 52), 'F32'],
  ]
  for (const [shape, dtype] of overflows) {
    // With and without the offsets that a product taken modulo 2^32 or 2^64 would fit.
    for (const end of [0, 8, 2 ** 53 - 1])
      await refused(file({ a: tensor({ dtype, shape, data_offsets: [0, end] }) }, new Uint8Array(end === 8 ? 8 : 0)))
  }
})

test('tensors that overlap, leave a hole, or run backwards', async () => {
  const two = (first: number[], second: number[]) => ({
    a: tensor({ data_offsets: first }),
    b: tensor({ data_offsets: second }),
  })
  const at = (header: object, size: number) => file(header, new Uint8Array(size))
  await open(at(two([0, 8], [8, 16]), 16))
  await refused(at(two([0, 8], [4, 12]), 12), 'tensor "b"', 'at offset 8')
  await refused(at(two([0, 8], [0, 8]), 8), 'at offset 8')
  await refused(at(two([0, 8], [0, 8]), 16), 'at offset 8')
  await refused(at(two([0, 8], [12, 20]), 20), 'tensor "b"', 'at offset 8')
  await refused(at(two([8, 16], [16, 24]), 24), 'tensor "a"', 'at offset 0')
  await refused(at({ a: tensor({ data_offsets: [8, 0] }) }, 8), 'tensor "a"')
  await refused(at({ a: tensor({ data_offsets: [16, 8], shape: [2] }) }, 16), 'tensor "a"')
})

test('a tensor past the end of the file, and bytes behind the last one', async () => {
  const header = { a: tensor() }
  for (const size of [0, 7]) await refused(file(header, new Uint8Array(size)), 'the size')
  for (const size of [9, 64]) await refused(file(header, new Uint8Array(size)), 'the size')
  await refused(file('{}', Uint8Array.of(0)), 'the size')
  const far = tensor({ shape: [2 ** 50 / 4], data_offsets: [0, 2 ** 50] })
  await refused(file({ a: far }, eight), 'the size')
})

test('metadata that are no texts', async () => {
  for (const value of [null, 1, 'text', { a: 1 }, { a: null }, { a: ['x'] }, { a: { b: 'c' } }, { a: 'x', b: false }])
    await refused(file({ __metadata__: value }), '"__metadata__"')
})

test('metadata that are a list', async () => {
  await refused(file({ __metadata__: ['text'] }), '"__metadata__"')
})

test('values nested too deep to print are refused like any others', async () => {
  const deep = '['.repeat(200_000) + ']'.repeat(200_000)
  await refused(file(`{"a":{"dtype":"F32","shape":${deep},"data_offsets":[0,8]}}`, eight), 'nested')
  await refused(file(`{"a":{"dtype":${deep},"shape":[2],"data_offsets":[0,8]}}`, eight), 'nested')
  await refused(file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":${deep}}}`, eight), 'nested')
  await refused(file(`{"__metadata__":${deep}}`), 'nested')
})

test('a name of a million characters does not fill the terminal', async () => {
  const name = 'n'.repeat(1e6)
  await refused(file({ [name]: tensor({ dtype: 'X' }) }, eight), 'dtype')
  await refused(file({ [name]: tensor({ data_offsets: [8, 16] }) }, new Uint8Array(16)), 'at offset 0')
})

test('what is not a file', async () => {
  const missing = await failure(openSafetensors(join(folder, 'missing')))
  assert.is(missing.code, 'NOT_FOUND')
  const directory = join(folder, 'directory.safetensors')
  mkdirSync(directory)
  assert.is((await failure(openSafetensors(directory))).code, 'BAD_FILE')
  assert.is((await failure(openSafetensors(join(path, 'below')))).code, 'NOT_FOUND')
  if (process.getuid?.() === 0) return
  writeFileSync(path, small)
  chmodSync(path, 0)
  const error = await failure(openSafetensors(path))
  chmodSync(path, 0o600)
  assert.is(error.code, 'NOT_FOUND')
})

test('a file cut short after its header was read', async () => {
  writeFileSync(path, small)
  const { file, dataStart } = await openSafetensors(path)
  try {
    truncateSync(path, dataStart + 3)
    const error = await failure(file.read(new Uint8Array(8), dataStart))
    assert.instance(error, GtaError)
    assert.is(error.code, 'BAD_FILE')
  } finally {
    await file.close()
  }
})

test('a file cut at any byte is refused', async () => {
  for (let size = 0; size < small.length; size++) await refused(small.subarray(0, size))
})

test('no handle stays open after an error', async () => {
  for (const bytes of [new Uint8Array(3), file('[]'), file('{'), file({ a: tensor() }), file({ a: 1 }, eight)])
    await refused(bytes)
  await failure(openSafetensors(join(folder, 'directory.safetensors')))
  const open = openFiles(folder)
  if (open) assert.equal(open, [])
})

/** A file that was changed at random: a typed error, or an answer that keeps within the file. */
async function survives(bytes: Uint8Array, what: string, where: string): Promise<boolean> {
  try {
    const { tensors, metadata, dataStart } = await open(bytes, where)
    for (const value of Object.values(metadata)) assert.type(value, 'string', what)
    let end = dataStart
    for (const { dtype, shape, begin, bytes: size } of [...tensors.values()].sort(
      (a, b) => a.begin - b.begin || a.bytes - b.bytes,
    )) {
      assert.is(begin, end, what)
      assert.is(
        size,
        shape.reduce((product, n) => product * n, dtypeBytes[dtype]),
        what,
      )
      end += size
    }
    assert.is(end, bytes.length, what)
    return true
  } catch (error) {
    if (error instanceof GtaError) assert.is(error.code, 'BAD_FILE', what)
    else throw error instanceof assert.Assertion ? error : new Error(`${what}: ${error}`, { cause: error })
    return false
  }
}

/** How many of the files are valid; some are read at a time. */
async function countValid(files: Uint8Array[], what: string): Promise<number> {
  let valid = 0
  for (let from = 0; from < files.length; from += 16) {
    const some = files.slice(from, from + 16)
    const results = await Promise.all(some.map((bytes, i) => survives(bytes, `${what} ${from + i}`, `${path}.${i}`)))
    valid += results.filter(Boolean).length
  }
  return valid
}

test('every flip of one bit of a header is a typed error or another valid file', async () => {
  const bytes = file(
    { __metadata__: { format: 'pt' }, a: tensor(), b: tensor({ dtype: 'F16', shape: [2, 1], data_offsets: [8, 12] }) },
    new Uint8Array(12),
  )
  const flips = Array.from({ length: (bytes.length - 12) * 8 }, (_, bit) =>
    bytes.map((byte, i) => (i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte)),
  )
  // Letters of names and of metadata may change, nearly nothing else.
  const valid = await countValid(flips, 'bit')
  assert.ok(valid > 20 && valid < flips.length / 6, `${valid} of ${flips.length} were valid`)
})

test('thousands of files changed at random', async () => {
  const next = random(20250617)
  const pick = (n: number) => Math.floor(next() * n)
  const fragments = ['{', '}', '[', ']', '"', ',', ':', '0', '-', '1e9', '1e400', '9007199254740993', 'null', 'true']
  const words = [
    ...fragments,
    '"F32"',
    '"U8"',
    '"__metadata__"',
    '"__proto__"',
    '\\u0000',
    '\\',
    ' ',
    '\0',
    '\xff',
    '.5',
  ]
  const base = Buffer.from(small)
  const files = Array.from({ length: 3000 }, () => {
    let bytes = Buffer.from(base)
    for (let change = 1 + pick(3); change > 0; change--) {
      const at = pick(Math.min(bytes.length, base.length))
      const word = Buffer.from(words[pick(words.length)] as string, 'latin1')
      const kind = pick(6)
      if (kind === 0) bytes[at] = pick(256)
      else if (kind === 1) bytes = Buffer.concat([bytes.subarray(0, at), word, bytes.subarray(at)])
      else if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, at), word, bytes.subarray(at + word.length)])
      else if (kind === 3) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + pick(16))])
      else if (kind === 4)
        bytes = Buffer.concat([bytes.subarray(0, at + 1), bytes.subarray(Math.max(0, at - pick(32)))])
      else if (bytes.length >= 8) bytes.writeUInt8(pick(256), pick(8))
      // Half of the time the length is right, so that the text behind it is read.
      if (next() < 0.5 && bytes.length > 29) bytes.writeBigUInt64LE(BigInt(bytes.length - 8 - 21))
    }
    return bytes
  })
  const valid = await countValid(files, 'file')
  assert.ok(valid > 10 && valid < 2000, `${valid} were valid`)
})

test.run()
