/**
 * The npm package as a user gets it: installed offline by every version of Node that is here, run, imported and required.
 */
import { spawnSync } from 'node:child_process'
import { realpathSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packPackage } from '../bench/package.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { limit, limitNote } from './harness/limits.ts'
import { nodeBinary, nodeVersions } from './harness/node-versions.ts'
import { skipLoudly } from './harness/tools.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const folder = temporary()
const { tarball } = packPackage(folder)

interface RunOptions {
  cwd?: string
  env?: Record<string, string>
}

/** What a program writes; it must end well. */
function run(command: string, args: string[], { cwd = folder, env = {} }: RunOptions = {}): string {
  const ended = spawnSync(command, args, {
    cwd,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout: limit(300),
  })
  assert.is(ended.status, 0, `${command} ${args.join(' ')}: ${ended.stdout}${ended.stderr}${limitNote(ended, 300)}`)
  return ended.stdout
}

/** npm as a file that any Node can run. */
const npmCli = () => process.env.npm_execpath ?? realpathSync(run('which', ['npm']).trim())

const story = ['run', '-n', '20', '-s', '1', '--json']
const hashOf = (json: string) => JSON.parse(json).logitsHash as string
let expectedHash: string | undefined
/** What the sources say. */
const expected = () => {
  expectedHash ??= hashOf(run(process.execPath, [`${root}host/cli/gta.ts`, ...story]))
  return expectedHash
}

for (const [major, version] of Object.entries(nodeVersions)) {
  const node = nodeBinary(version, { fetch: false })
  const name = `Node ${major}: npm i -g of the tarball works offline; command, import and require say the same`
  if (!node) {
    skipLoudly(name, `Node ${version} is not here (npm run nodes)`)
    continue
  }
  test(name, () => {
    const prefix = join(folder, `node-${major}`)
    const env = {
      PATH: `${dirname(node)}:${process.env.PATH}`,
      npm_config_cache: join(folder, 'empty-cache'),
      npm_config_update_notifier: 'false',
    }
    run(node, [npmCli(), 'install', '-g', '--offline', '--no-audit', '--no-fund', '--prefix', prefix, tarball], {
      env,
    })
    assert.match(run(join(prefix, 'bin/gta'), ['--version'], { env }), /^\d+\.\d+\.\d+/)
    const found = JSON.parse(run(join(prefix, 'bin/gta'), story, { env }))
    assert.is(found.logitsHash, expected())
    assert.match(found.engine, /^wasm relaxed-simd/)
    const use = `const model = await load(defaultModel, { threads: 1 })
  const iterator = model.generate('Once upon a time', { maxTokens: 20, temperature: 0 })
  let step = await iterator.next()
  while (!step.done) step = await iterator.next()
  const error = await load('/nothing').catch((error) => error)
  let badModel
  try { describe({}) } catch (error) { badModel = error }
  const isOne = error instanceof GtaError && badModel instanceof GtaError && badModel.code === 'BAD_MODEL'
  console.log(step.value.logitsHash, isOne, version)
  await model.close()`
    const modules = join(prefix, 'lib/node_modules')
    writeFileSync(
      join(modules, 'import.mjs'),
      `import { defaultModel, GtaError, load, version } from 'gta-edge'
import { describe } from 'gta-edge/models'
import { Analysis } from 'gta-edge/analyze'
import { bench } from 'gta-edge/bench'
import { evaluateTasks } from 'gta-edge/evaluate'
for (const found of [describe, Analysis, bench, evaluateTasks]) if (typeof found !== 'function') throw new Error('entry')
${use}`,
    )
    writeFileSync(
      join(modules, 'require.cjs'),
      `const { defaultModel, GtaError, load, version } = require('gta-edge')
const { describe } = require('gta-edge/models')
const found = [describe, require('gta-edge/analyze').Analysis, require('gta-edge/bench').bench, require('gta-edge/evaluate').evaluateTasks]
for (const each of found) if (typeof each !== 'function') throw new Error('entry')
;(async () => { ${use} })()`,
    )
    // A folder named node_modules is where both find the package beside them.
    const imported = run(node, [join(modules, 'import.mjs')], { env })
    assert.match(imported, /^[0-9a-f]{16} true \d+\.\d+\.\d+/)
    assert.is(run(node, [join(modules, 'require.cjs')], { env }), imported)
    // Node 20 accepts relaxed SIMD with its flag, and its first tier then computes other sums on x64.
    if (major === '20')
      assert.is(run(node, ['--experimental-wasm-relaxed-simd', join(modules, 'import.mjs')], { env }), imported)
  })
}

test.run()
