/**
 * Saving where it fails: every operation, with every error, then a real full disk and a real read-only directory. Each
 * time a typed error, the session before as it was, nothing left over, and the next save works.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { GtaError } from '../host/errors.ts'
import { openSession } from '../host/sessions/read.ts'
import { failure, temporary } from './fixtures/checkpoints.ts'
import { checkSession, read, save } from './fixtures/sessions.ts'
import { DIRECTORY, MemoryDisk, type Operation, systemError } from './harness/session-disk.ts'
import { skipLoudly } from './harness/tools.ts'

const path = `${DIRECTORY}/talk`

/** A file of 40 tokens in a directory of its own, and a save of 44 that appends or, without its image, replaces. */
async function prepare(kind: 'append' | 'new' | 'first') {
  const disk = new MemoryDisk()
  const first = kind === 'first' ? undefined : await save(path, 40, undefined, { disk })
  const saved = kind === 'append' ? first : undefined
  return { disk, start: disk.log.length, again: () => save(path, 44, saved, { disk }) }
}

/** The operations of a save that goes well. */
async function operations(kind: 'append' | 'new' | 'first'): Promise<Operation[]> {
  const { disk, start, again } = await prepare(kind)
  assert.is((await again()).image.isIncremental, kind === 'append')
  return disk.log.slice(start)
}

async function expectBefore(disk: MemoryDisk, kind: string, what: string): Promise<void> {
  if (kind === 'first') assert.is((await failure(read(path, { disk }))).code, 'NOT_FOUND', what)
  else checkSession(await read(path, { disk }), 40, what)
}

const codes = ['ENOSPC', 'EIO', 'EROFS', 'EACCES', 'EDQUOT']

test('an error at any operation, after some of what it should write', async () => {
  let cases = 0
  for (const kind of ['append', 'new', 'first'] as const)
    for (const [at, { kind: operation }] of (await operations(kind)).entries())
      for (const code of codes)
        for (const written of operation === 'write' ? [0, 1, 100, 900] : [0]) {
          const { disk, start, again } = await prepare(kind)
          const what = `${kind}: ${code} at operation ${at}, ${operation}, after ${written} bytes`
          let index = start
          disk.fault = () => (index++ === start + at ? { error: systemError(code), written } : undefined)
          const error = await failure(again().then(() => Promise.reject(new Error('saved'))))
          cases++
          // What comes after the session is in its place is not worth an error, but for a disk that fails.
          const isSaved = operation === 'unlink' || operation === 'syncDirectory'
          const isTold = operation === 'syncDirectory' && !['EROFS', 'EACCES'].includes(code)
          if (isSaved) checkSession(await read(path, { disk }), 44, what)
          else await expectBefore(disk, kind, what)
          if (isSaved && !isTold) assert.is(error.message, 'saved', what)
          else {
            assert.instance(error, GtaError, `${what}: ${error.stack}`)
            assert.is(error.code, 'WRITE_FAILED', what)
            for (const word of [path, code, isTold ? 'was saved' : 'What was there before is unchanged'])
              assert.ok(error.message.includes(word), `${what}: ${error.message}`)
          }
          const left = disk.paths.filter((name) => name !== path)
          assert.equal(operation === 'unlink' ? [] : left, [], what)
          assert.is(disk.handles, 0, `${what}: left open`)
          disk.fault = undefined
          await again()
          checkSession(await read(path, { disk }), 44, `${what}, saved again`)
          assert.equal(disk.paths, [path], what)
        }
  console.log(`${cases} errors`)
  assert.ok(cases > 300)
})

test('a disk that takes nothing any more from some operation on: either session, whole', async () => {
  for (const kind of ['append', 'new', 'first'] as const)
    for (const at of (await operations(kind)).keys()) {
      const { disk, start, again } = await prepare(kind)
      const what = `${kind}: nothing after operation ${at}`
      disk.fault = () => (disk.log.length >= start + at ? { error: systemError('EIO'), written: 50 } : undefined)
      const error = await failure(again().then(() => Promise.reject(new GtaError('WRITE_FAILED', 'saved'))))
      assert.is(error.code, 'WRITE_FAILED', `${what}: ${error.stack}`)
      const found = await read(path, { disk }).catch(() => undefined)
      assert.ok(found === undefined ? kind === 'first' : [40, 44].includes(found.n), what)
      if (found) checkSession(found, found.n, what)
      disk.fault = undefined
      await again()
      checkSession(await read(path, { disk }), 44, `${what}, saved again`)
    }
})

test('a header that was written but neither synced nor taken back: nobody appends to that file any more', async () => {
  const { disk, again } = await prepare('append')
  let syncs = 0
  disk.fault = ({ kind }) => (kind === 'sync' && ++syncs >= 2 ? { error: systemError('EIO') } : undefined)
  assert.is((await failure(again())).code, 'WRITE_FAILED')
  disk.fault = undefined
  assert.is(disk.paths.length, 2, 'the lock stays')
  const found = await read(path, { disk })
  assert.not.ok((await save(path, 45, found, { disk })).image.isIncremental)
  assert.equal(disk.paths, [path])
})

test('an abort at any operation: an error that says so, nothing left', async () => {
  for (const kind of ['append', 'new', 'first'] as const) {
    const all = await operations(kind)
    const commit = all.findIndex((o) => o.kind === 'rename' || (o.kind === 'write' && o.position === 4096))
    for (const at of all.keys()) {
      const { disk, start } = await prepare(kind)
      const abort = new AbortController()
      disk.fault = (_, index) => {
        if (index === start + at) abort.abort()
        return undefined
      }
      const image = kind === 'append' ? await read(path, { disk }) : undefined
      const error = await failure(
        save(path, 44, image, { disk, signal: abort.signal }).then(() => Promise.reject(new Error('saved'))),
      )
      const what = `${kind}: abort at operation ${at} of ${all.length}`
      disk.fault = undefined
      if (at >= commit) assert.is(error.message, 'saved', what)
      else {
        assert.is(error.code, 'WRITE_FAILED', what)
        assert.is((error.cause as Error).name, 'AbortError', what)
        const pages = disk.log.slice(start + at + 1).filter((o) => o.kind === 'write' && o.bytes.length === 1000)
        assert.is(pages.length <= 1, true, `${what}: no more than the page under way is written`)
        await expectBefore(disk, kind, what)
      }
      assert.equal(
        disk.paths.filter((name) => name !== path),
        [],
        what,
      )
      assert.is(disk.handles, 0, what)
    }
  }
  const { disk } = await prepare('first')
  const error = await failure(save(path, 4, undefined, { disk, signal: AbortSignal.abort() }))
  assert.is(error.code, 'WRITE_FAILED')
  assert.equal(disk.log, [])
})

test('a tail that was appended in vain is cut off again', async () => {
  const { disk, again } = await prepare('append')
  const before = Buffer.from(disk.bytesOf(path))
  for (const nth of [1, 2]) {
    let syncs = 0
    disk.fault = ({ kind }) => (kind === 'sync' && ++syncs === nth ? { error: systemError('EIO') } : undefined)
    await failure(again())
    assert.equal(Buffer.from(disk.bytesOf(path)), before, `the file is as it was after sync ${nth} failed`)
  }
})

test('a disk that cannot be read: a typed error, and nothing left open', async () => {
  const { disk } = await prepare('new')
  const reader = await openSession(path, { disk })
  disk.read = () => {
    throw systemError('EIO')
  }
  for (const promise of [openSession(path, { disk }), reader.verify(), reader.readPage(0, new Uint8Array(1000))]) {
    const error = await failure(promise)
    assert.is(error.code, 'BAD_SESSION')
    assert.match(error.message, /must be readable, found EIO/)
  }
  await reader.close()
  assert.is(disk.handles, 0)
})

/** Runs a scenario of session-places.ts below a new folder, prepared by a shell in a mount namespace of its own. */
function inNamespace(scenario: string, mount: string): { status: number | null; output: string } {
  const folder = join(temporary(), 'place')
  mkdirSync(folder)
  const program = fileURLToPath(new URL('harness/session-places.ts', import.meta.url))
  const node = `"${process.execPath}" --disable-warning=ExperimentalWarning "${program}" ${scenario} "${folder}"`
  const script = mount.replaceAll('FOLDER', `"${folder}"`).replaceAll('NODE', node)
  const { status, stdout, stderr } = spawnSync('unshare', ['-rm', 'sh', '-c', script], { encoding: 'utf8' })
  return { status, output: `${stdout}${stderr}` }
}
const canMount = spawnSync('unshare', ['-rm', 'sh', '-c', 'mount -t tmpfs tmpfs /mnt']).status === 0
/** Where nothing can be mounted, the same errors are injected above. */
function mountTest(name: string, run: () => void): void {
  if (canMount) test(name, run)
  else skipLoudly(name, 'unshare -rm may not mount here')
}

mountTest('a full disk: the session before stays, and the next save works once there is room', () => {
  const { status, output } = inNamespace('full', 'mount -t tmpfs -o size=8m tmpfs FOLDER && NODE')
  console.log(`tmpfs of 8 MiB: ${output.trim()}`)
  assert.is(status, 0, output)
})

function limited(): { status: number | null; output: string } {
  const program = fileURLToPath(new URL('harness/session-places.ts', import.meta.url))
  const command = `ulimit -f 8192; exec "${process.execPath}" --disable-warning=ExperimentalWarning "${program}" limited "${temporary()}"`
  const { status, stdout, stderr } = spawnSync('bash', ['-c', command], { encoding: 'utf8' })
  return { status, output: `${stdout}${stderr}` }
}

test('a file that may not grow', () => {
  const { status, output } = limited()
  console.log(`limit on the size of files: ${output.trim()}`)
  assert.is(status, 0, output)
})

mountTest('a read-only directory', () => {
  const { status, output } = inNamespace(
    'readonly',
    'NODE prepare && mount --bind FOLDER FOLDER && mount -o remount,ro,bind FOLDER && NODE',
  )
  console.log(`read-only mount: ${output.trim()}`)
  assert.is(status, 0, output)
})

test.run()
