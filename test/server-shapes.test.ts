/** gta serve in the shapes of others: Ollama's lines of JSON, OpenAI's /v1/responses, llama-server's tokens and templates. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ask, eventsOf, startServer, type TestServer, untilReady } from './fixtures/api-server.ts'

let server: TestServer

test.before(async () => {
  server = await startServer()
  await untilReady(server)
})

test.after(async () => {
  await server.close()
  assert.equal(server.errors, [])
})

const question = [{ role: 'user', content: 'Once upon a time' }]
const sampling = { seed: 1, temperature: 0.8 }

/** What the same question is answered by /v1/chat/completions. */
async function answered(max: number): Promise<string> {
  const body = { messages: question, ...sampling, max_tokens: max }
  return (await ask(server, '/v1/chat/completions', body)).body.choices[0].message.content
}

// biome-ignore lint/suspicious/noExplicitAny: the shapes are what is tested
const linesOf = (text: string): any[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

test('/api/chat streams lines unless it is told not to, and counts in nanoseconds', async () => {
  const body = { model: 'stories:latest', messages: question, options: { ...sampling, num_predict: 8, num_ctx: 8192 } }
  const streamed = await ask(server, '/api/chat', body)
  assert.is(streamed.headers.get('content-type'), 'application/x-ndjson')
  const lines = linesOf(streamed.body)
  const last = lines.pop()
  assert.ok(
    lines.every(({ done, model, message }) => !done && model === 'stories:latest' && message.role === 'assistant'),
  )
  assert.is(lines.map(({ message }) => message.content).join(''), await answered(8))
  assert.is(last.done, true)
  assert.is(last.done_reason, 'length')
  assert.is(last.eval_count, 8)
  assert.ok(last.total_duration > 1e5 && Number.isInteger(last.total_duration))
  const whole = await ask(server, '/api/chat', { ...body, stream: false })
  assert.is(whole.body.message.content, await answered(8))
  assert.is(whole.body.done, true)
  assert.ok(!Number.isNaN(Date.parse(whole.body.created_at)))
})

test('/api/generate asks the model, goes on with a raw text, and loads with neither', async () => {
  const options = { ...sampling, num_predict: 8 }
  const asked = { model: 'stories', stream: false, options }
  const chatted = await ask(server, '/api/generate', { ...asked, prompt: 'Once upon a time' })
  assert.is(chatted.body.response, await answered(8))
  const raw = await ask(server, '/api/generate', { ...asked, prompt: 'Once upon a time', raw: true })
  const completed = await ask(server, '/v1/completions', { prompt: 'Once upon a time', ...sampling, max_tokens: 8 })
  assert.is(raw.body.response, completed.body.choices[0].text)
  const loaded = await ask(server, '/api/generate', { model: 'stories' })
  assert.is(linesOf(loaded.body)[0].done_reason, 'load')
})

test('Ollama’s clients find the models, and errors in the shape that they know', async () => {
  const tags = await ask(server, '/api/tags')
  assert.is(tags.body.models[0].name, 'stories')
  assert.match(tags.body.models[0].digest, /^[0-9a-f]{64}$/)
  assert.is((await ask(server, '/api/ps')).body.models[0].context_length, 512)
  const shown = await ask(server, '/api/show', { model: 'stories' })
  const { 'general.architecture': architecture } = shown.body.model_info
  assert.is(shown.body.model_info[`${architecture}.context_length`], 512)
  assert.type((await ask(server, '/api/version')).body.version, 'string')
  for (const [path, body, status, words] of [
    ['/api/chat', { model: 'llama3', messages: question }, 404, 'stories'],
    ['/api/chat', { model: 'stories', messages: question, options: { mirostat: 2 } }, 400, 'options.mirostat'],
    ['/api/chat', { model: 'stories', messages: [{ role: 'user', content: '', images: ['x'] }] }, 400, 'images'],
    ['/api/generate', { model: 'stories', prompt: 'a', template: 'b' }, 400, 'template'],
    ['/api/pull', { model: 'llama3' }, 404, '/api/pull'],
  ] as const) {
    const answer = await ask(server, path, body)
    assert.is(answer.status, status, path)
    assert.match(answer.body.error, words)
  }
})

test('/v1/responses: a text or items in, a response out, whole or in numbered events', async () => {
  const asked = { input: 'Once upon a time', ...sampling, max_output_tokens: 8 }
  const { body } = await ask(server, '/v1/responses', asked)
  assert.is(body.status, 'incomplete')
  assert.equal(body.incomplete_details, { reason: 'max_output_tokens' })
  assert.is(body.output.length, 1)
  assert.is(body.output[0].content[0].text, await answered(8))
  assert.is(body.usage.output_tokens, 8)

  const items = [{ role: 'user', content: [{ type: 'input_text', text: 'Once upon a time' }] }]
  const streamed = await ask(server, '/v1/responses', { ...asked, input: items, stream: true })
  assert.match(streamed.body, /(?:^|\n\n)event: response\.created\ndata: /)
  const events = eventsOf(streamed.body)
  assert.equal(
    events.map(({ sequence_number: n }) => n),
    [...events.keys()],
  )
  const types = events.map(({ type }) => type).filter((type) => type !== 'response.output_text.delta')
  assert.equal(types, [
    'response.created',
    'response.in_progress',
    'response.output_item.added',
    'response.content_part.added',
    'response.output_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'response.incomplete',
  ])
  const deltas = events.filter(({ type }) => type === 'response.output_text.delta')
  assert.is(deltas.map(({ delta }) => delta).join(''), await answered(8))
  const { id: _, output, created_at: __, ...rest } = events.at(-1).response
  assert.is(output[0].content[0].text, await answered(8))
  assert.is(rest.usage.output_tokens, 8)
})

test('/v1/responses refuses what it would have to keep', async () => {
  for (const param of ['previous_response_id', 'conversation', 'prompt']) {
    const { status, body } = await ask(server, '/v1/responses', { input: 'a', [param]: 'x' })
    assert.is(status, 400)
    assert.is(body.error.param, param)
  }
})

test('texts to tokens and back, and the prompt that a chat makes', async () => {
  const { body } = await ask(server, '/tokenize', { content: 'The fox said', with_pieces: true })
  assert.is(body.tokens.map(({ piece }: { piece: string }) => piece).join(''), 'The fox said')
  const tokens = body.tokens.map(({ id }: { id: number }) => id)
  assert.equal((await ask(server, '/tokenize', { prompt: 'The fox said' })).body.tokens, tokens)
  assert.is(
    (await ask(server, '/tokenize', { content: 'The fox said', add_special: true })).body.count,
    tokens.length + 1,
  )
  assert.is((await ask(server, '/detokenize', { tokens })).body.content, 'The fox said')
  const { body: applied } = await ask(server, '/apply-template', { messages: question })
  assert.is(applied.prompt, '<|im_start|>user\nOnce upon a time<|im_end|>\n<|im_start|>assistant\n')
  for (const id of [4096, 2 ** 32]) assert.is((await ask(server, '/detokenize', { tokens: [id] })).status, 400)
})

test('/props and /metrics tell what the server is and did', async () => {
  const { body } = await ask(server, '/props')
  assert.is(body.total_slots, 4)
  assert.is(body.default_generation_settings.n_ctx, 512)
  const { body: text } = await ask(server, '/metrics')
  const metricOf = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])
  assert.ok(metricOf('llamacpp:tokens_predicted_total') > 8)
  assert.is(metricOf('llamacpp:requests_processing'), 0)
  assert.ok(metricOf('gta:requests_total{route="/api/chat",status="404"}') === 1, text)
  assert.not.match(text, /upon|fox|llama3/)
})

test.run()
