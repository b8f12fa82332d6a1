/**
 * Power cuts while a session is saved. Every operation of a few saves on a disk in memory is a moment at which power
 * may fail; what is then on the disk, in each way that POSIX allows, must be the session before or the new one.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { GtaError } from '../host/errors.ts'
import { failure, random } from './fixtures/checkpoints.ts'
import { checkSession, read, type Saved, save } from './fixtures/sessions.ts'
import { crashes, DIRECTORY, MemoryDisk, systemError } from './harness/session-disk.ts'

const path = `${DIRECTORY}/talk`
const seed = 5

/** Saves one session after the other; returns how long the log was when each had been saved. */
async function saveAll(disk: MemoryDisk, lengths: number[]) {
  let saved: Saved | undefined
  const ends: { n: number; end: number; isIncremental: boolean }[] = []
  for (const n of lengths) {
    const now = await save(path, n, saved, { disk })
    ends.push({ n, end: disk.log.length, isIncremental: now.image.isIncremental })
    saved = now
  }
  return ends
}

/** Checks all states at all moments; `allowed` says which sessions may be found, undefined is none. */
async function checkCrashes(disk: MemoryDisk, allowed: (moment: number) => (number | undefined)[]) {
  const next = random(seed)
  const seen = { states: 0, resumed: 0, found: new Set<number | undefined>() }
  for (let moment = 0; moment <= disk.log.length; moment++)
    for (const contents of crashes(disk.log.slice(0, moment), next)) {
      const what = `seed ${seed}, moment ${moment}, state ${seen.states++}`
      const survivor = new MemoryDisk(contents)
      const found = await read(path, { disk: survivor }).catch((error: GtaError) => {
        assert.is(error.code, 'NOT_FOUND', `${what}: ${error.message}`)
        return undefined
      })
      assert.ok(allowed(moment).includes(found?.n), `${what}: found ${found?.n}, allowed ${allowed(moment)}`)
      if (found) checkSession(found, found.n, what)
      seen.found.add(found?.n)
      // Life goes on: the next save appends or not, and is read.
      if (seen.states % 5 > 0) continue
      seen.resumed++
      const n = (found?.n ?? 0) + 3
      await save(path, n, found, { disk: survivor })
      checkSession(await read(path, { disk: survivor }), n, `${what}, saved again`)
    }
  return seen
}

test('whenever power fails, the file is the session before or the new one, and a save that ended stays', async () => {
  const disk = new MemoryDisk()
  const lengths = [9, 13, 18, 19, 20, 21, 25, 26, 35]
  const ends = await saveAll(disk, lengths)
  const kinds = ends.map(({ isIncremental }) => (isIncremental ? 'append' : 'new')).join(' ')
  assert.match(kinds, /^new append append .*new .*append/, 'all kinds of saving come about')
  const seen = await checkCrashes(disk, (moment) => {
    const under = ends.findIndex(({ end }) => moment < end)
    const before = (under < 0 ? ends.at(-1) : ends[under - 1])?.n
    return under < 0 ? [before] : [before, ends[under]?.n]
  })
  console.log(`${kinds}: ${disk.log.length} moments, ${seen.states} states, ${seen.resumed} saved again; seed ${seed}`)
  assert.ok(seen.states > 3000, 'states enough')
  assert.equal(
    [...seen.found].sort((a = 0, b = 0) => a - b),
    [...lengths, undefined],
  )
})

test('power fails after a save failed and while the next one is under way', async () => {
  for (const [kind, nth] of [
    ['sync', 1],
    ['sync', 2],
    ['write', 2],
    ['write', 4],
  ] as const) {
    const disk = new MemoryDisk()
    const first = await save(path, 9, undefined, { disk })
    let count = 0
    disk.fault = (operation) =>
      operation.kind === kind && ++count === nth ? { error: systemError('EIO'), written: 77 } : undefined
    const error = await failure(save(path, 14, first, { disk }))
    assert.instance(error, GtaError)
    const failed = disk.log.length
    disk.fault = undefined
    const { image } = await save(path, 15, first, { disk })
    assert.ok(image.isIncremental, 'the image of before is still good')
    const end = disk.log.length
    // What the save that failed had written may be on the disk whole, whatever was told of it.
    await checkCrashes(disk, (moment) => (moment < failed ? [undefined, 9, 14] : moment < end ? [9, 14, 15] : [15]))
  }
})

test('a process dies between the rename and the sync of the directory: the next one makes up for it', async () => {
  const disk = new MemoryDisk()
  const first = await save(path, 9, undefined, { disk })
  disk.fault = ({ kind }) => (kind === 'syncDirectory' ? { error: systemError('EIO') } : undefined)
  // Nothing is told to the one that comes next but what the file holds.
  assert.match((await failure(save(path, 14, undefined, { disk }))).message, 'directory')
  disk.fault = undefined
  const found = await read(path, { disk })
  assert.is(found.n, 14)
  const { image } = await save(path, 19, found, { disk })
  assert.ok(image.isIncremental)
  const end = disk.log.length
  await checkCrashes(disk, (moment) => (moment < end ? [undefined, first.n, 14, 19] : [19]))
})

test.run()
