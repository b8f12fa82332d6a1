/**
 * The npm package as a user gets it: packed, installed offline by every version of Node that can be had here, run,
 * imported, required, compiled against, and its README tried out.
 */
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { defaultModel, load } from '../host/index.ts'
import { browserTest, launchBrowser } from './browsers.ts'
import { temporary } from './checkpoints.ts'
import { nodeBinary, nodeVersions } from './node-versions.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const readme = readFileSync(`${root}README.md`, 'utf8')
const folder = temporary()
/** Where the package is unpacked for all that is not about installing. */
const consumer = join(folder, 'consumer')
const installed = join(consumer, 'node_modules/gta-edge')
let tarball: string
let packed: { size: number; unpackedSize: number; files: { path: string; size: number }[] }

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
  const [result] = JSON.parse(
    run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: root }),
  )
  packed = result
  tarball = join(folder, result.filename)
  mkdirSync(installed, { recursive: true })
  run('tar', ['xzf', tarball, '--strip-components=1', '-C', installed])
  writeFileSync(join(consumer, 'package.json'), '{ "type": "module" }')
  copyFileSync(defaultModel, join(consumer, 'my-gta.gta'))
})

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(2)} MB`.padStart(10)

test('at most 12 MB, and 2 MB without the weights of the stories model', () => {
  const stories = 'models/stories/stories.gta'
  run('tar', ['czf', 'without.tgz', `--exclude=${stories}`, '-C', installed, '.'])
  const without = statSync(join(folder, 'without.tgz')).size
  const groups: [string, RegExp][] = [
    ['stories model', /^models\/stories\/stories\.gta$/],
    ['modules, kernels inside', /^dist\/[^/]*\.[cm]js$/],
    ['source maps', /\.map$/],
    ['declarations', /\.d\.ts$/],
  ]
  const groupOf = (path: string) => groups.find(([, pattern]) => pattern.test(path))?.[0] ?? 'configs and texts'
  const sizes = new Map<string, number>()
  for (const { path, size } of packed.files) sizes.set(groupOf(path), (sizes.get(groupOf(path)) ?? 0) + size)
  const rows = [
    ...[...sizes].sort(([, a], [, b]) => b - a),
    ['unpacked', packed.unpackedSize],
    ['packed', packed.size],
    ['packed, without the model', without],
  ] as [string, number][]
  console.log(rows.map(([name, size]) => `${name.padEnd(26)}${megabytes(size)}`).join('\n'))
  assert.ok(packed.size <= 12e6, `${packed.size} bytes`)
  assert.ok(without <= 2e6, `${without} bytes without the model`)
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
  ])
    assert.ok(paths.includes(path), path)
  const strange = paths.filter((path) =>
    /^(host|assembly|test|bench)\/|web|engine-.*\.wasm$|debug|types\/(test|bench)/.test(path),
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
    console.error(
      `SKIPPED, NO NODE ${major} (npm pack node-linux-${process.arch} failed): installing the package on it`,
    )
    continue
  }
  test(`Node ${major}: npm i -g of the tarball works offline; command, import and require say the same`, () => {
    const prefix = join(folder, `node-${major}`)
    const env = {
      PATH: `${dirname(node)}:${process.env.PATH}`,
      npm_config_cache: join(folder, 'empty-cache'),
      npm_config_update_notifier: 'false',
    }
    run(node, [npmCli(), 'install', '-g', '--offline', '--no-audit', '--no-fund', '--prefix', prefix, tarball], { env })
    assert.match(run(join(prefix, 'bin/gta'), ['--version'], { env }), /^\d+\.\d+\.\d+/)
    const found = JSON.parse(run(join(prefix, 'bin/gta'), story, { env }))
    assert.is(found.logitsHash, expected())
    const use = `const model = await load(defaultModel, { threads: 1 })
  const iterator = model.generate('Once upon a time', { maxTokens: 20, temperature: 0 })
  let step = await iterator.next()
  while (!step.done) step = await iterator.next()
  const error = await load('/nothing').catch((error) => error)
  console.log(step.value.logitsHash, error instanceof GtaError, version)
  await model.close()`
    const modules = join(prefix, 'lib/node_modules')
    writeFileSync(
      join(modules, 'import.mjs'),
      `import { defaultModel, GtaError, load, version } from 'gta-edge'
import { describe } from 'gta-edge/models'
if (typeof describe !== 'function') throw new Error('models')
${use}`,
    )
    writeFileSync(
      join(modules, 'require.cjs'),
      `const { defaultModel, GtaError, load, version } = require('gta-edge')
if (typeof require('gta-edge/models').describe !== 'function') throw new Error('models')
;(async () => { ${use} })()`,
    )
    // A folder named node_modules is where both find the package beside them.
    const imported = run(node, [join(modules, 'import.mjs')], { env })
    assert.match(imported, /^[0-9a-f]{16} true \d+\.\d+\.\d+/)
    assert.is(run(node, [join(modules, 'require.cjs')], { env }), imported)
  })
}

/** Compiles files of a consumer in strict mode, declarations of the package included. */
function compile(name: string, files: Record<string, string>, options: object): string {
  const project = join(folder, name)
  mkdirSync(join(project, 'node_modules/@types'), { recursive: true })
  symlinkSync(installed, join(project, 'node_modules/gta-edge'))
  for (const type of ['@types/node', 'undici-types'])
    symlinkSync(`${root}node_modules/${type}`, join(project, 'node_modules', type))
  for (const [file, text] of Object.entries(files)) writeFileSync(join(project, file), text)
  const compilerOptions = { strict: true, noEmit: true, skipLibCheck: false, target: 'ES2022', ...options }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: Object.keys(files) }))
  writeFileSync(join(project, 'package.json'), '{}')
  const { status, stdout } = spawnSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', project], {
    encoding: 'utf8',
    timeout: 120_000,
  })
  return status === 0 ? '' : stdout
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
  const node = { lib: ['ES2024', 'ESNext.Disposable'], types: ['node'] }
  const nodeNext = { ...node, module: 'NodeNext', moduleResolution: 'NodeNext' }
  assert.is(compile('types-node', { 'a.mts': imports, 'b.cts': required, 'c.cts': imports }, nodeNext), '')
  const node16 = { ...node, module: 'Node16', moduleResolution: 'Node16' }
  assert.is(compile('types-node16', { 'a.mts': imports, 'b.cts': required }, node16), '')
  const bundler = { ...node, module: 'ESNext', moduleResolution: 'bundler' }
  assert.is(compile('types-bundler', { 'a.ts': imports }, bundler), '')
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
  const options = {
    lib: ['ES2024', 'ESNext.Disposable', 'DOM', 'DOM.Iterable'],
    types: [],
    module: 'ESNext',
    moduleResolution: 'bundler',
  }
  assert.is(compile('types-browser', { 'a.ts': source }, options), '')
})

/** Fenced blocks of TypeScript and JavaScript. */
const snippets = [...readme.matchAll(/^```(ts|js)\n(.*?)^```/gms)].map(([, kind, text]) => ({
  kind: kind as string,
  text: text as string,
}))

test('the snippets of the README run', () => {
  const forNode = snippets.filter(({ text }) => !text.includes('gta-edge/browser'))
  assert.ok(forNode.length >= 2)
  for (const [i, { kind, text }] of forNode.entries()) {
    // One import for those that go on from an earlier one.
    const file = join(consumer, `snippet-${i}.${kind}`)
    writeFileSync(file, text.includes("from 'gta-edge'") ? text : `import { load } from 'gta-edge'\n${text}`)
    const output = run(process.execPath, ['--disable-warning=ExperimentalWarning', file], { cwd: consumer })
    assert.ok(output.length > 100, `${file}: ${output}`)
  }
  assert.ok(existsSync(join(consumer, 'fox.gtas')))
})

browserTest('the snippet for browsers runs in one', async () => {
  const [snippet] = snippets.filter(({ text }) => text.includes('gta-edge/browser'))
  const html = `<!doctype html><link rel="icon" href="data:,"><script type="importmap">{"imports": {"gta-edge/browser": "/browser.mjs"}}</script>
<body><script type="module">${snippet?.text}\ndocument.body.dataset.done = 'yes'</script>`
  const files: Record<string, [string, string | Uint8Array]> = {
    '/': ['text/html', html],
    '/browser.mjs': ['text/javascript', readFileSync(join(installed, 'dist/browser.mjs'))],
    '/browser-worker.mjs': ['text/javascript', readFileSync(join(installed, 'dist/browser-worker.mjs'))],
    '/my-gta.gta': ['application/octet-stream', readFileSync(defaultModel)],
  }
  const server = createServer((request, response) => {
    const [type, body] = files[request.url ?? ''] ?? ['text/plain', 'no']
    response.writeHead(200, { 'content-type': type }).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const browser = await launchBrowser()
  try {
    const page = await browser?.newPage()
    await page?.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    await page?.waitForSelector('body[data-done]', { timeout: 60_000 })
    assert.ok(((await page?.innerText('body')) ?? '').length > 100)
  } finally {
    await browser?.close()
    server.close()
    server.closeAllConnections()
  }
})

test('the package is the library of the sources', async () => {
  const names = Object.keys(await import(`${installed}/dist/index.mjs`)).sort()
  const sources = Object.keys(await import('../host/index.ts')).sort()
  assert.equal(names, sources)
  assert.is(typeof load, 'function')
})

test.run()
