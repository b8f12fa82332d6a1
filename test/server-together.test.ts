/** Requests to gta serve beside each other: the queue, clients that leave, deadlines, several models, and the end. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { defaultModel } from '../host/load.ts'
import type { ServerOptions } from '../host/server/server.ts'
import { weigh } from '../host/server/weigh.ts'
import { ask, askRaw, eventsOf, startServer, type TestServer, untilReady } from './fixtures/api-server.ts'
import { failure } from './fixtures/checkpoints.ts'
import { limit } from './harness/limits.ts'

const path = '/v1/completions'
/** A text of many tokens, the same each time. */
const story = (prompt: string, max = 200) => ({ prompt, max_tokens: max, seed: 3, stop: ['\u0000'], stream: true })

async function served(options: Partial<ServerOptions>, work: (server: TestServer) => Promise<void>): Promise<void> {
  const server = await startServer(options)
  await untilReady(server)
  try {
    await work(server)
  } finally {
    await server.close()
  }
  assert.equal(server.errors, [])
}

async function metricOf(server: TestServer, name: string): Promise<number> {
  const { body } = await ask(server, '/metrics')
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(body)?.[1])
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 2))
}

const textOf = (body: string) =>
  eventsOf(body)
    .slice(0, -1)
    .map(({ choices }) => choices[0].text)
    .join('')

test('who comes when the queue is full is sent away at once, with a time to come back; the others are answered', async () => {
  await served({ slots: 1, queue: 2 }, async (server) => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => ask(server, path, story('The fox said'))))
    const good = answers.filter(({ status }) => status === 200)
    assert.is(good.length, 3)
    assert.is(new Set(good.map(({ body }) => textOf(body))).size, 1)
    for (const { status, headers, body } of answers.filter((answer) => !good.includes(answer))) {
      assert.is(status, 429)
      assert.is(body.error.code, 'queue_full')
      const seconds = Number(headers.get('retry-after'))
      assert.ok(seconds >= 1 && seconds <= 60)
    }
  })
})

test('while the queue is full a request is refused before its body has come', async () => {
  await served({ slots: 1, queue: 0 }, async (server) => {
    const leaving = new AbortController()
    const told = ask(server, path, story('The fox said', 400), { signal: leaving.signal }).catch(() => undefined)
    await until(async () => (await metricOf(server, 'llamacpp:requests_processing')) === 1)
    const head = `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n`
    const answer = askRaw(server, head, /\r\n\r\n.*\}$/s)
    assert.match(await answer, /^HTTP\/1.1 429 .*retry-after: \d.*"code":"queue_full"/s)
    // What needs no slot is answered meanwhile.
    assert.is((await ask(server, '/api/show', { model: 'stories' })).status, 200)
    leaving.abort()
    await told
  })
})

test('clients that leave, in the queue, while their prompt is read and while they are told, change nothing for others', async () => {
  await served({ slots: 3, queue: 20 }, async (server) => {
    const alone = textOf((await ask(server, path, story('Once upon a time'))).body)
    for (let i = 0; i < 8; i++) {
      const leaving = new AbortController()
      const gone = Array.from({ length: 5 }, (_, k) =>
        ask(server, path, story('wood '.repeat(k % 2 === 0 ? 300 : 2), 300), { signal: leaving.signal }).catch(
          () => undefined,
        ),
      )
      const stays = ask(server, path, story('Once upon a time'))
      setTimeout(() => leaving.abort(), 4 * i)
      assert.is(textOf((await stays).body), alone)
      await Promise.all(gone)
    }
    await until(async () => (await metricOf(server, 'llamacpp:requests_processing')) === 0)
    assert.is(await metricOf(server, 'llamacpp:requests_deferred'), 0)
    assert.is(await metricOf(server, 'llamacpp:kv_cache_usage_ratio'), 0)
    assert.ok((await metricOf(server, 'gta:requests_aborted_total')) > 0)
  })
})

test('who leaves is not computed for any longer', async () => {
  await served({}, async (server) => {
    const leaving = new AbortController()
    const { body } = await fetch(server.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...story('Once upon a time', 490), ignore_eos: true }),
      signal: leaving.signal,
    })
    await body?.getReader().read()
    leaving.abort()
    await until(async () => (await metricOf(server, 'llamacpp:requests_processing')) === 0)
    const tokens = await metricOf(server, 'llamacpp:tokens_predicted_total')
    assert.ok(tokens > 0 && tokens < 400, `${tokens}`)
  })
})

test('a deadline ends what waits, what is whole and what is streamed, each in its way', async () => {
  await served({ slots: 1, queue: 4, timeout: 0.15 }, async (server) => {
    // More texts than can be written in the time.
    const long = { ...story('Once upon a time', 500), prompt: Array.from({ length: 50 }, () => 'Once upon a time') }
    const [streamed, whole] = await Promise.all([
      ask(server, path, long),
      ask(server, path, { ...long, stream: false }),
    ])
    assert.is(streamed.status, 200)
    assert.is(eventsOf(streamed.body).at(-1).error.code, 'timeout')
    assert.is(whole.status, 503)
    assert.is(whole.body.error.code, 'timeout')
    assert.ok(whole.headers.get('retry-after'))
    assert.is((await ask(server, path, story('Once', 2))).status, 200)
  })
})

test('models that do not fit beside each other take turns; nobody waits for ever, nobody gets the other one', async () => {
  const { bytes } = await weigh(defaultModel, { threads: 1 }, 2, Number.POSITIVE_INFINITY)
  const models = ['a', 'b', 'c'].map((name) => ({ name, path: defaultModel }))
  const events: string[] = []
  const budget = Math.floor(2.5 * bytes)
  const options = { models, slots: 2, queue: 40, budget, onLoad: (name: string) => void events.push(`+${name}`), onUnload: (name: string) => void events.push(`-${name}`) } // biome-ignore format: one line
  await served(options, async (server) => {
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        ask(server, path, { ...story('The fox said', 20), model: 'abc'[i % 3] as string }),
      ),
    )
    for (const [i, { status, body }] of answers.entries()) {
      assert.is(status, 200)
      assert.is(eventsOf(body)[0].model, 'abc'[i % 3])
    }
    const { body } = await ask(server, '/v1/models')
    const loaded = body.data.filter(({ status }: { status: { value: string } }) => status.value === 'loaded')
    assert.is(loaded.length, 2)
    const unloads = events.filter((event) => event.startsWith('-')).length
    assert.is(events.length - 2 * unloads, 2)
    // Whom nobody used for longest.
    const before = await ask(server, '/v1/models')
    const [first, second] = before.body.data.filter(
      ({ status }: { status: { value: string } }) => status.value === 'loaded',
    )
    const third = 'abc'.split('').find((name) => name !== first.id && name !== second.id) as string
    await ask(server, path, { ...story('A', 1), model: first.id })
    await ask(server, path, { ...story('A', 1), model: third })
    assert.is(events.at(-2), `-${second.id}`)
    assert.is(events.at(-1), `+${third}`)
  })
})

test('nobody is sent away for a model that is damaged or has gone: it is looked at before another one makes room', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'gta-edge-'))
  const bad = join(folder, 'b.gta')
  const bytes = readFileSync(defaultModel)
  writeFileSync(bad, bytes)
  const weighed = await weigh(defaultModel, { threads: 1 }, 2, Number.POSITIVE_INFINITY)
  const models = [{ name: 'a', path: defaultModel }, { name: 'b', path: bad }] // biome-ignore format: one line
  const events: string[] = []
  const options = { models, slots: 2, budget: Math.floor(1.5 * weighed.bytes), onLoad: (name: string) => void events.push(`+${name}`), onUnload: (name: string) => void events.push(`-${name}`) } // biome-ignore format: one line
  const flipped = Buffer.from(bytes)
  flipped[bytes.length >> 1] = (flipped[bytes.length >> 1] as number) ^ 1
  await served(options, async (server) => {
    const askB = () => ask(server, path, { ...story('A', 1), model: 'b' })
    for (const [damaged, words] of [
      [bytes.subarray(0, bytes.length >> 1), 'must'],
      [flipped, 'damaged'],
      [Buffer.from('no model'), 'must'],
      [undefined, 'found nothing there'],
    ] as const) {
      if (damaged) writeFileSync(bad, damaged)
      else rmSync(bad)
      const { status, body } = await askB()
      assert.is(status, 503)
      assert.is(body.error.code, 'model_not_loaded')
      assert.match(body.error.message, words)
      assert.equal(events, ['+a'])
    }
    writeFileSync(bad, bytes)
    assert.is((await askB()).status, 200)
    assert.equal(events, ['+a', '-a', '+b'])
  })
  rmSync(folder, { recursive: true })
  const small = await failure(startServer({ models, slots: 2, budget: Math.floor(weighed.bytes / 2) }))
  assert.match(small.message, /model "a" must fit in --models-memory of/)
})

test('a model that is gone is told by name, and the others go on', async () => {
  const models = [{ name: 'good', path: defaultModel }]
  await served({ models }, async (server) => {
    assert.is((await ask(server, path, { ...story('A', 1), model: 'bad' })).status, 404)
    assert.is((await ask(server, path, { ...story('A', 1), model: 'good' })).status, 200)
  })
})

test('the end: who is told a story hears it to its end, who waits is sent away, and nobody else comes in', async () => {
  const server = await startServer({ slots: 1 })
  await untilReady(server)
  const told = ask(server, path, story('Once upon a time', 300))
  await until(async () => (await metricOf(server, 'llamacpp:tokens_predicted_total')) > 0)
  const waiting = ask(server, path, story('The fox said'))
  await until(async () => (await metricOf(server, 'llamacpp:requests_deferred')) === 1)
  const closed = server.close()
  assert.is((await waiting).body.error.code, 'shutting_down')
  assert.is((await told).status, 200)
  assert.is(eventsOf((await told).body).at(-1), '[DONE]')
  await closed
  await askRaw(server, '').then(assert.unreachable, ({ code }) => assert.is(code, 'ECONNREFUSED'))
})

test('a body that never comes to its end does not keep the server from its own', async () => {
  const server = await startServer({ drain: 1 })
  await untilReady(server)
  const half = `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"prompt":`
  const cut = askRaw(server, half).catch(() => '')
  // It is there before what came later is answered.
  await ask(server, '/health')
  await ask(server, '/health')
  await server.close()
  await cut
})

test('a second call ends what is under way, with an error in its stream', async () => {
  const server = await startServer({ slots: 1 })
  await untilReady(server)
  const prompts = Array.from({ length: 50 }, () => 'Once upon a time')
  const told = ask(server, path, { ...story('', 400), prompt: prompts })
  await until(async () => (await metricOf(server, 'llamacpp:tokens_predicted_total')) > 0)
  const closed = server.close()
  await server.abort()
  await closed
  assert.is(eventsOf((await told).body).at(-1).error.code, 'shutting_down')
})

test('five hundred sockets that say nothing keep nobody else out', async () => {
  await served({}, async (server) => {
    const { hostname, port } = new URL(server.url)
    const sockets = Array.from({ length: 500 }, () => connect(Number(port), hostname))
    for (const [i, socket] of sockets.entries()) {
      socket.on('error', () => undefined)
      if (i % 2 === 0) socket.write(`POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{`)
    }
    assert.is((await ask(server, path, story('The fox said', 5))).status, 200)
    for (const socket of sockets) socket.destroy()
  })
})

/** The command, and its first line; `end` sends signals and resolves to how it ended, in which time. */
function startCommand(...args: string[]) {
  const child = spawn(process.execPath, ['host/cli/gta.ts', 'serve', '--port', '0', '-t', '1', ...args], {
    cwd: new URL('../', import.meta.url),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: limit(120),
  })
  const log = text(child.stderr)
  const listening = once(child.stdout, 'data').then(([line]) => {
    const [, url = ''] = /^listening on (http:\S+)\n$/.exec(String(line)) ?? []
    return { url } as TestServer
  })
  const end = async (...signals: NodeJS.Signals[]) => {
    const started = performance.now()
    const closed = once(child, 'close')
    for (const signal of signals) {
      child.kill(signal)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const [code, signal] = await closed
    return { code, signal, seconds: (performance.now() - started) / 1000 }
  }
  return { log, listening, end }
}

test('the command listens, says where, and ends in good order when it is told to', async () => {
  const { log, listening, end } = startCommand()
  const server = await listening
  await untilReady(server)
  assert.is((await ask(server, path, story('A secret', 3))).status, 200)
  const { code, signal } = await end('SIGTERM')
  assert.equal([code, signal], [0, null])
  assert.match(await log, /gta: POST \/v1\/completions 200 \d+ ms, promptTokens \d+/)
  assert.not.match(await log, /secret/)
})

test('a command line that is wrong is refused before anything is opened', () => {
  for (const [args, words] of [
    [['--cors', 'foo'], '--cors must be an origin such as https://page.example, without a path, or *, found "foo"'],
    [['--cors', 'https://a.example/'], '--cors must be an origin'],
    [['--allow-host', 'board.lan:80'], '--allow-host must be the name of a machine'],
    [['--drain', '1.5'], '--drain must be a whole number from 0 to 3600, found "1.5"'],
    [['nothing.gta', '--queue', '-1'], '--queue must be a whole number from 0 to 10000, found "-1"'],
  ] as const) {
    const { status, stderr } = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', 'host/cli/gta.ts', 'serve', ...args], { cwd: new URL('../', import.meta.url), encoding: 'utf8' }) // biome-ignore format: one line
    assert.is(status, 2, stderr)
    assert.ok(stderr.includes(words), stderr)
  }
})

test('a signal that comes with the first line, while the model is loaded, ends it as well', async () => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    const { listening, end } = startCommand()
    await listening
    const ended = await end(signal)
    assert.equal([ended.code, ended.signal], [0, null], signal)
  }
})

test('signals while it writes, and while others wait: everybody is told the end, within --drain; a second one ends it at once', async () => {
  for (const [drain, signals, most] of [
    ['60', ['SIGTERM'], 60],
    ['1', ['SIGTERM'], 4],
    ['60', ['SIGTERM', 'SIGTERM'], 4],
  ] as const) {
    const { listening, end } = startCommand('-np', '1', '--queue', '2', '--drain', drain)
    const server = await listening
    await untilReady(server)
    const isLong = drain === '1' || signals.length > 1
    const told = ask(server, path, {
      ...story('Once upon a time', 400),
      ...(isLong ? { prompt: Array.from({ length: 200 }, () => 'Once upon a time') } : {}),
    })
    await until(async () => (await metricOf(server, 'llamacpp:tokens_predicted_total')) > 0)
    const waiting = [1, 2].map(() => ask(server, path, story('The fox said')))
    await until(async () => (await metricOf(server, 'llamacpp:requests_deferred')) === 2)
    assert.is((await ask(server, path, story('The fox said'))).status, 429)
    const ended = end(...signals)
    for (const { status, body } of await Promise.all(waiting)) {
      assert.is(status, 503)
      assert.is(body.error.code, 'shutting_down')
    }
    const last = eventsOf((await told).body).at(-1)
    if (isLong) assert.is(last.error.code, 'shutting_down')
    else assert.is(last, '[DONE]')
    const { code, signal, seconds } = await ended
    assert.equal([code, signal], [0, null], `${drain} ${signals}`)
    assert.ok(seconds < most + 4, `${drain} ${signals}: ${seconds} s`)
  }
})

test('signals while a prompt is read: it has its answer within --drain, else an error', async () => {
  for (const [drain, last] of [
    ['60', '[DONE]'],
    ['0', 'shutting_down'],
  ] as const) {
    const { listening, end } = startCommand('-np', '1', '--drain', drain)
    const server = await listening
    await untilReady(server)
    const told = ask(server, path, story('wood '.repeat(450), 50))
    await until(async () => (await metricOf(server, 'llamacpp:requests_processing')) === 1)
    const ended = end('SIGTERM')
    const { status, body } = await told
    // Without --drain it may hear of the end before its answer has begun.
    const final = status === 200 ? eventsOf(body).at(-1) : body
    assert.equal([status === 200 || drain === '0', final.error?.code ?? final], [true, last])
    const { code, signal } = await ended
    assert.equal([code, signal], [0, null])
  }
})

test.run()
