/**
 * The npm package as a user gets it: how large it is, what is in it, and programs compiled against it.
 * package-nodes.test.ts installs and runs it.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { limits, type Package, packPackage, sizeTable } from '../bench/package.ts'
import { defaultModel, load } from '../host/index.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { browserTypes, compile, nodeTypes } from './harness/consumer.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const folder = temporary()
/** Where the package is unpacked for all that is not about installing. */
const consumer = join(folder, 'consumer')
const installed = join(consumer, 'node_modules/gta-edge')
let packed: Package

test.before(() => {
  packed = packPackage(folder)
  mkdirSync(dirname(installed), { recursive: true })
  renameSync(packed.folder, installed)
  writeFileSync(join(consumer, 'package.json'), '{ "type": "module" }')
})

test('at most 12 MB, and 2.5 MB without the weights of the stories model; npm run size shows what they are made of', () => {
  const table = sizeTable(packed)
  const size = (name: string) =>
    Number(table.match(new RegExp(`^\\| ${name} \\| \\d+ \\| ([\\d.]+) MB \\|$`, 'm'))?.[1])
  assert.is(size('stories model'), Number((statSync(defaultModel).size / 1e6).toFixed(3)))
  const names = ['stories model', 'modules, kernels inside', 'gta\\.wasm', 'source maps', 'declarations', 'configs of the papers', 'texts, licences, unit'] // biome-ignore format: one line
  const sum = names.reduce((total, name) => total + size(name), 0)
  assert.ok(Math.abs(sum - packed.unpackedSize / 1e6) < 0.01, table)
  assert.ok(packed.size <= limits.packed && limits.packed === 12e6, table)
  assert.ok(packed.withoutModel <= limits.withoutModel && limits.withoutModel === 2.5e6, table)
})

test('npm builds where nothing is built: for a tarball, and for an installation from git, which runs only prepare', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  for (const name of ['prepack', 'prepare']) assert.is(scripts[name], scripts.build, name)
})

test('no scripts at installation, no other packages, nothing that is not for users', () => {
  const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
  for (const name of ['preinstall', 'install', 'postinstall']) assert.is(manifest.scripts[name], undefined, name)
  for (const name of ['dependencies', 'optionalDependencies', 'bundleDependencies'])
    assert.is(manifest[name], undefined, name)
  // WebGPU for Node, and a client of queues, are there for who asks for them.
  const peers = ['@nats-io/jetstream', '@nats-io/transport-node', 'webgpu']
  assert.equal(Object.keys(manifest.peerDependencies), peers)
  assert.equal(manifest.peerDependenciesMeta, Object.fromEntries(peers.map((name) => [name, { optional: true }])))
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
    'dist/node-red/package.json',
    'dist/node-red/gta-edge.js',
    'dist/node-red/locales/en-US/gta-edge.json',
  ])
    assert.ok(paths.includes(path), path)
  const strange = paths.filter((path) =>
    /^(host\/(?!systemd\/)|(assembly|test|bench)\/)|web(?!gpu)|engine-.*\.wasm$|debug|types\/(test|bench)/.test(path),
  )
  assert.equal(strange, [])
  // Whatever the manifest promises is there.
  const promised = JSON.stringify([manifest.exports, manifest.bin]).match(/dist\/[^"]+/g) ?? []
  for (const path of promised) assert.ok(existsSync(join(installed, path)), path)
  for (const name of ['@huggingface/tokenizers', '@huggingface/jinja', '@assemblyscript/loader'])
    assert.match(readFileSync(join(installed, 'dist/LICENSES.txt'), 'utf8'), name)
})

test('a queue needs a client, which the package does not bring: a sentence says which', () => {
  writeFileSync(join(folder, 'none.jsonl'), '')
  const args = [join(installed, 'dist/gta.mjs'), 'submit', join(folder, 'none.jsonl'), '--nats', 'nats://127.0.0.1:1']
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  assert.is(status, 1)
  assert.match(
    stderr,
    /^gta: a queue needs the packages @nats-io.transport-node and @nats-io.jetstream, found none: run "npm install/,
  )
})

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
  return generation.tokens.length + spec.order.length + analysis.plan.bytes + report.results.length + results.max_length
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

/** A program that loads the embedded model and tells a story, bundled and minified by esbuild. */
const story = `import { load } from 'gta-edge'
const model = await load(process.argv[2])
for await (const text of model.generate('Once', { maxTokens: 3, temperature: 0 })) process.stdout.write(text)
await model.close()`

/** Bundles `story` into a folder; the sizes of what was written. */
async function bundle(name: string, splitting: boolean): Promise<{ path: string; sizes: Map<string, number> }> {
  const outdir = join(folder, name)
  const { metafile } = await build({
    absWorkingDir: consumer,
    stdin: { contents: story, resolveDir: consumer, sourcefile: 'program.js' },
    bundle: true,
    minify: true,
    metafile: true,
    outdir,
    outExtension: { '.js': '.mjs' },
    platform: 'node',
    format: 'esm',
    splitting,
  })
  const sizes = new Map(Object.entries(metafile.outputs).map(([path, { bytes }]) => [basename(path), bytes]))
  const program = Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint === 'program.js')
  return { path: join(outdir, basename(program?.[0] as string)), sizes }
}

test('a program that loads a packed model and generates reads 270 kB, kernels and all; in one file it has 770 kB', async () => {
  const { path, sizes } = await bundle('split', true)
  const coverage = join(folder, 'coverage')
  const env = { ...process.env, NODE_V8_COVERAGE: coverage }
  const { status, stdout, stderr } = spawnSync(process.execPath, [path, fileURLToPath(defaultModel)], {
    env,
    encoding: 'utf8',
  })
  assert.is(status, 0, stderr)
  assert.ok(stdout.length > 3, stdout)
  // V8 lists every script that was loaded, in threads too.
  const read = new Set<string>()
  for (const file of readdirSync(coverage))
    for (const { url } of JSON.parse(readFileSync(join(coverage, file), 'utf8')).result as { url: string }[])
      if (sizes.has(basename(url))) read.add(basename(url))
  const bytes = [...read].reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0)
  assert.ok(read.size > 5 && bytes > 150e3 && bytes <= 270e3, `${bytes} bytes in ${[...read].join(' ')}`)
  // The process of a chat template, GGUF, SentencePiece, conversion, forms and the engine for GPUs are inside too.
  const whole = [...(await bundle('whole', false)).sizes.values()].reduce((sum, size) => sum + size, 0)
  assert.ok(whole > 250e3 && whole <= 770e3, `${whole} bytes in one file`)
})

test.run()
