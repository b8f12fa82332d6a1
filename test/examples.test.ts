/** The programs of docs/examples, run as a clone runs them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { Aedes } from 'aedes'
import { connectAsync, type MqttClient } from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { temporary } from './fixtures/checkpoints.ts'
import { browserTest, launchBrowser } from './harness/browsers.ts'
import { limit } from './harness/limits.ts'
import { findTool, toolTest } from './harness/tools.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const cache = temporary()

const children: ChildProcess[] = []
const clients: MqttClient[] = []

function start(name: string, env: Record<string, string> = {}, folder = `${root}docs/examples`): ChildProcess {
  const child = spawn(process.execPath, [`${folder}/${name}`], {
    env: { ...process.env, XDG_CACHE_HOME: cache, PORT: '0', ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
    timeout: limit(120),
  })
  children.push(child)
  return child
}

// Those that a test which failed left behind.
test.after(() => {
  for (const child of children) child.kill('SIGKILL')
  for (const client of clients) client.end(true)
})

/** The address that a server prints first. */
async function addressOf(child: ChildProcess): Promise<string> {
  const [line] = await once(child.stdout as NodeJS.ReadableStream, 'data')
  const address = /http:\S+/.exec(String(line))?.[0]
  assert.ok(address, String(line))
  return address as string
}

/** Ends a program as systemd does; its exit code. */
async function end(child: ChildProcess): Promise<number | null> {
  const closed = once(child, 'close')
  child.kill('SIGTERM')
  return (await closed)[0]
}

type Told = { text?: string; done?: boolean; tokens?: number; error?: { code: string; message: string } }

function eventsOf(body: string): Told[] {
  return body
    .split('\n\n')
    .filter(Boolean)
    .map((event) => JSON.parse(event.replace(/^data: /, '')))
}

test('every program is in its README, and the other way round', () => {
  const readme = readFileSync(`${root}docs/examples/README.md`, 'utf8')
  const named = [...readme.matchAll(/\]\((\w+\.(?:mjs|html))\)/g)].map(([, name]) => name)
  assert.equal(named.sort(), readdirSync(`${root}docs/examples`).filter((name) => name !== 'README.md').sort()) // biome-ignore format: one line
})

type Refusal = [body: string, status: number, code: string]

const badOptions: Refusal[] = [
  ['no', 400, 'BAD_REQUEST'],
  ['{"prompt":""}', 400, 'BAD_PROMPT'],
  [JSON.stringify({ prompt: 'a b '.repeat(4000) }), 413, 'CONTEXT_FULL'],
]

/** What all three that stream over HTTP do. */
async function checkStreaming(child: ChildProcess, refusals: Refusal[]): Promise<void> {
  const url = `${await addressOf(child)}/generate`
  const headers = { 'content-type': 'application/json' }
  const ask = (body: string, more: RequestInit = {}) => fetch(url, { method: 'POST', headers, body, ...more })
  const response = await ask('{"prompt":"The fox said","maxTokens":8,"seed":1}')
  assert.is(response.headers.get('content-type'), 'text/event-stream')
  const events = eventsOf(await response.text())
  assert.equal(events.pop(), { done: true, finish: 'length', tokens: 8 })
  assert.ok(events.length > 1 && events.every((event) => typeof event.text === 'string' && event.text !== ''))

  for (const [body, status, code] of [...badOptions, ...refusals]) {
    const refused = await ask(body)
    assert.is(refused.status, status, body.slice(0, 40))
    assert.is(((await refused.json()) as Told).error?.code, code)
  }
  assert.is((await fetch(url)).status, 404)

  // More than there are conversations: those that were left must not stay open.
  for (let i = 0; i < 33; i++) {
    const leave = new AbortController()
    const left = await ask('{"prompt":"Once upon a time","maxTokens":1000}', { signal: leave.signal })
    await left.body?.getReader().read()
    leave.abort()
  }
  const after = await ask('{"prompt":"The hare said","maxTokens":3}')
  assert.is(eventsOf(await after.text()).at(-1)?.done, true)
  assert.is(await end(child), 0)
}

test('http.mjs streams events, has a status for each error, and ends when it is told to', async () => {
  await checkStreaming(start('http.mjs'), [
    ['null', 400, 'BAD_REQUEST'],
    ['{"prompt":"a","temperature":"hot"}', 400, 'BAD_OPTION'],
    [JSON.stringify({ prompt: 'a'.repeat(200_000) }), 400, 'BAD_REQUEST'],
  ])
})

/** Starts a program as somebody who copied it has it: in a folder of its own, where its packages are installed. */
function startCopy(name: string, packages: string[]): ChildProcess {
  const folder = temporary()
  mkdirSync(`${folder}/node_modules`)
  copyFileSync(`${root}docs/examples/${name}`, `${folder}/${name}`)
  symlinkSync(root, `${folder}/node_modules/gta-edge`)
  for (const name of packages)
    symlinkSync(`${root}test/toolchain/clients/node_modules/${name}`, `${folder}/node_modules/${name}`)
  return start(name, {}, folder)
}

toolTest('clients', 'express.mjs does so in Express', async () => {
  await checkStreaming(startCopy('express.mjs', ['express']), [
    ['null', 400, 'BAD_REQUEST'],
    ['{"prompt":"a","temperature":"hot"}', 400, 'BAD_OPTION'],
    [JSON.stringify({ prompt: 'a'.repeat(200_000) }), 413, 'BAD_REQUEST'],
  ])
})

toolTest('clients', 'fastify.mjs does so in Fastify', async () => {
  await checkStreaming(startCopy('fastify.mjs', ['fastify']), [
    ['null', 400, 'BAD_REQUEST'],
    ['{"prompt":"a","temperature":"hot"}', 400, 'BAD_REQUEST'],
    [JSON.stringify({ prompt: 'a'.repeat(200_000) }), 413, 'BAD_REQUEST'],
  ])
})

/** A broker of the test's own. */
async function openBroker(): Promise<{ url: string; server: Server; broker: Aedes }> {
  const broker = await Aedes.createBroker()
  const server = createServer(broker.handle)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { url: `mqtt://127.0.0.1:${(server.address() as { port: number }).port}`, server, broker }
}

/** Publishes prompts and resolves to as many answers, by topic. */
async function askAll(client: MqttClient, prompts: [string, string][]): Promise<[string, Told][]> {
  const answers: [string, Told][] = []
  const all = new Promise<void>((resolve) => {
    client.on('message', (topic, message) => {
      answers.push([topic, JSON.parse(String(message))])
      if (answers.length === prompts.length) resolve()
    })
  })
  await client.subscribeAsync('gta/answer/#', { qos: 1 })
  await Promise.all(prompts.map(([name, prompt]) => client.publishAsync(`gta/ask/${name}`, prompt, { qos: 1 })))
  await all
  client.removeAllListeners('message')
  return answers
}

test('mqtt.mjs answers each prompt on its topic, refuses what is too long or too many, and ends', async () => {
  const { url, server, broker } = await openBroker()
  // aedes knows MQTT 3.1.1 only.
  const child = start('mqtt.mjs', { MQTT_URL: url, MQTT_VERSION: '4' })
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  const client = await connectAsync(url)
  const answers = await askAll(client, [
    ['kitchen', 'The fox said'],
    ['garden', 'The hare said'],
    ['attic', 'x'.repeat(5000)],
    ['cellar', ''],
  ])
  const told = new Map(answers)
  assert.ok((told.get('gta/answer/kitchen')?.text?.length ?? 0) > 20)
  assert.ok((told.get('gta/answer/garden')?.text?.length ?? 0) > 20)
  assert.is(told.get('gta/answer/attic')?.error?.code, 'TOO_LONG')
  assert.is(told.get('gta/answer/cellar')?.error?.code, 'BAD_PROMPT')

  const many = await askAll(
    client,
    Array.from({ length: 30 }, () => ['kitchen', 'The fox said']),
  )
  const busy = many.filter(([, { error }]) => error?.code === 'BUSY').length
  assert.ok(busy > 0 && busy < 30, `${busy} of 30`)
  assert.is(many.filter(([, { text }]) => (text?.length ?? 0) > 20).length, 30 - busy)
  assert.is(await end(child), 0)
  await client.endAsync()
  await new Promise<void>((resolve) => broker.close(resolve))
  server.close()
})

/** mosquitto, on a port that was free a moment ago: it takes no 0. */
async function openMosquitto(): Promise<{ url: string; broker: ChildProcess }> {
  const free = createServer().listen(0, '127.0.0.1')
  await once(free, 'listening')
  const { port } = free.address() as { port: number }
  await new Promise((resolve) => free.close(resolve))
  const broker = spawn(findTool('mosquitto') as string, ['-p', String(port)], { stdio: ['ignore', 'ignore', 'pipe'], timeout: limit(120) }) // biome-ignore format: one line
  children.push(broker)
  let told = ''
  const running = new Promise<void>((resolve, reject) => {
    broker.stderr?.on('data', (line) => {
      told += line
      if (/version \S+ running/.test(told)) resolve()
    })
    broker.once('exit', () => reject(new Error(`mosquitto did not start: ${told}`)))
  })
  await running
  return { url: `mqtt://127.0.0.1:${port}`, broker }
}

toolTest('mosquitto', 'mqtt.mjs answers requests of MQTT 5 at a real broker, and has a last will', async () => {
  const { url } = await openMosquitto()
  const client = await connectAsync(url, { protocolVersion: 5 })
  clients.push(client)
  const wake = new EventEmitter()
  const heard: [topic: string, payload: string, correlation: string | undefined][] = []
  client.on('message', (topic, message, { properties }) => {
    heard.push([topic, String(message), properties?.correlationData?.toString()])
    wake.emit('heard')
  })
  /** What comes next. */
  const next = async () => {
    while (heard.length === 0) await once(wake, 'heard', { signal: AbortSignal.timeout(limit(30)) })
    return heard.shift() as (typeof heard)[number]
  }
  await client.subscribeAsync('#', { qos: 1, nl: true })

  const ask = (responseTopic: string, correlation: string, prompt = 'The fox said') =>
    client.publishAsync('gta/ask', prompt, { qos: 1, properties: { responseTopic, correlationData: Buffer.from(correlation) } }) // biome-ignore format: one line
  const child = start('mqtt.mjs', { MQTT_URL: url })
  assert.equal(await next(), ['gta/status', 'online', undefined])
  await Promise.all([ask('gta/answer/me', 'one'), ask('gta/answer/you', 'two'), ask('gta/answer/me', 'three', '')])
  const answers = [await next(), await next(), await next()]
  const told = new Map(answers.map(([topic, payload, id]) => [`${topic} ${id}`, JSON.parse(payload) as Told]))
  assert.ok((told.get('gta/answer/me one')?.text?.length ?? 0) > 20)
  assert.ok((told.get('gta/answer/you two')?.text?.length ?? 0) > 20)
  assert.is(told.get('gta/answer/me three')?.error?.code, 'BAD_PROMPT')

  for (const topic of ['house/door', 'gta/ask', 'gta/answers']) {
    await ask(topic, 'four')
    const [where, payload, id] = await next()
    assert.equal([where, id], ['gta/answer', 'four'])
    assert.is((JSON.parse(payload) as Told).error?.code, 'BAD_RESPONSE_TOPIC')
  }

  child.kill('SIGKILL')
  assert.equal(await next(), ['gta/status', 'offline', undefined])
  const again = start('mqtt.mjs', { MQTT_URL: url })
  assert.equal(await next(), ['gta/status', 'online', undefined])
  assert.is(await end(again), 0)
  assert.equal(await next(), ['gta/status', 'offline', undefined])
  await client.endAsync()
})

test('pool.mjs answers every line, the same for any number of workers', async () => {
  const lines = Array.from({ length: 7 }, (_, id) =>
    JSON.stringify({ id, prompt: `Story ${id}:`, seed: id, maxTokens: 12 }),
  )
  const answersOf = async (workers: number, input: string) => {
    const child = start('pool.mjs', { WORKERS: String(workers) })
    child.stdin?.end(input)
    const [output, [code]] = await Promise.all([text(child.stdout as NodeJS.ReadableStream), once(child, 'close')])
    const answers = output.trim().split('\n').map((line) => JSON.parse(line) as Told & { id: number }) // biome-ignore format: one line
    return { code, answers: answers.sort((a, b) => (a.id ?? -1) - (b.id ?? -1)) }
  }
  const one = await answersOf(1, `${lines.join('\n')}\n`)
  assert.is(one.code, 0)
  assert.is(one.answers.length, 7)
  assert.ok(one.answers.every((answer) => (answer.text?.length ?? 0) > 5))
  assert.equal(await answersOf(4, lines.join('\n')), one)

  const { code, answers } = await answersOf(2, `no JSON\n\n{"id":1}\n${lines[0]}\n`)
  assert.is(code, 1)
  assert.equal(answers.map(({ error }) => error?.code), ['BAD_LINE', undefined, 'BAD_OPTION']) // biome-ignore format: one line
})

browserTest('page.html tells a story with threads, and another one; its server serves nothing else', async () => {
  const child = start('page.mjs')
  const url = await addressOf(child)
  assert.is((await fetch(`${url}/../package.json`)).status, 404)
  assert.is((await fetch(url, { method: 'POST' })).status, 405)
  const browser = await launchBrowser()
  try {
    const page = await browser?.newPage()
    const faults: string[] = []
    page?.on('pageerror', (error) => faults.push(String(error)))
    page?.on('console', (message) => message.type() === 'error' && faults.push(message.text()))
    await page?.goto(url)
    await page?.waitForSelector('button[name=go]:enabled', { timeout: limit(60) })
    assert.is(await page?.evaluate('crossOriginIsolated'), true)
    await page?.fill('input[name=prompt]', 'The fox said')
    await page?.click('button[name=go]')
    await page?.waitForFunction("document.querySelector('#state').textContent === 'The end.'", null, {
      timeout: limit(60),
    })
    const story = (await page?.innerText('#story')) ?? ''
    assert.ok(story.startsWith('The fox said') && story.length > 50, story)
    // In one turn of the page: a story may be at its end before a second click from outside comes.
    await page?.evaluate("document.querySelector('[name=go]').click(); document.querySelector('[name=stop]').click()")
    await page?.waitForSelector('button[name=go]:enabled', { timeout: limit(60) })
    assert.is(await page?.innerText('#state'), 'Stopped.')
    assert.equal(faults, [])
  } finally {
    await browser?.close()
  }
  assert.is(await end(child), 0)
})

test.run()
