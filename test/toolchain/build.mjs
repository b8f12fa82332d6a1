/**
 * Builds dist/: the engine with asc, the host with esbuild, type declarations with tsc. Does nothing when no source has
 * changed since the last build; a new commit of the same sources is only written into the host's modules.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync } from 'node:zlib'
import { buildEngines } from './engines.mjs'
import { install, root } from './install.mjs'
import { writeRegistry } from './registry.mjs'

const stamp = `${root}dist/.built-from`
/** What the build is made from. */
const folders = ['assembly', 'host', 'models', 'test/toolchain']
const files = ['package.json', 'asconfig.json', 'tsconfig.json']

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
      .filter((name) => /\.(ts|mjs|json|html|css)$/.test(name))
      .map((name) => `${folder}/${name}`),
  )
  for (const name of [...inside, ...files].sort()) hash.update(name).update(readFileSync(root + name))
  return hash.digest('hex')
}

/** What all bundles have in common. Nothing is left outside: an installed package needs no other. */
const bundled = (commit, kernels, platform) => ({
  platform,
  absWorkingDir: root,
  outdir: 'dist',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  format: 'esm',
  define: { GTA_VERSION: JSON.stringify(manifest().version), GTA_COMMIT: JSON.stringify(commit) },
  plugins: [embedKernels(kernels, platform === 'node'), embedTexts],
  loader: { '.html': 'text', '.css': 'text' },
  legalComments: 'inline',
  logLevel: 'warning',
})

const manifest = () => JSON.parse(readFileSync(`${root}package.json`, 'utf8'))

/**
 * The engine's modules inside the bundle, where sources read files: each is decoded when it is asked for. In Node they are
 * compressed to a third, which takes half a millisecond to undo; browsers have no brotli for programs.
 */
function embedKernels(names, isNode) {
  const load = names.map((name) => `${JSON.stringify(name)}: () => import(${JSON.stringify(`./dist/${name}`)})`)
  const contents = `${isNode ? "import { brotliDecompressSync } from 'node:zlib'" : ''}
const kernels = { ${load.join(', ')} }
export const readKernel = async (file) => {
  const { default: kernel } = await kernels[file]()
  return ${isNode ? 'new Uint8Array(brotliDecompressSync(kernel))' : 'kernel'}
}`
  return {
    name: 'kernels',
    setup({ onLoad }) {
      onLoad({ filter: /platform.kernels\.ts$/ }, () => ({ contents, resolveDir: root }))
      onLoad({ filter: /\.wasm$/ }, ({ path }) => {
        const kernel = readFileSync(path)
        return { contents: isNode ? brotliCompressSync(kernel) : kernel, loader: 'binary' }
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

/** The texts of pages inside the bundle, where sources read files: each texts.ts says which ones it has. */
const embedTexts = {
  name: 'texts',
  setup({ onLoad }) {
    onLoad({ filter: /[/\\]texts\.ts$/ }, ({ path }) => {
      const source = readFileSync(path, 'utf8')
      const texts = [...source.matchAll(/^export const (\w+) = readText\(import\.meta\.url, '([^']+)'\)$/gm)]
      if (texts.length !== source.match(/^export /gm)?.length) throw new Error(`${path} must have nothing but texts`)
      const contents = texts.map(([, name, file]) => `export { default as ${name} } from '${file}'`).join('\n')
      return { contents, resolveDir: dirname(path) }
    })
  },
}

/** The command, the library, its tools and the threads as modules that share their chunks; the library for require(). */
async function buildHost(commit) {
  const { build } = await import('esbuild')
  const kernels = ['engine-relaxed.wasm', 'engine-strict.wasm']
  const node = { ...bundled(commit, kernels, 'node'), target: 'node20', sourcemap: true }
  await build({
    ...node,
    entryPoints: {
      gta: 'host/cli/gta.ts',
      ...entries,
      worker: 'host/engine/wasm/worker.ts',
      reader: 'host/cache/reader.ts',
      template: 'host/text/template/render-process.ts',
    },
    splitting: true,
  })
  chmodSync(`${root}dist/gta.mjs`, 0o755)
  await buildRequired(build, node)
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
    // What the sources know as import.meta.url.
    define: { ...node.define, 'import.meta.url': 'moduleUrl' },
    banner: { js: "const moduleUrl = require('node:url').pathToFileURL(__filename).href" },
  })
  for (const name of Object.keys(entries))
    writeFileSync(`${root}dist/${name}.cjs`, `module.exports = require('./library.cjs').${name}()\n`)
}

/** The library for browsers, its worker, and the pages of `gta view` and `npm run web`: one file each. */
async function buildBrowser(build, commit) {
  const kernels = ['relaxed', 'strict', 'relaxed-single', 'strict-single'].map((name) => `engine-${name}.wasm`)
  await build({
    ...bundled(commit, kernels, 'browser'),
    entryPoints: {
      browser: 'host/browser/index.ts',
      'browser-worker': 'host/browser/worker.ts',
      viewer: 'host/tools/analyze/viewer/page.ts',
      'web/page': 'host/web/page.ts',
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
  // The same declarations for require(): TypeScript asks the nearest manifest what kind of module they are.
  for (const folder of ['host', 'models'])
    cpSync(`${root}dist/types/${folder}`, `${root}dist/types-cjs/${folder}`, { recursive: true })
  writeFileSync(`${root}dist/types-cjs/package.json`, '{ "type": "commonjs" }\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await build()
