/** The chat page of `gta serve` in a real browser: what is said streams in, can be stopped, and stays text. */
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { startServer, type TestServer } from './fixtures/api-server.ts'
import { browserTest, launchBrowser, screenshots } from './harness/browsers.ts'

let browser: Browser | undefined
let server: TestServer

test.before(async () => {
  browser = await launchBrowser()
  if (browser) server = await startServer({ defaults: { seed: 1 } })
})
test.after(async () => {
  await browser?.close()
  await server?.close()
})

async function open(url: string, options: { width?: number; scheme?: 'light' | 'dark' } = {}): Promise<Page> {
  const { width = 1280, scheme = 'light' } = options
  const page = await (browser as Browser).newPage({ viewport: { width, height: 844 }, colorScheme: scheme })
  page.on('pageerror', (error) => assert.unreachable(error.message))
  await page.goto(url)
  return page
}

async function say(page: Page, text: string, tokens = 24): Promise<void> {
  await page.locator('summary', { hasText: 'Settings' }).evaluate((summary) => {
    ;(summary.parentElement as HTMLDetailsElement).open = true
  })
  await page.fill('#length', String(tokens))
  await page.locator('#ask details').evaluate((details: HTMLDetailsElement) => {
    details.open = false
  })
  await page.fill('#message', text)
  await page.press('#message', 'Enter')
}

const isDone = (page: Page) => page.waitForSelector('.assistant:not([aria-busy]) .facts button')
const ready = (page: Page) => page.waitForSelector('html[data-ready]')

browserTest('an answer streams in, is asked for again, and is gone in a new chat', async () => {
  const page = await open(server.url)
  await ready(page)
  await say(page, 'Tell me of <b>a cat</b> & "a dog".')
  await isDone(page)
  assert.is(await page.locator('.user .text').textContent(), 'Tell me of <b>a cat</b> & "a dog".')
  assert.is(await page.locator('.said b').count(), 0, 'what is said is never markup')
  const first = await page.locator('.assistant .text').textContent()
  assert.ok((first?.length ?? 0) > 20)
  assert.match(await page.locator('.assistant .facts').innerText(), /cut at its length.*24 tokens, [\d.]+ tokens\/s/s)
  assert.is(await page.evaluate(() => document.activeElement?.id), 'message')
  await page.click('#again')
  await isDone(page)
  assert.is(await page.locator('.assistant').count(), 1)
  assert.is(await page.locator('.assistant .text').textContent(), first, 'the same seed')
  await say(page, 'And then?')
  await page.waitForSelector('.said:nth-child(4):not([aria-busy]) .facts button')
  await page.click('#new')
  assert.is(await page.locator('.said').count(), 0)
  await page.close()
})

browserTest('Escape stops an answer; the text stays', async () => {
  const page = await open(server.url)
  await ready(page)
  await say(page, 'Tell me a very long story.', 400)
  await page.waitForFunction(() => (document.querySelector('.assistant .text')?.textContent?.length ?? 0) > 10)
  await page.keyboard.press('Escape')
  await isDone(page)
  assert.match(await page.locator('.assistant .facts').innerText(), /^stopped/)
  assert.is(await page.isEnabled('#send'), true)
  await page.close()
})

browserTest('a key is asked for, and a wrong one is said to be wrong', async () => {
  const locked = await startServer({ keys: ['secret'], defaults: { seed: 1 } })
  const page = await open(locked.url)
  await page.waitForSelector('#entry:not([hidden])')
  await page.fill('#key', 'wrong')
  await page.press('#key', 'Enter')
  await page.waitForSelector('#problem:not([hidden])')
  assert.match(await page.locator('#problem').innerText(), /not one of the server/)
  await page.fill('#key', 'secret')
  await page.press('#key', 'Enter')
  await ready(page)
  await say(page, 'Hello', 4)
  await isDone(page)
  await page.close()
  await locked.close()
})

browserTest('a model without a chat template continues the text; a server that is gone is said to be', async () => {
  const plain = await startServer({ template: undefined, defaults: { seed: 1 } })
  const page = await open(plain.url)
  await ready(page)
  await say(page, 'Once upon a time', 12)
  await isDone(page)
  assert.match(await page.locator('#label').innerText(), /continues/)
  await plain.close()
  await say(page, ' there was')
  await page.waitForSelector('#problem:not([hidden])')
  assert.match(await page.locator('#problem').innerText(), /cannot be reached/)
  await page.close()
})

browserTest('it fits on a phone, in both colours', async () => {
  for (const [width, scheme] of [
    [390, 'light'],
    [390, 'dark'],
    [1280, 'light'],
    [1280, 'dark'],
  ] as const) {
    const page = await open(server.url, { width, scheme })
    await ready(page)
    await say(page, 'Tell me a story about a cat.', 40)
    await isDone(page)
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
    assert.ok(overflow <= 0, `${overflow} px too wide`)
    if (screenshots) await page.screenshot({ path: join(screenshots, `chat-${width}-${scheme}.png`) })
    await page.close()
  }
})

test('the page can be left out, and is never what a request of another site gets', async () => {
  const bare = await startServer({ hasPage: false })
  for (const path of ['/', '/page.css', '/page.mjs']) assert.is((await fetch(bare.url + path)).status, 404)
  await bare.close()
})

test.run()
