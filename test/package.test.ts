/**
 * The npm package as a user gets it: how large it is, what is in it, and programs compiled against it.
 * package-nodes.test.ts installs and runs it.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { limits, type Package, packPackage, sizeTable } from '../bench/package.ts'
import { defaultModel, load } from '../host/index.ts'
import { temporary } from './checkpoints.ts'
import { browserTypes, compile, nodeTypes } from './consumer.ts'

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

const useTypes = `
export async function tell(): Promise<number> {
  const model: Model = await load('x.gta', { threads: 2, cache: 'int8', onProgress: ({ done, total }) => void (done / total) })
  const conversation = model.open({ contextPolicy: 'window' })
  const iterator = conversation.generate('Once', { temperature: 0.5, stop: ['.'], signal: new AbortController().signal })
  let step = await iterator.next()
  while (!step.done) step = await iterator.next()
  const generation: Generation = step.value
  const { spec } = describe({})
  try { await conversation.save('x.gtas') } catch (error) { if (error instanceof GtaError && error.code === 'WRITE_FAILED') return 1 }
  // @ts-expect-error an option that is not there
  await load('x.gta', { thread: 2 })
  return generation.tokens.length + spec.nLayers
}
`

test('types: a strict consumer with @types/node, as an ES module and as CommonJS', () => {
  const imports = `import { type Generation, GtaError, load, type Model } from 'gta-edge'
import { describe } from 'gta-edge/models'\n${useTypes}`
  const required = `import gta = require('gta-edge')
import models = require('gta-edge/models')
type Generation = gta.Generation
type Model = gta.Model
const { GtaError, load } = gta
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

test('the package is the library of the sources', async () => {
  const names = Object.keys(await import(`${installed}/dist/index.mjs`)).sort()
  const sources = Object.keys(await import('../host/index.ts')).sort()
  assert.equal(names, sources)
  assert.is(typeof load, 'function')
})

test.run()
