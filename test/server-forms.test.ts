/** gta serve: answers in the form that was asked for, how likely their tokens were, tools, and vectors. */
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

const chats = '/v1/chat/completions'
const texts = '/v1/completions'
const messages = [{ role: 'user', content: 'Name an animal' }]
const schema = {
  type: 'object',
  properties: { name: { enum: ['fox', 'hare'] }, legs: { type: 'integer', minimum: 2, maximum: 8 } },
  required: ['name', 'legs'],
  additionalProperties: false,
}

function checkAnimal(text: string): void {
  const { name, legs, ...rest } = JSON.parse(text)
  assert.ok(['fox', 'hare'].includes(name) && Number.isInteger(legs) && legs >= 2 && legs <= 8, text)
  assert.equal(rest, {})
}

test('a schema is kept in every API, whole and as events', async () => {
  const format = { type: 'json_schema', json_schema: { name: 'animal', strict: true, schema } }
  const { body } = await ask(server, chats, { messages, response_format: format, seed: 1 })
  assert.is(body.choices[0].finish_reason, 'stop')
  checkAnimal(body.choices[0].message.content)
  const streamed = await ask(server, chats, { messages, response_format: format, seed: 2, stream: true })
  checkAnimal(
    eventsOf(streamed.body)
      .slice(0, -1)
      .map(({ choices }) => choices[0].delta.content ?? '')
      .join(''),
  )
  const completed = await ask(server, texts, { prompt: 'An animal:', json_schema: schema, max_tokens: 100, seed: 3 })
  checkAnimal(completed.body.choices[0].text)
  const responded = await ask(server, '/v1/responses', { input: 'An animal', text: { format: { type: 'json_schema', name: 'a', schema } }, seed: 4 }) // biome-ignore format: one line
  assert.is(responded.body.status, 'completed')
  checkAnimal(responded.body.output[0].content[0].text)
  const ollama = { model: 'stories', stream: false, format: schema, options: { seed: 5 } }
  checkAnimal((await ask(server, '/api/chat', { ...ollama, messages })).body.message.content)
  checkAnimal((await ask(server, '/api/generate', { ...ollama, prompt: 'An animal:', raw: true })).body.response)
})

test('JSON objects, and regular expressions', async () => {
  const { body } = await ask(server, chats, {
    messages,
    response_format: { type: 'json_object' },
    max_tokens: 200,
    seed: 1,
  })
  if (body.choices[0].finish_reason === 'stop') assert.type(JSON.parse(body.choices[0].message.content), 'object')
  assert.match(body.choices[0].message.content, /^ ?\{/)
  const format = { type: 'regex', pattern: '(fox|hare)-\\d{3}' }
  const matched = await ask(server, texts, { prompt: 'Number:', response_format: format, seed: 1 })
  assert.match(matched.body.choices[0].text, /^(fox|hare)-\d{3}$/)
})

test('what cannot be kept is refused at once, by its name', async () => {
  for (const [asked, param, words] of [
    [{ response_format: { type: 'json_schema', json_schema: { schema: { type: 'string', contentEncoding: 'base64', not: {} } } } }, 'response_format', 'not'],
    [{ response_format: { type: 'json_schema' } }, 'response_format.json_schema.schema', 'given'],
    [{ response_format: { type: 'regex', pattern: '(?=a)b' } }, 'response_format', 'pattern'],
    [{ guided_json: schema, guided_regex: 'a' }, 'guided_regex', 'guided_json'],
    [{ grammar: 'root ::= "a"' }, 'grammar', 'response_format'],
    [{ top_logprobs: 3 }, 'top_logprobs', 'logprobs'],
    [{ tools: [{ type: 'web_search' }] }, 'tools[0].type', 'functions'],
    [{ reasoning_effort: 'most' }, 'reasoning_effort', 'minimal'],
  ] as const) {
    const { status, body } = await ask(server, chats, { messages, ...asked })
    assert.is(status, 400, param)
    assert.is(body.error.param, param)
    assert.match(body.error.message, words)
  }
}) // biome-ignore format: a table

test('a tool whose schema cannot be held is refused by name, in every API', async () => {
  const parameters = { type: 'object', properties: { a: { type: 'string', format: 'uri' } } }
  const tools = [{ type: 'function', function: { name: 'w', parameters } }]
  for (const [path, asked] of [
    [chats, { messages, tools }],
    ['/v1/responses', { input: 'a', tools: [{ type: 'function', name: 'w', parameters }] }],
    ['/apply-template', { messages, tools }],
    ['/api/chat', { model: 'stories', messages, tools, stream: false }],
  ] as const) {
    const { status, body } = await ask(server, path, asked)
    assert.is(status, 400, path)
    assert.match(typeof body.error === 'string' ? body.error : body.error.message, /format.*found "uri"/)
  }
})

test('a form is whole where it holds the text that ends the template’s messages', async () => {
  const value = 'a<|im_end|>b'
  const format = { type: 'json_schema', json_schema: { name: 'end', schema: { const: value } } }
  const { body } = await ask(server, chats, { messages, response_format: format, seed: 1 })
  assert.is(JSON.parse(body.choices[0].message.content), value)
  assert.is(body.choices[0].finish_reason, 'stop')
})

test('log probabilities of a chat: of every token that is shown, with alternatives', async () => {
  const asked = { messages, max_tokens: 6, temperature: 0, logprobs: true, top_logprobs: 3 }
  const { body } = await ask(server, chats, asked)
  const { content } = body.choices[0].logprobs
  assert.is(content.length, 6)
  assert.is(content.map(({ token }: { token: string }) => token).join(''), body.choices[0].message.content)
  for (const { token, logprob, bytes, top_logprobs: top } of content) {
    assert.is(Buffer.from(bytes).toString(), token)
    assert.is(top.length, 3)
    assert.is(top[0].token, token, 'the most likely one was taken')
    assert.is(top[0].logprob, logprob)
    assert.ok(top[0].logprob >= top[1].logprob && logprob <= 0)
  }
  const events = eventsOf((await ask(server, chats, { ...asked, stream: true })).body).slice(0, -1)
  assert.equal(
    events.flatMap(({ choices }) => choices[0].logprobs?.content ?? []),
    content,
  )
})

test('log probabilities of a prompt, as lm-evaluation-harness reads them', async () => {
  const prompt = (await ask(server, '/tokenize', { content: 'Once upon a time there was', add_special: true })).body
    .tokens
  const asked = {
    prompt: [prompt, prompt.slice(0, 4)],
    max_tokens: 1,
    temperature: 0,
    logprobs: 1,
    echo: true,
    seed: 1234,
  }
  const { body } = await ask(server, texts, asked)
  const [{ logprobs }, { logprobs: shorter }] = body.choices
  for (const list of Object.values(logprobs) as unknown[][]) assert.is(list.length, prompt.length + 1)
  assert.is(logprobs.token_logprobs[0], null)
  assert.is(logprobs.top_logprobs[0], null)
  assert.ok(logprobs.token_logprobs.slice(1).every((value: number) => value <= 0))
  // What stands before a token does not depend on what comes behind it.
  assert.equal(shorter.token_logprobs.slice(0, 4), logprobs.token_logprobs.slice(0, 4))
  assert.is(logprobs.tokens.slice(1).join(''), `Once upon a time there was${logprobs.tokens.at(-1)}`)
  const greedy = logprobs.token_logprobs.slice(1).map((value: number, i: number) => value === Math.max(...(Object.values(logprobs.top_logprobs[i + 1]) as number[]))) // biome-ignore format: one line
  assert.is(greedy.at(-1), true)
  assert.equal(logprobs.text_offset.slice(0, 3), [0, 0, 4])
  const none = await ask(server, texts, { ...asked, max_tokens: 0 })
  assert.is(none.body.choices[0].logprobs.tokens.length, prompt.length)
})

test('biases and penalties change what is said', async () => {
  const asked = { prompt: 'Once upon a', max_tokens: 12, temperature: 0 }
  const text = async (more: object) => (await ask(server, texts, { ...asked, ...more })).body.choices[0].text
  const plain = await text({})
  const [first] = (await ask(server, '/tokenize', { content: plain })).body.tokens
  assert.not.equal((await text({ logit_bias: { [first]: -100 } })).slice(0, 5), plain.slice(0, 5))
  assert.is(await text({ logit_bias: {} }), plain)
  assert.is(await text({ presence_penalty: 0, frequency_penalty: 0 }), plain)
  assert.not.equal(
    await text({ max_tokens: 60, presence_penalty: 2, frequency_penalty: 2 }),
    await text({ max_tokens: 60 }),
  )
})

const tools = [
  {
    type: 'function',
    function: { name: 'light', description: 'Switches a light', parameters: { type: 'object', properties: { isOn: { type: 'boolean' } }, required: ['isOn'] } },
  },
] // biome-ignore format: a table

test('a forced call comes with its name first and arguments of its schema, in every API', async () => {
  const asked = {
    messages,
    tools,
    tool_choice: { type: 'function', function: { name: 'light' } },
    max_tokens: 200,
    seed: 1,
  }
  const { body } = await ask(server, chats, asked)
  const [choice] = body.choices
  assert.is(choice.finish_reason, 'tool_calls')
  assert.is(choice.message.content, null)
  const [call] = choice.message.tool_calls
  assert.is(call.function.name, 'light')
  assert.type(JSON.parse(call.function.arguments).isOn, 'boolean')
  const events = eventsOf((await ask(server, chats, { ...asked, stream: true })).body).slice(0, -1)
  const deltas = events.flatMap(({ choices }) => choices[0].delta.tool_calls ?? [])
  assert.is(deltas[0].index, 0)
  assert.is(deltas[0].type, 'function')
  assert.equal(deltas[0].function, { name: 'light', arguments: '' })
  assert.ok(deltas[0].id.length > 5)
  assert.is(deltas.map((delta) => delta.function.arguments).join(''), call.function.arguments)
  assert.is(events.at(-1).choices[0].finish_reason, 'tool_calls')

  const flat = [{ type: 'function', ...tools[0]?.function }]
  const responded = await ask(server, '/v1/responses', {
    input: 'Light!',
    tools: flat,
    tool_choice: { type: 'function', name: 'light' },
    seed: 1,
  })
  const [item] = responded.body.output
  assert.is(responded.body.status, 'completed')
  assert.is(responded.body.tool_choice.name, 'light')
  assert.is(item.type, 'function_call')
  assert.is(item.name, 'light')
  assert.type(JSON.parse(item.arguments).isOn, 'boolean')

  const said = [...messages, choice.message, { role: 'tool', tool_call_id: call.id, content: 'it is on' }]
  assert.is((await ask(server, chats, { messages: said, tools, max_tokens: 4 })).status, 200)
  const items = [
    { role: 'user', content: 'Light!' },
    item,
    { type: 'function_call_output', call_id: item.call_id, output: 'on' },
  ]
  assert.is((await ask(server, '/v1/responses', { input: items, tools: flat, max_output_tokens: 4 })).status, 200)
})

const forced = { messages, tools, tool_choice: { type: 'function', function: { name: 'light' } }, seed: 1 }

test('a stop text ends what is said, never a call', async () => {
  const asked = { ...forced, max_tokens: 200, stop: ['light', '{', 'isOn', '}'] }
  const { body } = await ask(server, chats, asked)
  assert.is(body.choices[0].finish_reason, 'tool_calls')
  assert.type(JSON.parse(body.choices[0].message.tool_calls[0].function.arguments).isOn, 'boolean')
  const streamed = eventsOf((await ask(server, chats, { ...asked, stream: true })).body).slice(0, -1)
  const told = streamed.flatMap(({ choices }) => choices[0].delta.tool_calls ?? [])
  assert.is(told.map((delta) => delta.function.arguments).join(''), body.choices[0].message.tool_calls[0].function.arguments) // biome-ignore format: one line
  assert.is(streamed.at(-1).choices[0].finish_reason, 'tool_calls')
  // Beside tools that may be called, words end as they do without.
  const said = { messages: [{ role: 'user', content: 'Once upon a time' }], seed: 1, max_tokens: 40, temperature: 0 }
  const free = await ask(server, chats, { ...said, tools })
  const word = free.body.choices[0].message.content.slice(2, 4)
  const stopped = await ask(server, chats, { ...said, tools, stop: [word] })
  assert.is(stopped.body.choices[0].message.content, free.body.choices[0].message.content.split(word)[0])
  assert.is(stopped.body.choices[0].finish_reason, 'stop')
  assert.ok(stopped.body.usage.completion_tokens < 40)
  const events = eventsOf((await ask(server, chats, { ...said, tools, stop: [word], stream: true })).body).slice(0, -1)
  const words = events.map(({ choices }) => choices[0].delta.content ?? '').join('')
  assert.is(words, stopped.body.choices[0].message.content)
})

test('a call that max_tokens cuts off is a part of one, with finish_reason length, in every API', async () => {
  const flat = { input: 'Light!', tools: [{ type: 'function', ...tools[0]?.function }], tool_choice: { type: 'function', name: 'light' }, seed: 1 } // biome-ignore format: one line
  const whole = (await ask(server, chats, { ...forced, max_tokens: 200 })).body
  const { arguments: all } = whole.choices[0].message.tool_calls[0].function
  const tokens = whole.usage.completion_tokens
  let parts = 0
  for (let max = 1; max < tokens; max += 7) {
    const { body } = await ask(server, chats, { ...forced, max_tokens: max })
    const [{ message, finish_reason: reason }] = body.choices
    assert.is(reason, 'length')
    assert.ok(message.content === null || message.content === '', message.content)
    const json = message.tool_calls?.[0].function.arguments ?? ''
    assert.ok(all.startsWith(json), json)
    if (json !== '') parts++
    const events = eventsOf((await ask(server, chats, { ...forced, max_tokens: max, stream: true })).body).slice(0, -1)
    const deltas = events.map(({ choices }) => choices[0].delta)
    assert.is(deltas.map(({ content = '' }) => content).join(''), '')
    assert.is(deltas.flatMap((delta) => delta.tool_calls ?? []).map((call) => call.function.arguments).join(''), json) // biome-ignore format: one line
    assert.is(events.at(-1).choices[0].finish_reason, 'length')
    const responded = (await ask(server, '/v1/responses', { ...flat, max_output_tokens: max })).body
    assert.is(responded.status, 'incomplete')
    assert.equal(responded.incomplete_details, { reason: 'max_output_tokens' })
    const last = responded.output.at(-1)
    assert.is(last.status, 'incomplete')
    if (last.type === 'message') assert.is(last.content[0].text, '')
    else assert.ok(all.startsWith(last.arguments))
  }
  assert.ok(parts > 1, `${parts}`)
})

test('a form beside tools holds whatever calls nothing; where a call is forced there is nothing else', async () => {
  const asked = {
    messages,
    tools,
    response_format: { type: 'json_schema', json_schema: { schema } },
    parallel_tool_calls: false,
    max_tokens: 200,
  }
  for (let seed = 0; seed < 6; seed++) {
    const { body } = await ask(server, chats, { ...asked, seed })
    const [{ message, finish_reason: reason }] = body.choices
    if (reason === 'stop') checkAnimal(message.content)
    else assert.is(message.tool_calls?.length, 1)
    const called = await ask(server, chats, { ...asked, seed, tool_choice: 'required' })
    assert.is(called.body.choices[0].message.content, null)
    assert.is(called.body.choices[0].finish_reason, 'tool_calls')
    const none = await ask(server, chats, { ...asked, seed, tool_choice: 'none' })
    checkAnimal(none.body.choices[0].message.content)
  }
})

test('the end of the model’s text is ignored in chats, too, if that is asked for', async () => {
  // Token 0 ends the model's texts.
  const said = { messages, logit_bias: { 0: 100 }, max_tokens: 5 }
  for (const [more, tokens] of [
    [{}, 1],
    [{ ignore_eos: true }, 5],
  ] as const)
    assert.is((await ask(server, chats, { ...said, ...more })).body.usage.completion_tokens, tokens)
})

test('vectors of texts, of length 1, with a word about what the model is', async () => {
  const { body } = await ask(server, '/v1/embeddings', { input: ['The fox ran.', 'A fox was running.', [5, 6, 7]] })
  assert.is(body.data.length, 3)
  const [a, b] = body.data.map(({ embedding }: { embedding: number[] }) => embedding)
  const dot = (x: number[], y: number[]) => x.reduce((sum, value, i) => sum + value * (y[i] as number), 0)
  assert.ok(Math.abs(dot(a, a) - 1) < 1e-4 && dot(a, b) > 0.3)
  assert.match(body.warning, 'made to write')
  const coded = await ask(server, '/v1/embeddings', { input: 'The fox ran.', encoding_format: 'base64' })
  const bytes = Buffer.from(coded.body.data[0].embedding, 'base64')
  assert.is(bytes.length, 4 * a.length)
  assert.is(bytes.readFloatLE(0), a[0])
  const ollama = await ask(server, '/api/embed', { model: 'stories', input: ['The fox ran.'] })
  assert.equal(ollama.body.embeddings[0], a)
  assert.is((await ask(server, '/v1/embeddings', { input: 'a', dimensions: 8 })).status, 400)
})

test.run()
