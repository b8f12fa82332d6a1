/** What a server must hold, each as a trial on a fresh process: figures, and whether they are as they should be. */
import { connect } from 'node:net'
import { serve, serveWith } from './child.ts'
import { median, metric, pool, post, quantile, type RawReply, textOf, volley } from './client.ts'

export interface Figures {
  [name: string]: number | string | boolean
}

const path = '/v1/completions'
const starts = [
  'Once upon a time',
  'The fox said to the hare',
  'There was a small boat',
  'A dog named Max',
  'It rained',
]
const start = (i: number) => starts[i % starts.length] as string
/** No text of it ends before its tokens are written: nothing that the model says is this. */
const story = (prompt: string, max: number, more: object = {}) => ({
  prompt,
  max_tokens: max,
  seed: 7,
  stream: true,
  ...more,
})

/** Requests without end: memory and descriptors must stay where they are. */
export async function soak(requests: number): Promise<Figures> {
  // A heap that may grow hides what is lost behind what is only not collected yet: it swings by 100 MB.
  const server = await serveWith(['--max-semi-space-size=1', '--max-old-space-size=64'], '-np', '8', '--queue', '64')
  const rss: [number, number][] = []
  const descriptors: number[] = []
  let tokens = 0
  let bad = 0
  const begun = performance.now()
  await pool(requests, 16, async (i) => {
    const isChat = i % 10 === 0
    const asked = isChat
      ? { messages: [{ role: 'user', content: `${start(i)} ${i}` }], max_tokens: 100, stream: i % 20 === 0 }
      : story(`${start(i)}, number ${i}`, 100, { stream: i % 3 !== 0, seed: i })
    const reply = await post(server.url, isChat ? '/v1/chat/completions' : path, asked)
    if (reply.status !== 200) bad++
    if (i % Math.max(1, Math.floor(requests / 100)) !== 0) return
    rss.push([i, server.rss()])
    descriptors.push(server.descriptors())
  })
  tokens = await metric(server.url, 'llamacpp:tokens_predicted_total')
  const seconds = (performance.now() - begun) / 1000
  // What is compiled, and the cache of prefixes, fill at the beginning.
  const slope = slopeOf(rss.filter(([i]) => i > requests * 0.25))
  const exit = await server.end()
  return {
    requests,
    bad,
    tokens,
    seconds: round(seconds),
    rssFirstMB: round((rss[0]?.[1] ?? 0) / 1e6),
    rssLastMB: round((rss.at(-1)?.[1] ?? 0) / 1e6),
    slopeMBPer1000: round((slope * 1000) / 1e6, 3),
    descriptorsLeast: Math.min(...descriptors),
    descriptorsMost: Math.max(...descriptors),
    exit: exit ?? -1,
    good: bad === 0 && slope * 1000 < 1e6,
  }
}

/** More clients than a queue of 16 has room for, twice: a process that has never refused anybody compiles its code first. */
export async function flood(clients: number): Promise<Figures> {
  const server = await serve('-np', '4', '--queue', '16')
  const first = await volley(server.url, path, story(start(0), 5), clients)
  const health: number[] = []
  let isOver = false
  const watching = (async () => {
    while (!isOver) {
      const begun = performance.now()
      await (await fetch(`${server.url}/health`)).text()
      health.push(performance.now() - begun)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })()
  const replies = await volley(server.url, path, story(start(0), 200), clients)
  isOver = true
  await watching
  const accepted = replies.filter(({ status }) => status === 200)
  const refused = replies.filter(({ status }) => status !== 200)
  const told = refused.filter(({ status, retryAfter }) => (status === 429 || status === 503) && Number(retryAfter) > 0)
  const whole = accepted.filter(({ raw }) => raw.includes('data: [DONE]'))
  await server.end()
  const mostOf = (all: RawReply[]) => Math.max(...all.filter(({ status }) => status !== 200).map(({ endMs }) => endMs))
  const most = mostOf(replies)
  const isTold = told.length === refused.length && most < 100
  return {
    clients,
    accepted: accepted.length,
    refused: refused.length,
    refusedP50Ms: round(median(refused.map(({ endMs }) => endMs))),
    refusedMostMs: round(most),
    firstCrowdMostMs: round(mostOf(first)),
    healthP99Ms: round(quantile(health, 0.99)),
    good: isTold && whole.length === accepted.length && whole.length >= 16 && quantile(health, 0.99) < 100,
  }
}

/** Clients that vanish at random moments, beside two that stay: their streams must stay the same bit for bit. */
export async function disconnects(count: number): Promise<Figures> {
  const server = await serve('-np', '4', '--queue', '64')
  const expected = new Map<string, string>()
  for (const prompt of starts) expected.set(prompt, textOf(await post(server.url, path, story(prompt, 150))))
  let isOver = false
  let compared = 0
  let different = 0
  const stays = Array.from({ length: 2 }, async (_, k) => {
    for (let i = k; !isOver; i++) {
      const text = textOf(await post(server.url, path, story(start(i), 150)))
      compared++
      if (text !== expected.get(start(i))) different++
    }
  })
  const freed: number[] = []
  for (let i = 0; i < count; i++) {
    const gone = new AbortController()
    // Some wait in the queue, some have a long prompt, some are told a story.
    const waiting = Array.from({ length: i % 3 === 0 ? 4 : 1 }, () =>
      post(server.url, path, story(i % 3 === 1 ? `${i} ${'wood '.repeat(350)}` : start(i), 100), gone.signal).catch(
        () => undefined,
      ),
    )
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 60))
    gone.abort()
    const begun = performance.now()
    await Promise.all(waiting)
    while (
      (await metric(server.url, 'llamacpp:requests_processing')) > 2 ||
      (await metric(server.url, 'llamacpp:requests_deferred')) > 0
    );
    freed.push(performance.now() - begun)
  }
  isOver = true
  await Promise.all(stays)
  const left = await metric(server.url, 'llamacpp:kv_cache_usage_ratio')
  const descriptors = server.descriptors()
  await server.end()
  return {
    disconnects: count,
    freedP50Ms: round(median(freed)),
    freedMostMs: round(Math.max(...freed)),
    streamsCompared: compared,
    streamsDifferent: different,
    cacheLeft: left,
    descriptors,
    good: different === 0 && compared > 0 && left === 0 && Math.max(...freed) < 250,
  }
}

/** Sockets that say nothing, or half of something. */
export async function sockets(count: number): Promise<Figures> {
  const server = await serve()
  const { hostname, port } = new URL(server.url)
  const before = server.descriptors()
  let closed = 0
  const begun = performance.now()
  const all = Array.from({ length: count }, (_, i) => {
    const socket = connect(Number(port), hostname)
    socket.on('error', () => undefined)
    socket.on('close', () => closed++)
    const head = `POST ${path} HTTP/1.1\r\nhost: localhost\r\n`
    if (i % 3 === 1) socket.write(head)
    if (i % 3 === 2) socket.write(`${head}content-length: 100\r\n\r\n{`)
    socket.resume()
    return socket
  })
  const reply = await post(server.url, path, story(start(0), 20))
  const meanwhile = performance.now() - begun
  while (closed < count && performance.now() - begun < 40_000) await new Promise((resolve) => setTimeout(resolve, 100))
  const seconds = (performance.now() - begun) / 1000
  for (const socket of all) socket.destroy()
  await new Promise((resolve) => setTimeout(resolve, 200))
  const after = server.descriptors()
  await server.end()
  return {
    sockets: count,
    answeredMeanwhileMs: round(meanwhile),
    allClosedAfterS: round(seconds),
    descriptorsBefore: before,
    descriptorsAfter: after,
    good: reply.status === 200 && closed === count && after <= before + 2,
  }
}

/** Prompts that no context holds. */
export async function prompts(): Promise<Figures> {
  const server = await serve()
  const rss = server.rss()
  const of = (bytes: number) => post(server.url, path, { prompt: 'wood '.repeat(bytes / 5) })
  const one = await of(1e6)
  const many = await of(64e6).catch((error: Error) => ({ status: 0, endMs: Number.NaN, body: error.message }))
  const next = await post(server.url, path, story(start(0), 5))
  const grown = server.rss() - rss
  await server.end()
  return {
    status1MB: one.status,
    ms1MB: round(one.endMs),
    said1MB: JSON.parse(one.body).error.message,
    status64MB: many.status,
    ms64MB: round(many.endMs),
    grownMB: round(grown / 1e6),
    good: one.status === 400 && many.status === 413 && next.status === 200,
  }
}

/** Tokens a second of eight clients and of one. */
export async function throughput(seconds: number, model: string[], threads: string[]): Promise<Figures> {
  const server = await serve(...model, '-np', '8', ...threads)
  const rate = async (clients: number) => {
    const before = await metric(server.url, 'llamacpp:tokens_predicted_total')
    const begun = performance.now()
    await Promise.all(
      Array.from({ length: clients }, async (_, k) => {
        for (let i = k; performance.now() - begun < seconds * 1000; i++)
          await post(server.url, path, story(start(i), 200))
      }),
    )
    const after = await metric(server.url, 'llamacpp:tokens_predicted_total')
    return ((after - before) * 1000) / (performance.now() - begun)
  }
  await rate(8)
  const [one, eight] = [await rate(1), await rate(8)]
  await server.end()
  return {
    oneTokensPerS: round(one),
    eightTokensPerS: round(eight),
    ratio: round(eight / one, 2),
    good: eight >= 3 * one,
  }
}

function slopeOf(points: readonly [number, number][]): number {
  const n = points.length
  const [sx, sy] = points.reduce(([x, y], [px, py]) => [x + px, y + py], [0, 0])
  const [mx, my] = [sx / n, sy / n]
  const [top, bottom] = points.reduce(([t, b], [x, y]) => [t + (x - mx) * (y - my), b + (x - mx) ** 2], [0, 0])
  return top / bottom
}

export const round = (value: number, digits = 1) => Number(value.toFixed(digits))
