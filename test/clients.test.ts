/**
 * Other people's clients against the server, as they are on npm: openai, the AI SDK, ollama, LangChain, and
 * what Home Assistant asks. Two models answer: the stories, and one of random weights with a long context, which calls tools
 * because it is forced to, or where a bias of its logits makes it begin a call.
 */
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { defaultModel } from '../host/load.ts'
import { builtInTemplates } from '../host/text/template/templates.ts'
import { startServer, type TestServer, untilReady } from './fixtures/api-server.ts'
import { chatModel, tokenizerJson } from './fixtures/chats.ts'
import { toolTest } from './harness/tools.ts'

// biome-ignore lint/suspicious/noExplicitAny: these packages are not in the project, and so are their types
type Any = any

const require = createRequire(new URL('./toolchain/clients/package.json', import.meta.url))
const load = async (name: string): Promise<Any> => await import(pathToFileURL(require.resolve(name)).href)

let opened: TestServer | undefined

async function server(): Promise<TestServer> {
  if (!opened) {
    opened = await startServer({
      models: [
        { name: 'stories', path: defaultModel },
        { name: chance, path: chanceModel() },
      ],
      template: undefined,
    })
    await untilReady(opened)
  }
  return opened
}

test.after(async () => {
  await opened?.close()
  assert.equal(opened?.errors ?? [], [])
})

/** Random weights, a token for each byte, and one that begins a call. */
const chance = 'chance'
const callToken = 262

function chanceModel(): string {
  const directory = chatModel({ template: builtInTemplates.chatml, context: 8192 })
  const added_tokens = [...tokenizerJson.added_tokens, { id: callToken, content: '<tool_call>', special: false }]
  writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify({ ...tokenizerJson, added_tokens }))
  return directory
}

const messages = [{ role: 'user', content: 'Is it warm in Bern?' }]
const parameters = {
  type: 'object',
  properties: { city: { type: 'string', maxLength: 8 }, days: { type: 'integer', minimum: 1, maximum: 9 } },
  required: ['city', 'days'],
  additionalProperties: false,
}
const tool = { type: 'function', function: { name: 'weather', description: 'The weather', parameters } }
const schema = { type: 'object', properties: { warm: { type: 'boolean' } }, required: ['warm'], additionalProperties: false } // biome-ignore format: one line

function checkArguments(json: string): void {
  const { city, days, ...rest } = JSON.parse(json)
  assert.ok(typeof city === 'string' && [...city].length <= 8 && days >= 1 && days <= 9, json)
  assert.equal(rest, {})
}

async function openai(more: object = {}): Promise<Any> {
  const { OpenAI } = await load('openai')
  return new OpenAI({ baseURL: `${(await server()).url}/v1`, apiKey: 'none', maxRetries: 0, ...more })
}

toolTest('clients', 'openai: models, a chat, the same one streamed, usage', async () => {
  const client = await openai()
  const names = []
  for await (const { id } of await client.models.list()) names.push(id)
  assert.equal(names.sort(), ['chance', 'stories'])
  const asked = { model: chance, messages, max_tokens: 12, temperature: 0 }
  const whole = await client.chat.completions.create(asked)
  assert.is(whole.choices[0].finish_reason, 'length')
  assert.is(whole.usage.completion_tokens, 12)
  const stream = await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } }) // biome-ignore format: one line
  let [content, role, finish, usage] = ['', undefined, undefined, undefined] as Any[]
  for await (const { choices, usage: told } of stream) {
    usage ??= told
    role ??= choices[0]?.delta.role
    content += choices[0]?.delta.content ?? ''
    finish ??= choices[0]?.finish_reason
  }
  assert.equal([content, role, finish], [whole.choices[0].message.content, 'assistant', 'length'])
  assert.is(usage.completion_tokens, 12)
})

toolTest(
  'clients',
  'openai: tools, required and by name, whole and streamed, and their results sent back',
  async () => {
    const client = await openai()
    const asked = { model: chance, messages, tools: [tool], parallel_tool_calls: false }
    const whole = await client.chat.completions.create({ ...asked, tool_choice: 'required', seed: 1 })
    const [choice] = whole.choices
    assert.is(choice.finish_reason, 'tool_calls')
    assert.is(choice.message.tool_calls.length, 1)
    checkArguments(choice.message.tool_calls[0].function.arguments)
    const named = { type: 'function', function: { name: 'weather' } }
    const streamed = client.chat.completions.stream({ ...asked, tool_choice: named, seed: 2 })
    const { message, finish_reason } = (await streamed.finalChatCompletion()).choices[0]
    assert.is(finish_reason, 'tool_calls')
    checkArguments(message.tool_calls[0].function.arguments)
    const result = { role: 'tool', tool_call_id: choice.message.tool_calls[0].id, content: '22' }
    const after = await client.chat.completions.create({ ...asked, messages: [...messages, choice.message, result], tool_choice: 'none', max_tokens: 5 }) // biome-ignore format: one line
    assert.is(after.choices[0].message.tool_calls, undefined)
  },
)

toolTest(
  'clients',
  'openai: where a bias makes a free model begin a call, its arguments are held from there on',
  async () => {
    const client = await openai()
    const asked = { model: chance, messages, tools: [tool], tool_choice: 'auto', logit_bias: { [callToken]: 100 } }
    const called = await client.chat.completions.create({ ...asked, parallel_tool_calls: false, seed: 7 })
    const { finish_reason, message } = called.choices[0]
    assert.equal([finish_reason, message.content, message.tool_calls.length], ['tool_calls', null, 1])
    checkArguments(message.tool_calls[0].function.arguments)
    // Told not to call, it may write the same token, which is text then.
    const free = await client.chat.completions.create({ ...asked, tool_choice: 'none', max_tokens: 2 })
    assert.is(free.choices[0].message.content, '<tool_call><tool_call>')
  },
)

toolTest('clients', 'openai: a schema, as the client parses it, and one that cannot be held', async () => {
  const client = await openai()
  const format = { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } }
  const parsed = await client.chat.completions.parse({ model: chance, messages, response_format: format, seed: 3 })
  assert.type(parsed.choices[0].message.parsed.warm, 'boolean')
  const bad = { ...format, json_schema: { ...format.json_schema, schema: { ...schema, unevaluatedItems: false } } }
  const error = await client.chat.completions.create({ model: chance, messages, response_format: bad }).catch((e: Any) => e) // biome-ignore format: one line
  assert.is(error.status, 400)
  assert.match(error.message, 'unevaluatedItems')
})

toolTest('clients', 'openai: log probabilities', async () => {
  const client = await openai()
  const { choices } = await client.chat.completions.create({ model: chance, messages, max_tokens: 3, logprobs: true, top_logprobs: 2 }) // biome-ignore format: one line
  assert.is(choices[0].logprobs.content.length, 3)
  for (const { logprob, top_logprobs } of choices[0].logprobs.content) {
    assert.ok(logprob <= 0)
    assert.is(top_logprobs.length, 2)
  }
})

toolTest('clients', 'openai: responses, whole and streamed, with a tool', async () => {
  const client = await openai()
  const asked = { model: chance, input: 'Is it warm?', max_output_tokens: 9, temperature: 0 }
  const whole = await client.responses.create(asked)
  assert.type(whole.output_text, 'string')
  const types = new Set<string>()
  let text = ''
  for await (const event of await client.responses.create({ ...asked, stream: true })) {
    types.add(event.type)
    if (event.type === 'response.output_text.delta') text += event.delta
  }
  assert.is(text, whole.output_text)
  assert.ok(types.has('response.created'), [...types].join())
  const called = await client.responses.create({
    model: chance,
    input: 'Is it warm?',
    tools: [{ type: 'function', name: 'weather', parameters, strict: true }],
    tool_choice: 'required',
    parallel_tool_calls: false,
  })
  const call = called.output.find(({ type }: Any) => type === 'function_call')
  checkArguments(call.arguments)
})

toolTest('clients', 'openai: an abort ends a stream, and the server is free again', async () => {
  const client = await openai()
  const { url } = await server()
  const stream = await client.chat.completions.create({ model: chance, messages, stream: true, max_tokens: 8000 })
  for await (const _ of stream) break
  stream.controller.abort()
  for (;;) {
    const metrics = await (await fetch(`${url}/metrics`)).text()
    if (/^llamacpp:requests_processing 0$/m.test(metrics)) break
  }
  const { choices } = await client.chat.completions.create({ model: chance, messages, max_tokens: 2 })
  assert.is(choices.length, 1)
})

toolTest('clients', 'openai: what is busy is tried again, what is wrong is not', async () => {
  const { url } = await server()
  let tries = 0
  const busyOnce = async (input: Any, init: Any) => {
    tries++
    if (tries > 1) return await fetch(input, init)
    return new Response('{"error":{"message":"busy"}}', { status: 503, headers: { 'retry-after': '0' } })
  }
  const client = await openai({ maxRetries: 2, fetch: busyOnce })
  assert.is((await client.models.list()).data.length, 2)
  assert.is(tries, 2)
  const error = await client.chat.completions.create({ model: 'nobody', messages }).catch((e: Any) => e)
  assert.is(error.status, 404, url)
  assert.is(tries, 3)
})

toolTest('clients', 'AI SDK: text, stream, a tool that is required, an object', async () => {
  const { createOpenAICompatible } = await load('@ai-sdk/openai-compatible')
  const { generateText, streamText, tool: toolOf, jsonSchema, Output } = await load('ai')
  const provider = createOpenAICompatible({ name: 'gta', baseURL: `${(await server()).url}/v1`, supportsStructuredOutputs: true }) // biome-ignore format: one line
  const model = provider(chance)
  const asked = { model, prompt: 'Is it warm?', maxOutputTokens: 10, temperature: 0 }
  const { text, finishReason, usage } = await generateText(asked)
  assert.is(finishReason, 'length')
  assert.is(usage.outputTokens, 10)
  const streamed = streamText(asked)
  let pieces = ''
  for await (const piece of streamed.textStream) pieces += piece
  assert.is(pieces, text)
  const tools = { weather: toolOf({ description: 'The weather', inputSchema: jsonSchema(parameters) }) }
  const called = await generateText({ model, prompt: 'Is it warm?', tools, toolChoice: { type: 'tool', toolName: 'weather' }, seed: 4 }) // biome-ignore format: one line
  assert.is(called.finishReason, 'tool-calls')
  checkArguments(JSON.stringify(called.toolCalls[0].input))
  const { output } = await generateText({ model, prompt: 'Is it warm?', output: Output.object({ schema: jsonSchema(schema) }), seed: 5 }) // biome-ignore format: one line
  assert.type(output.warm, 'boolean')
})

toolTest('clients', 'ollama: list, chat, stream, a format, tools, abort', async () => {
  const { Ollama } = await load('ollama')
  const client = new Ollama({ host: (await server()).url })
  assert.equal((await client.list()).models.map(({ name }: Any) => name.split(':')[0]).sort(), ['chance', 'stories'])
  const asked = { model: chance, messages, options: { num_predict: 9, temperature: 0 } }
  const whole = await client.chat(asked)
  assert.is(whole.eval_count, 9)
  let content = ''
  for await (const part of await client.chat({ ...asked, stream: true })) content += part.message.content
  assert.is(content, whole.message.content)
  const formed = await client.chat({ model: chance, messages, format: schema, options: { seed: 6 } })
  assert.type(JSON.parse(formed.message.content).warm, 'boolean')
  const told = await client.chat({ ...asked, tools: [tool] })
  assert.is(told.done, true)
  const stream = await client.chat({ ...asked, stream: true, options: { num_predict: 8000 } })
  const error = await (async () => {
    for await (const _ of stream) stream.abort()
  })().catch((e: Any) => e)
  assert.is(error.name, 'AbortError')
})

toolTest('clients', 'LangChain: invoke, stream, a tool by name, an object', async () => {
  const { ChatOpenAI } = await load('@langchain/openai')
  const model = new ChatOpenAI({ model: chance, apiKey: 'none', maxRetries: 0, maxTokens: 10, temperature: 0, configuration: { baseURL: `${(await server()).url}/v1` } }) // biome-ignore format: one line
  const { content } = await model.invoke('Is it warm?')
  let streamed = ''
  for await (const piece of await model.stream('Is it warm?')) streamed += piece.content
  assert.is(streamed, content)
  const long = new ChatOpenAI({ model: chance, apiKey: 'none', maxRetries: 0, configuration: { baseURL: `${(await server()).url}/v1` } }) // biome-ignore format: one line
  const called = await long.bindTools([tool], { tool_choice: 'weather' }).invoke('Is it warm?')
  checkArguments(JSON.stringify(called.tool_calls[0].args))
  const formed = await long.withStructuredOutput({ title: 'answer', ...schema }, { method: 'jsonSchema' }).invoke('Is it warm?') // biome-ignore format: one line
  assert.type(formed.warm, 'boolean')
})

toolTest(
  'clients',
  'as Home Assistant asks: models, a probe with tools, whole and streamed, then tools and a schema',
  async () => {
    const client = await openai({ timeout: 10_000 })
    assert.ok((await client.models.list()).data.length > 0)
    const probe = { model: chance, messages, tools: [tool], max_tokens: 3 }
    assert.is((await client.chat.completions.create(probe)).choices[0].finish_reason, 'length')
    const stream = await client.chat.completions.create({
      ...probe,
      tool_choice: 'required',
      max_tokens: 400,
      stream: true,
    })
    const deltas: Any[] = []
    let finish: string | undefined
    for await (const { choices } of stream) {
      deltas.push(choices[0].delta)
      finish = choices[0].finish_reason ?? finish
    }
    assert.is(deltas[0].role, 'assistant')
    const [first, ...rest] = deltas.flatMap(({ tool_calls }) => tool_calls ?? [])
    assert.equal([first.index, first.type, first.function.name], [0, 'function', 'weather'])
    assert.ok(first.id)
    const mine = rest.filter(({ index }) => index === 0)
    checkArguments(first.function.arguments + mine.map((call) => call.function.arguments).join(''))
    assert.ok(['tool_calls', 'length'].includes(finish as string), finish)
    const format = { type: 'json_schema', json_schema: { name: 'task', strict: true, schema } }
    const formed = await client.chat.completions.create({ model: chance, messages, response_format: format })
    assert.type(JSON.parse(formed.choices[0].message.content).warm, 'boolean')
    const error = await client.chat.completions.create({ model: chance, messages: [] }).catch((e: Any) => e)
    assert.is(error.status, 400)
    assert.type(error.error.message, 'string')
  },
)

test.run()
