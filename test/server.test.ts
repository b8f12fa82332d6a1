/** gta serve in this process: OpenAI's chats and completions, whole and as events, and how requests are refused. */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { generateTable, chatTable as ollamaChat } from '../host/server/ollama/chat.ts'
import { optionFields } from '../host/server/ollama/fields.ts'
import { chatTable } from '../host/server/openai/chat.ts'
import { completionTable } from '../host/server/openai/completions.ts'
import { embeddingTable, ollamaTable } from '../host/server/openai/embeddings.ts'
import { responseTable } from '../host/server/openai/responses.ts'
import { ignored } from '../host/server/readers.ts'
import { ask, askRaw, eventsOf, startServer, type TestServer, untilReady } from './fixtures/api-server.ts'

let server: TestServer

test.before(async () => {
  server = await startServer()
  // It listens before its model is there, and says so.
  const early = await ask(server, '/health')
  assert.is(early.status, 503)
  assert.equal(early.body, { error: { code: 503, message: 'Loading model', type: 'unavailable_error' } })
  await untilReady(server)
})

test.after(async () => {
  await server.close()
  assert.equal(server.errors, [])
})

const chat = (more: object = {}) => ({
  messages: [{ role: 'user', content: 'Once upon a time' }],
  max_tokens: 8,
  seed: 1,
  ...more,
})

test('models are listed with their context, and shown by their name', async () => {
  const { body } = await ask(server, '/v1/models')
  assert.is(body.object, 'list')
  const [model] = body.data
  assert.is(model.id, 'stories')
  assert.is(model.context_length, 512)
  assert.is(model.status.value, 'loaded')
  assert.equal((await ask(server, '/v1/models/stories')).body, model)
  assert.is((await ask(server, '/v1/models/..%2f..%2fetc%2fpasswd')).body.error.code, 'model_not_found')
})

test('a chat is the same whole and as events: role first, finish_reason last, then usage', async () => {
  const whole = await ask(server, '/v1/chat/completions', chat())
  assert.is(whole.status, 200)
  const [choice] = whole.body.choices
  assert.is(choice.message.role, 'assistant')
  assert.ok(choice.message.content.length > 10)
  assert.is(choice.finish_reason, 'length')
  assert.is(whole.body.usage.completion_tokens, 8)
  assert.is(whole.body.usage.total_tokens, whole.body.usage.prompt_tokens + 8)

  const asked = chat({ stream: true, stream_options: { include_usage: true } })
  const streamed = await ask(server, '/v1/chat/completions', asked)
  assert.is(streamed.headers.get('content-type'), 'text/event-stream; charset=utf-8')
  const events = eventsOf(streamed.body)
  assert.is(events.pop(), '[DONE]')
  const usage = events.pop()
  assert.equal(usage.choices, [])
  assert.is(usage.usage.completion_tokens, 8)
  assert.equal(events[0].choices[0].delta, { role: 'assistant', content: '' })
  assert.is(events.at(-1).choices[0].finish_reason, 'length')
  assert.ok(events.slice(0, -1).every((event) => event.choices[0].finish_reason === null))
  const told = events.map((event) => event.choices[0].delta.content ?? '').join('')
  assert.is(told, choice.message.content)
  assert.is(new Set(events.map(({ id }) => id)).size, 1)
})

test('a prompt that was read before is not computed again, and says so', async () => {
  const prompt = 'The old bear had a small house in the deep dark wood. '.repeat(8)
  const first = await ask(server, '/v1/completions', { prompt, max_tokens: 1 })
  const again = await ask(server, '/v1/completions', { prompt, max_tokens: 1 })
  assert.is(first.body.usage.prompt_tokens_details.cached_tokens, 0)
  assert.ok(again.body.usage.prompt_tokens_details.cached_tokens >= 64)
})

test('completions go on from texts and ids, several at a time, and repeat the prompt if asked', async () => {
  const asked = { max_tokens: 4, temperature: 0 }
  const one = await ask(server, '/v1/completions', { prompt: 'The fox said', ...asked })
  const two = await ask(server, '/v1/completions', { prompt: ['The fox said', [5, 6, 7]], echo: true, ...asked })
  assert.is(two.body.choices.length, 2)
  assert.is(two.body.choices[0].text, `The fox said${one.body.choices[0].text}`)
  assert.equal(
    two.body.choices.map(({ index }: { index: number }) => index),
    [0, 1],
  )
  const events = eventsOf(
    (await ask(server, '/v1/completions', { prompt: 'The fox said', stream: true, ...asked })).body,
  )
  assert.is(events.pop(), '[DONE]')
  assert.is(events.map(({ choices }) => choices[0].text).join(''), one.body.choices[0].text)
})

test('several choices of one prompt have seeds of their own', async () => {
  const { body } = await ask(server, '/v1/completions', { prompt: 'The fox said', n: 3, max_tokens: 6, seed: 5 })
  const texts = body.choices.map(({ text }: { text: string }) => text)
  assert.is(new Set(texts).size, 3)
  const third = await ask(server, '/v1/completions', { prompt: 'The fox said', max_tokens: 6, seed: 7 })
  assert.is(third.body.choices[0].text, texts[2])
})

test('stop texts end an answer, and are no part of it', async () => {
  const { body } = await ask(server, '/v1/completions', {
    prompt: 'Once upon a time',
    max_tokens: 60,
    seed: 1,
    stop: ['.'],
  })
  assert.is(body.choices[0].finish_reason, 'stop')
  assert.not.match(body.choices[0].text, /\./)
})

const complete = '/v1/completions'
const refusals: [path: string, body: object | string | undefined, status: number, code: string, param?: string][] = [
  ['/nothing', undefined, 404, 'not_found'],
  [complete, undefined, 405, 'method_not_allowed'],
  ['/v1/models', {}, 405, 'method_not_allowed'],
  [complete, '', 400, 'invalid_json'],
  [complete, '{"prompt":', 400, 'invalid_json'],
  [complete, '[1]', 400, 'invalid_json'],
  [complete, '['.repeat(100_000), 400, 'invalid_json'],
  [complete, {}, 400, 'missing_parameter', 'prompt'],
  [complete, { prompt: '' }, 400, 'invalid_prompt'],
  [complete, { prompt: 'a', model: 'gpt-4' }, 404, 'model_not_found', 'model'],
  [complete, { prompt: 'a', model: '../../etc/passwd' }, 404, 'model_not_found', 'model'],
  [complete, { prompt: 'a', maxTokens: 5 }, 400, 'unsupported_parameter', 'maxTokens'],
  [complete, '{"prompt":"a","__proto__":{"n":1}}', 400, 'unsupported_parameter', '__proto__'],
  [complete, { prompt: 'a', suffix: 'b' }, 400, 'unsupported_parameter', 'suffix'],
  [complete, { prompt: 'a', n: 33 }, 400, 'invalid_value', 'n'],
  [complete, { prompt: 'a', n: 5 }, 400, 'invalid_value', 'n'],
  [complete, { prompt: [5, -1] }, 400, 'invalid_value', 'prompt[1]'],
  [complete, { prompt: [5, 1e6] }, 400, 'invalid_prompt'],
  [complete, '{"prompt":"a","temperature":1e999}', 400, 'invalid_value', 'temperature'],
  [complete, '{"prompt":"a","temperature":-1e308}', 400, 'invalid_value', 'temperature'],
  [complete, { prompt: 'a', temperature: 'hot' }, 400, 'invalid_value', 'temperature'],
  [complete, { prompt: 'a', top_p: 2 }, 400, 'invalid_value', 'top_p'],
  [complete, { prompt: 'a', top_k: 1.5 }, 400, 'invalid_value', 'top_k'],
  [complete, { prompt: 'a', max_tokens: 1e300 }, 400, 'invalid_value', 'max_tokens'],
  [complete, { prompt: 'a', seed: 2 ** 60 }, 400, 'invalid_value', 'seed'],
  [complete, { prompt: 'a', stop: '' }, 400, 'invalid_value', 'stop'],
  [complete, { prompt: 'a', logit_bias: { '1e3': 1 } }, 400, 'invalid_value', 'logit_bias'],
  [complete, { prompt: 'a', logit_bias: { 5: 101 } }, 400, 'invalid_value', 'logit_bias.5'],
  [complete, { prompt: 'wood '.repeat(600) }, 400, 'context_length_exceeded'],
  [complete, { prompt: 'wood '.repeat(200_000) }, 400, 'context_length_exceeded'],
  ['/v1/chat/completions', { messages: [] }, 400, 'invalid_value', 'messages'],
  ['/v1/chat/completions', { messages: [{ role: 'king', content: '' }] }, 400, 'invalid_value', 'messages[0].role'],
  ['/v1/chat/completions', chat({ messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }), 400, 'unsupported_parameter', 'messages[0].content[0].type'],
] // biome-ignore format: a table

test('what cannot be done is refused by name, in OpenAI’s shape', async () => {
  for (const [path, body, status, code, param] of refusals) {
    const what = `${path} ${typeof body === 'string' ? body.slice(0, 60) : JSON.stringify(body)?.slice(0, 100)}`
    const answer = await ask(server, path, body)
    assert.is(answer.status, status, what)
    assert.is(answer.body.error.code, code, what)
    if (param) assert.is(answer.body.error.param, param, what)
    assert.type(answer.body.error.message, 'string')
    assert.type(answer.body.error.type, 'string')
  }
  assert.is((await ask(server, complete)).headers.get('allow'), 'POST, OPTIONS')
})

test('a context that is too small says so with counts', async () => {
  const { body } = await ask(server, complete, { prompt: 'wood '.repeat(600) })
  assert.match(body.error.message, /context of 512 tokens, found \d+ tokens/)
  // Not even cut into tokens: that would take a second.
  const { body: more } = await ask(server, complete, { prompt: 'wood '.repeat(200_000) })
  assert.match(more.error.message, /found at least \d+ tokens/)
})

test('other media types and bytes that are no text are refused', async () => {
  const typed = await ask(server, complete, 'prompt=a', { headers: { 'content-type': 'text/plain' } })
  assert.is(typed.status, 415)
  const packed = await ask(server, complete, { prompt: 'a' }, { headers: { 'content-encoding': 'gzip' } })
  assert.is(packed.status, 415)
  assert.match(packed.body.error.message, 'content-encoding')
  const bytes = await askRaw(
    server,
    Buffer.from(
      `POST ${complete} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 15\r\n\r\n{"prompt":"\xff"} `,
      'latin1',
    ),
  )
  assert.match(bytes, /^HTTP\/1\.1 400 .*invalid_json/s)
})

test('whatever is read and ignored is listed in docs/server.md', () => {
  const document = readFileSync(new URL('../docs/server.md', import.meta.url), 'utf8')
  const tables = [
    chatTable,
    completionTable,
    responseTable,
    embeddingTable,
    ollamaChat,
    generateTable,
    ollamaTable,
    optionFields,
  ]
  const names = tables.flatMap((table) =>
    Object.entries(table).flatMap(([name, reader]) => (reader === ignored ? [name] : [])),
  )
  assert.ok(new Set(names).size > 25)
  for (const name of names) assert.ok(document.includes(`\`${name}\``), name)
})

test.run()
