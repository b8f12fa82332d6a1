/** Sessions by name: what a name may be, and that it cannot leave its directory. */
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { GtaError } from '../host/errors.ts'
import { SessionStore } from '../host/sessions/store.ts'
import { failure, temporary } from './fixtures/checkpoints.ts'
import { checkSession, read, save } from './fixtures/sessions.ts'

async function refused(promise: Promise<unknown>, rule: string): Promise<void> {
  const error = await failure(promise)
  assert.instance(error, GtaError)
  assert.is(error.code, 'BAD_OPTION')
  assert.ok(error.message.includes(rule), `"${rule}" is not in: ${error.message}`)
  assert.ok(error.message.length < 300, 'a message that nobody reads to its end')
}

test('a session is saved, listed and removed by its name', async () => {
  const store = new SessionStore(temporary())
  assert.equal(await store.list(), [])
  for (const [name, n] of [
    ['b', 7],
    ['a.1_x-Y', 4],
    ['0', 0],
  ] as const)
    await save(await store.pathOf(name), n)
  const list = await store.list()
  assert.equal(
    list.map(({ name, tokens }) => [name, tokens]),
    [
      ['0', 0],
      ['a.1_x-Y', 4],
      ['b', 7],
    ],
  )
  for (const { bytes, modified } of list) assert.ok(bytes > 8192 && Date.now() - modified.getTime() < 60_000)
  checkSession(await read(await store.pathOf('b')), 7)
  await store.remove('b')
  assert.is((await store.list()).length, 2)
  assert.is((await failure(store.remove('b'))).code, 'NOT_FOUND')
  assert.equal(await new SessionStore(join(store.directory, 'missing')).list(), [])
})

test('names that are refused, with the rule', async () => {
  const folder = temporary()
  mkdirSync(join(folder, 'store'))
  const store = new SessionStore(join(folder, 'store'))
  const letters = 'letters A–Z'
  const rules: [unknown, string][] = [
    ['', '1 to 100'],
    ['x'.repeat(101), '1 to 100'],
    ['x'.repeat(300), '1 to 100'],
    ['.', 'not begin'],
    ['..', 'not begin'],
    ['.hidden', 'not begin'],
    ['-n', 'not begin'],
    ['a.', 'not end'],
    ['../up', letters],
    ['a/b', letters],
    ['/etc/passwd', letters],
    ['a\\b', letters],
    ['C:a', letters],
    ['a\0b', letters],
    ['a\n', letters],
    ['a b', letters],
    ['ä', letters],
    ['%2e%2e', letters],
    ['CON', 'Windows'],
    ['nul.txt', 'Windows'],
    ['Com1', 'Windows'],
    [undefined, 'be a text'],
    [['a'], 'be a text'],
    [{ toString: () => 'a' }, 'be a text'],
  ]
  for (const [name, rule] of rules) {
    await refused(store.pathOf(name as string), rule)
    await refused(store.remove(name as string), rule)
  }
  for (const name of ['x'.repeat(100), 'a..b', 'console', 'com', '_', 'constructor'])
    assert.is(await store.pathOf(name), join(store.directory, `${name}.session`))
  assert.equal(readdirSync(folder), ['store'])
})

test('links and folders in the place of a session are refused, and left out of the list with all that is no session', async () => {
  const folder = temporary()
  const store = new SessionStore(folder)
  await save(join(folder, 'secret'), 4)
  symlinkSync('secret', join(folder, 'link.session'))
  symlinkSync('nowhere', join(folder, 'broken.session'))
  mkdirSync(join(folder, 'folder.session'))
  for (const name of ['link', 'broken', 'folder']) {
    await refused(store.pathOf(name), 'not of a link')
    await refused(store.remove(name), 'not of a link')
  }
  for (const name of ['.gta-session-1.tmp', 'other.txt', 'ä.session', '.session'])
    writeFileSync(join(folder, name), 'x')
  writeFileSync(join(folder, 'damaged.session'), 'x')
  assert.equal(
    (await store.list()).map(({ name, bytes, tokens }) => ({ name, bytes, tokens })),
    [{ name: 'damaged', bytes: 1, tokens: undefined }],
  )
})

test.run()
