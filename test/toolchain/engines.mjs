/** The engine's builds, with asc, some at a time: each takes two seconds of one core. */
import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { root } from './install.mjs'

/** The entry of each target in asconfig.json. */
const entries = {
  strict: 'assembly/index.ts',
  relaxed: 'assembly/index.ts',
  'strict-single': 'assembly/index.ts',
  'relaxed-single': 'assembly/index.ts',
  debug: 'assembly/debug.ts',
  'debug-relaxed': 'assembly/debug.ts',
  'wasi-strict': 'assembly/wasi.ts',
  'wasi-relaxed': 'assembly/wasi.ts',
  'wasi-debug': 'assembly/wasi/debug.ts',
}

/** Builds all of them into dist/. */
export async function buildEngines() {
  // asc resolves its configuration and entries from the working directory, which threads cannot change.
  process.chdir(root)
  const targets = Object.keys(entries)
  // A thread needs some 400 MB.
  const threads = Math.min(3, availableParallelism())
  await Promise.all(
    Array.from({ length: threads }, (_, thread) => {
      const own = targets.filter((_, i) => i % threads === thread)
      const worker = new Worker(fileURLToPath(import.meta.url), { workerData: own })
      return new Promise((resolve, reject) => {
        worker.on('error', reject)
        worker.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`asc ended with ${code}`))))
      })
    }),
  )
}

async function buildEngine(target) {
  const { main } = await import('assemblyscript/asc')
  const { error, stdout, stderr } = await main([entries[target], '--config', 'asconfig.json', '--target', target], {
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

if (!isMainThread) for (const target of workerData) await buildEngine(target)
