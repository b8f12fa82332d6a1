/**
 * Builds dist/: the engine with asc, the host with esbuild, type declarations with tsc. Does nothing when no source has
 * changed since the last build; a new commit of the same sources is only written into the host's modules.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { install, root } from './install.mjs'

const stamp = `${root}dist/.built-from`
/** What the build is made from. */
const folders = ['assembly', 'host', 'models', 'test/toolchain']
const files = ['package.json', 'asconfig.json', 'tsconfig.json']

export async function build() {
  install()
  const fingerprint = hashSources()
  const commit = commitOfSources()
  const built = existsSync(stamp) ? readFileSync(stamp, 'utf8').split(' ') : []
  if (built[0] === fingerprint && built[1] === commit) return
  console.error('building …')
  if (built[0] === fingerprint) {
    for (const name of readdirSync(`${root}dist`)) if (name.endsWith('.mjs')) rmSync(`${root}dist/${name}`)
    await buildHost(commit)
    writeFileSync(stamp, `${fingerprint} ${commit}`)
    return
  }
  rmSync(`${root}dist`, { recursive: true, force: true })
  mkdirSync(`${root}dist`)
  await buildEngine('assembly/index.ts', 'strict')
  await buildEngine('assembly/index.ts', 'relaxed')
  await buildEngine('assembly/debug.ts', 'debug')
  await buildEngine('assembly/debug.ts', 'debug-relaxed')
  await buildEngine('assembly/wasi.ts', 'wasi-strict')
  await buildEngine('assembly/wasi.ts', 'wasi-relaxed')
  await buildEngine('assembly/wasi/debug.ts', 'wasi-debug')
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
      .filter((name) => /\.(ts|mjs|json)$/.test(name))
      .map((name) => `${folder}/${name}`),
  )
  for (const name of [...inside, ...files].sort()) hash.update(name).update(readFileSync(root + name))
  return hash.digest('hex')
}

async function buildEngine(entry, target) {
  // asc resolves its configuration and entries from the working directory.
  process.chdir(root)
  const { main } = await import('assemblyscript/asc')
  const { error, stdout, stderr } = await main([entry, '--config', 'asconfig.json', '--target', target], {
    readFile: (name, base) => readSource(name, base, target),
  })
  if (stdout.toString()) console.error(stdout.toString())
  if (error) throw new Error(`asc ${target}: ${error.message}\n${stderr.toString()}`)
}

/**
 * A source for asc; null if there is none. In the command for WASI, which has no host, what the host gives to the engine
 * comes from another file, and the version stands where it is printed.
 */
function readSource(name, base, target) {
  const path = resolve(base, name)
  if (!existsSync(path)) return null
  const text = readFileSync(path, 'utf8')
  if (!target.startsWith('wasi-')) return text
  if (name === 'assembly/host.ts') return "export * from './wasi/host'\n"
  if (name === 'assembly/wasi/version.ts')
    return text.replace('from source', JSON.parse(readFileSync(`${root}package.json`, 'utf8')).version)
  return text
}

/** The command, the library, the models and the worker as four modules that share their chunks. */
async function buildHost(commit) {
  const { build } = await import('esbuild')
  const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))
  await build({
    absWorkingDir: root,
    entryPoints: {
      gta: 'host/cli/gta.ts',
      index: 'host/index.ts',
      models: 'models/index.ts',
      worker: 'host/wasm/worker.ts',
      reader: 'host/wasm/reader.ts',
    },
    outdir: 'dist',
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: Object.keys(manifest.dependencies),
    define: { GTA_VERSION: JSON.stringify(manifest.version), GTA_COMMIT: JSON.stringify(commit) },
    legalComments: 'inline',
    logLevel: 'warning',
  })
  chmodSync(`${root}dist/gta.mjs`, 0o755)
  // The page of `gta view`: one file for browsers.
  await build({
    absWorkingDir: root,
    entryPoints: { viewer: 'host/analyze/viewer/page.ts' },
    outdir: 'dist',
    outExtension: { '.js': '.mjs' },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2023',
    logLevel: 'warning',
  })
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
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await build()
