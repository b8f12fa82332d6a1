/** Scenarios on a real disk that is small or read-only, for session-faults.test.ts: `NAME FOLDER [prepare]`. */
import { readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { GtaError } from '../../host/errors.ts'
import { failure } from '../fixtures/checkpoints.ts'
import { checkSession, read, type Saved, save } from '../fixtures/sessions.ts'

const [scenario, folder = '', isPreparing] = process.argv.slice(2)
const path = join(folder, 'talk')
const pageBytes = 300_000

async function refused(promise: Promise<unknown>, ...words: string[]): Promise<void> {
  const error = await failure(promise)
  assert.instance(error, GtaError, error.stack)
  assert.is(error.code, 'WRITE_FAILED')
  for (const word of [path, ...words]) assert.ok(error.message.includes(word), error.message)
  assert.equal(
    readdirSync(folder).filter((name) => name !== 'filler'),
    ['talk'],
    'nothing is left over',
  )
}

/** Appends and replaces until it fails with this error; then `makeRoom`, and it goes on. */
async function growUntil(code: string, makeRoom: () => Promise<Saved | undefined>): Promise<void> {
  let saved: Saved = await save(path, 4, undefined, { pageBytes })
  let failed = 0
  for (let n = 8; failed === 0; n += 4) {
    const longer = await save(path, n, saved, { pageBytes }).catch(async () => {
      failed = n
      await refused(save(path, n, saved, { pageBytes }), code, 'free some space')
      await refused(save(path, 200, undefined, { pageBytes }), code)
      return saved
    })
    saved = longer
    checkSession(await read(path), saved.n, '', pageBytes)
  }
  saved = (await makeRoom()) ?? saved
  const next = await save(path, saved.n + 2, saved, { pageBytes })
  checkSession(await read(path), next.n, '', pageBytes)
  console.log(`${code} at ${failed} tokens, then ${next.n} were saved`)
}

if (scenario === 'full') {
  writeFileSync(join(folder, 'filler'), new Uint8Array(1_000_000))
  await growUntil('ENOSPC', async () => {
    rmSync(join(folder, 'filler'))
    return undefined
  })
  assert.ok(statfsSync(folder).blocks * statfsSync(folder).bsize <= 2 ** 23)
} else if (scenario === 'limited') {
  // Without a listener the signal would end the process before the write can fail.
  process.on('SIGXFSZ', () => undefined)
  await growUntil('EFBIG', () => save(path, 3, undefined, { pageBytes }))
} else if (isPreparing) {
  await save(path, 40, undefined, { pageBytes })
} else {
  const saved = { ...(await read(path)), n: 40 }
  await refused(save(path, 44, saved, { pageBytes }), 'EROFS', 'may be written to')
  await refused(save(path, 44, undefined, { pageBytes }), 'EROFS')
  checkSession(await read(path), 40, '', pageBytes)
  console.log('EROFS')
}
