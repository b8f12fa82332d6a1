/** gta worker, submit and collect with a real NATS server: each job has one result, whoever is killed meanwhile. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { OutputFile } from '../host/fleet/output.ts'
import { collectResults } from '../host/fleet/queue/collect.ts'
import { connectNats, type Nats } from '../host/fleet/queue/connect.ts'
import { deadOf, jobOf, resultsOf } from '../host/fleet/queue/names.ts'
import { answerStatus, askWorkers, servedHash } from '../host/fleet/queue/presence.ts'
import { makeStreams, stateOf } from '../host/fleet/queue/streams.ts'
import { type SubmitCounts, submitRequests } from '../host/fleet/queue/submit.ts'
import { Worker, type WorkerOptions } from '../host/fleet/queue/worker.ts'
import { failure, temporary } from './fixtures/checkpoints.ts'
import { type Board, endAll, gta, resultsIn, startBoard, writeRequests } from './fixtures/fleet.ts'
import { type NatsServer, startNats } from './harness/nats.ts'
import { findTool, toolTest } from './harness/tools.ts'

const folder = temporary()
const HASH = '0123456789abcdef'
let server: NatsServer
let nats: Nats
let count = 0
const newName = () => `q${count++}`

test.before(async () => {
  if (!findTool('nats')) return
  server = await startNats()
  nats = await connectNats({ url: server.url, name: 'test' })
})

test.after(async () => {
  endAll()
  await nats?.connection.close()
  await server?.kill()
})

const never = new AbortController().signal

/** A worker in this process, whose answers no model gives; `end` drains it. */
function startWorker(stream: string, more: Partial<WorkerOptions> = {}) {
  const drain = new AbortController()
  const said: string[] = []
  const worker = new Worker({
    ...{ nats, stream, hash: HASH, slots: 2, maxDeliver: 3, ackWait: 30, drain: drain.signal, stop: never },
    answer: async ({ customId }) => ({ status: 200, body: { of: customId } }),
    onError: (text) => said.push(text),
    ...more,
  })
  const ended = worker.run()
  // A test that fails leaves it; why it failed is to be seen.
  ended.catch(() => undefined)
  return {
    ...{ worker, said },
    end: async () => {
      drain.abort()
      await ended
    },
  }
}

const lineOf = (id: string, body: object = {}) => `${JSON.stringify({ custom_id: id, body })}\n`

async function submit(stream: string, text: string, hash = HASH): Promise<SubmitCounts> {
  await makeStreams(nats, stream)
  const onRefused = () => undefined
  return await submitRequests({ nats, stream, hash, input: Readable.from([Buffer.from(text)]), signal: never, onRefused }) // biome-ignore format: one line
}

/** Waits until all jobs are done; their results. */
async function collect(stream: string): Promise<ReturnType<typeof resultsIn>> {
  const path = join(folder, `${stream}.jsonl`)
  const output = await OutputFile.open(path, { isResumed: true })
  await collectResults({ nats, stream, output, isWaiting: true, signal: never })
  await output.close()
  return resultsIn(path)
}

toolTest(
  'nats',
  'workers and the server are killed among jobs: every job has one result, and nothing is lost',
  async () => {
    const path = join(folder, 'jobs.jsonl')
    const ids = writeRequests(path, 120)
    const more = ['--stream', 'kills', '--ack-wait', '1', '--max-deliver', '20', '-np', '3']
    let boards: Board[] = await Promise.all([startBoard(server.url, ...more), startBoard(server.url, ...more)])
    const submitted = await gta(['submit', path, '--nats', server.url, '--stream', 'kills', '--json']).ended
    assert.is(submitted.code, 0, submitted.stderr)
    assert.is(JSON.parse(submitted.stdout).queued, 120)
    assert.is(JSON.parse(submitted.stdout).modelHash, boards[0]?.hash)
    for (let kill = 1; kill <= 3; kill++) {
      // None while the server is away.
      const stored = () => stateOf(nats, resultsOf('kills')).then(({ messages }) => messages, () => 0) // biome-ignore format: one line
      while ((await stored()) < kill * 20) await new Promise((resolve) => setTimeout(resolve, 5))
      boards[0]?.child.kill('SIGKILL')
      if (kill === 2) {
        await server.kill()
        await server.start()
      }
      boards = [...boards.slice(1), await startBoard(server.url, ...more)]
    }
    const out = join(folder, 'kills.jsonl')
    const collected = await gta(['collect', out, '--nats', server.url, '--stream', 'kills', '--wait']).ended
    assert.is(collected.code, 3, collected.stderr)
    const results = resultsIn(out)
    assert.equal(results.map(({ custom_id: id }) => id).sort(), [...ids].sort())
    for (const { custom_id: id, response } of results)
      assert.is(response.status_code, ids.indexOf(id) % 10 === 9 ? 400 : 200, id)
    for (const { child } of boards) child.kill('SIGTERM')
    for (const { code, stderr } of await Promise.all(boards.map(({ ended }) => ended))) assert.is(code, 0, stderr)
  },
)

toolTest(
  'nats',
  'a request is queued once and answered once, however often it is submitted; a line that is none is refused',
  async () => {
    const stream = newName()
    const text = lineOf('a') + lineOf('b')
    assert.equal(await submit(stream, `${text}none\n${text}`), { requests: 5, queued: 2, known: 0, refused: 3 })
    assert.equal(await submit(stream, text), { requests: 2, queued: 0, known: 2, refused: 0 })
    let asked = 0
    const answer: WorkerOptions['answer'] = async () => {
      asked++
      return { status: 200, body: {} }
    }
    const { end } = startWorker(stream, { answer })
    assert.is((await collect(stream)).length, 2)
    // Behind the time in which the server knows ids of messages, what is done can be queued again: its result is found.
    const job = jobOf({ customId: 'a', url: '/v1/chat/completions', body: {} })
    await nats.stream.publish(`${stream}.jobs.${HASH}.${job}`, lineOf('a'))
    assert.is((await collect(stream)).length, 2)
    assert.is(asked, 2)
    await end()
  },
)

toolTest(
  'nats',
  'a job that nobody lives to answer is given up: one result, its request among the dead, others are answered',
  async () => {
    const stream = newName()
    await submit(stream, lineOf('poison') + lineOf('good'))
    // A worker that dies of it: what it took comes back until it was given three times.
    const dying = startWorker(stream, { slots: 1, answer: async ({ customId }) => {
    if (customId === 'poison') throw new Error('it died')
    return { status: 200, body: {} }
  } }) // biome-ignore format: one line
    const results = await collect(stream)
    await dying.end()
    assert.is(results.length, 2)
    const { response, error } = results.find(({ custom_id: id }) => id === 'poison')
    assert.equal([response, error.code], [null, 'given_up'])
    assert.is((await stateOf(nats, deadOf(stream))).messages, 1)
    const dead = await nats.manager.streams.getMessage(deadOf(stream), { seq: 1 })
    assert.is(JSON.parse(dead?.string() ?? '').custom_id, 'poison')
  },
)

toolTest('nats', 'what fails in passing is tried again; bodies that nobody can read are answered once', async () => {
  const stream = newName()
  await submit(stream, lineOf('once') + lineOf('always'))
  for (const [i, data] of ['no json', '', '{"custom_id":"x"}'].entries())
    await nats.stream.publish(`${stream}.jobs.${HASH}.odd${i}`, data)
  const tries = new Map<string, number>()
  const answer: WorkerOptions['answer'] = async ({ customId }) => {
    tries.set(customId, (tries.get(customId) ?? 0) + 1)
    return { status: customId === 'once' && tries.get(customId) === 2 ? 200 : 503, body: {} }
  }
  const { end, worker } = startWorker(stream, { answer })
  const results = await collect(stream)
  await end()
  assert.equal([...tries], [['once', 2], ['always', 3]]) // biome-ignore format: one line
  const told = results.map(({ custom_id: id, response, error }) => [id, response?.status_code ?? error.code])
  assert.equal(told.sort(), [[null, 'invalid_json'], [null, 'missing_custom_id'], ['always', 503], ['once', 200], ['x', 'invalid_value']].sort()) // biome-ignore format: one line
  assert.equal([worker.done, worker.failed, worker.running], [5, 4, 0])
})

toolTest(
  'nats',
  'a job that takes longer than it may be silent stays with its worker, and others take the rest',
  async () => {
    const stream = newName()
    await submit(stream, lineOf('long') + lineOf('b') + lineOf('c'))
    const asked: string[] = []
    const answer: WorkerOptions['answer'] = async ({ customId }) => {
      asked.push(customId)
      if (customId === 'long') await new Promise((resolve) => setTimeout(resolve, 6000))
      return { status: 200, body: {} }
    }
    const workers = [1, 2].map(() => startWorker(stream, { slots: 1, ackWait: 4, answer }))
    assert.is((await collect(stream)).length, 3)
    assert.equal(asked.sort(), ['b', 'c', 'long'])
    for (const { end } of workers) await end()
  },
)

toolTest('nats', 'a worker takes jobs of its model only, and says which one that is', async () => {
  const stream = newName()
  const other = 'fedcba9876543210'
  await submit(stream, lineOf('a'), other)
  await submit(stream, lineOf('b'))
  const { end, worker } = startWorker(stream)
  while (worker.done === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.is((await failure(servedHash(nats, stream))).code, 'NOT_FOUND')
  const status = { board: 'one', model: 'm', slots: 2, running: 0, done: 1, failed: 0, tokens: 5, seconds: 1, temperature: 50, lastError: undefined } // biome-ignore format: one line
  answerStatus(nats, stream, async () => ({ ...status, hash: HASH }))
  assert.is(await servedHash(nats, stream), HASH)
  answerStatus(nats, stream, async () => ({ ...status, board: 'two', model: 'n', hash: other }))
  const { connection } = nats
  void (async () => {
    for await (const asked of connection.subscribe(`${stream}.status`)) asked.respond('nonsense')
  })()
  assert.equal((await askWorkers(nats, stream)).map(({ board }) => board).sort(), ['one', 'two'])
  assert.match((await failure(servedHash(nats, stream))).message, `m (${HASH}), n (${other})`)
  await end()
  // The other model's job is still there.
  assert.equal([(await stateOf(nats, stream)).messages, worker.done], [1, 1])
})

toolTest('nats', 'a worker that is drained ends what runs and begins nothing', async () => {
  const stream = newName()
  await submit(stream, ['a', 'b', 'c'].map((id) => lineOf(id)).join(''))
  let finish = () => {}
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  const drain = new AbortController()
  const answer: WorkerOptions['answer'] = async () => {
    drain.abort()
    await finished
    return { status: 200, body: {} }
  }
  const { worker, end } = startWorker(stream, { slots: 1, drain: drain.signal, answer })
  while (!drain.signal.aborted) await new Promise((resolve) => setTimeout(resolve, 5))
  finish()
  await end()
  assert.is(worker.done, 1)
  assert.is((await stateOf(nats, stream)).messages, 2)
})

toolTest('nats', 'results that are too large for the queue, and requests that are, are told', async () => {
  const stream = newName()
  const refused: string[] = []
  await makeStreams(nats, stream)
  const text = lineOf('large', { prompt: 'x'.repeat(2 ** 20) }) + lineOf('small')
  const options = { nats, stream, hash: HASH, input: Readable.from([Buffer.from(text)]), signal: never }
  await submitRequests({ ...options, onRefused: (line, { code }) => refused.push(`${line} ${code}`) })
  assert.equal(refused, ['1 request_too_large'])
  const answer: WorkerOptions['answer'] = async () => ({ status: 200, body: { text: 'x'.repeat(2 ** 20) } })
  const { end } = startWorker(stream, { answer })
  const [result] = await collect(stream)
  assert.equal([result.custom_id, result.error.code], ['small', 'result_too_large'])
  await end()
})

toolTest('nats', 'a stream of that name that is something else is refused and left alone', async () => {
  const stream = newName()
  await nats.manager.streams.add({ name: stream, subjects: ['mine.>'] })
  const error = await failure(makeStreams(nats, stream))
  assert.equal([error.code, error.message.includes(`the stream "${stream}" must be as "gta worker" makes it`)], ['BAD_OPTION', true]) // biome-ignore format: one line
  assert.equal((await nats.manager.streams.info(stream)).config.subjects, ['mine.>'])
})

toolTest(
  'nats',
  'a killed server forgets what was acknowledged, a power cut even results: jobs are done again, none is stuck',
  async () => {
    const own = await startNats()
    const before = nats
    try {
      nats = await connectNats({ url: own.url, name: 'test' })
      const [stream, text] = [newName(), Array.from({ length: 60 }, (_, i) => lineOf(`${i}`)).join('')]
      await submit(stream, text)
      const first = startWorker(stream, { ackWait: 2 })
      while (first.worker.done < 40) await new Promise((resolve) => setTimeout(resolve, 1))
      await own.kill()
      await own.start()
      await first.end()
      const manager = await reconnected()
      await manager.streams.purge(resultsOf(stream))
      await submit(stream, text)
      const second = startWorker(stream, { ackWait: 2 })
      assert.is((await collect(stream)).length, 60)
      await second.end()
      assert.is((await stateOf(nats, stream)).messages, 0)
    } finally {
      await nats.connection.close()
      await own.kill()
      nats = before
    }
  },
)

/** When the server answers again. */
async function reconnected(): Promise<Nats['manager']> {
  const isThere = () => nats.manager.getAccountInfo().then(() => true, () => false) // biome-ignore format: one line
  while (!(await isThere())) await new Promise((resolve) => setTimeout(resolve, 20))
  return nats.manager
}

/** A certificate for localhost that signs itself. */
function certify(): { certificate: string; key: string } {
  const [certificate, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=test', '-addext', 'subjectAltName=DNS:localhost'] // biome-ignore format: one line
  const { status, stderr } = spawnSync('openssl', [...args, '-keyout', key, '-out', certificate], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return { certificate, key }
}

toolTest(
  'nats',
  'users, tokens and TLS; whoever is not let in is told so in a sentence, without the password',
  async () => {
    const { certificate, key } = certify()
    const locked = await startNats(`authorization { user: "board", password: "p@ss" }\ntls { cert_file: "${certificate}", key_file: "${key}" }`) // biome-ignore format: one line
    const at = `localhost:${locked.port}`
    const open = { name: 'test', authority: certificate }
    try {
      const { connection, server: name } = await connectNats({ ...open, url: `tls://board:p%40ss@${at}` })
      assert.is(name, `tls://${at}`)
      await connection.close()
      for (const [url, more, words] of [
        [`tls://board:wrong@${at}`, open, 'wrong credentials'],
        [`tls://${at}`, open, 'wrong credentials'],
        [`tls://board:p%40ss@${at}`, { name: 'test' }, 'self-signed certificate'],
        ['nats://127.0.0.1:1', open, 'nobody listens there'],
      ] as const) {
        const error = await failure(connectNats({ ...more, url }))
        assert.is(error.code, 'NOT_FOUND')
        assert.match(error.message, words)
        assert.not.match(error.message, /p%40ss|wrong@|p@ss/)
      }
    } finally {
      await locked.kill()
    }
    const withToken = await startNats('authorization { token: "secret" }')
    try {
      await (await connectNats({ url: `nats://secret@127.0.0.1:${withToken.port}`, name: 'test' })).connection.close()
      const { code, stderr } = await gta(['collect', '-', '--nats', withToken.url]).ended
      assert.equal([code, stderr.includes('wrong credentials')], [1, true], stderr)
    } finally {
      await withToken.kill()
    }
  },
)

test('wrong usage is exit code 2, without a server', async () => {
  const path = join(folder, 'one.jsonl')
  writeFileSync(path, lineOf('a'))
  for (const [args, words] of [
    [['submit', path], '--nats must be'],
    [['submit'], 'IN.jsonl must be given'],
    [['submit', path, '--nats', 'http://x'], '--nats must be the address'],
    [['submit', path, '--nats', 'nats://x', '--stream', 'a.b'], '--stream must be'],
    [['submit', path, '--nats', 'nats://x', '--model-hash', 'xyz'], '--model-hash must be'],
    [['collect', '--nats', 'nats://x'], 'OUT.jsonl must be given'],
    [['collect', path, '--nats', 'nats://x'], 'a new file'],
    [['worker', '--nats', 'nats://x', '--tls-cert', path], 'given together'],
  ] as const) {
    const { code, stderr } = await gta(args).ended
    assert.equal([code, stderr.includes(words)], [2, true], stderr)
  }
})

test.run()
