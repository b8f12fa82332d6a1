/**
 * Builds dist/: the engine with asc, the host with esbuild, type declarations with tsc; and writes models/registry.ts. Does
 * nothing when no source has changed since the last build; a new commit of the same sources is only written into the
 * host's modules.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { install, root } from './test/toolchain/install.mjs'

const models = new URL('models/', import.meta.url)
const stamp = `${root}dist/.built-from`
/** What the build is made from. */
const folders = ['assembly', 'host', 'models']
const files = ['build.mjs', 'package.json', 'asconfig.json', 'tsconfig.json']

export async function build() {
  install()
  writeRegistry()
  const fingerprint = hashSources()
  const commit = commitOfSources()
  const built = existsSync(stamp) ? readFileSync(stamp, 'utf8').split(' ') : []
  if (built[0] === fingerprint && built[1] === commit) return
  console.error('building …')
  if (built[0] === fingerprint) {
    for (const name of readdirSync(`${root}dist`)) if (/\.[cm]js(\.map)?$/.test(name)) rmSync(`${root}dist/${name}`)
    await buildHost(commit)
    writeFileSync(stamp, `${fingerprint} ${commit}`)
    return
  }
  rmSync(`${root}dist`, { recursive: true, force: true })
  mkdirSync(`${root}dist`)
  await buildEngines()
  await buildHost(commit)
  buildTypes()
  writeFileSync(stamp, `${fingerprint} ${commit}`)
}

/** The short hash of the commit, "-dirty" behind it if the sources differ from it; empty where this is no clone. */
function commitOfSources() {
  const git = (...args) => spawnSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  // Sources that only lie inside some other repository have no commit of their own.
  const [prefix, commit] = git('rev-parse', '--show-prefix', '--short', 'HEAD').stdout?.split('\n') ?? []
  if (prefix !== '' || !commit) return ''
  return commit + (git('status', '--porcelain', '--', ...folders, ...files).stdout ? '-dirty' : '')
}

function hashSources() {
  const hash = createHash('sha256')
  const inside = folders.flatMap((folder) =>
    readdirSync(`${root}${folder}`, { recursive: true })
      .filter((name) => /\.(ts|mjs|json|html|css|wgsl)$|^node-red.README/.test(name))
      .map((name) => `${folder}/${name}`),
  )
  for (const name of [...inside, ...files].sort()) hash.update(name).update(readFileSync(root + name))
  return hash.digest('hex')
}

/**
 * models/registry.ts: an import for each file of models/kinds/ and models/families/, so that a kind or a family is one file
 * and nothing else. Browsers and bundlers need static imports, which is why the list is not read at run time.
 */
export function registryText() {
  const files = ['kinds', 'families'].flatMap((folder) =>
    readdirSync(new URL(folder, models))
      .filter((file) => file.endsWith('.ts'))
      .sort()
      .map((file) => ({ path: `./${folder}/${file}`, name: file.slice(0, -3).replaceAll('-', '_') })),
  )
  const imports = [
    ...files.map(({ path, name }) => ({ path, line: `import { family as ${name} } from '${path}'` })),
    { path: './family.ts', line: "import type { Family } from './family.ts'" },
  ]
  return `/** Every kind and family: the files of kinds/ and families/. The build writes this list; it is not edited by hand. */
${imports
  .sort((a, b) => (a.path < b.path ? -1 : 1))
  .map(({ line }) => line)
  .join('\n')}

// biome-ignore format: written by a program
export const families: readonly Family[] = [
${files.map(({ name }) => `  ${name},`).join('\n')}
]
`
}

function writeRegistry() {
  const file = new URL('registry.ts', models)
  const text = registryText()
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text)
}

/** The engine's builds: the entry of each target in asconfig.json. */
const targets = {
  strict: 'assembly/index.ts',
  relaxed: 'assembly/index.ts',
  'strict-single': 'assembly/index.ts',
  'relaxed-single': 'assembly/index.ts',
  debug: 'assembly/debug.ts',
  'debug-relaxed': 'assembly/debug.ts',
  'wasi-strict': 'assembly/wasi.ts',
  'wasi-relaxed': 'assembly/wasi.ts',
  'wasi-tokenizer': 'assembly/wasi/tokenizer.ts',
  'wasi-debug': 'assembly/wasi/debug.ts',
}

/** Builds all of them into dist/, some at a time: each takes two seconds of one core. */
export async function buildEngines() {
  // asc resolves its configuration and entries from the working directory, which threads cannot change.
  process.chdir(root)
  const names = Object.keys(targets)
  // A thread needs some 400 MB.
  const threads = Math.min(3, availableParallelism())
  await Promise.all(
    Array.from({ length: threads }, (_, thread) => {
      const own = names.filter((_, i) => i % threads === thread)
      const worker = new Worker(fileURLToPath(import.meta.url), { workerData: own })
      return new Promise((done, reject) => {
        worker.on('error', reject)
        worker.on('exit', (code) => (code === 0 ? done() : reject(new Error(`asc ended with ${code}`))))
      })
    }),
  )
}

async function buildEngine(target) {
  const { main } = await import('assemblyscript/asc')
  const { error, stdout, stderr } = await main([targets[target], '--config', 'asconfig.json', '--target', target], {
    readFile: (name, base) => readSource(name, base, target),
  })
  if (stdout.toString()) console.error(stdout.toString())
  if (error) throw new Error(`asc ${target}: ${error.message}\n${stderr.toString()}`)
}

/**
 * A source for asc; null if there is none. In the command for WASI, which has no host, what the host gives to the engine
 * comes from another file, and its options are those of host/settings.ts.
 */
async function readSource(name, base, target) {
  const path = resolve(base, name)
  if (!existsSync(path)) return null
  const text = readFileSync(path, 'utf8')
  if (!target.startsWith('wasi-')) return text
  if (name === 'assembly/host.ts') return "export * from './wasi/host'\n"
  if (name !== 'assembly/wasi/option-table.ts') return text
  const { optionTableSource } = await importSource('host/wasi/option-table.ts')
  return optionTableSource(JSON.parse(readFileSync(`${root}package.json`, 'utf8')).version)
}

/** A module of the host; Node 20, which may be the one that builds, reads no TypeScript. */
async function importSource(path) {
  const { build } = await import('esbuild')
  const options = { absWorkingDir: root, bundle: true, write: false, format: 'esm', platform: 'node' }
  const { outputFiles } = await build({ ...options, entryPoints: [path] })
  return await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`)
}

/** What all bundles have in common. Nothing is left outside but `webgpu` and NATS, which host/platform/gpu.ts and host/fleet/queue/connect.ts import if a GPU or a queue is asked for: an installed package needs no other. */
const bundled = (commit, kernels, platform) => ({
  platform,
  absWorkingDir: root,
  outdir: 'dist',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  format: 'esm',
  define: { GTA_VERSION: JSON.stringify(manifest().version), GTA_COMMIT: JSON.stringify(commit) },
  plugins: [embedKernels(kernels, platform === 'node'), embedPrograms, embedTexts],
  loader: { '.html': 'text', '.css': 'text' },
  legalComments: 'inline',
  logLevel: 'warning',
})

const manifest = () => JSON.parse(readFileSync(`${root}package.json`, 'utf8'))

/**
 * The engine's modules inside the bundle, where sources read files: each is decoded when it is asked for. They are compressed to
 * a third, which takes half a millisecond to undo; browsers have no brotli for programs, but gzip.
 */
function embedKernels(names, isNode) {
  const load = names.map((name) => `${JSON.stringify(name)}: () => import(${JSON.stringify(`./dist/${name}`)})`)
  const unpacked = isNode
    ? 'new Uint8Array(brotliDecompressSync(kernel))'
    : "new Uint8Array(await new Response(new Blob([kernel]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer())"
  const contents = `${isNode ? "import { brotliDecompressSync } from 'node:zlib'" : ''}
const kernels = { ${load.join(', ')} }
export const readKernel = async (file) => {
  const { default: kernel } = await kernels[file]()
  return ${unpacked}
}`
  return {
    name: 'kernels',
    setup({ onLoad }) {
      onLoad({ filter: /platform.kernels\.ts$/ }, () => ({ contents, resolveDir: root }))
      onLoad({ filter: /\.wasm$/ }, ({ path }) => {
        const kernel = readFileSync(path)
        return { contents: isNode ? brotliCompressSync(kernel) : gzipSync(kernel, { level: 9 }), loader: 'binary' }
      })
    },
  }
}

/** What programs import: `gta-edge`, `gta-edge/analyze`, … */
const entries = {
  index: 'host/index.ts',
  analyze: 'host/tools/analyze/index.ts',
  bench: 'host/tools/bench/index.ts',
  evaluate: 'host/tools/evaluate/index.ts',
  models: 'models/index.ts',
}

/** What a module that has nothing but texts says of each: its name, and the file that it comes from. */
function readTextModule(path, call) {
  const source = readFileSync(path, 'utf8')
  const pattern = new RegExp(`^export const (\\w+) = ${call}\\(import\\.meta\\.url, '([^']+)'\\)$`, 'gm')
  const texts = [...source.matchAll(pattern)]
  if (texts.length !== source.match(/^export /gm)?.length) throw new Error(`${path} must have nothing but texts`)
  return texts.map(([, name, file]) => ({ name, file }))
}

/** The texts of pages inside the bundle, where sources read files: each texts.ts, or …-texts.ts, says which ones it has. */
const embedTexts = {
  name: 'texts',
  setup({ onLoad }) {
    onLoad({ filter: /[/\\](\w+-)?texts\.ts$/ }, ({ path }) => {
      const texts = readTextModule(path, 'readText')
      const contents = texts.map(({ name, file }) => `export { default as ${name} } from '${file}'`).join('\n')
      return { contents, resolveDir: dirname(path) }
    })
    // Without comments and indents; lines stay, because errors of a shader name them.
    onLoad({ filter: /\.wgsl$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(/\/\/.*$|^ +/gm, ''),
      loader: 'text',
    }))
  },
}

/** The same for programs of threads and processes, each a bundle of its own: programs.ts. */
const embedPrograms = {
  name: 'programs',
  setup({ onLoad, esbuild }) {
    const options = { bundle: true, write: false, minify: true, format: 'cjs', platform: 'node', target: 'node20' }
    onLoad({ filter: /[/\\]programs\.ts$/ }, async ({ path }) => {
      const programs = readTextModule(path, 'programText').map(async ({ name, file }) => {
        const entryPoints = [resolve(dirname(path), file)]
        const { outputFiles } = await esbuild.build({ ...options, absWorkingDir: root, entryPoints })
        return `export const ${name} = ${JSON.stringify(outputFiles[0].text)}`
      })
      return { contents: (await Promise.all(programs)).join('\n') }
    })
  },
}

/** Beside the engine's builds: host/text/table-encoder.ts. */
const tokenizer = 'tokenizer.wasm'

/** The command, the library and its tools as modules that share their chunks; the library for require(). */
async function buildHost(commit) {
  const { build } = await import('esbuild')
  const kernels = ['engine-relaxed.wasm', 'engine-strict.wasm', tokenizer]
  // Names and lines for stack traces; the sources themselves would be a third of the package.
  const node = { ...bundled(commit, kernels, 'node'), target: 'node20', sourcemap: true, sourcesContent: false }
  await build({
    ...node,
    entryPoints: { gta: 'host/cli/gta.ts', ...entries },
    splitting: true,
  })
  chmodSync(`${root}dist/gta.mjs`, 0o755)
  await buildRequired(build, node)
  await buildNodeRed(build, node)
  // The server of `npm run web` is for a clone, and stays out of the package.
  await build({ ...node, entryPoints: { web: 'host/web/main.ts' }, sourcemap: false })
  await buildBrowser(build, commit)
  writeLicenses()
}

/**
 * All entries for require() in one file, as esbuild splits only modules: an error of one is an error of the others. Each
 * entry runs when it is asked for.
 */
async function buildRequired(build, node) {
  const asked = Object.entries(entries).map(([name, file]) => `exports.${name} = () => require('./${file}')`)
  await build({
    ...node,
    stdin: { contents: asked.join('\n'), sourcefile: 'library.js', resolveDir: root },
    entryNames: 'library',
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    ...requiredNames(node),
  })
  for (const name of Object.keys(entries))
    writeFileSync(`${root}dist/${name}.cjs`, `module.exports = require('./library.cjs').${name}()\n`)
}

/** dist/node-red: a package of its own, which takes the library from beside it. Node-RED wants one file for its nodes, which it may require(). */
async function buildNodeRed(build, node) {
  const outdir = 'dist/node-red'
  await build({
    ...node,
    ...{ outdir, entryPoints: ['host/node-red/gta-edge.ts'], format: 'cjs', outExtension: {}, sourcemap: false },
    ...requiredNames(node),
  })
  cpSync(`${root}host/node-red/package`, `${root}${outdir}`, { recursive: true })
  for (const file of ['host/node-red/README.md', 'LICENSE']) cpSync(root + file, `${root}${outdir}/${basename(file)}`)
}

/** In what is required, what the sources know as import.meta.url. */
const requiredNames = ({ define }) => ({
  define: { ...define, 'import.meta.url': 'moduleUrl' },
  banner: { js: "const moduleUrl = require('node:url').pathToFileURL(__filename).href" },
})

/** The library for browsers, its worker, and the pages of `gta view` and `npm run web`: one file each. */
async function buildBrowser(build, commit) {
  const engines = ['relaxed', 'strict', 'relaxed-single', 'strict-single'].map((name) => `engine-${name}.wasm`)
  await build({
    ...bundled(commit, [...engines, tokenizer], 'browser'),
    entryPoints: {
      browser: 'host/browser/index.ts',
      'browser-worker': 'host/browser/worker.ts',
      viewer: 'host/tools/analyze/viewer/page.ts',
      'web/page': 'host/web/page.ts',
      chat: 'host/server/page/page.ts',
    },
    minify: true,
    target: 'es2023',
  })
}

/** The bundles hold packages of others, whose licences go with them. */
function writeLicenses() {
  // The loader is a part of assemblyscript, whose package has the text.
  const packages = {
    '@huggingface/tokenizers': '@huggingface/tokenizers',
    '@huggingface/jinja': '@huggingface/jinja',
    '@assemblyscript/loader': 'assemblyscript',
  }
  const texts = Object.entries(packages).map(([name, owner]) => {
    const { version } = JSON.parse(readFileSync(`${root}node_modules/${name}/package.json`, 'utf8'))
    return `${name} ${version}\n\n${readFileSync(`${root}node_modules/${owner}/LICENSE`, 'utf8')}`
  })
  writeFileSync(`${root}dist/LICENSES.txt`, `Packages inside the modules of this folder\n\n${texts.join('\n\n')}`)
}

function buildTypes() {
  const tsc = `${root}node_modules/typescript/bin/tsc`
  const args = [
    '-p',
    '.',
    '--noEmit',
    'false',
    '--declaration',
    '--emitDeclarationOnly',
    '--rootDir',
    '.',
    '--outDir',
    'dist/types',
  ]
  const result = spawnSync(process.execPath, [tsc, ...args], { cwd: root, stdio: ['ignore', 2, 2] })
  if (result.status !== 0) throw new Error('tsc found errors')
  removeUnreached()
  // The same declarations for require(): TypeScript asks the nearest manifest what kind of module they are.
  for (const folder of ['host', 'models'])
    cpSync(`${root}dist/types/${folder}`, `${root}dist/types-cjs/${folder}`, { recursive: true })
  writeFileSync(`${root}dist/types-cjs/package.json`, '{ "type": "commonjs" }\n')
}

/** Declarations that no entry leads to are nobody's, and most of them. */
function removeUnreached() {
  const types = `${root}dist/types/`
  const reached = new Set()
  const reach = (file) => {
    if (reached.has(file)) return
    reached.add(file)
    for (const [, target] of readFileSync(file, 'utf8').matchAll(/['"](\.[^'"\n]+)\.ts['"]/g))
      reach(resolve(dirname(file), `${target}.d.ts`))
  }
  for (const [path] of JSON.stringify(manifest().exports).matchAll(/dist\/types\/[\w/]+\.d\.ts/g)) reach(root + path)
  for (const name of readdirSync(types, { recursive: true }))
    if (name.endsWith('.d.ts') && !reached.has(types + name)) rmSync(types + name)
}

if (!isMainThread) for (const target of workerData) await buildEngine(target)
else if (process.argv[1] === fileURLToPath(import.meta.url)) await build()
