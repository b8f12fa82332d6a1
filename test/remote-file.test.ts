/** A file from a web server: connections that break, servers that cannot go on, files that change. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { RemoteFile } from '../host/browser/remote-file.ts'
import { failure } from './fixtures/checkpoints.ts'

const body = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 31) % 251)
const quick = { delays: [1, 1, 1], patience: 300 }

type Answer = (request: IncomingMessage, response: ServerResponse, count: number) => void
let answer: Answer
let count = 0
let ranges: (string | undefined)[] = []
let server: Server

test.before(async () => {
  server = createServer((request, response) => {
    ranges.push(request.headers.range)
    answer(request, response, count++)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
test.after(() => {
  server.close()
  server.closeAllConnections()
})

function serve(how: Answer): string {
  answer = how
  count = 0
  ranges = []
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/file`
}

const startOf = (request: IncomingMessage) => Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0)

/** Sends `bytes` of what is left, and then cuts the connection if that is not all. */
function send(
  response: ServerResponse,
  { from = 0, bytes = body.length, etag = '"1"', size = body.length, isWhole = false } = {},
): void {
  const start = isWhole ? 0 : from
  const end = Math.min(start + bytes, body.length)
  response.writeHead(start > 0 ? 206 : 200, {
    etag,
    'content-length': size - start,
    ...(start > 0 ? { 'content-range': `bytes ${start}-${size - 1}/${size}` } : {}),
  })
  response.write(body.subarray(start, end), () => (end < size ? response.destroy() : response.end()))
}

async function readAll(file: RemoteFile): Promise<Uint8Array> {
  const found = new Uint8Array(body.length)
  await file.read(found.subarray(0, 100), 0)
  await file.read(found.subarray(0, 2000), 0)
  file.forgetUpTo(50)
  for (let at = 50; at < found.length; at += 70_000) await file.read(found.subarray(at, at + 70_000), at)
  await file.expectEnd(found.length)
  await file.close()
  return found
}

test('in one go; what was read may be read again until it is forgotten', async () => {
  const file = await RemoteFile.open(serve((_, response) => send(response)))
  assert.is(file.size, body.length)
  assert.equal(await readAll(file), body)
  assert.equal(ranges, [undefined])
})

test('cut again and again: each connection goes on where the last one broke', async () => {
  const file = await RemoteFile.open(
    serve((request, response) => send(response, { from: startOf(request), bytes: 50_000 })),
    quick,
  )
  assert.equal(await readAll(file), body)
  assert.equal(ranges, [undefined, ...[1, 2, 3, 4, 5].map((n) => `bytes=${n * 50_000}-`)])
})

test('a server without ranges sends all of it again, which is skipped', async () => {
  const file = await RemoteFile.open(
    serve((_, response, n) => send(response, { bytes: 100_000 * (n + 1) })),
    quick,
  )
  assert.equal(await readAll(file), body)
  assert.is(ranges.length, 3)
})

test('a busy server is asked again', async () => {
  const file = await RemoteFile.open(
    serve((_, response, n) => (n < 2 ? response.writeHead(503).end() : send(response))),
    quick,
  )
  assert.equal(await readAll(file), body)
})

test('a connection that says nothing is a broken one', async () => {
  const file = await RemoteFile.open(
    serve((request, response, n) => {
      if (n > 0) return send(response, { from: startOf(request) })
      response.writeHead(200, { 'content-length': body.length })
      response.write(body.subarray(0, 1000))
    }),
    quick,
  )
  assert.equal(await readAll(file), body)
  assert.equal(ranges, [undefined, 'bytes=1000-'])
})

test('compressed on the way, and without a length', async () => {
  const whole = gzipSync(body)
  const zipped = await RemoteFile.open(
    serve((_, response, n) => {
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': whole.length })
      response.write(n === 0 ? whole.subarray(0, whole.length / 2) : whole, () =>
        n === 0 ? response.destroy() : response.end(),
      )
    }),
    quick,
  )
  assert.is(zipped.size, Number.POSITIVE_INFINITY)
  assert.equal(await readAll(zipped), body)
  assert.equal(ranges, [undefined, undefined])
  const unsized = await RemoteFile.open(serve((_, response) => response.end(body)))
  assert.equal(await readAll(unsized), body)
})

test('more than the header says, and fewer than that, where no length was told', async () => {
  const more = await RemoteFile.open(serve((_, response) => response.end(body)))
  await more.read(new Uint8Array(1000), 0)
  const error = await failure(more.expectEnd(1000))
  assert.is(error.code, 'BAD_FILE')
  const fewer = await RemoteFile.open(serve((_, response) => response.end(body)))
  const short = await failure(fewer.read(new Uint8Array(body.length + 1), 0))
  assert.is(short.code, 'BAD_FILE')
  assert.match(short.message, `${body.length}`)
})

test('gives up with what it has, and why', async () => {
  const file = await RemoteFile.open(
    serve((request, response) =>
      startOf(request) > 0 ? request.socket.destroy() : send(response, { bytes: 150_000 }),
    ),
    quick,
  )
  const error = await failure(readAll(file))
  assert.is(error.code, 'FETCH_FAILED')
  assert.match(error.message, /found 0\.1 MB of 0\.3 MB|found 0\.2 MB of 0\.3 MB/)
  assert.is(ranges.length, 4)
})

test('a file that changed meanwhile is refused, not joined', async () => {
  const changes: [Parameters<typeof send>[1], RegExp][] = [
    [{ etag: '"2"' }, /ETag.*"1".*"2"/],
    [{ size: body.length - 1000, etag: '"1"' }, /size/],
    [{ etag: '"2"', isWhole: true }, /ETag/],
    [{ size: body.length - 1000, isWhole: true }, /size/],
  ]
  for (const [change, words] of changes) {
    const file = await RemoteFile.open(
      serve((request, response, n) =>
        send(response, n === 0 ? { bytes: 100_000 } : { from: startOf(request), ...change }),
      ),
      quick,
    )
    const error = await failure(readAll(file))
    assert.is(error.code, 'FETCH_FAILED')
    assert.match(error.message, words)
  }
  const shorter = await RemoteFile.open(
    serve((_, response, n) => (n === 0 ? send(response, { bytes: 100_000 }) : response.writeHead(416).end())),
    quick,
  )
  assert.match((await failure(readAll(shorter))).message, 'size')
})

test('no file, no server', async () => {
  const missing = await failure(RemoteFile.open(serve((_, response) => response.writeHead(404).end())))
  assert.is(missing.code, 'NOT_FOUND')
  assert.match(missing.message, 'status 404')
  const forbidden = await failure(RemoteFile.open(serve((_, response) => response.writeHead(403).end())))
  assert.is(forbidden.code, 'FETCH_FAILED')
  const nobody = await failure(RemoteFile.open('http://127.0.0.1:1/', quick))
  assert.is(nobody.code, 'FETCH_FAILED')
  assert.match(nobody.message, 'must be reachable')
})

test.run()
