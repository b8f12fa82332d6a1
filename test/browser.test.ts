/**
 * The library in a real browser, Debian's chromium, with and without isolation: the same tokens and logits as Node, and a
 * clear sentence for whatever can go wrong. Without a browser these tests are skipped with a loud line; .ci/run installs
 * one.
 */
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import type { Browser, Page } from 'playwright-core'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type * as library from '../host/browser/index.ts'
import { defaultModel, type Generation, load } from '../host/index.ts'
import { isolation } from '../host/web/server.ts'
import { browserTest, launchBrowser } from './harness/browsers.ts'

const stories = readFileSync(defaultModel)
const dist = new URL('../dist/', import.meta.url)
const worker = readFileSync(new URL('browser-worker.mjs', dist), 'utf8')
const relaxedSizes = ['relaxed', 'relaxed-single'].map(
  (name) => readFileSync(new URL(`engine-${name}.wasm`, dist)).length,
)
const half = Math.floor(stories.length / 2)

let browser: Browser | undefined
let isolated: TestServer
let plain: TestServer

test.before(async () => {
  browser = await launchBrowser()
  isolated = await openServer(isolation)
  plain = await openServer({})
})
test.after(async () => {
  await browser?.close()
  for (const { server } of [isolated, plain]) {
    server.close()
    server.closeAllConnections()
  }
})

interface TestServer {
  server: Server
  url: string
  /** Range headers of the requests for models. */
  ranges: (string | undefined)[]
  /** Connections that ended before all was sent. */
  broken: number
}

/** Scripts, and the stories model in every state that a network can put it in. */
async function openServer(headers: Record<string, string>): Promise<TestServer> {
  const state = { ranges: [], broken: 0 } as unknown as TestServer
  const scripts: Record<string, string> = {
    '/browser.mjs': readFileSync(new URL('browser.mjs', dist), 'utf8'),
    '/browser-worker.mjs': worker,
    '/strict.mjs': `const validate = WebAssembly.validate
WebAssembly.validate = (bytes) => ![${relaxedSizes}].includes(bytes.length) && validate(bytes)\n${worker}`,
    '/unshared.mjs': `delete globalThis.SharedArrayBuffer\n${worker}`,
    '/none.mjs': `WebAssembly.validate = () => false\n${worker}`,
  }
  const send = (response: ServerResponse, bytes: Uint8Array, from: number, until = bytes.length, etag = '"1"') => {
    response.writeHead(from > 0 ? 206 : 200, {
      ...headers,
      'content-type': 'application/octet-stream',
      'content-length': bytes.length - from,
      'cache-control': 'no-store',
      etag,
      ...(from > 0 ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}),
    })
    response.write(bytes.subarray(from, until), () => (until < bytes.length ? response.destroy() : response.end()))
  }
  const models: Record<string, (request: IncomingMessage, response: ServerResponse, from: number) => void> = {
    '/stories.gta': (_, response, from) => send(response, stories, from),
    '/cut.gta': (_, response, from) => send(response, stories, from, from === 0 ? half : undefined),
    '/changed.gta': (_, response, from) =>
      from === 0 ? send(response, stories, 0, half) : send(response, stories, from, undefined, '"2"'),
    '/dead.gta': (request, response, from) =>
      from === 0 ? send(response, stories, 0, half) : void request.socket.destroy(),
    // As GitHub Pages sends it to pages of others, who see not that it is compressed.
    '/compressed.gta': (_, response) => {
      const bytes = gzipSync(stories)
      response.writeHead(200, {
        'access-control-allow-origin': '*',
        'content-encoding': 'gzip',
        'content-length': bytes.length,
      })
      response.end(bytes)
    },
    '/truncated.gta': (_, response, from) => send(response, stories.subarray(0, half), from),
    '/hostile.gta': (_, response, from) => send(response, hostile(), from),
    '/page.gta': (_, response) =>
      response.writeHead(200, { ...headers, 'content-type': 'text/html' }).end('<!doctype html><p>not here'),
    '/slow.gta': (_, response) => {
      response.writeHead(200, { ...headers, 'content-length': stories.length })
      response.write(stories.subarray(0, half))
      response.on('close', () => state.broken++)
    },
  }
  state.server = createServer((request, response) => {
    const path = request.url ?? ''
    const script = scripts[path]
    const model = models[path]
    if (model) {
      state.ranges.push(request.headers.range)
      return model(request, response, Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0))
    }
    if (script) return void response.writeHead(200, { ...headers, 'content-type': 'text/javascript' }).end(script)
    const isPage = path === '/'
    response.writeHead(isPage ? 200 : 404, { ...headers, 'content-type': 'text/html' })
    response.end(isPage ? '<!doctype html><html lang="en"><title>test</title><link rel="icon" href="data:,">' : 'no')
  })
  await new Promise<void>((resolve) => state.server.listen(0, '127.0.0.1', resolve))
  state.url = `http://127.0.0.1:${(state.server.address() as AddressInfo).port}/`
  return state
}

/** The plan's last word, changed: a program that no conversion wrote. */
function hostile(): Uint8Array {
  const bytes = Uint8Array.from(stories)
  const length = Number(stories.readBigUInt64LE())
  const plan = JSON.parse(stories.subarray(8, 8 + length).toString()).plan
  const at = 8 + length + plan.data_offsets[1] - 100
  bytes[at] = (bytes[at] as number) ^ 1
  return bytes
}

type Library = typeof library

async function openPage(server: TestServer, script = ''): Promise<Page> {
  const page = await (browser as Browser).newPage()
  if (script) await page.addInitScript(script)
  await page.goto(server.url)
  server.ranges = []
  server.broken = 0
  await page.evaluate(async () => {
    const path = '/browser.mjs'
    Object.assign(globalThis, { library: await import(path) })
  })
  return page
}

/** What a failing load says. */
function failureOf(
  page: Page,
  path: string,
  options: object = {},
): Promise<{ code?: string; message: string; name: string }> {
  return page.evaluate(
    async ([path, options]) => {
      const { load } = (globalThis as unknown as { library: Library }).library
      try {
        await load(path, options)
        return { message: 'it was loaded', name: '' }
      } catch (error) {
        const { code, message, name } = error as library.GtaError
        return { code, message, name }
      }
    },
    [path, options] as const,
  )
}

interface Case {
  prompt: string | number[]
  options: library.GenerateOptions
}

const form = {
  type: 'object',
  properties: { name: { type: 'string', maxLength: 12 }, age: { type: 'integer', minimum: 1, maximum: 99 } },
  required: ['name', 'age'],
}

const cases: Case[] = [
  { prompt: 'Once upon a time', options: { temperature: 0, maxTokens: 64 } },
  { prompt: 'The fox said to the hare,', options: { seed: 7, temperature: 0.8, topP: 0.95, maxTokens: 64 } },
  { prompt: 'Lily found a small door in the', options: { seed: 123456789, temperature: 1.2, maxTokens: 40 } },
  { prompt: [1, 5, 9, 400, 77], options: { seed: 3, temperature: 0.5, maxTokens: 30, speculate: 4 } },
  { prompt: 'Once upon a time', options: { seed: 2, maxTokens: 99, schema: form } },
  { prompt: 'Once upon a time', options: { seed: 2, maxTokens: 40, pattern: '(The [a-z]+ (ran|sat) down\\. ?){2}' } },
  { prompt: `${'The cat and the dog went to the park. '.repeat(12)}Then`, options: { temperature: 0, maxTokens: 20 } },
]

interface Found {
  tokens: number[]
  text: string
  /** What JSON says; null where there is none. */
  value: unknown
  logitsHash: string
  pieces: string
  told: number[]
}

const pick = ({ tokens, text, value, logitsHash }: Generation, pieces: string, told: number[]): Found => ({
  tokens,
  text,
  value: value ?? null,
  logitsHash,
  pieces,
  told,
})

async function inNode(threads: number): Promise<Found[]> {
  const model = await load(defaultModel, { threads })
  const found: Found[] = []
  for (const { prompt, options } of cases) {
    const told: number[] = []
    const iterator = model.generate(prompt, { ...options, onToken: (id) => told.push(id) })
    let pieces = ''
    let step = await iterator.next()
    for (; !step.done; step = await iterator.next()) pieces += step.value
    found.push(pick(step.value, pieces, told))
  }
  await model.close()
  return found
}

function inBrowser(page: Page, options: library.LoadOptions): Promise<{ engine: library.EngineFacts; found: Found[] }> {
  return page.evaluate(
    async ([options, cases]) => {
      const { load } = (globalThis as unknown as { library: Library }).library
      const progress: number[] = []
      const model = await load('/stories.gta', {
        ...options,
        onProgress: ({ done, total }) => progress.push(done / total),
      })
      if (progress.length < 3 || progress.at(-1) !== 1) throw new Error(`progress: ${progress}`)
      const found = []
      for (const { prompt, options } of cases) {
        const told: number[] = []
        const iterator = model.generate(prompt, { ...options, onToken: (id) => told.push(id) })
        let pieces = ''
        let step = await iterator.next()
        for (; !step.done; step = await iterator.next()) pieces += step.value
        const { tokens, text, value = null, logitsHash } = step.value
        found.push({ tokens, text, value, logitsHash, pieces, told })
      }
      const { engine } = model
      await model.close()
      return { engine, found }
    },
    [options, cases] as const,
  )
}

browserTest('isolated: 1 and 2 threads give the tokens and logits of Node', async () => {
  const expected = await inNode(2)
  assert.equal(await inNode(1), expected)
  assert.equal(
    expected.map(({ value }) => value !== null).indexOf(true),
    cases.findIndex(({ options }) => options.schema),
  )
  const page = await openPage(isolated)
  for (const threads of [1, 2]) {
    const { engine, found } = await inBrowser(page, { threads })
    assert.equal(found, expected, `${threads} threads`)
    assert.is(engine.name, `wasm relaxed-simd, ${threads} thread${threads === 1 ? '' : 's'}`)
    assert.is(engine.singleBecause, undefined)
    assert.ok(engine.memoryBytes > stories.length && engine.memoryBytes < 1e8, `${engine.memoryBytes} bytes`)
  }
  const { engine, found } = await inBrowser(page, { workerUrl: '/strict.mjs' })
  assert.equal(found, expected, 'strict')
  assert.is(engine.build, 'strict-simd')
  await page.close()
})

browserTest('not isolated: one thread without shared memory, the same bits, and it says why', async () => {
  const expected = await inNode(1)
  const page = await openPage(plain)
  const { engine, found } = await inBrowser(page, { threads: 4 })
  assert.equal(found, expected)
  assert.is(engine.build, 'relaxed-simd single')
  assert.equal(engine.threads, { decode: 1, prefill: 1 })
  assert.match(engine.singleBecause ?? '', 'Cross-Origin-Opener-Policy: same-origin')
  const strict = await inBrowser(page, { workerUrl: '/strict.mjs' })
  assert.equal(strict.found, expected)
  assert.is(strict.engine.build, 'strict-simd single')
  await page.close()
})

browserTest('isolated by a browser without SharedArrayBuffer: one thread, and it says why', async () => {
  const page = await openPage(isolated)
  const { engine, found } = await inBrowser(page, { threads: 4, workerUrl: '/unshared.mjs' })
  assert.equal(found, await inNode(1))
  assert.is(engine.build, 'relaxed-simd single')
  assert.match(engine.singleBecause ?? '', 'SharedArrayBuffer')
  await page.close()
})

browserTest('another origin sends the model compressed, with the length of what it sends', async () => {
  for (const [page, other] of [
    [await openPage(isolated), plain],
    [await openPage(plain), isolated],
  ] as const) {
    assert.equal(await failureOf(page, `${other.url}compressed.gta`), { message: 'it was loaded', name: '' })
    await page.close()
  }
})

browserTest('conversations: two at a time, forked, rewound, closed', async () => {
  for (const server of [isolated, plain]) {
    const page = await openPage(server)
    const found = await page.evaluate(async () => {
      const { load } = (globalThis as unknown as { library: Library }).library
      const model = await load('/stories.gta')
      const tell = async (conversation: library.Conversation, prompt?: string) => {
        let text = ''
        for await (const piece of conversation.generate(prompt, { temperature: 0, maxTokens: 12 })) text += piece
        return text
      }
      const a = await model.open()
      const first = await tell(a, 'A fox met a hare')
      const b = await a.fork()
      const [x, y] = await Promise.all([tell(a), tell(b)])
      const { length } = await a.tokens()
      await a.rewind(length - 12)
      const again = await tell(a)
      const alone = await tell(await model.open(), 'A fox met a hare')
      const logits = await model.logits('A fox met a hare')
      await b.close()
      const closed = await b.tokens().catch((error) => error.code)
      await model.close()
      const over = await a.tokens().catch((error) => error.code)
      return { first, alone, x, y, again, logits: logits.length, closed, over }
    })
    assert.is(found.alone, found.first)
    assert.is(found.y, found.x)
    assert.ok(found.again.length > 0)
    assert.is(found.logits, 4096)
    assert.is(found.closed, 'CLOSED')
    assert.is(found.over, 'CLOSED')
    await page.close()
  }
})

browserTest('a reader that stops is not computed for; an abort ends at once', async () => {
  for (const server of [isolated, plain]) {
    const page = await openPage(server)
    const found = await page.evaluate(async () => {
      const { load } = (globalThis as unknown as { library: Library }).library
      const model = await load('/stories.gta')
      const conversation = await model.open()
      let text = ''
      for await (const piece of conversation.generate('Once upon a time', { temperature: 0 })) {
        text += piece
        if (text.length > 20) break
      }
      const prompt = model.generate('Once upon a time', { maxTokens: 1 })
      const { value } = await prompt.next()
      const controller = new AbortController()
      const started = performance.now()
      setTimeout(() => controller.abort(new Error('enough')), 50)
      let message = ''
      try {
        for await (const _ of model.generate('Once upon a time', {
          maxTokens: 4000,
          stopAtEos: false,
          signal: controller.signal,
        }));
      } catch (error) {
        message = (error as Error).message
      }
      const tokens = await conversation.tokens()
      const rest = await conversation.generate(undefined, { temperature: 0, maxTokens: 5 }).next()
      return { message, took: performance.now() - started, text, tokens: tokens.length, value, rest: rest.value }
    })
    assert.is(found.message, 'enough')
    assert.ok(found.took < 5000, `${found.took} ms`)
    // The prompt, and what was seen of the text: nothing was computed ahead.
    assert.ok(found.tokens < 20, `${found.tokens} tokens`)
    await page.close()
  }
})

browserTest('an abort while a prompt is read leaves the conversation as it was', async () => {
  for (const server of [isolated, plain]) {
    const page = await openPage(server)
    const found = await page.evaluate(async () => {
      const { load } = (globalThis as unknown as { library: Library }).library
      const model = await load('/stories.gta', { batch: 8 })
      const conversation = await model.open()
      const controller = new AbortController()
      const ids = Array.from({ length: 450 }, (_, i) => i + 5)
      const onPrefill = () => controller.abort(new Error('enough'))
      const error = await conversation
        .generate(ids, { signal: controller.signal, onPrefill })
        .next()
        .catch((reason) => reason)
      return { message: error.message, tokens: await conversation.tokens() }
    })
    assert.equal(found, { message: 'enough', tokens: [] })
    await page.close()
  }
})

browserTest('a connection cut half way: the rest is asked for, and the file is whole', async () => {
  for (const server of [isolated, plain]) {
    const page = await openPage(server)
    const text = await page.evaluate(async () => {
      const { load } = (globalThis as unknown as { library: Library }).library
      const model = await load('/cut.gta')
      let text = ''
      for await (const piece of model.generate('Once upon a time', { temperature: 0, maxTokens: 64 })) text += piece
      return text
    })
    assert.is(text, (await inNode(1))[0]?.text)
    const [first, second, ...more] = server.ranges
    assert.is(first, undefined)
    assert.equal(more, [])
    // What the browser held back when the connection broke is lost with it.
    const from = Number(/^bytes=(\d+)-$/.exec(second ?? '')?.[1])
    assert.ok(from > 0 && from <= half, `${second}`)
    await page.close()
  }
})

browserTest('files that cannot be loaded, each with its sentence', async () => {
  const page = await openPage(isolated)
  const expected: [string, string, RegExp][] = [
    ['/changed.gta', 'FETCH_FAILED', /ETag.*must stay "1".*found "2".*load it again/],
    ['/truncated.gta', 'BAD_FILE', new RegExp(`the size.*must be ${stories.length} bytes.*found ${half}`)],
    ['/hostile.gta', 'BAD_FILE', /tensor "plan".*what its config asks for/],
    ['/page.gta', 'NOT_A_MODEL', /found an HTML page/],
    ['/gone.gta', 'NOT_FOUND', /status 404/],
    ['http://127.0.0.1:1/x.gta', 'FETCH_FAILED', /must be reachable.*CORS/],
  ]
  for (const [path, code, words] of expected) {
    const error = await failureOf(page, path)
    assert.is(error.code, code, error.message)
    assert.match(error.message, words)
    assert.is(error.name, 'GtaError')
  }
  assert.is((await failureOf(page, '/stories.gta', { thread: 2 })).code, 'BAD_OPTION')
  assert.is((await failureOf(page, '/stories.gta', { context: 10 ** 9 })).code, 'BAD_OPTION')
  assert.match((await failureOf(page, '/stories.gta', { workerUrl: '/gone.mjs' })).message, 'the script of the worker')
  await page.close()
})

browserTest('a server that is gone half way: some attempts, then a sentence', async () => {
  const page = await openPage(isolated, 'globalThis.setTimeout = ((f) => (g, ms) => f(g, ms / 100))(setTimeout)')
  // Delays are those of the worker: its clock is what must run faster.
  isolated.ranges = []
  await page.route('**/browser-worker.mjs', (route) =>
    route.fulfill({
      contentType: 'text/javascript',
      headers: isolation,
      body: `globalThis.setTimeout = ((f) => (g, ms) => f(g, ms > 10000 ? ms : ms / 100))(setTimeout)\n${worker}`,
    }),
  )
  const error = await failureOf(page, '/dead.gta')
  assert.is(error.code, 'FETCH_FAILED')
  const [, found, size] =
    /must arrive whole, found (\d+\.\d) MB of (\d+\.\d) MB and then, again and again, .*check the network/.exec(
      error.message,
    ) ?? []
  assert.is(size, (stories.length / 1e6).toFixed(1), error.message)
  assert.ok(Number(found) <= half / 1e6 + 0.05, error.message)
  assert.ok(isolated.ranges.length >= 6, `${isolated.ranges.length} attempts`)
  await page.close()
})

browserTest('no SIMD, in the page and in the worker: one sentence, and nothing is fetched', async () => {
  const page = await openPage(isolated, 'WebAssembly.validate = () => false')
  const error = await failureOf(page, '/stories.gta')
  assert.is(error.code, 'NO_BUILD')
  assert.match(
    error.message,
    /must run WebAssembly with SIMD, found none: use Chrome or Edge 91, Firefox 89, Safari 16.4/,
  )
  assert.equal(isolated.ranges, [])
  await page.close()
  for (const server of [isolated, plain]) {
    const other = await openPage(server)
    const inWorker = await failureOf(other, '/stories.gta', { workerUrl: '/none.mjs' })
    assert.is(inWorker.code, 'NO_BUILD')
    assert.match(inWorker.message, 'use Chrome')
    await other.close()
  }
})

browserTest('an aborted load, and a closed tab, end the connection and leave nothing behind', async () => {
  const page = await openPage(isolated)
  const message = await page.evaluate(async () => {
    const { load } = (globalThis as unknown as { library: Library }).library
    const controller = new AbortController()
    const onProgress = () => controller.abort(new Error('not wanted'))
    const error = await load('/slow.gta', { signal: controller.signal, onProgress }).catch((reason) => reason)
    return (error as Error).message
  })
  assert.is(message, 'not wanted')
  await until(() => isolated.broken === 1)
  await page.evaluate(() => {
    const { load } = (globalThis as unknown as { library: Library }).library
    return new Promise<void>((resolve) => {
      load('/slow.gta', { onProgress: () => resolve() }).catch(() => undefined)
    })
  })
  const kept = await page.evaluate(async () => [
    (await indexedDB.databases()).length,
    (await caches.keys()).length,
    localStorage.length,
    (await navigator.serviceWorker.getRegistrations()).length,
  ])
  assert.equal(kept, [0, 0, 0, 0])
  await page.close()
  await until(() => isolated.broken === 2)
})

async function until(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 100 && !isSo(); i++) await new Promise((resolve) => setTimeout(resolve, 50))
  assert.ok(isSo())
}

test.run()
