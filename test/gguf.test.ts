/**
 * GGUF files: blocks of every type against the floats that ggml makes of them (golden/gguf/ggml-blocks.gguf, made by ggml
 * 0.23.0), headers of all versions, and files that lie.
 */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { GtaError } from '../host/errors.ts'
import { decodeBlocks, readableTypes } from '../host/files/gguf/blocks.ts'
import { type GgufFile, type GgufTensor, readGguf } from '../host/files/gguf/file.ts'
import { failure } from './fixtures/checkpoints.ts'
import { GgufWriter as Writer } from './fixtures/gguf.ts'
import { golden } from './fixtures/goldens.ts'

const blocks = readFileSync(golden('gguf/ggml-blocks.gguf'))
const small = readFileSync(golden('gguf/hyllama-dummy.gguf'))

/** A file in memory; `size` is what it claims to be. */
function read(bytes: Uint8Array): Promise<GgufFile> {
  return readGguf('x.gguf', {
    size: bytes.length,
    readers: 1,
    readBytes: 1,
    read: async (target, position) => target.set(bytes.subarray(position, position + target.length)),
    close: async () => undefined,
  })
}

test('blocks of every type that is read are the floats that ggml makes of them, bit for bit', async () => {
  const { tensors } = await read(blocks)
  const numbersOf = ({ type, begin, bytes }: GgufTensor) => decodeBlocks(type, blocks.subarray(begin, begin + bytes))
  const compared = new Set(['F32'])
  for (const [name, expected] of tensors) {
    const packed = tensors.get(name.replace('deq.', 'q.'))
    if (!name.startsWith('deq.') || !packed?.type.decode) continue
    const found = numbersOf(packed)
    assert.is(found.length, 6 * 512)
    assert.ok(Buffer.from(found.buffer).equals(Buffer.from(numbersOf(expected).buffer)), name)
    compared.add(packed.type.name)
  }
  assert.equal([...compared].sort(), [...readableTypes].sort())
})

test('a header of each version gives its values and tensors', async () => {
  for (const version of [1, 2, 3]) {
    const writer = new Writer(version, 2, 5)
      .value('a.u8', 0, 200)
      .value('a.i16', 3, 0xfe, 0xff)
      .value('a.f32', 6, 0, 0, 0x80, 0x3f)
      .value('a.yes', 7, 1)
    writer.text('a.list').u32(9).u32(8).count(2).text('ä').text('')
    writer.tensor('matrix', [32, 3], 8, 0).tensor('vector', [5], 0, 128)
    const { values, tensors } = await read(writer.end(160))
    assert.equal(Object.fromEntries(values), {
      'a.u8': 200,
      'a.i16': -2,
      'a.f32': 1,
      'a.yes': true,
      'a.list': ['ä', ''],
    })
    assert.equal(
      [...tensors.values()].map(({ name, shape, bytes, type }) => [name, shape, bytes, type.name]),
      [
        ['matrix', [3, 32], 102, 'Q8_0'],
        ['vector', [5], 20, 'F32'],
      ],
    )
    assert.is((tensors.get('matrix')?.begin ?? 1) % 32, 0)
  }
})

/** What it claims, and a word of the error. */
const lies: [file: Buffer, word: RegExp][] = [
  [new Writer(3, 0, 0, 'GGML').end(), /GGUF/],
  [new Writer(4, 0, 0).end(), /version.*found 4/],
  [new Writer(0x03000000, 0, 0).end(), /big-endian/],
  [new Writer(3, 2n ** 63n, 0).end(), /number of tensors/],
  [new Writer(3, 0, 2n ** 40n).end(), /number of values/],
  [new Writer(3, 0, 1).u64(2n ** 40n).end(), /length of a key/],
  [
    new Writer(3, 0, 1)
      .text(Buffer.from([0xff]))
      .u32(0)
      .end(),
    /UTF-8/,
  ],
  [new Writer(3, 0, 1).value('k', 13, 0).end(), /type of "k"/],
  [new Writer(3, 0, 1).value('k', 7, 2).end(), /0 or 1/],
  [new Writer(3, 0, 2).value('k', 0, 1).value('k', 0, 1).end(), /"k".*twice/],
  [new Writer(3, 0, 1).text('k').u32(9).u32(9).u64(1).end(), /list of lists/],
  [
    new Writer(3, 0, 1)
      .text('k')
      .u32(9)
      .u32(4)
      .u64(2n ** 60n)
      .end(),
    /length of the list/,
  ],
  [
    new Writer(3, 0, 1)
      .text('k')
      .u32(9)
      .u32(8)
      .u64(2n ** 33n)
      .end(),
    /length of the list/,
  ],
  [new Writer(3, 0, 1).value('general.alignment', 4, 3, 0, 0, 0).end(), /power of two/],
  [new Writer(3, 1, 0).tensor('t', [], 0, 0).end(64), /dimensions.*found 0/],
  [new Writer(3, 1, 0).tensor('t', [1, 1, 1, 1, 1], 0, 0).end(64), /dimensions.*found 5/],
  [new Writer(3, 1, 0).tensor('t', [8], 99, 0).end(64), /type of tensor "t"/],
  [new Writer(3, 1, 0).tensor('t', [2n ** 32n, 2n ** 32n, 2n ** 32n, 2n ** 32n], 0, 0).end(64), /bytes of tensor "t"/],
  [new Writer(3, 1, 0).tensor('t', [31], 2, 0).end(64), /blocks of 32/],
  [new Writer(3, 1, 0).tensor('t', [0], 0, 0).end(64), /row of tensor "t"/],
  [new Writer(3, 1, 0).tensor('t', [8], 0, 1).end(64), /multiple of 32/],
  [new Writer(3, 1, 0).tensor('t', [8], 0, 64).end(64), /end of tensor "t"/],
  [new Writer(3, 1, 0).tensor('t', [8], 0, 2n ** 63n).end(64), /offset/],
  [new Writer(3, 2, 0).tensor('t', [8], 0, 0).tensor('t', [8], 0, 32).end(64), /"t".*twice/],
  [new Writer(3, 2, 0).tensor('t', [16], 0, 0).tensor('u', [8], 0, 32).end(64), /overlaps/],
]

test('files that lie are refused with what is wrong', async () => {
  for (const [file, word] of lies) {
    const error = await failure(read(file))
    assert.instance(error, GtaError, `${word}: ${error.stack}`)
    assert.match(error.message, word)
  }
})

test('a file that is cut anywhere is refused', async () => {
  await read(small)
  const { tensors } = await read(small)
  const end = Math.max(...[...tensors.values()].map(({ begin, bytes }) => begin + bytes))
  for (let length = 0; length < end; length++)
    assert.instance(await failure(read(small.subarray(0, length))), GtaError, `${length} bytes`)
})

test.run()
