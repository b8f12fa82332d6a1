/**
 * The viewer in a real browser, Debian's chromium: what it shows, what the keyboard does, and that it asks nobody else for
 * anything. Without a browser these tests are skipped with a loud line; .ci/run installs one. GTA_SCREENSHOTS=DIR keeps
 * pictures.
 */
import { request } from 'node:http'
import type { Browser, Page } from 'playwright-core'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { isLoopback } from '../host/server/local-server.ts'
import { Analysis } from '../host/tools/analyze/analyze.ts'
import type { Entry } from '../host/tools/analyze/charts.ts'
import { explain } from '../host/tools/analyze/explain.ts'
import { findHardware, hardwareTable } from '../host/tools/analyze/hardware.ts'
import { renderReport, renderRooflines } from '../host/tools/analyze/report.ts'
import { viewerModels } from '../host/tools/analyze/viewer/models.ts'
import { openViewer, type Viewer } from '../host/tools/analyze/viewer/server.ts'
import { describe } from '../models/index.ts'
import { failure } from './fixtures/checkpoints.ts'
import { browserTest, launchBrowser, screenshots } from './harness/browsers.ts'
import { layoutProblems, widths } from './harness/layout.ts'

let viewer: Viewer
let browser: Browser | undefined

test.before(async () => {
  viewer = await openViewer({ models: viewerModels(), hardware: hardwareTable })
  browser = await launchBrowser()
})
test.after(async () => {
  await browser?.close()
  await viewer.close()
})

/** What a bare HTTP client gets. */
function fetchRaw(
  path: string,
  options: { method?: string; host?: string } = {},
): Promise<{ status: number; body: string }> {
  const { hostname, port } = new URL(viewer.url)
  return new Promise((resolve, reject) => {
    const { method = 'GET', host = `${hostname}:${port}` } = options
    const sent = request({ hostname, port, path, method, headers: { host } }, (response) => {
      let body = ''
      response.on('data', (data) => {
        body += data
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    sent.on('error', reject).end()
  })
}

test('the server has three documents and no way to a file', async () => {
  for (const path of ['/', '/viewer.mjs', '/data.json', '/?x=1']) assert.is((await fetchRaw(path)).status, 200, path)
  const others = [
    '/package.json',
    '/../package.json',
    '/..%2fpackage.json',
    '/%2e%2e/package.json',
    '//etc/passwd',
    '/dist',
  ]
  for (const path of others) assert.is((await fetchRaw(path)).status, 404, path)
  assert.is((await fetchRaw('/', { method: 'POST' })).status, 405)
  assert.is((await fetchRaw('/', { method: 'HEAD' })).body, '')
})

test('no other host: neither to listen on nor in a request', async () => {
  for (const host of ['evil.example', '192.168.0.1', '127.0.0.1.evil.example'])
    assert.is((await fetchRaw('/', { host })).status, 403, host)
  for (const host of ['localhost', 'LOCALHOST:1', '127.0.0.2', '[::1]:80'])
    assert.is((await fetchRaw('/', { host })).status, 200, host)
  for (const host of ['0.0.0.0', '::', '192.168.0.1', 'example.org', '127.evil']) assert.not.ok(isLoopback(host), host)
  const error = await failure(openViewer({ models: {}, hardware: [], host: '0.0.0.0' }))
  assert.is(error.code, 'BAD_OPTION')
  assert.match(error.message, '--public')
  const open = await openViewer({ models: {}, hardware: [], host: '0.0.0.0', isPublic: true })
  await open.close()
  const taken = await failure(openViewer({ models: {}, hardware: [], port: Number(new URL(viewer.url).port) }))
  assert.is(taken.code, 'BAD_OPTION')
})

interface Size {
  width: number
  height: number
}

async function openPage(
  hash = '',
  viewport: Size = { width: 1280, height: 900 },
  colorScheme: 'light' | 'dark' = 'light',
) {
  const page = await (browser as Browser).newPage({ viewport, colorScheme })
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(String(error)))
  page.on('console', (message) => problems.push(message.text()))
  page.on('request', (asked) => {
    if (!asked.url().startsWith(viewer.url) && !asked.url().startsWith('data:')) problems.push(`asks ${asked.url()}`)
  })
  await page.goto(viewer.url + hash)
  await page.waitForSelector('html[data-ready]')
  return { page, problems }
}

async function keep(page: Page, name: string): Promise<void> {
  if (screenshots) await page.screenshot({ path: `${screenshots}/viewer-${name}.png`, fullPage: true })
}

const textOf = (page: Page, selector: string) => page.locator(selector).innerText()

browserTest('two models side by side: graphs, roofline with every operation, tables', async () => {
  const { page, problems } = await openPage('#hardware=bcm2712')
  await keep(page, 'desktop')
  assert.is(await page.locator('#graphs figure').count(), 2)
  assert.match(await textOf(page, '#summary'), /gta-1b\s+gqa-1b/)
  for (const name of ['q_proj', 'fused_attention', 'v2o_proj', 'lm_head'])
    assert.is(await page.locator(`#graphs figure:first-child [data-op="${name}"]`).count(), 1, name)
  // Markers with a tooltip are operations; each of both models is there.
  const tips = await page.locator('#plots figure:first-child svg :is(circle, rect, path) > title').allTextContents()
  const operations = await page.locator('#graphs [data-op]').count()
  // A lookup computes nothing and has no place under a roof.
  assert.is(tips.length, operations - 2)
  assert.match(await textOf(page, '#sentences'), /conversations of 2,048 tokens/)
  assert.equal(problems, [])
  await page.close()
})

browserTest('controls change what is shown, and the address keeps it', async () => {
  const { page, problems } = await openPage()
  const before = await textOf(page, '#summary')
  await page.selectOption('select[name=hardware]', 'nvidia_H100')
  await page.selectOption('select[name=formats]', 'llm-viewer')
  await page.check('input[value=prefill]')
  await page.fill('input[name=batch]', '8')
  await page.fill('input[name=seqlen]', '4096')
  const after = await textOf(page, '#summary')
  assert.not.equal(after, before)
  assert.match(after, /prefill, batch 8, 4,096 tokens/)
  assert.is(await page.locator('#graphs [data-op="qk_matmul"]').count(), 2)
  const url = page.url()
  await page.close()
  const again = await openPage(new URL(url).hash)
  assert.is(await textOf(again.page, '#summary'), after)
  assert.equal([...problems, ...again.problems], [])
  await again.page.close()
})

browserTest('a value that cannot be is told, and what was shown stays', async () => {
  const { page } = await openPage('#hardware=nvidia_H100')
  const before = await textOf(page, '#summary')
  await page.fill('input[name=batch]', '0')
  assert.match(await textOf(page, '[role=alert]'), 'batch must be a whole number from 1')
  assert.is(await textOf(page, '#summary'), before)
  await page.fill('input[name=batch]', '1')
  assert.is(await page.locator('[role=alert]').textContent(), '')
  // A model without formulas in the tool.
  await page.selectOption('select[name=a]', '500m-mla')
  await page.selectOption('select[name=formats]', 'llm-viewer')
  assert.match(await textOf(page, '[role=alert]'), 'mla')
  await page.close()
})

browserTest('by keyboard alone: every node can be reached and chosen', async () => {
  const { page, problems } = await openPage()
  await page.keyboard.press('Tab')
  assert.is(await page.evaluate(() => document.activeElement?.className), 'skip')
  await page.keyboard.press('Enter')
  const seen = new Set<string>()
  for (let i = 0; i < 60 && !seen.has('lm_head'); i++) {
    await page.keyboard.press('Tab')
    const name = await page.evaluate(() => (document.activeElement as HTMLElement | null)?.dataset?.op)
    if (name) seen.add(name)
  }
  assert.ok(seen.size > 15, [...seen].join())
  await page.keyboard.press('Enter')
  assert.match(await textOf(page, '#detail'), 'lm_head')
  assert.is(await page.evaluate(() => (document.activeElement as HTMLElement | null)?.dataset?.op), 'lm_head')
  assert.is(await page.evaluate(() => document.activeElement?.getAttribute('aria-pressed')), 'true')
  assert.equal(problems, [])
  await page.close()
})

browserTest('for a screen reader: names for all that can be used, and a text for every picture', async () => {
  const { page } = await openPage()
  const unnamed = await page.evaluate(() =>
    [...document.querySelectorAll('select, input, [role=button], svg[role]')]
      .filter((element) => {
        const label = element.getAttribute('aria-label') ?? element.closest('label')?.textContent
        return !label?.trim()
      })
      .map((element) => element.outerHTML.slice(0, 100)),
  )
  assert.equal(unnamed, [])
  assert.is(await page.locator('h1').count(), 1)
  assert.is(await page.locator('html[lang]').count(), 1)
  await page.close()
})

/** What a page is opened with, and for how many models. */
const views: [hash: string, models: number][] = [
  ['#hardware=bcm2712', 2],
  ['#hardware=bcm2712&stage=prefill&batch=8', 2],
  ['#hardware=bcm2712&b=nothing', 1],
  ['#a=160m-mla&b=160m-gta1&stage=prefill', 2],
  ['#a=500m-gqa&b=500m-mla&hardware=nvidia_H100&formats=bits', 2],
]

browserTest('on phones and desks nothing is cut off, lies on another text or has a line through it', async () => {
  for (const width of widths)
    for (const [i, [hash, models]] of views.entries()) {
      const { page, problems } = await openPage(hash, { width, height: 844 }, i % 2 ? 'dark' : 'light')
      await keep(page, `${width}-${i}`)
      assert.equal(await layoutProblems(page), [], `${width} ${hash}`)
      // Every model's column is in sight.
      const hidden = await page
        .locator('#summary .wide, #detail .wide')
        .evaluateAll((all) => all.map((wide) => wide.scrollWidth - wide.clientWidth).filter((pixels) => pixels > 0))
      assert.equal(hidden, [], `${width} ${hash}`)
      const boxes = await page
        .locator('#graphs svg')
        .evaluateAll((graphs) => graphs.map((graph) => graph.getBoundingClientRect().toJSON() as DOMRect))
      assert.is(boxes.length, models)
      // Graphs are of one scale, and on a desk side by side.
      for (const box of boxes) assert.is(box.width, boxes[0]?.width)
      assert.ok((boxes[0]?.right ?? width) <= width, `${boxes[0]?.right}`)
      if (width > 1000 && models === 2) assert.is(boxes[1]?.top, boxes[0]?.top)
      assert.equal(problems, [])
      await page.close()
    }
})

browserTest(
  'the reports of gta analyze, with several batches and lengths: a chart of each, none with labels that collide',
  async () => {
    const entries = ['gta-1b', 'gqa-1b'].map((name) => ({
      name,
      analysis: new Analysis(describe(viewerModels()[name]), findHardware('bcm2712'), {}),
    }))
    // As gta bench -o html has it.
    const test = { phase: 'tg', tokens: 64, depth: 2048, conversations: 1, threads: 4 } as const
    const shares = { linear: 0.8, attention: 0.1, valueDecoder: 0.05, rest: 0.05 }
    const explanation = explain('gta-1b q8 tg64 @ d2048', (entries[0] as Entry).analysis, test, 12, shares)
    const input = { entries, batches: [1, 8], seqlens: [512, 2048], stages: ['prefill', 'decode'] as const }
    const page = await (browser as Browser).newPage()
    await page.setContent(renderReport({ ...input, explanations: [explanation] }))
    for (const batch of input.batches)
      for (const stage of input.stages)
        for (const seqlen of ['512', '2,048'])
          for (const what of ['Roofline of bcm2712', 'Where the time goes'])
            assert.is(
              await page
                .locator('svg > title', { hasText: `${what}: ${stage}, batch ${batch}, ${seqlen} tokens` })
                .count(),
              1,
            )
    assert.is((renderRooflines(input).match(/Roofline of bcm2712[^<]*<\/title>/g) ?? []).length, 8)
    for (const width of widths) {
      await page.setViewportSize({ width, height: 844 })
      await keep(page, `report-${width}`)
      assert.equal(await layoutProblems(page), [], `${width}`)
    }
    await page.close()
  },
)

test.run()
