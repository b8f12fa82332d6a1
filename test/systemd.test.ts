/** The unit of host/systemd: systemd's own checks of it, the program of its README, and the limit that it sets. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { paperConfig } from '../host/load.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { limit, limitNote } from './harness/limits.ts'
import { runNode } from './harness/programs.ts'
import { findTool, toolTest } from './harness/tools.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const units = ['gta-serve.service', 'gta-edge@.service']
const pathOf = (name: string) => `${root}host/systemd/${name}`
const readme = readFileSync(`${root}host/systemd/README.md`, 'utf8')

/** What systemd-analyze says. */
function analyze(...args: string[]): { status: number | null; output: string } {
  const program = findTool('systemd') as string
  const ended = spawnSync(program, args, { encoding: 'utf8', timeout: limit(300) })
  return { status: ended.status, output: ended.stdout + ended.stderr + limitNote(ended, 300) }
}

for (const name of units)
  toolTest('systemd', `systemd finds nothing to complain about in ${name}, and little that it could do`, () => {
    assert.equal(analyze('verify', '--man=no', pathOf(name)), { status: 0, output: '' })
    // Exposure in tenths, of 100; without a sandbox it is 96.
    const { status, output } = analyze('security', '--offline=yes', '--no-pager', '--threshold=15', pathOf(name))
    assert.is(status, 0, output)
  })

toolTest('systemd', 'additions that its README shows are understood', () => {
  const extras = [...readme.matchAll(/```ini\n(.*?)```/gs)].map(([, text = '']) => text.replaceAll(/^ +/gm, ''))
  assert.match(extras[0] ?? '', 'LoadCredential')
  assert.match(extras[1] ?? '', 'DeviceAllow')
  for (const [i, name] of units.entries()) {
    const path = join(temporary(), name.replace('@', '@more'))
    writeFileSync(path, `${readFileSync(pathOf(name), 'utf8')}\n${extras[i]}`)
    assert.equal(analyze('verify', '--man=no', path), { status: 0, output: '' })
  }
})

test('limits, restarts, places to write to, and the permission to compile', () => {
  const common = ['MemoryHigh=65%', 'MemoryMax=75%', 'Restart=on-failure', 'DynamicUser=yes', 'ProtectSystem=strict',
    'CapabilityBoundingSet=', 'NoNewPrivileges=yes', 'MemoryDenyWriteExecute=no', 'IPAddressDeny=any'] // biome-ignore format: a table
  const own = [
    ['EnvironmentFile=-/etc/default/gta-serve', 'Environment=XDG_CACHE_HOME=%C/gta-serve'],
    ['StateDirectory=gta-edge/%i', 'Environment=XDG_CACHE_HOME=%C/gta-edge/%i'],
  ]
  for (const [i, name] of units.entries()) {
    const lines = readFileSync(pathOf(name), 'utf8').split('\n')
    for (const line of [...common, ...(own[i] as string[])]) assert.ok(lines.includes(line), `${name}: ${line}`)
  }
})

test('a model that its memory cannot hold is refused, not killed', async () => {
  const limited = join(temporary(), 'limited.mjs')
  writeFileSync(limited, 'process.constrainedMemory = () => 5e8')
  const config = paperConfig('gta-1b')
  const given = ['dist/gta.mjs', 'bench', '--config', config, '-p', '1', '-n', '0']
  const { status, output } = await runNode('--import', limited, ...given)
  assert.is(status, 1, output)
  assert.match(
    output,
    /^gta: the model .* must fit in 500\.0 MB, it needs 1\.\d+ GB: that is the memory of this machine/,
  )
})

/** A port that nobody listens on now. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Asks until somebody answers. */
async function ask(port: number, prompt: string, child: ChildProcess): Promise<string> {
  for (;;) {
    assert.is(child.exitCode, null, 'the program ended')
    const response = await fetch(`http://127.0.0.1:${port}`, { method: 'POST', body: prompt }).catch(() => undefined)
    if (response) return await response.text()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

test('the program of its README tells a story, ends when it is told to, and goes on where it was', async () => {
  const folder = temporary()
  const port = await freePort()
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(root, join(folder, 'node_modules/gta-edge'))
  const program = readme.match(/```js\n(.*?)```/s)?.[1]?.replace('8080', String(port)) ?? ''
  writeFileSync(join(folder, 'index.mjs'), program)
  writeFileSync(join(folder, 'package.json'), '{ "main": "index.mjs" }')
  // As the unit sets them.
  const state = temporary()
  const env = { ...process.env, NODE_ENV: 'production', STATE_DIRECTORY: state, XDG_CACHE_HOME: temporary() }
  for (const prompt of ['The fox said to the hare,', 'And the hare said to the fox,']) {
    const child = spawn(process.execPath, ['.'], {
      cwd: folder,
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
      timeout: limit(300),
    })
    const ended = new Promise((resolve) => child.on('close', resolve))
    try {
      const told = await ask(port, prompt, child)
      // Every error says what must be, and what was found; somebody in a story may have to be careful, too.
      assert.ok(told.length > 20 && !/must [^\n]*, found /.test(told), told)
      assert.ok(existsSync(join(state, 'story.gtas')))
    } finally {
      child.kill('SIGTERM')
    }
    assert.is(await ended, 0)
  }
})

test.run()
