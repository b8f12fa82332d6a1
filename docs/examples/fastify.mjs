/**
 * A handler of Fastify that streams text as server-sent events (npm install fastify).
 *
 *     node fastify.mjs [MODEL.gta]           PORT=8080 and HOST=127.0.0.1 unless the environment says otherwise
 *     curl -N --json '{"prompt":"The fox said","maxTokens":50}' http://127.0.0.1:8080/generate
 *
 * The events are those of http.mjs: {"text":"…"}, at the end {"done":true,…} or {"error":{"code","message"}}.
 */
import { Readable } from 'node:stream'
import fastify from 'fastify'
import { defaultModel, GtaError, load } from 'gta-edge'

/** Errors that have a status of their own; all others are 500. */
const statusOf = { BAD_OPTION: 400, BAD_PROMPT: 400, CONTEXT_FULL: 413, BUSY: 503, TOO_MANY: 503, OUT_OF_MEMORY: 503 }

const body = {
  type: 'object',
  required: ['prompt'],
  properties: {
    prompt: { type: 'string' },
    maxTokens: { type: 'integer', minimum: 1, maximum: 1000, default: 200 },
    seed: { type: 'integer' },
    temperature: { type: 'number', minimum: 0 },
  },
}

const model = await load(process.argv[2] ?? defaultModel)
const app = fastify({ bodyLimit: 100_000, forceCloseConnections: true })
app.addHook('onClose', () => model.close())

app.post('/generate', { schema: { body } }, async (request, reply) => {
  const { prompt, ...options } = request.body
  const gone = new AbortController()
  // Whoever leaves is not computed for any longer.
  reply.raw.on('close', () => gone.abort())
  const pieces = model.generate(prompt, { ...options, signal: gone.signal })
  // The first piece is computed before the status is sent: until then an error can still have its own.
  const first = await pieces.next()
  reply.header('content-type', 'text/event-stream').header('cache-control', 'no-store')
  return reply.send(Readable.from(events(first, pieces, gone.signal)))
})

/** The text of the events; Fastify asks for the next one when the reader has taken the last one. */
async function* events(first, pieces, signal) {
  const event = (data) => `data: ${JSON.stringify(data)}\n\n`
  try {
    let next = first
    for (; !next.done; next = await pieces.next()) yield event({ text: next.value })
    yield event({ done: true, finish: next.value.finish, tokens: next.value.tokens.length })
  } catch (error) {
    if (!signal.aborted) yield event({ error: describe(error).told })
  } finally {
    // Gives its conversation back, wherever it was left.
    await pieces.return()
  }
}

app.setErrorHandler((error, _request, reply) => {
  const { status, told } = describe(error)
  return reply.status(status).send({ error: told })
})

/** What the client may know of an error. */
function describe(error) {
  const { code, message } = error
  if (error instanceof GtaError) return { status: statusOf[code] ?? 500, told: { code, message } }
  // Of Fastify, about the request.
  if (error.statusCode < 500) return { status: error.statusCode, told: { code: 'BAD_REQUEST', message } }
  console.error(error)
  return { status: 500, told: { code: 'INTERNAL', message: 'failed' } }
}

console.log(
  `listening on ${await app.listen({ port: Number(process.env.PORT ?? 8080), host: process.env.HOST ?? '127.0.0.1' })}`,
)
for (const name of ['SIGINT', 'SIGTERM']) process.once(name, () => app.close())
