/**
 * Programs and pages of people who bundle: esbuild and Vite, from the package as it is packed, into what runs where
 * nothing else is. In Node no option is needed; in a page Vite finds the worker, and esbuild is told to bundle it too.
 */
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packPackage } from '../bench/package.ts'
import { defaultModel } from '../host/index.ts'
import { openLocalServer } from '../host/server/local-server.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { launchBrowser } from './harness/browsers.ts'
import { limit, limitNote } from './harness/limits.ts'
import { installPackage } from './harness/packages.ts'
import { findTool, lacking, skipLoudly } from './harness/tools.ts'

const VITE = '8.4.0'

const project = temporary()
mkdirSync(join(project, 'node_modules'))
symlinkSync(packPackage(temporary()).folder, join(project, 'node_modules/gta-edge'))

/** Everything that is a program of its own in here: compute threads, the reader of a file, a template's process. */
const program = `
const model = await load(process.argv[2], { threads: 2, offload: 600000, offloadDirectory: '.' })
let text = ''
for await (const piece of model.generate('Once upon a time', { maxTokens: 20, temperature: 0 })) text += piece
const chat = await model.chat({ template: 'chatml' })
for await (const piece of chat.send('Hello', { maxTokens: 4, temperature: 0 })) text += piece
await model.close()
console.log(JSON.stringify(text))`
writeFileSync(join(project, 'program.mjs'), `import { load } from 'gta-edge'\n${program}`)
writeFileSync(join(project, 'program.cjs'), `const { load } = require('gta-edge')\n;(async () => {${program}})()`)

const page = `import { load } from 'gta-edge/browser'
const say = (text) => { document.body.textContent = text; document.body.dataset.done = 'yes' }
try {
  const model = await load('/stories.gta', OPTIONS)
  let text = ''
  for await (const piece of model.generate('Once upon a time', { maxTokens: 20, temperature: 0 })) text += piece
  say(text)
} catch (error) { say(error.code + ': ' + error.message) }`
const html = '<!doctype html><link rel="icon" href="data:,"><body><script type="module" src="./page.mjs"></script>'
writeFileSync(join(project, 'index.html'), html)

function run(file: string, cwd = project): string {
  const ended = spawnSync(process.execPath, [file, fileURLToPath(defaultModel)], {
    cwd,
    encoding: 'utf8',
    timeout: limit(300),
  })
  assert.is(ended.status, 0, `${file}: ${ended.stderr.slice(-2000)}${limitNote(ended, 300)}`)
  return ended.stdout
}

let expectedText: string | undefined
/** What the program says that is not bundled. */
const expected = () => {
  expectedText ??= run('program.mjs')
  return expectedText
}

/** Runs what a bundler made where there is nothing else. */
function runAlone(folder: string, file: string): string {
  const alone = join(temporary(), 'alone')
  renameSync(join(project, folder), alone)
  return run(join(alone, file), alone)
}

const bundle = (entry: string, outfile: string, format: 'esm' | 'cjs') =>
  build({ absWorkingDir: project, entryPoints: [entry], outfile, bundle: true, platform: 'node', format, minify: true })

test('esbuild, no option: one file that runs alone, as a module and as CommonJS', async () => {
  for (const [entry, format] of [
    ['program.mjs', 'esm'],
    ['program.cjs', 'cjs'],
  ] as const) {
    // biome-ignore format: a table
    await bundle(entry, `one/${entry}`, format)
    assert.equal(readdirSync(join(project, 'one')), [entry])
    assert.is(runAlone('one', entry), expected())
  }
})

/** What a page of these files shows when it is done. */
async function show(folder: string): Promise<string> {
  const types: Record<string, string> = { html: 'text/html', js: 'text/javascript', mjs: 'text/javascript' }
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.\w+$/.test(name))
  const document = (name: string) => ({
    type: types[name.split('.').at(-1) as string] ?? '',
    body: readFileSync(join(folder, name)),
  })
  const documents = Object.fromEntries(files.map((name) => [`/${name}`, document(name)]))
  const server = await openLocalServer({
    documents: {
      ...documents,
      '/': document('index.html'),
      '/stories.gta': { type: 'application/octet-stream', body: readFileSync(defaultModel) },
    },
    scripts: "'self' 'wasm-unsafe-eval'",
  })
  const browser = await launchBrowser()
  try {
    const shown = await browser?.newPage()
    await shown?.goto(server.url)
    await shown?.waitForSelector('body[data-done]', { timeout: limit(300) })
    return (await shown?.locator('body').textContent()) ?? ''
  } finally {
    await browser?.close()
    await server.close()
  }
}

const bundlePage = async (options: string, entryPoints: Record<string, string>) => {
  rmSync(join(project, 'pages'), { recursive: true, force: true })
  writeFileSync(join(project, 'page.mjs'), page.replace('OPTIONS', options))
  const outExtension = { '.js': '.mjs' }
  await build({ absWorkingDir: project, entryPoints, outdir: 'pages', outExtension, bundle: true, format: 'esm' })
  writeFileSync(join(project, 'pages/index.html'), html)
  return await show(join(project, 'pages'))
}

const chromium = findTool('chromium')
if (chromium) {
  const story = () => JSON.parse(expected()).slice(0, 20)
  test('esbuild, a page: its worker as an entry of its own; without it the error says what to do', async () => {
    const worker = { 'gta-worker': 'gta-edge/browser-worker' }
    const shown = await bundlePage("{ workerUrl: '/gta-worker.mjs' }", { page: 'page.mjs', ...worker })
    assert.ok(shown.startsWith(story()), shown)
    const lost = await bundlePage('{}', { page: 'page.mjs' })
    assert.match(lost, /^FETCH_FAILED: .*"gta-edge\/browser-worker".*workerUrl/)
  })
} else skipLoudly('esbuild, a page', lacking('chromium'))

const vite = installPackage('vite', VITE)
if (vite) {
  const runVite = (...args: string[]) => {
    const ended = spawnSync(process.execPath, [join(vite, 'bin/vite.js'), 'build', ...args], {
      cwd: project,
      encoding: 'utf8',
      timeout: limit(300),
    })
    assert.is(ended.status, 0, ended.stdout + ended.stderr + limitNote(ended, 300))
  }
  test('Vite, no option: a program for Node', () => {
    writeFileSync(join(project, 'vite.config.mjs'), 'export default { ssr: { noExternal: true } }')
    runVite('--ssr', 'program.mjs', '--outDir', 'server')
    rmSync(join(project, 'vite.config.mjs'))
    assert.is(
      runAlone('server', existsSync(join(project, 'server/program.mjs')) ? 'program.mjs' : 'program.js'),
      expected(),
    )
  })
  if (chromium)
    test('Vite, no option: a page and its worker', async () => {
      writeFileSync(join(project, 'page.mjs'), page.replace('OPTIONS', '{}'))
      runVite('--outDir', 'site')
      const shown = await show(join(project, 'site'))
      assert.ok(shown.startsWith(JSON.parse(expected()).slice(0, 20)), shown)
    })
} else skipLoudly('Vite: a program for Node, a page and its worker', `vite@${VITE} cannot be had from the npm registry`)

test.run()
