/**
 * Text over HTTP, streamed as server-sent events.
 *
 *     node http.mjs [MODEL.gta]              PORT=8080 and HOST=127.0.0.1 unless the environment says otherwise
 *     curl -N -d '{"prompt":"The fox said","maxTokens":50}' http://127.0.0.1:8080/generate
 *
 * Each event is one JSON text: {"text":"…"} for a piece, then {"done":true,"finish":"length","tokens":50}, or
 * {"error":{"code":"…","message":"…"}} if something goes wrong after the first piece. Up to 32 requests are computed together.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { defaultModel, GtaError, load } from 'gta-edge'

const MAX_BODY = 100_000
const MAX_TOKENS = 1000
/** Errors that have a status of their own; all others are 500. */
const statusOf = { BAD_OPTION: 400, BAD_PROMPT: 400, CONTEXT_FULL: 413, BUSY: 503, TOO_MANY: 503, OUT_OF_MEMORY: 503 }

class BadRequest extends Error {
  code = 'BAD_REQUEST'
}

const model = await load(process.argv[2] ?? defaultModel)

const server = createServer(async (request, response) => {
  const gone = new AbortController()
  // Whoever leaves is not computed for any longer.
  response.on('close', () => gone.abort())
  let pieces
  try {
    if (request.method !== 'POST' || request.url !== '/generate') {
      send(response, 404, { error: { code: 'NOT_FOUND', message: 'ask with POST /generate' } })
      return
    }
    const { prompt, maxTokens, seed, temperature } = await readJson(request)
    const options = { maxTokens: Math.min(maxTokens ?? 200, MAX_TOKENS), seed, temperature, signal: gone.signal }
    pieces = model.generate(prompt, options)
    // The first piece is computed before the status is sent: until then an error can still have its own.
    let next = await pieces.next()
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    for (; !next.done; next = await pieces.next()) await event(response, { text: next.value }, gone.signal)
    const { finish, tokens } = next.value
    await event(response, { done: true, finish, tokens: tokens.length }, gone.signal)
    response.end()
  } catch (error) {
    if (gone.signal.aborted) return
    const isOurs = error instanceof GtaError || error instanceof BadRequest
    if (!isOurs) console.error(error)
    const told = {
      error: isOurs ? { code: error.code, message: error.message } : { code: 'INTERNAL', message: 'failed' },
    }
    if (!response.headersSent) send(response, error instanceof BadRequest ? 400 : (statusOf[error.code] ?? 500), told)
    else response.end(`data: ${JSON.stringify(told)}\n\n`)
  } finally {
    // What is left of a body that was refused is thrown away, so that the connection can be used again.
    request.resume()
    // Gives its conversation back, wherever it was left.
    await pieces?.return()
  }
})

/** Writes one event; waits where the reader is slower than the model. */
async function event(response, data, signal) {
  if (!response.write(`data: ${JSON.stringify(data)}\n\n`)) await once(response, 'drain', { signal })
}

function send(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

async function readJson(request) {
  const parts = []
  let bytes = 0
  // Not destroyed where the loop ends early: the answer goes over the same connection.
  for await (const part of request.iterator({ destroyOnReturn: false })) {
    bytes += part.length
    if (bytes > MAX_BODY) throw new BadRequest(`the body must have at most ${MAX_BODY} bytes`)
    parts.push(part)
  }
  try {
    const body = JSON.parse(Buffer.concat(parts).toString())
    if (typeof body === 'object' && body !== null) return body
  } catch {}
  throw new BadRequest('the body must be a JSON object such as {"prompt":"The fox"}')
}

server.listen(Number(process.env.PORT ?? 8080), process.env.HOST ?? '127.0.0.1', () => {
  console.log(`listening on http://${server.address().address}:${server.address().port}`)
})
for (const name of ['SIGINT', 'SIGTERM'])
  process.once(name, () => {
    server.close(() => model.close())
    server.closeAllConnections()
  })
