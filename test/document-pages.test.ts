/** The program for pages in the documents, run in a page. Apart from document-programs.test.ts, which needs no browser. */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { defaultModel } from '../host/index.ts'
import { isForPages, programs } from './fixtures/documents.ts'
import { browserTest, launchBrowser } from './harness/browsers.ts'
import { limit } from './harness/limits.ts'

const dist = fileURLToPath(new URL('../dist/', import.meta.url))

browserTest('the program for pages runs in one', async () => {
  const text = programs.find(isForPages)
  const html = `<!doctype html><link rel="icon" href="data:,"><script type="importmap">{"imports": {"gta-edge/browser": "/browser.mjs"}}</script>
<body><script type="module">${text}\ndocument.body.dataset.done = 'yes'</script>`
  const script = (name: string) => ['text/javascript', readFileSync(dist + name)] as const
  const files: Record<string, readonly [string, string | Uint8Array]> = {
    '/': ['text/html', html],
    '/browser.mjs': script('browser.mjs'),
    '/browser-worker.mjs': script('browser-worker.mjs'),
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
    await page?.waitForSelector('body[data-done]', { timeout: limit(300) })
    assert.ok(((await page?.innerText('body')) ?? '').length > 100)
  } finally {
    await browser?.close()
    server.close()
    server.closeAllConnections()
  }
})

test.run()
