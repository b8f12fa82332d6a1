/**
 * The npm package as a user gets it: packed, installed offline by every version of Node that can be had here, run,
 * imported, required, and compiled against.
 */
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BuildOptions, build } from 'esbuild'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { limits, type Package, packPackage, sizeTable } from '../bench/package.ts'
import { defaultModel, load } from '../host/index.ts'
import { temporary } from './checkpoints.ts'
import { browserTypes, compile, nodeTypes } from './consumer.ts'
import { nodeBinary, nodeVersions } from './node-versions.ts'
import { skipLoudly } from './tools.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const folder = temporary()
/** Where the package is unpacked for all that is not about installing. */
const consumer = join(folder, 'consumer')
const installed = join(consumer, 'node_modules/gta-edge')
let packed: Package

interface RunOptions {
  cwd?: string
  env?: Record<string, string>
}

/** What a program writes; it must end well. */
function run(command: string, args: string[], { cwd = folder, env = {} }: RunOptions = {}): string {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout: 120_000,
  })
  assert.is(status, 0, `${command} ${args.join(' ')}: ${stdout}${stderr}`)
  return stdout
}

/** npm as a file that any Node can run. */
const npmCli = () => process.env.npm_execpath ?? realpathSync(run('which', ['npm']).trim())

test.before(() => {
  packed = packPackage(folder)
  mkdirSync(dirname(installed), { recursive: true })
  renameSync(packed.folder, installed)
  writeFileSync(join(consumer, 'package.json'), '{ "type": "module" }')
  copyFileSync(defaultModel, join(consumer, 'my-gta.gta'))
})

test('at most 12 MB, and 2 MB without the weights of the stories model; npm run size shows what they are made of', () => {
  const table = sizeTable(packed)
  const size = (name: string) =>
    Number(table.match(new RegExp(`^\\| ${name} \\| \\d+ \\| ([\\d.]+) MB \\|$`, 'm'))?.[1])
  assert.is(size('stories model'), Number((statSync(defaultModel).size / 1e6).toFixed(3)))
  const names = ['stories model', 'modules, kernels inside', 'gta\\.wasm', 'source maps', 'declarations', 'configs of the papers', 'texts, licences, unit'] // biome-ignore format: one line
  const sum = names.reduce((total, name) => total + size(name), 0)
  assert.ok(Math.abs(sum - packed.unpackedSize / 1e6) < 0.01, table)
  assert.ok(packed.size <= limits.packed && limits.packed === 12e6, table)
  assert.ok(packed.withoutModel <= limits.withoutModel && limits.withoutModel === 2e6, table)
})

test('no scripts at installation, no other packages, nothing that is not for users', () => {
  const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare'])
    assert.is(manifest.scripts[name], undefined, name)
  for (const name of ['dependencies', 'optionalDependencies', 'peerDependencies', 'bundleDependencies'])
    assert.is(manifest[name], undefined, name)
  const paths = packed.files.map(({ path }) => path)
  for (const path of [
    'README.md',
    'LICENSE',
    'dist/LICENSES.txt',
    'dist/gta.mjs',
    'dist/index.cjs',
    'dist/library.cjs',
    'dist/browser-worker.mjs',
    'host/systemd/gta-edge@.service',
    'host/systemd/README.md',
  ])
    assert.ok(paths.includes(path), path)
  const strange = paths.filter((path) =>
    /^(host\/(?!systemd\/)|(assembly|test|bench)\/)|web|engine-.*\.wasm$|debug|types\/(test|bench)/.test(path),
  )
  assert.equal(strange, [])
  // Whatever the manifest promises is there.
  const promised = JSON.stringify([manifest.exports, manifest.bin]).match(/dist\/[^"]+/g) ?? []
  for (const path of promised) assert.ok(existsSync(join(installed, path)), path)
  for (const name of ['@huggingface/tokenizers', '@huggingface/jinja', '@assemblyscript/loader'])
    assert.match(readFileSync(join(installed, 'dist/LICENSES.txt'), 'utf8'), name)
})

const story = ['run', '-n', '20', '-s', '1', '--json']
const hashOf = (json: string) => JSON.parse(json).logitsHash as string
let expectedHash: string | undefined
/** What the sources say. */
const expected = () => {
  expectedHash ??= hashOf(run(process.execPath, [`${root}host/cli/gta.ts`, ...story]))
  return expectedHash
}

for (const [major, version] of Object.entries(nodeVersions)) {
  const node = nodeBinary(version)
  if (!node) {
    skipLoudly(`the package on Node ${major}`, `npm pack node-linux-${process.arch} failed`)
    continue
  }
  test(`Node ${major}: npm i -g of the tarball works offline; command, import and require say the same`, () => {
    const prefix = join(folder, `node-${major}`)
    const env = {
      PATH: `${dirname(node)}:${process.env.PATH}`,
      npm_config_cache: join(folder, 'empty-cache'),
      npm_config_update_notifier: 'false',
    }
    run(node, [npmCli(), 'install', '-g', '--offline', '--no-audit', '--no-fund', '--prefix', prefix, packed.tarball], {
      env,
    })
    assert.match(run(join(prefix, 'bin/gta'), ['--version'], { env }), /^\d+\.\d+\.\d+/)
    const found = JSON.parse(run(join(prefix, 'bin/gta'), story, { env }))
    assert.is(found.logitsHash, expected())
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
  })
}

const useTypes = `
export async function tell(): Promise<number> {
  const model: Model = await load('x.gta', { threads: 2, cache: 'int8', onProgress: ({ done, total }) => void (done / total) })
  const conversation = model.open({ contextPolicy: 'window' })
  const iterator = conversation.generate('Once', { temperature: 0.5, stop: ['.'], signal: new AbortController().signal })
  let step = await iterator.next()
  while (!step.done) step = await iterator.next()
  const generation: Generation = step.value
  const { spec } = describe({})
  const analysis: Analysis = new Analysis(describe({}), findHardware('pi5'))
  const report: BenchReport = await bench({ model: 'x.gta', repetitions: 1 })
  const results: TaskResults = await evaluateTasks(model, await findTasks(['piqa']))
  try { await conversation.save('x.gtas') } catch (error) { if (error instanceof GtaError && error.code === 'WRITE_FAILED') return 1 }
  // @ts-expect-error an option that is not there
  await load('x.gta', { thread: 2 })
  // @ts-expect-error a name of the tools is none of the library
  type Tool = typeof import('gta-edge').Analysis
  return generation.tokens.length + spec.nLayers + analysis.plan.bytes + report.results.length + results.max_length
}
`

test('types: a strict consumer with @types/node, as an ES module and as CommonJS', () => {
  const imports = `import { type Generation, GtaError, load, type Model } from 'gta-edge'
import { Analysis, findHardware } from 'gta-edge/analyze'
import { type BenchReport, bench } from 'gta-edge/bench'
import { evaluateTasks, findTasks, type TaskResults } from 'gta-edge/evaluate'
import { describe } from 'gta-edge/models'\n${useTypes}`
  const required = `import gta = require('gta-edge')
import models = require('gta-edge/models')
import analyze = require('gta-edge/analyze')
import benchmarks = require('gta-edge/bench')
import evaluation = require('gta-edge/evaluate')
type Generation = gta.Generation
type Model = gta.Model
type Analysis = analyze.Analysis
type BenchReport = benchmarks.BenchReport
type TaskResults = evaluation.TaskResults
const { GtaError, load } = gta
const { Analysis, findHardware } = analyze
const { bench } = benchmarks
const { evaluateTasks, findTasks } = evaluation
const { describe } = models\n${useTypes}`
  const nodeNext = { ...nodeTypes, module: 'NodeNext', moduleResolution: 'NodeNext' }
  assert.is(
    compile(join(folder, 'types-node'), installed, { 'a.mts': imports, 'b.cts': required, 'c.cts': imports }, nodeNext),
    '',
  )
  const node16 = { ...nodeTypes, module: 'Node16', moduleResolution: 'Node16' }
  assert.is(compile(join(folder, 'types-node16'), installed, { 'a.mts': imports, 'b.cts': required }, node16), '')
  const bundler = { ...nodeTypes, module: 'ESNext', moduleResolution: 'bundler' }
  assert.is(compile(join(folder, 'types-bundler'), installed, { 'a.ts': imports }, bundler), '')
})

test('types: gta-edge/browser without @types/node', () => {
  const source = `import { type EngineFacts, type Generation, GtaError, load, type Model } from 'gta-edge/browser'
export async function tell(): Promise<EngineFacts> {
  const model: Model = await load('/x.gta', { onProgress: ({ done }) => void done, workerUrl: '/w.mjs' })
  await using conversation = await model.open()
  const { value } = await conversation.generate('Once', { seed: 1 }).next()
  const text: string | Generation = value
  // @ts-expect-error there are no files
  model.restore('x')
  if (!text) throw new GtaError('CLOSED', 'x')
  return model.engine
}`
  const options = { ...browserTypes, module: 'ESNext', moduleResolution: 'bundler' }
  assert.is(compile(join(folder, 'types-browser'), installed, { 'a.ts': source }, options), '')
})

test('the package is the library and the tools of the sources', async () => {
  const entries = {
    index: () => import('../host/index.ts'),
    analyze: () => import('../host/tools/analyze/index.ts'),
    bench: () => import('../host/tools/bench/index.ts'),
    evaluate: () => import('../host/tools/evaluate/index.ts'),
    models: () => import('../models/index.ts'),
  }
  const required = createRequire(join(installed, 'package.json'))
  for (const [name, read] of Object.entries(entries)) {
    const sources = Object.keys(await read()).sort()
    assert.equal(Object.keys(await import(`${installed}/dist/${name}.mjs`)).sort(), sources)
    assert.equal(Object.keys(required(`./dist/${name}.cjs`)).sort(), sources)
  }
  assert.is(typeof load, 'function')
})

/** A program that only loads a model, bundled: bytes of all of it, and of what it reads before it loads one. */
async function bundleSizes(
  options: Pick<BuildOptions, 'minify' | 'splitting'>,
): Promise<{ all: number; atStart: number }> {
  const { metafile } = await build({
    absWorkingDir: consumer,
    stdin: { contents: "export { load } from 'gta-edge'", resolveDir: consumer, sourcefile: 'program.js' },
    bundle: true,
    write: false,
    metafile: true,
    outdir: 'bundle',
    platform: 'node',
    format: 'esm',
    ...options,
  })
  const outputs = new Map(Object.entries(metafile.outputs))
  const sizeOf = (paths: Iterable<string>) => [...paths].reduce((sum, path) => sum + (outputs.get(path)?.bytes ?? 0), 0)
  const started = new Set([...outputs.keys()].filter((path) => outputs.get(path)?.entryPoint === 'program.js'))
  assert.is(started.size, 1)
  for (const path of started)
    for (const { path: target, kind } of outputs.get(path)?.imports ?? [])
      if (kind === 'import-statement' && outputs.has(target)) started.add(target)
  return { all: sizeOf(outputs.keys()), atStart: sizeOf(started) }
}

test('a program that loads a model has at most 250 kB: in one file, minified; and as it is, before it loads one', async () => {
  const { all } = await bundleSizes({ minify: true })
  assert.ok(all > 150e3 && all <= 250e3, `${all} bytes minified, kernels and all`)
  const { atStart } = await bundleSizes({ splitting: true })
  assert.ok(atStart > 50e3 && atStart <= 250e3, `${atStart} bytes at the start`)
})

test.run()
