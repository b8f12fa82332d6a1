/** The session file: what is written, what is written again, who may write it, and what is refused. */

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { GtaError } from '../host/errors.ts'
import { besides } from '../host/sessions/disk.ts'
import { openSession } from '../host/sessions/read.ts'
import { saveSession } from '../host/sessions/save.ts'
import { failure, temporary } from './fixtures/checkpoints.ts'
import { checkSession, read, type Saved, save, session } from './fixtures/sessions.ts'
import { DIRECTORY, MemoryDisk } from './harness/session-disk.ts'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()
const stateBytes = (n: number) => Buffer.from(JSON.stringify(session(n).state)).length

async function refused(promise: Promise<unknown>, code: string, ...words: string[]): Promise<void> {
  const error = await failure(promise)
  assert.instance(error, GtaError, error.stack)
  assert.is(error.code, code, error.message)
  for (const word of words) assert.ok(error.message.includes(word), `"${word}" is not in: ${error.message}`)
}

test('what was saved is read, bit for bit, and only the owner may read it', async () => {
  const path = join(temporary(), 'talk')
  for (const n of [0, 1, 4, 5, 40]) {
    const { image } = await save(path, n)
    checkSession(await read(path), n)
    assert.is(image.bytesWritten, statSync(path).size - 8192 + 128, 'all but the room for headers')
    assert.is(image.isIncremental, false)
    assert.is(statSync(path).mode & 0o777, 0o600)
    assert.equal(readdirSync(join(path, '..')), ['talk'], 'nothing else is left')
  }
})

test('the bytes of a first save are those that the comment in format.ts draws', async () => {
  const path = join(temporary(), 'talk')
  const { image } = await save(path, 6)
  const file = readFileSync(path)
  const index = file.subarray(8192 + 2000)
  const [first, second] = session(6).pages as [Uint8Array, Uint8Array]
  assert.is(file.toString('latin1', 0, 8), 'GTA-SESS')
  assert.equal([file.readUInt32LE(8), file.readUInt32LE(12)], [1, 2], 'version, pages')
  const numbers = [16, 24, 32, 40].map((at) => Number(file.readBigUInt64LE(at)))
  assert.equal(numbers, [1, 1000, 8192 + 2000, 80 + stateBytes(6)], 'generation, page, index')
  assert.is(file.toString('hex', 48, 64), image.fileId)
  assert.equal(file.subarray(64, 96), sha256(index))
  assert.equal(file.subarray(96, 128), sha256(file.subarray(0, 96)))
  assert.ok(
    file.subarray(128, 8192).every((byte) => byte === 0),
    'no second header yet',
  )
  assert.equal(file.subarray(8192, 9192), Buffer.from(first))
  assert.equal([index.readBigUInt64LE(0), index.readBigUInt64LE(40)], [8192n, 9192n])
  assert.equal(index.subarray(8, 40), sha256(first))
  assert.equal(index.subarray(48, 80), sha256(second))
  assert.equal(JSON.parse(index.toString('utf8', 80)), session(6).state)
})

test('the next save writes the new pages and an index, and leaves all that was there but one header', async () => {
  const path = join(temporary(), 'talk')
  let saved: Saved = await save(path, 42)
  for (const [i, n] of [43, 50, 51].entries()) {
    const before = readFileSync(path)
    const { image } = await save(path, n, saved)
    const fresh = Math.ceil(n / 4) - Math.floor(saved.n / 4)
    assert.ok(image.isIncremental)
    assert.is(image.generation, i + 2)
    assert.is(image.bytesWritten, fresh * 1000 + 40 * Math.ceil(n / 4) + stateBytes(n) + 128)
    const after = readFileSync(path)
    const slot = i % 2 ? 0 : 4096
    assert.not.equal(after.subarray(slot, slot + 128), before.subarray(slot, slot + 128))
    const others = (file: Buffer) => [file.subarray(4096 - slot, 8192 - slot), file.subarray(8192, before.length)]
    assert.equal(others(after), others(before), 'the newest header and all pages stay')
    const start = Math.min(...image.records.map(({ offset }) => offset).filter((at) => at >= before.length))
    assert.is(start % 4096, 0, 'no block of the disk that holds something is written')
    assert.is(image.end, after.length)
    checkSession(await read(path), n)
    saved = { n, image }
  }
})

test('a session that was read goes on in its file as one that was saved', async () => {
  const path = join(temporary(), 'talk')
  await save(path, 40)
  const found = await read(path)
  const { image } = await save(path, 42, found)
  assert.ok(image.isIncremental)
  assert.equal(image.records.slice(0, 10), found.image.records)
  checkSession(await read(path), 42)
})

test('a new file is written before more than half would be garbage', async () => {
  const path = join(temporary(), 'talk')
  let saved = await save(path, 41)
  let compacted = 0
  for (let i = 0; i < 40; i++) {
    saved = await save(path, 42 + (i % 2), saved)
    const live = 8192 + 11 * 1000 + 11 * 40 + stateBytes(saved.n)
    assert.is(saved.image.end, statSync(path).size)
    assert.ok(saved.image.end <= 2 * live, `${saved.image.end} bytes for ${live}`)
    if (saved.image.isIncremental) continue
    compacted++
    assert.is(saved.image.end, live)
    assert.is(saved.image.generation, 1)
  }
  checkSession(await read(path), saved.n)
  assert.ok(compacted >= 2 && compacted <= 10, `${compacted} new files`)
})

test('a rewound or forked conversation keeps the pages that it shares', async () => {
  const path = join(temporary(), 'talk')
  const long = await save(path, 40)
  const { image } = await save(path, 30, long)
  assert.ok(image.isIncremental)
  assert.is(image.bytesWritten, 1000 + 8 * 40 + stateBytes(30) + 128)
  checkSession(await read(path), 30)
})

test('records that are not of this file are written, not believed', async () => {
  const path = join(temporary(), 'talk')
  const saved = await save(path, 40)
  const [first, second] = saved.image.records as [{ offset: number; sha256: string }, (typeof saved.image.records)[0]]
  const { state, pages } = session(40)
  const wrong = [{ ...first, offset: first.offset + 1 }, { ...first, sha256: second?.sha256 ?? '' }, first, first]
  const toSave = pages.map((bytes, i) => {
    const record = wrong[i]
    return record
      ? { bytes: i === 3 ? (pages[0] as Uint8Array) : i === 2 ? (pages[0] as Uint8Array) : bytes, record }
      : { bytes }
  })
  const image = await saveSession(path, state, toSave, saved.image)
  const found = await read(path)
  assert.equal(
    found.pages,
    toSave.map(({ bytes }) => bytes),
  )
  assert.is(new Set(image.records.map(({ offset }) => offset)).size, 10, 'no page lies where another does')
})

test('pages in shared memory are written from there and read into it', async () => {
  const path = join(temporary(), 'talk')
  const shared = new Uint8Array(new SharedArrayBuffer(4000))
  const { pages, state } = session(4, 3000)
  shared.set(pages[0] as Uint8Array, 500)
  await saveSession(path, state, [{ bytes: shared.subarray(500, 3500) }])
  shared.fill(0)
  await using reader = await openSession(path)
  await reader.verify()
  await reader.readPage(0, shared.subarray(1000))
  assert.ok(Buffer.compare(shared.subarray(1000), pages[0] as Uint8Array) === 0)
  assert.ok(shared.subarray(0, 1000).every((byte) => byte === 0))
  for (const [i, target] of [
    [0, shared],
    [1, shared.subarray(1000)],
    [-1, shared.subarray(1000)],
  ] as const)
    assert.instance(await failure(reader.readPage(i, target)), RangeError)
})

test('pages of some MB, and a reader that stays open while the file is replaced', async () => {
  const path = join(temporary(), 'talk')
  const pageBytes = 2_500_000
  await save(path, 6, undefined, { pageBytes })
  await using reader = await openSession(path)
  await save(path, 7, undefined, { pageBytes: 100 })
  await reader.verify()
  const page = new Uint8Array(pageBytes)
  await reader.readPage(1, page)
  assert.ok(Buffer.compare(page, session(6, pageBytes).pages[1] as Uint8Array) === 0)
  await refused(reader.verify(AbortSignal.abort(new GtaError('CLOSED', 'aborted'))), 'CLOSED')
})

test('a disk that reads and writes a few bytes at a time', async () => {
  const path = `${DIRECTORY}/talk`
  const disk = new MemoryDisk()
  disk.most = 97
  const saved = await save(path, 40, undefined, { disk })
  assert.ok((await save(path, 43, saved, { disk })).image.isIncremental)
  checkSession(await read(path, { disk }), 43)
  assert.is(disk.handles, 0)
})

test('two that save to one file: the second notices and writes a new one, and the other way round', async () => {
  const path = join(temporary(), 'talk')
  const first = await save(path, 40)
  const second = await save(path, 44, await read(path))
  assert.ok(second.image.isIncremental)
  const third = await save(path, 48, first)
  assert.not.ok(third.image.isIncremental, 'the same file, but another header')
  checkSession(await read(path), 48)
  assert.not.ok((await save(path, 49, second)).image.isIncremental, 'another file')
  checkSession(await read(path), 49)
})

test('two that save at the same moment, many times: one of them wins, whole', async () => {
  const folder = temporary()
  const path = join(folder, 'talk')
  let saved: Saved = await save(path, 40, undefined, { pageBytes: 20_000 })
  const won = { append: 0, new: 0 }
  for (let round = 0; round < 60; round++) {
    const lengths = [41 + (round % 3), 49 - (round % 2)]
    const both = await Promise.all(lengths.map((n) => save(path, n, saved, { pageBytes: 20_000 })))
    const found = await read(path)
    assert.ok(lengths.includes(found.n), `round ${round}: ${found.n}`)
    checkSession(found, found.n, `round ${round}`, 20_000)
    for (const { image } of both) won[image.isIncremental ? 'append' : 'new']++
    saved = found
  }
  assert.ok(won.append > 0 && won.new > 0, JSON.stringify(won))
  assert.equal(readdirSync(folder), ['talk'])
})

test('a file that was removed, restored from a copy, cut or is another path: nothing is appended to it', async () => {
  const folder = temporary()
  const path = join(folder, 'talk')
  const saved = await save(path, 40)
  copyFileSync(path, `${path}.copy`)
  const next = await save(path, 44, saved)
  assert.ok(next.image.isIncremental)
  rmSync(path)
  assert.not.ok((await save(path, 45, next)).image.isIncremental)
  copyFileSync(`${path}.copy`, path)
  assert.not.ok((await save(path, 45, next)).image.isIncremental)
  copyFileSync(`${path}.copy`, path)
  assert.ok((await save(path, 45, saved)).image.isIncremental, 'this is what was saved')
  writeFileSync(path, readFileSync(`${path}.copy`).subarray(0, -1))
  assert.not.ok((await save(path, 45, saved)).image.isIncremental)
  assert.not.ok((await save(`${path}.other`, 45, saved)).image.isIncremental)
  checkSession(await read(path), 45)
})

test('pages of another size: a new file', async () => {
  const path = join(temporary(), 'talk')
  const saved = await save(path, 40)
  assert.not.ok((await save(path, 41, saved, { pageBytes: 3000 })).image.isIncremental)
  checkSession(await read(path), 41, '', 3000)
})

test('who does not get the lock writes a new file, and takes a lock that was left behind with the old one', async () => {
  const folder = temporary()
  const path = join(folder, 'talk')
  const saved = await save(path, 40)
  const lock = besides(path, saved.image.fileId, 'lock')
  writeFileSync(lock, '')
  const next = await save(path, 44, saved)
  assert.not.ok(next.image.isIncremental)
  assert.not.ok(existsSync(lock))
  assert.ok((await save(path, 48, next)).image.isIncremental)
  assert.equal(readdirSync(folder), ['talk'])
})

test('a file that is put in the place of ours while we append to it: ours is written once more', async () => {
  const path = `${DIRECTORY}/talk`
  const disk = new MemoryDisk()
  const saved = await save(path, 40, undefined, { disk })
  disk.fault = ({ kind, ...operation }) => {
    if (kind !== 'write' || !('position' in operation) || operation.position !== 4096) return undefined
    disk.fault = undefined
    disk.put(path, disk.bytesOf(path).slice())
    return undefined
  }
  const { image } = await save(path, 44, saved, { disk })
  assert.is(disk.fault, undefined)
  assert.not.ok(image.isIncremental)
  checkSession(await read(path, { disk }), 44)
})

test('temporary files of saves that were killed go after an hour, those of others stay', async () => {
  const folder = temporary()
  const path = join(folder, 'talk')
  const [old, young, other] = [besides(path, 'a', 'tmp'), besides(path, 'b', 'tmp'), besides(`${path}s`, 'a', 'tmp')]
  for (const file of [old, young, other]) writeFileSync(file, 'x')
  const then = Date.now() / 1000 - 4000
  for (const file of [old, other]) utimesSync(file, then, then)
  await save(path, 4)
  assert.equal(
    [old, young, other].map((file) => existsSync(file)),
    [false, true, true],
  )
})

test('a path may be a link: the file that it leads to is replaced, where it is', async () => {
  const folder = temporary()
  mkdirSync(join(folder, 'real'))
  const link = join(folder, 'link')
  symlinkSync('real/talk', link)
  await refused(save(link, 4), 'WRITE_FAILED', 'link', 'leads nowhere')
  await save(join(folder, 'real/talk'), 4)
  const saved = await save(link, 40)
  assert.ok((await save(link, 44, saved)).image.isIncremental)
  assert.ok(lstatSync(link).isSymbolicLink())
  checkSession(await read(join(folder, 'real/talk')), 44)
  assert.equal(readdirSync(join(folder, 'real')), ['talk'])
})

test('a name as long as the system allows, and longer', async () => {
  const folder = temporary()
  const longest = join(folder, 'x'.repeat(255))
  const saved = await save(longest, 40)
  assert.ok((await save(longest, 44, saved)).image.isIncremental)
  await refused(save(join(folder, 'x'.repeat(256)), 4), 'WRITE_FAILED', 'ENAMETOOLONG')
  await refused(save(join(folder, 'a\0b'), 4), 'WRITE_FAILED', 'null bytes')
  await refused(save(join(folder, 'missing/talk'), 4), 'WRITE_FAILED', 'ENOENT')
  await refused(save('', 4), 'WRITE_FAILED')
})

test('what is not a regular file, and a file that is no session, is neither read nor replaced', async () => {
  const folder = temporary()
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  for (const path of [folder, pipe, '/dev/null', '/dev/full']) {
    await refused(save(path, 4), 'WRITE_FAILED', path, 'regular file')
    await refused(openSession(path), 'BAD_SESSION', path, 'regular file')
  }
  const notes = join(folder, 'notes.txt')
  writeFileSync(notes, 'my notes')
  await refused(save(notes, 4), 'WRITE_FAILED', notes, 'must be a session or not there')
  await refused(openSession(notes), 'BAD_SESSION', notes, 'GTA-SESS')
  assert.is(readFileSync(notes, 'utf8'), 'my notes')
  await refused(openSession(join(folder, 'missing')), 'NOT_FOUND')
  writeFileSync(notes, '')
  await save(notes, 4)
  assert.equal(readdirSync(folder).sort(), ['notes.txt', 'pipe'])
})

test('a damaged session may be replaced', async () => {
  const path = join(temporary(), 'talk')
  await save(path, 4)
  writeFileSync(path, readFileSync(path).subarray(0, 100))
  await refused(read(path), 'BAD_SESSION')
  await save(path, 5)
  checkSession(await read(path), 5)
})

test('a state that could not be read back, and pages that are not alike, are refused before anything is written', async () => {
  const folder = temporary()
  const path = join(folder, 'talk')
  const nested = (depth: number) => JSON.parse(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`)
  const circle: Record<string, unknown> = {}
  circle.circle = circle
  const states = [
    [],
    null,
    1,
    'text',
    undefined,
    circle,
    nested(65),
    nested(20_000),
    JSON.parse('{"a":[{"__proto__":1}]}'),
  ]
  for (const state of [...states, { text: 'x'.repeat(2 ** 20) }, { big: 1n }])
    await refused(saveSession(path, state as object, []), 'BAD_OPTION', 'the state')
  for (const sizes of [
    [1, 2],
    [1, 0],
    [0, 0],
  ])
    await refused(
      saveSession(
        path,
        {},
        sizes.map((size) => ({ bytes: new Uint8Array(size) })),
      ),
      'BAD_OPTION',
      'page',
    )
  assert.equal(readdirSync(folder), [])
  await saveSession(path, nested(64), [])
  await saveSession(path, { text: 'x'.repeat(2 ** 20 - 11) }, [])
  await using reader = await openSession(path)
  assert.is(reader.pageBytes, 0)
})

test('a session of a later version is refused by its version', async () => {
  const path = join(temporary(), 'talk')
  await save(path, 4)
  const file = readFileSync(path)
  file.writeUInt32LE(2, 8)
  sha256(file.subarray(0, 96)).copy(file, 96)
  writeFileSync(path, file)
  await refused(openSession(path), 'OTHER_VERSION', path, 'version 1', 'version 2')
})

test.run()
