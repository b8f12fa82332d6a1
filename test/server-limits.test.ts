/** What gta serve refuses: strangers, names that are not ours, pages of others, and requests that are too large, too slow or no HTTP. */
import { EventEmitter } from 'node:events'
import { connect } from 'node:net'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { load as loadModel } from '../host/load.ts'
import { Admittance, parseKeys } from '../host/server/admittance.ts'
import { MAX_BODY, MAX_PARTS, parseObject } from '../host/server/body.ts'
import { EventStream } from '../host/server/streams.ts'
import { weigh } from '../host/server/weigh.ts'
import { ask, askRaw, startServer, type TestServer, untilReady } from './fixtures/api-server.ts'
import { failure } from './fixtures/checkpoints.ts'
import { golden } from './fixtures/goldens.ts'

const page = 'http://page.example'
let server: TestServer

test.before(async () => {
  const keys = parseKeys('# of the house\nfirst-key\r\n\n second-key \n')
  server = await startServer({ keys, origins: [page], hosts: ['board.lan'], patience: { headers: 300, request: 600 } })
  await untilReady(server)
})

test.after(async () => {
  await server.close()
  assert.equal(server.errors, [])
})

const key = { authorization: 'Bearer second-key' }
const path = '/v1/completions'
const body = { prompt: 'a', max_tokens: 1 }

test('who has no key learns nothing but that there is a server', async () => {
  assert.is((await ask(server, '/health')).status, 200)
  for (const headers of [{}, { authorization: 'Bearer' }, { authorization: 'Bearer third' }, { authorization: 'Basic second-key' }, { authorization: 'Bearer second-ke' }, { 'x-api-key': 'nope' }]) {
    for (const [asked, sent] of [[path, body], ['/metrics'], ['/v1/models'], ['/nothing'], ['/api/tags']] as [string, object?][]) {
      const answer = await ask(server, asked, sent, { headers: headers as Record<string, string> })
      assert.is(answer.status, 401, `${asked} ${JSON.stringify(headers)}`)
      assert.is(answer.headers.get('www-authenticate'), 'Bearer')
    }
  }
  for (const headers of [key, { authorization: 'bearer first-key' }, { 'x-api-key': 'first-key' }])
    assert.is((await ask(server, path, body, { headers: headers as Record<string, string> })).status, 200)
}) // biome-ignore format: tables

test('without a key only this machine is listened to, unless somebody wants it so', async () => {
  const error = await failure(startServer({ host: '0.0.0.0' }))
  assert.is(error.code, 'BAD_OPTION')
  assert.match(error.message, '--insecure')
})

const raw = (lines: string[], more = '') => `${[...lines, 'connection: close'].join('\r\n')}\r\n\r\n${more}`
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])

test('a name that is not ours is refused: a page of the web may have pointed it here', async () => {
  for (const [host, status] of [
    ['localhost', 200],
    ['127.0.0.1:80', 200],
    ['[::1]:8080', 200],
    ['board.lan:8080', 200],
    ['BOARD.LAN.', 200],
    ['evil.example', 403],
    ['127.0.0.1.evil.example', 403],
    ['192.168.1.2', 403],
    ['localhost@evil.example', 403],
  ] as const)
    assert.is(statusOf(await askRaw(server, raw(['GET /health HTTP/1.1', `host: ${host}`]))), status, host)
  assert.is(statusOf(await askRaw(server, raw(['GET /health HTTP/1.0']))), 200)
  assert.is(statusOf(await askRaw(server, raw(['GET /health HTTP/1.1']))), 400)
})

test('on the network, addresses and the name of the machine are ours, other names are not', () => {
  const open = new Admittance({ host: '0.0.0.0', keys: [], origins: [], hosts: [] })
  const check = (host: string) => open.checkHost({ headers: { host } } as never)
  for (const host of ['192.168.1.2:8080', '[fe80::1]:8080', 'localhost']) check(host)
  assert.throws(() => check('rebound.example:8080'), /host must be a name of this machine/)
})

test('pages of others are refused, those on the list are told so', async () => {
  const from = (origin: string, more: Record<string, string> = {}) => ({ headers: { ...key, origin, ...more } })
  const allowed = await ask(server, '/v1/models', undefined, from(page))
  assert.is(allowed.headers.get('access-control-allow-origin'), page)
  assert.is((await ask(server, path, body, from('http://evil.example'))).status, 403)
  assert.is((await ask(server, path, body, from('null'))).status, 403)
  const own = await ask(server, '/v1/models', undefined, from(server.url))
  assert.is(own.status, 200)
  assert.is(own.headers.get('access-control-allow-origin'), null)
  const preflight = await ask(server, path, undefined, { method: 'OPTIONS', headers: { origin: page } })
  assert.is(preflight.status, 204)
  assert.match(preflight.headers.get('access-control-allow-headers') ?? '', 'authorization')
  const named = { origin: page, 'access-control-request-headers': 'content-type,x-stainless-lang' }
  const asked = await ask(server, path, undefined, { method: 'OPTIONS', headers: named })
  assert.is(asked.headers.get('access-control-allow-headers'), named['access-control-request-headers'])
  const other = await ask(server, path, undefined, { method: 'OPTIONS', headers: { origin: 'http://evil.example' } })
  assert.is(other.status, 403)
})

const head = [`POST ${path} HTTP/1.1`, 'host: localhost', 'authorization: Bearer first-key']

test('large headers and bodies end where they are too large', async () => {
  const large = await askRaw(server, raw([...head, `x: ${'a'.repeat(100_000)}`]))
  assert.is(statusOf(large), 431)
  assert.match(large, 'request_header_fields_too_large')
  const told = await askRaw(server, raw([...head, `content-length: ${64 * 2 ** 20}`], '{"prompt":"'))
  assert.is(statusOf(told), 413)
  const claimed = await askRaw(server, raw([...head, 'content-length: 99999999999999999999'], '{'))
  assert.is(statusOf(claimed), 400)
  // In chunks nobody knows how much will come.
  const chunk = `100000\r\n${'a'.repeat(2 ** 20)}\r\n`
  const chunked = await askRaw(
    server,
    raw([...head, 'transfer-encoding: chunked'], chunk.repeat(MAX_BODY / 2 ** 20 + 1)),
  )
  assert.is(statusOf(chunked), 413)
})

test('a body of too many parts is refused before it is parsed', async () => {
  const bytesOf = (text: string) => new TextEncoder().encode(text)
  const many = /more than 100000 names, texts, lists and objects together/
  // What is not whole would be refused as that, if it was parsed first.
  for (const part of ['"a":1,', '{', '[', '"\\\\",', '[1],'])
    assert.throws(() => parseObject(bytesOf(`{${part.repeat(MAX_PARTS)}`)), many, part)
  assert.throws(() => parseObject(bytesOf('{"a":1')), /not JSON/)
  // Within texts nothing counts, and numbers do not.
  const text = '[{"'.repeat(MAX_PARTS)
  const numbers = new Array(2 * MAX_PARTS).fill(1)
  assert.equal(parseObject(bytesOf(JSON.stringify({ text, numbers }))), { text, numbers })
  const answer = await ask(server, path, `{"prompt":"a","json_schema":{${'"p":{},'.repeat(500_000)}`, { headers: key })
  assert.is(answer.status, 400)
  assert.match(JSON.stringify(answer.body), many)
})

test('a request that does not come to its end is cut off', async () => {
  const answers = await Promise.all([
    // Nothing, half of the headers, half of the body.
    askRaw(server, ''),
    askRaw(server, `${head.join('\r\n')}\r\n`),
    askRaw(server, raw([...head, 'content-length: 100'], '{"prompt":')),
  ])
  for (const answer of answers) assert.is(statusOf(answer), 408, answer)
})

test('what could be read in two ways is not read at all', async () => {
  for (const [lines, more] of [
    [['content-length: 5', 'transfer-encoding: chunked'], '0\r\n\r\n'],
    [['transfer-encoding: chunked'], 'x\r\n'],
    [['transfer-encoding: chunked, identity'], '0\r\n\r\n'],
    [['content-length: 5', 'content-length: 6'], '{"a":'],
    [['content-length: +5'], '{"a":'],
    [['bad header'], ''],
  ] as const)
    assert.is(statusOf(await askRaw(server, raw([...head, ...lines], more))), 400, lines.join())
  assert.is(statusOf(await askRaw(server, 'hello\r\n\r\n')), 400)
})

test('one host, which the absolute form of a target names too; a path as it is written', async () => {
  const get = (target: string, ...lines: string[]) => askRaw(server, raw([`GET ${target} HTTP/1.1`, ...lines]))
  for (const [target, lines, status] of [
    ['/health', ['host: localhost', 'host: localhost'], 400],
    ['/health', ['host: localhost', 'Host: evil.example'], 400],
    ['http://localhost:8080/health?x', ['host: localhost'], 200],
    ['HTTP://board.lan/health', ['host: localhost'], 200],
    ['http://evil.example/health', ['host: localhost'], 403],
    ['http://localhost/health', ['host: evil.example'], 403],
    ['http://localhost', ['host: localhost'], 200],
    ['/health?a=/../b', ['host: localhost'], 200],
    ['/%68ealth', ['host: localhost', 'x-api-key: first-key'], 404],
    ['/x/../health', ['host: localhost', 'x-api-key: first-key'], 404],
    ['/health/', ['host: localhost', 'x-api-key: first-key'], 404],
    ['//health', ['host: localhost', 'x-api-key: first-key'], 404],
    ['health', ['host: localhost'], 400],
  ] as const)
    assert.is(statusOf(await get(target, ...lines)), status, `${target} ${lines}`)
})

test('bodies as HTTP has them, and no others', async () => {
  const text = JSON.stringify(body)
  const half = text.slice(0, 9)
  const chunks = `9;a=b\r\n${half}\r\n${(text.length - 9).toString(16)}\r\n${text.slice(9)}\r\n0\r\nx: trailer\r\n\r\n`
  const wide = Buffer.from(`\ufeff${text}`, 'utf16le')
  for (const [lines, sent, status] of [
    [['transfer-encoding: chunked'], chunks, 200],
    [['transfer-encoding: gzip, chunked'], chunks, 415],
    [['expect: 100-continue', `content-length: ${text.length}`], text, 200],
    [[`content-length: ${text.length + 3}`], `\ufeff${text}`, 200],
    [[`content-length: ${wide.length}`], wide, 400],
    [[`content-length: ${text.length}`, 'content-encoding: gzip'], text, 415],
    [[`content-length: ${text.length}`, 'content-encoding: identity'], text, 200],
    [[`content-length: ${text.length}`, 'content-type: application/json; charset="UTF-8"'], text, 200],
    [[`content-length: ${text.length}`, 'content-type: application/json;charset=latin1'], text, 415],
    [[`content-length: ${text.length}`, 'content-type: multipart/form-data; boundary=a'], text, 415],
    [[], '', 400],
  ] as const) {
    const bytes = Buffer.concat([Buffer.from(raw([...head, ...lines])), Buffer.from(sent as string)])
    const answer = await askRaw(server, bytes)
    const statuses = [...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, found]) => Number(found))
    assert.is(statuses.at(-1), status, `${lines} ${answer}`)
    assert.is(statuses[0] === 100, lines[0]?.startsWith('expect') ?? false)
  }
})

test('HEAD is GET without its body, OPTIONS says what there is, and a connection lives on behind an error', async () => {
  const authorized = 'x-api-key: first-key'
  const headed = await askRaw(server, raw(['HEAD /v1/models HTTP/1.1', 'host: localhost', authorized]))
  assert.match(headed, /^HTTP\/1\.1 200 .*content-length: [1-9]\d+\r\n.*\r\n\r\n$/s)
  const options = await askRaw(server, raw([`OPTIONS ${path} HTTP/1.1`, 'host: localhost', authorized]))
  assert.match(options, /^HTTP\/1\.1 204 .*allow: POST, OPTIONS\r\n/s)
  assert.is(statusOf(await askRaw(server, raw([`OPTIONS ${path} HTTP/1.1`, 'host: localhost']))), 401)
  const wrong = `${head.join('\r\n')}\r\ncontent-length: 4\r\n\r\nnope`
  const both = await askRaw(server, wrong + raw(['GET /health HTTP/1.1', 'host: localhost']))
  assert.equal([...both.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status), ['400', '200']) // biome-ignore format: one line
})

test('requests in one packet are answered in their order', async () => {
  const one = (prompt: string) => {
    const sent = JSON.stringify({ prompt, max_tokens: 2, seed: 1, echo: true })
    return `${head.join('\r\n')}\r\ncontent-length: ${sent.length}\r\n\r\n${sent}`
  }
  const last = raw(['GET /health HTTP/1.1', 'host: localhost'])
  const answer = await askRaw(server, one('First') + one('Second') + last)
  assert.equal(answer.match(/HTTP\/1\.1 200/g)?.length, 3)
  assert.ok(answer.indexOf('"text":"First') < answer.indexOf('"text":"Second'))
  assert.ok(answer.indexOf('"text":"Second') < answer.indexOf('{"status":"ok"}'))
})

test('a client that sends and leaves at once leaves nothing behind', async () => {
  const { hostname, port } = new URL(server.url)
  const sent = JSON.stringify({ prompt: 'Once upon a time', max_tokens: 400 })
  await new Promise<void>((resolve) => {
    const socket = connect(Number(port), hostname, () => {
      socket.write(`${head.join('\r\n')}\r\ncontent-length: ${sent.length}\r\n\r\n${sent}`, () => socket.destroy())
    })
    socket.on('close', () => resolve())
  })
  const running = async () => {
    const { body: text } = await ask(server, '/metrics', undefined, { headers: key })
    return /^llamacpp:requests_processing (\d+)$/m.exec(text)?.[1]
  }
  while ((await running()) !== '0') await new Promise((resolve) => setTimeout(resolve, 5))
})

/** Sends a request and says that there is no more to come, as `nc -N` does; what is answered until the server ends. */
function askHalfClosed(sent: object): Promise<string> {
  const { hostname, port } = new URL(server.url)
  const text = JSON.stringify(sent)
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true }, () =>
      socket.end(`${head.join('\r\n')}\r\ncontent-length: ${text.length}\r\n\r\n${text}`),
    )
    let answer = ''
    socket.setEncoding('utf8')
    socket.on('data', (part) => {
      answer += part
    })
    socket.on('error', reject)
    socket.on('end', () => resolve(answer))
  })
}

test('a client that has sent all and still reads gets its answer, whole and as events', async () => {
  const sent = { prompt: 'Once upon a time', max_tokens: 30, seed: 1 }
  const { body: expected } = await ask(server, path, sent, { headers: key })
  const [, ...parts] = (await askHalfClosed(sent)).split(/HTTP\/1\.1 (?=\d)/)
  const [head = '', text = ''] = (parts.at(-1) as string).split('\r\n\r\n')
  assert.match(head, /^200 OK.*connection: close/is)
  assert.is(JSON.parse(text).choices[0].text, expected.choices[0].text)
  // Nothing else comes but what every client passes over.
  for (const part of parts.slice(0, -1)) assert.is(part, '102 Processing\r\n\r\n')
  const streamed = await askHalfClosed({ ...sent, stream: true })
  const pieces = [...streamed.matchAll(/^data: (\{.*\})\r?$/gm)].map(
    ([, json]) => JSON.parse(json as string).choices[0].text,
  )
  assert.is(pieces.join(''), expected.choices[0].text)
  assert.match(streamed, 'data: [DONE]')
})

test('the log has routes and counts, nothing of what was said', async () => {
  assert.ok(server.log.length > 10)
  assert.not.match(JSON.stringify(server.log), /upon|second-key|evil/)
})

/** A response whose reader takes nothing until somebody says "drain". */
class SlowResponse extends EventEmitter {
  readonly written: string[] = []
  destroyed = false
  writableEnded = false
  writableNeedDrain = false
  isFull = false
  writeHead(): void {}
  flushHeaders(): void {}
  write(text: string): boolean {
    this.written.push(text)
    this.writableNeedDrain = this.isFull
    return !this.isFull
  }
  end(text: string): void {
    this.written.push(text)
    this.writableEnded = true
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

test('models recover where they can be, and are served where they cannot', async () => {
  for (const [name, load, recover] of [
    ['gta', {}, true],
    ['families/gemma3_text', {}, false],
    ['gta', { offload: 2 ** 22 }, false],
  ] as const) {
    const weighed = await weigh(golden(name), { threads: 1, recover: true, ...load }, 1, 1e9)
    assert.is(weighed.options.recover, recover, name)
    await (await loadModel(golden(name), weighed.options)).close()
  }
})

test('who reads slowly is waited for, and no longer than there is somebody who reads', async () => {
  const response = new SlowResponse()
  const leaving = new AbortController()
  const stream = new EventStream({ response: response as never, signal: leaving.signal, stream: undefined })
  assert.is(stream.send({ a: 1 }), undefined)
  assert.is(stream.send({ a: 2 }), undefined)
  response.isFull = true
  await turn()
  assert.equal(response.written, ['data: {"a":1}\n\ndata: {"a":2}\n\n'])
  let isTaken = false
  const slow = stream.send({ a: 3 })?.then(() => {
    isTaken = true
  })
  assert.ok(slow)
  await turn()
  assert.is(isTaken, false)
  response.emit('drain')
  await slow
  const left = stream.send({ a: 4 })
  const reason = new Error('gone')
  leaving.abort(reason)
  assert.is(await left?.catch((error) => error), reason)
  assert.is(response.listenerCount('drain'), 0)
  // What was not written yet comes before the end.
  stream.fail({ error: 'gone' })
  assert.equal(response.written.slice(-2), ['data: {"a":4}\n\n', 'data: {"error":"gone"}\n\n'])
  response.emit('close')
})

test.run()
