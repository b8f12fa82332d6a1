/**
 * Serves page.html, the library for browsers, and a model. The two Cross-Origin headers isolate the page, which gives it
 * threads.
 *
 *     node page.mjs [MODEL.gta]              PORT=8080 unless the environment says otherwise
 */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createServer } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { defaultModel } from 'gta-edge'

const inPackage = (name) => fileURLToPath(import.meta.resolve(name))
/** Nothing else is served: no path of a request reaches the disk. */
const files = {
  '/': ['text/html; charset=utf-8', fileURLToPath(new URL('page.html', import.meta.url))],
  '/browser.mjs': ['text/javascript', inPackage('gta-edge/browser')],
  '/browser-worker.mjs': ['text/javascript', inPackage('gta-edge/browser-worker')],
  '/model.gta': ['application/octet-stream', process.argv[2] ?? fileURLToPath(defaultModel)],
}

const server = createServer(async (request, response) => {
  const [type, path] = files[request.url] ?? []
  if (!path || request.method !== 'GET') {
    response.writeHead(path ? 405 : 404).end()
    return
  }
  try {
    const { size } = await stat(path)
    response.writeHead(200, {
      'content-type': type,
      'content-length': size,
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
    })
    await pipeline(createReadStream(path), response)
  } catch (error) {
    // A page that is closed while it loads is no fault.
    if (error.code === 'ERR_STREAM_PREMATURE_CLOSE') return
    console.error(error.message)
    if (response.headersSent) response.destroy()
    else response.writeHead(500).end()
  }
})
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`)
})
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => {
    server.close()
    server.closeAllConnections()
  })
