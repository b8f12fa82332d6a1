/**
 * Chromium with SwiftShader: the page of `npm run web` with its switch for the GPU has the CPU's words, and `gta-edge/browser` the
 * logits of the reference. GTA_SCREENSHOTS=DIR keeps pictures.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { LocalServer } from '../host/server/local-server.ts'
import { openWeb } from '../host/web/server.ts'
import { launchBrowser, screenshots } from './harness/browsers.ts'
import { layoutProblems } from './harness/layout.ts'
import { limit, limitNote } from './harness/limits.ts'
import { toolTest } from './harness/tools.ts'

let browser: Browser | undefined
let server: LocalServer
test.before(async () => {
  browser = await launchBrowser(['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'])
  server = await openWeb()
})
test.after(async () => {
  await browser?.close()
  await server.close()
})

async function openPage(path = ''): Promise<Page> {
  const page = await (browser as Browser).newPage({ viewport: { width: 1280, height: 860 } })
  await page.goto(server.url + path)
  await ready(page)
  return page
}
const ready = (page: Page) => page.waitForSelector('html[data-ready]', { timeout: limit(300) })
const textOf = (page: Page, id: string) => page.locator(`#${id}`).innerText()

/** A short story, of the most likely words: others differ with the last digits of the logits. */
async function tell(page: Page): Promise<string> {
  await page.fill('[name=temperature]', '0')
  await page.fill('[name=length]', '20')
  await page.fill('#prompt', 'Once upon a time')
  await page.click('#go')
  await page.waitForSelector('#story[aria-busy=false]', { timeout: limit(300) })
  return await textOf(page, 'story')
}

toolTest('swiftshader', 'the switch: the same story on the GPU, and back', async () => {
  const page = await openPage('?gpu=force')
  const story = await tell(page)
  assert.ok(story.length > 50, story)
  assert.not.ok(await page.isChecked('[name=gpu]'), 'off by default')
  await page.check('[name=gpu]')
  await ready(page)
  assert.match(await textOf(page, 'why'), 'computed on the GPU')
  assert.is(await tell(page), story)
  if (screenshots) await page.screenshot({ path: `${screenshots}/web-gpu.png`, fullPage: true })
  assert.equal(await layoutProblems(page), [])
  await page.uncheck('[name=gpu]')
  await ready(page)
  assert.is(await textOf(page, 'engine'), 'relaxed SIMD')
  assert.is(await tell(page), story)
  await page.close()
})

toolTest('swiftshader', 'a GPU in software is refused, and the CPU is a click away', async () => {
  const page = await openPage()
  await page.check('[name=gpu]')
  await page.waitForSelector('.problem:not([hidden])', { timeout: limit(300) })
  assert.match(await page.locator('.problem p').innerText(), /computes on the CPU/)
  assert.not.ok(await page.isChecked('[name=gpu]'))
  await page.click('#again')
  await ready(page)
  assert.ok((await tell(page)).length > 50)
  await page.close()
})

/** `npm run conformance:gpu` after its build. */
function conformance(args: string[]) {
  const program = fileURLToPath(new URL('conformance-gpu/conformance.ts', import.meta.url))
  const ended = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', program, ...args], {
    encoding: 'utf8',
    timeout: limit(200),
  })
  assert.is(ended.status, 0, ended.stderr + limitNote(ended, 200))
  return ended
}

toolTest('swiftshader', 'logits of the reference, and what is kept is not computed again', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gta-conformance-'))
  const results = join(folder, 'results.jsonl')
  const args = ['--adapter', 'chromium', '--only', 'gta,f32', '--results', results]
  const first = conformance(args)
  assert.match(first.stderr, /^✔ chromium, gta, f32, \d+ s $/m)
  assert.match(first.stdout, /^1 passed, 0 failed$/m)
  const line = readFileSync(results, 'utf8')
  const second = conformance(args)
  assert.is(second.stderr, '')
  assert.is(second.stdout, first.stdout)
  assert.is(readFileSync(results, 'utf8'), line)
  rmSync(folder, { recursive: true })
})

test.run()
