/**
 * Thousands of damaged session files. Each is refused with a reason, or read as exactly what was saved: where only bytes
 * changed that no session needs, or where the newest save is damaged and the one before is whole.
 */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { GtaError } from '../host/errors.ts'
import { openSession } from '../host/sessions/read.ts'
import { failure, random, temporary } from './fixtures/checkpoints.ts'
import { checkSession, read, type Saved, save } from './fixtures/sessions.ts'
import { DIRECTORY, MemoryDisk } from './harness/session-disk.ts'

const path = `${DIRECTORY}/talk`
const seed = 20250617
const next = random(seed)
const pick = (n: number) => Math.floor(next() * n)
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()

/** The sessions of 14, 15 and 21 tokens in one file: header A is the newest, B the one before, the first is gone. */
async function threeSaves(): Promise<{ file: Buffer; images: Saved['image'][] }> {
  const disk = new MemoryDisk()
  let saved: Saved | undefined
  const images: Saved['image'][] = []
  for (const n of [14, 15, 21]) {
    saved = await save(path, n, saved, { disk, pageBytes: 5000 })
    images.push(saved.image)
  }
  return { file: Buffer.from(disk.bytesOf(path)), images }
}
const { file: whole, images } = await threeSaves()
const [, older, newest] = images as [Saved['image'], Saved['image'], Saved['image']]

interface Outcome {
  code?: string
  n?: number
}

/** Reads a file from a disk in memory, and checks that the outcome is one of those that are allowed at all. */
async function outcomeOf(bytes: Uint8Array, what: string): Promise<Outcome> {
  const disk = new MemoryDisk()
  disk.put(path, bytes)
  try {
    const found = await read(path, { disk })
    assert.ok([15, 21].includes(found.n), what)
    checkSession(found, found.n, what, 5000)
    return { n: found.n }
  } catch (error) {
    if (error instanceof assert.Assertion || !(error instanceof GtaError)) throw error
    assert.ok(['BAD_SESSION', 'OTHER_VERSION'].includes(error.code), `${what}: ${error.message}`)
    assert.ok(error.message.includes(path) && error.message.length < 500, `${what}: ${error.message}`)
    return { code: error.code }
  } finally {
    assert.is(disk.handles, 0, `${what}: left open`)
  }
}

/** Which parts of the newest session a change of some bytes meets. */
function meets(from: number, end: number): { head: boolean; pages: boolean; olderHead: boolean } {
  const overlaps = (start: number, length: number) => from < start + length && end > start
  const index = ({ end: stop, records }: Saved['image']) => [
    Math.max(...records.map(({ offset }) => offset)) + 5000,
    stop,
  ]
  const [newStart = 0, newEnd = 0] = index(newest)
  const [oldStart = 0, oldEnd = 0] = index(older)
  return {
    head: overlaps(0, 128) || overlaps(newStart, newEnd - newStart),
    pages: newest.records.some(({ offset }) => overlaps(offset, 5000)),
    olderHead: overlaps(4096, 128) || overlaps(oldStart, oldEnd - oldStart),
  }
}

/** Reads a changed file; where bytes were changed in one place, what must come of it is known. */
async function check(bytes: Buffer, what: string, from: number, end: number): Promise<Outcome> {
  const outcome = await outcomeOf(bytes, what)
  const { head, pages, olderHead } = meets(from, end)
  const isSame = bytes.equals(whole)
  if (isSame || (!head && !pages)) assert.is(outcome.n, 21, what)
  else if (!head) assert.is(outcome.code, 'BAD_SESSION', what)
  else if (olderHead) assert.ok(outcome.n !== 21, what)
  else assert.ok(outcome.n === 15 || outcome.code === 'BAD_SESSION', what)
  return outcome
}

function count(counts: Map<string, number>, outcome: Outcome): void {
  const key = String(outcome.code ?? outcome.n)
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

test('the file is as it should be: its newest session, and the one before if the newest header is gone', async () => {
  assert.equal(await outcomeOf(whole, 'whole'), { n: 21 })
  const file = Buffer.from(whole)
  file[0] = 1
  assert.equal(await outcomeOf(file, 'older'), { n: 15 })
  const disk = new MemoryDisk()
  disk.put(path, file)
  assert.match((await read(path, { disk })).damage ?? '', 'the checksum of a header', 'who restores it can be told')
})

test('every flip of one bit of both headers, and of every index', async () => {
  const counts = new Map<string, number>()
  const indexStart = newest.end - 300
  for (const [start, length] of [
    [0, 128],
    [4096, 128],
    [indexStart, 300],
  ] as const)
    for (let bit = 0; bit < length * 8; bit++) {
      const file = Buffer.from(whole)
      const at = start + (bit >> 3)
      file.writeUInt8(file.readUInt8(at) ^ (1 << (bit & 7)), at)
      count(counts, await check(file, `bit ${bit & 7} of byte ${at}`, at, at + 1))
    }
  assert.equal(Object.fromEntries(counts), { 15: 3424, 21: 1024 })
})

test('seven thousand flips, cuts, zeros, swaps and strange bytes anywhere', async () => {
  const counts = new Map<string, number>()
  const places = [...newest.records, ...older.records].map(({ offset }) => offset)
  for (let i = 0; i < 7000; i++) {
    let file = Buffer.from(whole)
    const at = pick(file.length)
    const length = 1 + pick(pick(2) ? 20 : 4000)
    const end = Math.min(file.length, at + length)
    const what = `seed ${seed}, file ${i}`
    const kind = pick(7)
    if (kind === 0) {
      file.writeUInt8(file.readUInt8(at) ^ (1 << pick(8)), at)
      count(counts, await check(file, what, at, at + 1))
    } else if (kind === 1) {
      file.fill(pick(2) ? 0 : 0xff, at, end)
      count(counts, await check(file, what, at, end))
    } else if (kind === 2) {
      for (let j = at; j < end; j++) file[j] = pick(256)
      count(counts, await check(file, what, at, end))
    } else if (kind === 3) {
      file = file.subarray(0, at)
      count(counts, await check(file, what, at, whole.length))
    } else if (kind === 4) {
      // Longer: whatever stands behind the end was never part of it.
      const tail = Buffer.from(Array.from({ length }, () => pick(256)))
      count(counts, await check(Buffer.concat([file, tail]), what, whole.length, whole.length + length))
    } else if (kind === 5) {
      const [a, b] = [places[pick(places.length)] as number, places[pick(places.length)] as number]
      whole.copy(file, a, b, b + 5000)
      whole.copy(file, b, a, a + 5000)
      const outcome = await outcomeOf(file, what)
      count(counts, outcome)
      const isNeeded = [a, b].some((place) => newest.records.some(({ offset }) => offset === place))
      assert.is(outcome.n, file.equals(whole) || !isNeeded ? 21 : undefined, what)
    } else {
      // Bytes that came in or went: all behind them is somewhere else.
      file = Buffer.concat([
        file.subarray(0, at),
        pick(2) ? Buffer.alloc(length, 1) : Buffer.alloc(0),
        file.subarray(end),
      ])
      count(counts, await outcomeOf(file, what))
    }
  }
  console.log(`seed ${seed}: ${JSON.stringify(Object.fromEntries(counts))}`)
  for (const [key, least] of [
    ['21', 500],
    ['15', 50],
    ['BAD_SESSION', 2000],
  ] as const)
    assert.ok((counts.get(key) ?? 0) > least, `${key}: ${counts.get(key)}`)
})

test('a damaged page is found when all are verified, and again when it is read', async () => {
  const disk = new MemoryDisk()
  const file = Buffer.from(whole)
  const { offset } = newest.records[2] as { offset: number }
  file[offset + 4999] = 0x55
  disk.put(path, file)
  await using reader = await openSession(path, { disk })
  assert.match((await failure(reader.verify())).message, 'the checksum of page 2')
  const page = new Uint8Array(5000)
  await reader.readPage(1, page)
  assert.match((await failure(reader.readPage(2, page))).message, 'the checksum of page 2')
})

test('headers that change places, or come from another file', async () => {
  const slot = (file: Buffer, at: number) => file.subarray(at, at + 128)
  const swapped = Buffer.from(whole)
  slot(whole, 0).copy(swapped, 4096)
  slot(whole, 4096).copy(swapped, 0)
  assert.equal(await outcomeOf(swapped, 'swapped'), { n: 21 })
  const disk = new MemoryDisk()
  let saved: Saved | undefined
  for (const n of [20, 21, 22, 23]) saved = await save(path, n, saved, { disk, pageBytes: 5000 })
  const other = Buffer.from(disk.bytesOf(path))
  for (const [from, to] of [
    [0, 0],
    [0, 4096],
    [4096, 0],
    [4096, 4096],
  ] as const) {
    const file = Buffer.from(whole)
    slot(other, from).copy(file, to)
    const outcome = await outcomeOf(file, `header ${from} of another file at ${to}`)
    assert.equal(outcome, { n: to === 0 ? 15 : 21 })
  }
  const both = Buffer.from(whole)
  other.copy(both, 0, 0, 8192)
  assert.equal(await outcomeOf(both, 'both of another'), { code: 'BAD_SESSION' })
})

/** A file of one header, made by somebody who knows the format: all checksums are right. */
function forge(change: {
  state?: string | Uint8Array
  offsets?: (number | bigint)[]
  header?: { [at: number]: bigint }
  size?: number
}): Buffer {
  const state = Buffer.from((change.state ?? '{"length":8}') as string)
  const offsets = change.offsets ?? [8192, 9192]
  const pages = Buffer.alloc(2000, 7)
  const index = Buffer.alloc(40 * offsets.length + state.length)
  for (const [i, offset] of offsets.entries()) {
    index.writeBigUInt64LE(BigInt(offset), 40 * i)
    sha256(pages.subarray(0, 1000)).copy(index, 40 * i + 8)
  }
  state.copy(index, 40 * offsets.length)
  const header = Buffer.alloc(8192)
  header.write('GTA-SESS')
  const fields = { 8: 1n, 12: BigInt(offsets.length), 16: 1n, 24: 1000n, 32: 10192n, 40: BigInt(index.length) }
  for (const [at, value] of Object.entries({ ...fields, ...change.header }))
    if (Number(at) < 16) header.writeUInt32LE(Number(value), Number(at))
    else header.writeBigUInt64LE(value, Number(at))
  sha256(index).copy(header, 64)
  sha256(header.subarray(0, 96)).copy(header, 96)
  const file = Buffer.concat([header, pages, index])
  return change.size === undefined ? file : Buffer.concat([file, Buffer.alloc(change.size)])
}

async function forged(change: Parameters<typeof forge>[0]): Promise<Outcome & { message: string }> {
  const disk = new MemoryDisk()
  disk.put(path, forge(change))
  const before = process.memoryUsage().arrayBuffers
  try {
    return { n: (await read(path, { disk })).n, message: '' }
  } catch (error) {
    assert.instance(error, GtaError, (error as Error).stack)
    assert.ok(process.memoryUsage().arrayBuffers - before < 50e6, 'nothing large is allocated')
    return { code: (error as GtaError).code, message: (error as Error).message }
  }
}

test('numbers of an enemy, with the right checksums', async () => {
  assert.is((await forged({})).n, 8)
  const top = 2n ** 64n - 1n
  const strange = [0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 52n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, top]
  for (const at of [16, 24, 32, 40])
    for (const value of strange) {
      const { n, code } = await forged({ header: { [at]: value } })
      if (at === 16 && value > 0n && value < 2n ** 49n) assert.is(n, 8)
      else assert.is(code, 'BAD_SESSION', `${value} at ${at}`)
    }
  for (const count of [0n, 1n, 3n, 1000n, 2n ** 20n, 2n ** 20n + 1n, 2n ** 32n - 1n])
    assert.is((await forged({ header: { 12: count } })).code, 'BAD_SESSION')
  for (const count of [2n ** 20n + 1n, 2n ** 32n - 1n])
    assert.match((await forged({ header: { 12: count } })).message, 'the number of pages')
  for (const bytes of [81n, 93n, 500_000n])
    assert.match((await forged({ header: { 40: bytes } })).message, 'the size of the index')
  for (const version of [0n, 2n, 2n ** 32n - 1n])
    assert.is((await forged({ header: { 8: version } })).code, 'OTHER_VERSION')
  for (const offset of [0n, 1n, 4096n, 8191n, 9285n, 10_273n, 2n ** 31n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, top])
    for (const offsets of [
      [offset, 8192n],
      [8192n, offset],
    ])
      assert.match((await forged({ offsets })).message, 'the offset of a page', `page at ${offset}`)
  for (const offsets of [
    [8192, 8192],
    [8192, 9191],
    [9000, 8192],
  ])
    assert.match((await forged({ offsets })).message, 'the offset of a page', 'pages that overlap')
  const many = Array.from({ length: 100_000 }, () => 8192)
  assert.match((await forged({ offsets: many })).message, 'the offset of a page', 'a bomb of one page')
})

test('a state of an enemy, with the right checksums', async () => {
  const deep = (open: string, close: string, depth: number) => `{"a":${open.repeat(depth)}1${close.repeat(depth)}}`
  const states: [string | Uint8Array, string][] = [
    [deep('[', ']', 64), 'levels deep'],
    [deep('{"a":', '}', 64), 'levels deep'],
    [deep('[', ']', 400_000), ''],
    [deep('{"a":', '}', 170_000), ''],
    ['{"__proto__":{"length":1}}', '__proto__'],
    ['{"a":[0,{"b":{"__proto__":null}}]}', '__proto__'],
    ['{"\\u005f_proto__":1}', '__proto__'],
    ['[]', 'a list'],
    ['null', 'null'],
    ['17', '17'],
    ['"text"', 'text'],
    ['{}x', 'valid JSON'],
    ['{', 'the size of the index'],
    ['{ ', 'valid JSON'],
    ["{'a':1}", 'valid JSON'],
    ['{"a":NaN}', 'valid JSON'],
    ['\ufeff{}', 'valid JSON'],
    ['{}\0', 'valid JSON'],
    [Buffer.from('{"\xff":1}', 'latin1'), 'valid JSON'],
    [`{"a":"${'x'.repeat(2 ** 20)}"}`, 'the size of the index'],
  ]
  for (const [state, reason] of states) {
    const { code, message } = await forged({ state })
    assert.is(code, 'BAD_SESSION', `${state.slice(0, 40)}`)
    assert.ok(message.includes(reason), message)
    assert.ok(message.length < 600, 'a message that nobody reads to its end')
  }
  for (const state of ['{}', '{"constructor":1,"toString":null}', deep('[', ']', 63), '{"a":1e999}'])
    assert.is((await forged({ state })).code, undefined, state.slice(0, 40))
  assert.is(({} as Record<string, unknown>).length, undefined)
})

test('every size up to two headers, on a real disk', async () => {
  const real = join(temporary(), 'talk')
  for (let size = 0; size < 300; size++) {
    writeFileSync(real, whole.subarray(0, size))
    assert.is(((await failure(read(real))) as GtaError).code, 'BAD_SESSION', `${size} bytes`)
  }
  for (const bytes of [Buffer.alloc(20_000), Buffer.alloc(20_000, 0xff)]) {
    writeFileSync(real, bytes)
    assert.match((await failure(read(real))).message, 'GTA-SESS')
  }
})

test.run()
