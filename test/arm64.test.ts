/**
 * The package on emulated boards, as npm installs it: the same tokens and logits as here, on a Cortex-A76 (Raspberry Pi 5)
 * and on a Cortex-A72 (Raspberry Pi 4), which has no dot product instructions, and gta.wasm on their Node's own WASI.
 * Where nothing can be emulated, a loud line says so; .ci/run installs what is needed.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compile } from '../bench/a76/emulate.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { limit, limitNote } from './harness/limits.ts'
import { type Core, cores, findRuntime, type Runtime } from './harness/runtimes.ts'
import { skipLoudly } from './harness/tools.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const here: Runtime = { command: process.execPath, args: [] }
const prefix = temporary()
const installed = join(prefix, 'lib/node_modules/gta-edge')

function run(command: string, args: string[], env: Record<string, string> = {}): string {
  const ended = spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout: limit(600),
  })
  assert.is(ended.status, 0, `${command} ${args.join(' ')}: ${ended.stdout}${ended.stderr}${limitNote(ended, 600)}`)
  return ended.stdout
}

interface Story {
  tokens: number[]
  text: string
  logitsHash: string
  engine: string
}

function install(): void {
  const [packed] = JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', prefix]))
  const offline = ['--offline', '--no-audit', '--no-fund']
  run('npm', ['install', '-g', ...offline, '--prefix', prefix, join(prefix, packed.filename)])
}

/** A story of the embedded model by the installed command. */
const tell = ({ command, args }: Runtime): Story =>
  JSON.parse(
    run(command, [...args, join(installed, 'dist/gta.mjs'), 'run', '-n', '40', '-s', '1', '-t', '2', '--json']),
  )

let expected: Story | undefined
const story = () => {
  expected ??= tell(here)
  assert.is(expected.tokens.length, 40)
  return expected
}

function boardTest(core: Core, name: string, check: (runtime: Runtime) => void): void {
  const runtime = findRuntime(core)
  if (typeof runtime === 'string') skipLoudly(`emulated ${cores[core]}, ${name}`, runtime)
  else test(`emulated ${cores[core]}: ${name}`, () => check(runtime))
}

const boards = ['a76', 'a72'] as const
for (const core of boards) {
  boardTest(core, 'the installed command tells the same story', (runtime) => {
    const { engine, tokens, text, logitsHash } = tell(runtime)
    assert.is(engine, 'wasm relaxed-simd, 2 threads')
    assert.equal([tokens, text, logitsHash], [story().tokens, story().text, story().logitsHash])
  })

  boardTest(core, 'gta.wasm on node:wasi, installed, in both builds', ({ command, args }) => {
    for (const build of ['relaxed', 'strict']) {
      const given = ['wasi', '--build', build, '--', '-p', 'Once upon a time', '-n', '40', '-s', '1']
      const output = run(command, [...args, join(installed, 'dist/gta.mjs'), ...given])
      assert.is(output, `Once upon a time${story().text}\n`, build)
    }
  })

  boardTest(core, core === 'a76' ? 'V8 uses dot products' : 'there are no dot products to use', () => {
    const code = compile(join(installed, 'dist/gta-relaxed.wasm'), core)
    const sdot = code.flatMap(({ instructions }) => instructions).filter(({ text }) => text.startsWith('sdot')).length
    assert.is(sdot > 0, core === 'a76', `${sdot} SDOT`)
  })
}

if (boards.some((core) => typeof findRuntime(core) !== 'string')) test.before(install)
test.run()
