/**
 * The page of `npm run web` in a real browser: it tells a story, by mouse and by keyboard, on a desk and on a phone, with
 * isolation and without. GTA_SCREENSHOTS=DIR keeps pictures.
 */
import { request } from 'node:http'
import type { Browser, Page } from 'playwright-core'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { LocalServer } from '../host/server/local-server.ts'
import { openWeb } from '../host/web/server.ts'
import { browserTest, launchBrowser, screenshots } from './harness/browsers.ts'
import { layoutProblems, widths } from './harness/layout.ts'
import { limit } from './harness/limits.ts'
import { runNode } from './harness/programs.ts'

let browser: Browser | undefined
let isolated: LocalServer
let plain: LocalServer

test.before(async () => {
  browser = await launchBrowser()
  isolated = await openWeb()
  plain = await openWeb({ isIsolated: false })
})
test.after(async () => {
  await browser?.close()
  await isolated.close()
  await plain.close()
})

function ask(server: LocalServer, path: string, headers: Record<string, string> = {}) {
  const { hostname, port } = new URL(server.url)
  return new Promise<{ status: number; headers: Record<string, unknown>; bytes: number }>((resolve, reject) => {
    request({ hostname, port, path, headers }, (response) => {
      let bytes = 0
      response.on('data', (data) => {
        bytes += data.length
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes }))
    })
      .on('error', reject)
      .end()
  })
}

test('four documents, the headers of isolation or none, and no other host', async () => {
  for (const path of ['/', '/page.mjs', '/browser-worker.mjs', '/stories.gta']) {
    const found = await ask(isolated, path)
    assert.is(found.status, 200, path)
    assert.is(found.headers['cross-origin-opener-policy'], 'same-origin')
    assert.is(found.headers['cross-origin-embedder-policy'], 'require-corp')
    assert.is((await ask(plain, path)).headers['cross-origin-embedder-policy'], undefined)
  }
  for (const path of ['/package.json', '/../package.json', '/dist/index.mjs', '//etc/passwd'])
    assert.is((await ask(isolated, path)).status, 404, path)
  assert.is((await ask(isolated, '/', { host: 'evil.example' })).status, 403)
})

test('the model in parts: a download can go on', async () => {
  const { bytes } = await ask(isolated, '/stories.gta')
  const part = await ask(isolated, '/stories.gta', { range: `bytes=${bytes - 10}-` })
  assert.is(part.status, 206)
  assert.is(part.bytes, 10)
  assert.is(part.headers['content-range'], `bytes ${bytes - 10}-${bytes - 1}/${bytes}`)
  assert.is((await ask(isolated, '/stories.gta', { range: `bytes=${bytes}-` })).status, 416)
  assert.is((await ask(isolated, '/stories.gta', { range: 'bytes=-5' })).status, 200)
})

interface View {
  width: number
  height: number
  colorScheme?: 'light' | 'dark'
  path?: string
}

async function openPage(server: LocalServer, { width, height, colorScheme = 'light', path = '' }: View) {
  const page = await (browser as Browser).newPage({ viewport: { width, height }, colorScheme })
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(String(error)))
  page.on('console', (message) => problems.push(message.text()))
  page.on('request', (asked) => {
    if (!asked.url().startsWith(server.url) && !asked.url().startsWith('data:')) problems.push(`asks ${asked.url()}`)
  })
  await page.goto(server.url + path)
  return { page, problems }
}

const ready = (page: Page) => page.waitForSelector('html[data-ready]', { timeout: limit(300) })
const idle = (page: Page) => page.waitForSelector('#story[aria-busy=false]', { timeout: limit(300) })
/** A story that has these words: it has begun, and may have ended already. */
const begun = (page: Page, words = '') =>
  page.waitForFunction((words) => {
    const text = document.getElementById('story')?.textContent?.trim()
    return text ? text.includes(words) : false
  }, words)
const textOf = (page: Page, id: string) => page.locator(`#${id}`).innerText()
const focused = (page: Page) => page.evaluate(() => document.activeElement?.id || document.activeElement?.textContent)

async function keep(page: Page, name: string): Promise<void> {
  if (screenshots) await page.screenshot({ path: `${screenshots}/web-${name}.png`, fullPage: true })
}

const desktop = { width: 1280, height: 860 }
const phone = { width: 390, height: 844 }

browserTest('tells a story, the same for the same seed, and what it took', async () => {
  const { page, problems } = await openPage(isolated, desktop)
  await keep(page, 'loading')
  await ready(page)
  await page.uncheck('[name=fresh]')
  await page.fill('[name=seed]', '11')
  await page.fill('#prompt', 'Once there was a robot who')
  await page.click('#go')
  await idle(page)
  const story = await textOf(page, 'story')
  assert.ok(story.startsWith('Once there was a robot who'), story)
  assert.ok(story.length > 200, story)
  await keep(page, 'desktop')
  assert.ok(Number(await textOf(page, 'speed')) > 1)
  assert.match(await textOf(page, 'first'), /^\d+ ms$/)
  assert.match(await textOf(page, 'memory'), /^\d+\.\d MB$/)
  assert.is(await textOf(page, 'engine'), 'relaxed SIMD')
  assert.match(await textOf(page, 'why'), 'a team of web workers may share memory')
  await page.click('#new')
  assert.is((await textOf(page, 'story')).trim(), '')
  await page.fill('#prompt', 'Once there was a robot who')
  await page.click('#go')
  await idle(page)
  assert.is(await textOf(page, 'story'), story)
  // On it goes, with words and without.
  await page.fill('#prompt', 'Then a dragon came and said,')
  await page.keyboard.press('Enter')
  await begun(page, 'Then a dragon came')
  await idle(page)
  assert.match(await textOf(page, 'story'), /Then a dragon came and said,.{20}/s)
  assert.equal(problems, [])
  await page.close()
})

browserTest('without isolation: one thread, the same story, and why', async () => {
  const stories: string[] = []
  for (const server of [isolated, plain]) {
    const { page, problems } = await openPage(server, { ...desktop, colorScheme: 'dark' })
    await ready(page)
    await page.uncheck('[name=fresh]')
    await page.locator('.examples button').nth(1).click()
    await begun(page)
    await idle(page)
    stories.push(await textOf(page, 'story'))
    if (server === plain) {
      await keep(page, 'single')
      assert.match(
        await textOf(page, 'why'),
        /^One thread, because the page is not isolated: .*Cross-Origin-Opener-Policy/,
      )
      assert.is(await textOf(page, 'threads'), '1')
    }
    assert.equal(problems, [])
    await page.close()
  }
  assert.is(stories[1], stories[0])
})

browserTest('by keyboard alone: prompt, stop, go on, new story', async () => {
  const { page, problems } = await openPage(isolated, desktop)
  await ready(page)
  await page.keyboard.press('Tab')
  assert.is(await focused(page), 'To the prompt')
  await page.keyboard.press('Enter')
  assert.is(await focused(page), 'prompt')
  await page.locator('[name=length]').fill('400')
  await page.focus('#prompt')
  await page.keyboard.type('The king had a')
  await page.keyboard.press('Enter')
  await page.waitForSelector('#stop:enabled')
  await page.waitForFunction(() => Number(document.getElementById('tokens')?.textContent) > 3)
  await page.keyboard.press('Escape')
  await idle(page)
  const stopped = await textOf(page, 'story')
  assert.ok(stopped.startsWith('The king had a'))
  assert.match(await textOf(page, 'go'), /^Go on/)
  await page.keyboard.press('Enter')
  await page.waitForSelector('#story[aria-busy=true]')
  await idle(page)
  assert.ok((await textOf(page, 'story')).startsWith(stopped.trimEnd()))
  const seen: string[] = []
  for (let i = 0; i < 14; i++) {
    await page.keyboard.press('Tab')
    seen.push(
      await page.evaluate(() => (document.activeElement as HTMLInputElement)?.name || document.activeElement?.id || ''),
    )
  }
  for (const name of ['go', 'new', 'temperature', 'length', 'seed', 'fresh'])
    assert.ok(seen.includes(name), `${name}: ${seen}`)
  const unnamed = await page.evaluate(() =>
    [...document.querySelectorAll('textarea, input, button, progress, [role=region]')]
      .filter(
        (element) =>
          !(
            element.getAttribute('aria-label') ??
            (element as HTMLInputElement).labels?.[0]?.textContent ??
            element.textContent
          )?.trim(),
      )
      .map((element) => element.outerHTML.slice(0, 100)),
  )
  assert.equal(unnamed, [])
  assert.equal(problems, [])
  await page.close()
})

browserTest('behind the end of a story another one begins, apart from it', async () => {
  const { page, problems } = await openPage(isolated, desktop)
  await ready(page)
  await page.uncheck('[name=fresh]')
  await page.fill('[name=temperature]', '0')
  await page.fill('[name=length]', '400')
  const parts = () => page.locator('#story > span').evaluateAll((all) => all.map((part) => part.className))
  await page.fill('#prompt', 'Lily found a small door in the')
  await page.keyboard.press('Enter')
  await begun(page, 'small door in the')
  await idle(page)
  assert.equal(await parts(), ['told', '', 'end'])
  const first = await textOf(page, 'story')
  await page.fill('[name=length]', '20')
  await page.click('#go')
  await page.waitForSelector('#story > :nth-child(4)')
  await idle(page)
  assert.equal(await parts(), ['told', '', 'end', ''])
  const both = await textOf(page, 'story')
  assert.match(both.slice(first.length), /^\s*\S+ \S+/)
  // In the middle of a story words and what follows have their spaces.
  await page.fill('#prompt', 'and then')
  await page.keyboard.press('Enter')
  await begun(page, 'and then')
  await idle(page)
  assert.match((await textOf(page, 'story')).slice(both.length), /^ and then\W/)
  await keep(page, 'end')
  assert.equal(problems, [])
  await page.close()
})

test('unknown options, and values that cannot be, end with the usage', async () => {
  for (const [given, message] of [
    [['--bogus'], /^Unknown option '--bogus'/],
    [['here'], /^Unexpected argument 'here'/],
    [['--port'], /^Option '--port <value>' argument missing/],
    [['--port', '70000'], /^--port must be a whole number from 0 to 65535, found "70000"/],
  ] as const) {
    const { status, output } = await runNode('host/web/main.ts', ...given)
    assert.is(status, 2, output)
    assert.match(output, message)
    assert.match(output, /\n\nUsage: npm run web -- \[--port N\] \[--no-isolation\]/)
    assert.not.match(output, / at /)
  }
  const help = await runNode('host/web/main.ts', '--help')
  assert.is(help.status, 0)
  assert.match(help.output, /^Usage: /)
})

browserTest('on a phone nothing is wider than the screen, and all can be touched', async () => {
  for (const colorScheme of ['light', 'dark'] as const) {
    const { page, problems } = await openPage(colorScheme === 'light' ? isolated : plain, { ...phone, colorScheme })
    await ready(page)
    await page.uncheck('[name=fresh]')
    await page.locator('.examples button').first().click()
    await page.waitForSelector('#story[aria-busy=true]')
    await idle(page)
    await keep(page, `phone-${colorScheme}`)
    for (const width of widths) {
      await page.setViewportSize({ width, height: phone.height })
      assert.equal(await layoutProblems(page), [], `${width}`)
    }
    await page.setViewportSize(phone)
    const small = await page.evaluate(() =>
      [...document.querySelectorAll('button')]
        .filter((button) => button.offsetParent && button.offsetHeight < 38)
        .map((button) => button.textContent),
    )
    assert.equal(small, [])
    assert.equal(problems, [])
    await page.close()
  }
})

browserTest('a server that is gone while the model is loaded is told, and the load can be begun again', async () => {
  const page = await (browser as Browser).newPage({ viewport: phone, colorScheme: 'dark' })
  // Attempts are seconds apart: the clock of the worker that waits for them runs faster.
  await page.route('**/browser-worker.mjs', async (route) => {
    const response = await route.fetch()
    const hurried = `globalThis.setTimeout = ((f) => (g, ms) => f(g, ms > 10000 ? ms : ms / 100))(setTimeout)\n`
    await route.fulfill({ response, body: hurried + (await response.text()) })
  })
  await page.route('**/stories.gta', (route) => route.abort('connectionreset'))
  await page.goto(isolated.url)
  await page.waitForSelector('.problem:not([hidden])', { timeout: limit(300) })
  assert.match(await page.locator('.problem').innerText(), /must be reachable, found .*check the address, the network/)
  assert.ok(await page.locator('#loading').isHidden())
  assert.ok(await page.locator('#go').isDisabled())
  await keep(page, 'no-server')
  await page.unroute('**/stories.gta')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Tab')
  assert.is(await focused(page), 'again')
  await page.keyboard.press('Enter')
  await ready(page)
  assert.ok(await page.locator('.problem').isHidden())
  await page.close()
})

browserTest('a load that is stopped can be begun again; no SIMD is told', async () => {
  const { page } = await openPage(isolated, desktop)
  await page.keyboard.press('Escape')
  await page.waitForSelector('.problem:not([hidden])')
  assert.match(await page.locator('.problem').innerText(), 'Loading was stopped')
  await page.click('#again')
  await ready(page)
  await page.close()
  const old = await (browser as Browser).newPage({ viewport: desktop })
  await old.addInitScript('WebAssembly.validate = () => false')
  await old.goto(isolated.url)
  await old.waitForSelector('.problem:not([hidden])')
  assert.match(
    await old.locator('.problem').innerText(),
    /^This platform must run WebAssembly with SIMD, found none: use Chrome .*\.$/,
  )
  assert.ok(await old.locator('#again').isHidden())
  await keep(old, 'no-simd')
  await old.close()
})

test.run()
