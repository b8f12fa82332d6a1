/**
 * host/node-red in a real Node-RED: flows that are deployed through its admin API and asked through their HTTP nodes, with a
 * real `gta serve` and with a model in Node-RED's process. And other people's nodes for Ollama, asking the same server.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { defaultModel, load } from '../host/load.ts'
import { builtInTemplates } from '../host/text/template/templates.ts'
import { chatModel } from './fixtures/chats.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { asking, httpIn, inTab, script, statuses, tab } from './fixtures/flows.ts'
import { limit } from './harness/limits.ts'
import { freePort, type NodeOfFlow, NodeRed } from './harness/node-red.ts'
import { findTool, toolTest } from './harness/tools.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const key = 'a-key-of-the-test'
/** Random weights, a token for each byte, and as long a context as an abort needs. */
const chance = chatModel({ template: builtInTemplates.chatml, context: 8192 })

let red: NodeRed
let server: { child: ChildProcess; url: string; log: string }
const servers: ChildProcess[] = []

async function startServer(more: string[]): Promise<typeof server> {
  const models = [`stories=${fileURLToPath(defaultModel)}`, `chance=${chance}`]
  const args = [`${root}dist/gta.mjs`, 'serve', ...models, '--port', '0', '-t', '1', '--json', ...more]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  servers.push(child)
  const started = { child, url: '', log: '' }
  child.stderr.on('data', (text) => {
    started.log += text
  })
  const [line] = await once(child.stdout, 'data')
  started.url = /http:\S+/.exec(String(line))?.[0] as string
  return started
}

if (findTool('clients'))
  test.before(async () => {
    const keys = join(temporary(), 'keys')
    writeFileSync(keys, `${key}\n`)
    ;[red, server] = await Promise.all([NodeRed.start(), startServer(['--api-key-file', keys])])
  })

test.after(async () => {
  for (const child of servers) child.kill('SIGKILL')
  if (red) assert.is(await red.end(), 0)
})

// biome-ignore lint/suspicious/noExplicitAny: the shapes are what is tested
type Any = any

async function ask(id: string, body: object): Promise<{ status: number; body: Any }> {
  const response = await fetch(`${red.url}/${id}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }) // biome-ignore format: one line
  return { status: response.status, body: await response.json() }
}

const dropStatuses = () => red.admin('/statuses', { method: 'DELETE' })

async function untilStatus(pattern: RegExp): Promise<string[]> {
  const deadline = AbortSignal.timeout(limit(30))
  for (;;) {
    const all = (await red.admin('/statuses')) as string[]
    if (all.some((status) => pattern.test(status))) return all
    if (deadline.aborted) throw new Error(`no node has the status ${pattern}: ${all.join(', ')}`)
  }
}

const own = { id: 'own', type: 'gta-model', where: 'process', path: chance, context: '8192', atATime: '1' }
const ownStories = { id: 'own-stories', type: 'gta-model', where: 'process', path: '', atATime: '2' }
const remote = () => ({ id: 'remote', type: 'gta-model', where: 'server', url: server.url, model: 'chance', credentials: { key } }) // biome-ignore format: one line
const remoteStories = () => ({ ...remote(), id: 'remote-stories', url: `${server.url}/v1/`, model: 'stories' })
const models = (): NodeOfFlow[] => [own, ownStories, remote(), remoteStories()]

toolTest('clients', 'its set of nodes is loaded, with its examples', async () => {
  const sets = (await red.admin('/nodes')) as { module: string; types: string[]; err?: string }[]
  const [set] = sets.filter(({ module }) => module === 'node-red-contrib-gta-edge')
  assert.equal([set?.types, set?.err], [['gta-model', 'gta-chat'], undefined])
  const examples = JSON.stringify(await red.admin('/library/examples/flows'))
  assert.match(examples, 'node-red-contrib-gta-edge')
})

toolTest('clients', 'the example answers over HTTP; what goes wrong comes out too, and keys are not told', async () => {
  const flow = JSON.parse(readFileSync(`${root}host/node-red/package/examples/chat.json`, 'utf8')) as NodeOfFlow[]
  const withServer = (more: object) => flow.map((node) => (node.type === 'gta-model' ? { ...node, ...remote(), id: node.id, ...more } : node)) // biome-ignore format: one line
  const post = () => fetch(`${red.url}/chat`, { method: 'POST', body: new URLSearchParams({ prompt: 'Hello' }) })
  await red.deploy(withServer({}))
  const answer = await post()
  assert.is(answer.status, 200)
  assert.ok((await answer.text()).length > 0)
  assert.not.match(JSON.stringify(await red.admin('/flows')), key)
  await red.deploy(withServer({ credentials: { key: 'another one' } }))
  const refused = await post()
  assert.is(refused.status, 401)
  assert.match(await refused.text(), 'a key of this server')
})

toolTest(
  'clients',
  'words are those of the library, from a server and in the process; parts joined are the whole',
  async () => {
    const settings = { mode: 'text', maxTokens: '24', seed: '1' }
    const names = { remote: 'remote-stories', own: 'own-stories' }
    const nodes = Object.entries(names).flatMap(([name, model]) => [
      ...asking(`${name}-whole`, { ...settings, model }),
      ...asking(`${name}-joined`, { ...settings, model }, 'joined'),
      ...asking(`${name}-parts`, { ...settings, model }, 'parts'),
    ])
    await red.deploy([tab, ...models(), ...nodes])
    await using model = await load(defaultModel, { threads: 1 })
    const stream = model.generate('Once upon a time', { maxTokens: 24, seed: 1 })
    let text = ''
    for await (const piece of stream) text += piece
    for (const name of Object.keys(names)) {
      const payload = 'Once upon a time'
      const { status, body } = await ask(`${name}-whole`, { payload })
      assert.equal([status, body.payload, body.finish_reason], [200, text, 'length'])
      assert.is(body.usage.completion_tokens, 24)
      const { body: joined } = await ask(`${name}-joined`, { payload })
      assert.equal([joined.payload, joined.message, joined.usage.completion_tokens], [text, body.message, 24])
      const { body: parts } = await ask(`${name}-parts`, { payload })
      assert.ok(parts.length > 10, `${parts.length} parts`)
      assert.is(parts.map((part: Any) => part.payload).join(''), text)
      assert.equal(parts.map((part: Any) => part.index), [...parts.keys()]) // biome-ignore format: one line
      assert.equal(parts.filter((part: Any) => part.complete).map((part: Any) => part.index), [parts.length - 1]) // biome-ignore format: one line
    }
  },
)

const schema = { type: 'object', properties: { warm: { type: 'boolean' }, days: { type: 'integer', minimum: 1, maximum: 9 } }, required: ['warm', 'days'], additionalProperties: false } // biome-ignore format: one line
const parameters = { type: 'object', properties: { city: { enum: ['Bern', 'Basel'] } }, required: ['city'], additionalProperties: false } // biome-ignore format: one line
const tools = [{ type: 'function', function: { name: 'weather', parameters } }]

toolTest('clients', 'chats, schemas and tools are the same from a server and in the process', async () => {
  const names = ['remote', 'own']
  const nodes = names.flatMap((model) => [
    ...asking(`${model}-chat`, { model, system: 'Be brief.', maxTokens: '12', temperature: '0' }),
    ...asking(`${model}-form`, { model, schema: JSON.stringify(schema), seed: '3' }),
    ...asking(`${model}-value`, { model, schema: JSON.stringify(schema), seed: '3' }, 'parts'),
  ])
  await red.deploy([tab, ...models(), ...nodes])
  const answers = []
  for (const name of names) {
    const { body: said } = await ask(`${name}-chat`, { payload: 'Is it warm?' })
    const talk = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Is it warm?' }] // biome-ignore format: one line
    assert.is((await ask(`${name}-chat`, { messages: talk })).body.payload, said.payload)
    assert.is((await ask(`${name}-chat`, { payload: talk.slice(1) })).body.payload, said.payload)
    assert.is.not((await ask(`${name}-chat`, { payload: 'Is it warm?', system: 'Be long.' })).body.payload, said.payload) // biome-ignore format: one line
    const { body: formed } = await ask(`${name}-form`, { payload: 'Is it warm?' })
    const { warm, days, ...rest } = formed.payload
    assert.ok(typeof warm === 'boolean' && days >= 1 && days <= 9, JSON.stringify(formed))
    assert.equal(rest, {})
    const { body: parts } = await ask(`${name}-value`, { payload: 'Is it warm?' })
    assert.equal(parts.at(-1).value, formed.payload)
    assert.is((await ask(`${name}-form`, { payload: 'Is it?', schema: { type: 'null' } })).body.payload, null)
    const { body: called } = await ask(`${name}-chat`, { payload: 'Is it warm?', tools, tool_choice: 'required', max_tokens: 400 }) // biome-ignore format: one line
    assert.is(called.finish_reason, 'tool_calls')
    const [call] = called.message.tool_calls
    assert.is(call.function.name, 'weather')
    assert.ok(['Bern', 'Basel'].includes(JSON.parse(call.function.arguments).city), call.function.arguments)
    answers.push([said.payload, said.usage.total_tokens, formed.payload, call.function])
  }
  assert.equal(answers[0], answers[1])
})

/** No token that ends a text is among those that may come. */
const endless = { maxTokens: '8000', schema: JSON.stringify({ type: 'string', minLength: 7000 }) }

toolTest('clients', 'whatever goes wrong reaches a catch node, with its sentence, code and status', async () => {
  const down = { ...remote(), id: 'down', url: `http://127.0.0.1:${await freePort()}` }
  const notTheApi = { ...remote(), id: 'red', url: red.url }
  const missing = { ...own, id: 'missing', path: '/nowhere/model.gta' }
  const small = { ...own, id: 'small', memory: '1M' }
  const config = { maxTokens: '9' }
  const ids = ['remote', 'own', 'down', 'red', 'missing', 'small', 'own-stories', 'nobody']
  const nodes = ids.flatMap((model) => asking(`ask-${model}`, { ...config, model }))
  const slow = ['remote', 'own'].flatMap((model) => asking(`slow-${model}`, { model, ...endless, timeout: '0.05' })) // biome-ignore format: one line
  await red.deploy([tab, ...models(), down, notTheApi, missing, small, ...nodes, ...slow])
  const payload = 'Hello'
  const bad = { ...schema, unevaluatedItems: false }
  const long = 'word '.repeat(4000)
  const cases: [id: string, body: object, status: number, code: string, sentence: RegExp][] = [
    ['ask-remote', { payload, model: 'who' }, 404, 'model_not_found', /must be one of stories, chance, found "who"/],
    ['ask-down', { payload }, 502, 'unreachable', /found ECONNREFUSED: does "gta serve" run there/],
    ['ask-red', { payload }, 502, 'unreachable', /must be the API of "gta serve", found status 404/],
    [
      'ask-missing',
      { payload },
      503,
      'model_not_loaded',
      /^the model cannot be loaded: "\/nowhere\/model.gta" must be/,
    ],
    ['ask-small', { payload }, 503, 'out_of_memory', /must fit in memory/],
    ['ask-own-stories', { payload }, 400, 'no_chat_template', /must have a chat template/],
    ['ask-nobody', { payload }, 400, 'no_model', /must have a model/],
    ...['remote', 'own'].flatMap((name): typeof cases => [
      [`ask-${name}`, { payload: 7 }, 400, 'invalid_value', /msg.payload must be a text.* found a number/],
      [`ask-${name}`, { messages: [{ role: 'cat', content: '' }] }, 400, 'invalid_value', /one of .*found.*cat/],
      [`ask-${name}`, { payload, temperature: 'hot' }, 400, 'invalid_value', /msg.temperature must be a number/],
      [
        `ask-${name}`,
        { payload, temperature: -1 },
        400,
        'invalid_value',
        /temperature.* must be a number from 0 to 100/,
      ],
      [`ask-${name}`, { payload, schema: bad }, 400, 'invalid_schema', /unevaluatedItems/],
      [`ask-${name}`, { payload, schema: '{' }, 400, 'invalid_value', /msg.schema must be a JSON Schema/],
      [`ask-${name}`, { payload, schema, max_tokens: 3 }, 422, 'incomplete', /must be whole to be read as JSON/],
      [`ask-${name}`, { payload: long }, 400, 'context_length_exceeded', /must leave room in a context of/],
      [`slow-${name}`, { payload }, 503, 'timeout', /longer than the 0.05 s/],
    ]),
  ]
  for (const [id, body, status, code, sentence] of cases) {
    const told = await ask(id, body)
    assert.equal(
      [told.status, told.body.error?.code],
      [status, code],
      `${id} ${JSON.stringify(told.body).slice(0, 200)}`,
    )
    assert.match(told.body.error.message, sentence)
    assert.not.match(told.body.error.message, /Error/)
    assert.is(told.body.error.source.id, id)
  }
  // A model that failed, or was aborted, goes on.
  for (const name of ['remote', 'own']) assert.is((await ask(`ask-${name}`, { payload })).status, 200)
})

toolTest(
  'clients',
  'one message at a time: others wait, and are told so; an abort ends one, the next begins',
  async () => {
    const aborting = [
      httpIn('/abort', 'post', 'abort'),
      { ...script('abort', 'return [{ abort: true }, msg]'), outputs: 2, wires: [['long'], ['out-abort']] },
      inTab({ id: 'out-abort', type: 'http response' }),
    ]
    const nodes = [
      ...asking('long', { model: 'own', ...endless }),
      ...asking('short', { model: 'own', maxTokens: '5' }),
    ]
    await red.deploy([tab, ...models(), ...nodes, ...statuses, ...aborting])
    await dropStatuses()
    const long = ask('long', { payload: 'Hello' })
    await untilStatus(/^long: \d+\.\d tok\/s$/)
    const short = ask('short', { payload: 'Hello' })
    await untilStatus(/^short: queued, place 1$/)
    await fetch(`${red.url}/abort`, { method: 'POST' })
    const { status, body } = await long
    assert.equal([status, body.error.code], [499, 'aborted'])
    assert.is((await short).status, 200)
    const all = await untilStatus(/^short: done/)
    assert.ok(all.includes('long: aborted') && all.includes('short: done, 5 tokens'), all.join())
  },
)

toolTest('clients', 'a deployment ends what is generated, in the process with the model and its threads', async () => {
  // A catch node that names a node is stopped with it; one for all nodes stays, and is told.
  const forAll = (node: NodeOfFlow) => (node.type === 'catch' ? { ...node, scope: null } : node)
  const flow = (model: string) => [tab, ...models(), ...asking('long', { model, ...endless }).map(forAll), ...statuses]
  // As the editor does, which knows no keys; with them models would be new.
  const change = (model: string) => red.deploy(flow(model).map(({ credentials: _, ...node }) => node as NodeOfFlow), 'nodes') // biome-ignore format: one line
  const begin = async () => {
    await dropStatuses()
    const answer = ask('long', { payload: 'Hello' })
    await untilStatus(/^long: \d+\.\d tok\/s$/)
    return { answer }
  }
  await red.deploy(flow('own'))
  const before = red.threads
  const one = await begin()
  assert.ok(red.threads > before, `${red.threads} threads with a model, ${before} before`)
  await change('remote')
  const { status, body } = await one.answer
  assert.equal([status, body.error.code], [503, 'shutting_down'])
  const two = await begin()
  await change('own')
  assert.is((await two.answer).status, 503)
  while (!/"POST \/v1\/chat\/completions gone /.test(server.log)) await once(server.child.stderr as NodeJS.ReadableStream, 'data') // biome-ignore format: one line
  const metrics = await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${key}` } })
  assert.match(await metrics.text(), /^llamacpp:requests_processing 0$/m)
  const three = await begin()
  three.answer.catch(() => undefined)
  await red.deploy([])
  assert.is(red.threads, before)
})

toolTest('clients', 'node-red-contrib-ollama asks the same server: chats, texts and lists', async () => {
  // Its nodes send no key.
  const open = await startServer([])
  const types = ['ollama-chat', 'ollama-generate', 'ollama-list']
  const nodes = types.flatMap((type) => [
    httpIn(`/${type}`, 'post', type),
    inTab({ id: type, type, server: 'ollama', wires: [[`out-${type}`]] }),
    inTab({ id: `out-${type}`, type: 'http response' }),
  ])
  const { hostname, port } = new URL(open.url)
  await red.deploy([tab, { id: 'ollama', type: 'ollama-config-server', host: hostname, port }, ...nodes])
  const options = { num_predict: 5 }
  const messages = [{ role: 'user', content: 'Is it warm?' }]
  assert.is((await ask('ollama-chat', { model: 'chance', messages, options })).body.eval_count, 5)
  assert.is((await ask('ollama-generate', { model: 'chance', prompt: 'Once', options })).body.eval_count, 5)
  assert.is((await ask('ollama-list', {})).body.models.length, 2)
})

test.run()
