/** Clients of the trials: plain HTTP, nothing of any library between the clock and the socket. */
import { Agent, request } from 'node:http'
import { connect, type Socket } from 'node:net'

export interface Reply {
  status: number
  retryAfter: string | undefined
  body: string
  /** From the first byte that was sent, in milliseconds: the head, the first piece of text, the end. */
  headMs: number
  firstMs: number
  endMs: number
  /** When each piece came. */
  times: number[]
}

export const agent = new Agent({ keepAlive: true, maxSockets: 2000, maxFreeSockets: 2000 })

/** Rejects if the connection breaks. */
export function post(url: string, path: string, value: unknown, signal?: AbortSignal): Promise<Reply> {
  const body = typeof value === 'string' ? value : JSON.stringify(value)
  const started = performance.now()
  const age = () => performance.now() - started
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    const asked = request(url + path, { method: 'POST', agent, headers, ...(signal ? { signal } : {}) }, (answer) => {
      const headMs = age()
      const times: number[] = []
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (part: string) => {
        // Comments say that we are still waiting.
        if (part.includes('data: ')) times.push(age())
        text += part
      })
      answer.on('error', reject)
      answer.on('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          retryAfter: answer.headers['retry-after'],
          body: text,
          headMs,
          firstMs: times[0] ?? age(),
          endMs: age(),
          times,
        }),
      )
    })
    asked.on('error', reject)
    asked.end(body)
  })
}

export interface RawReply {
  status: number
  retryAfter: string | undefined
  /** All that came, as it came. */
  raw: string
  /** From the moment at which its bytes were given to the socket, in milliseconds. */
  endMs: number
}

/**
 * The same request over so many connections at one moment: sockets that are open already, bytes that are made already, since a
 * client that makes 500 requests would measure itself.
 */
export async function volley(url: string, path: string, value: object, count: number): Promise<RawReply[]> {
  const { hostname, port, host } = new URL(url)
  const body = JSON.stringify(value)
  const head = `POST ${path} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n`
  const bytes = Buffer.from(head + body)
  const open = () =>
    new Promise<Socket>((resolve, reject) => {
      const socket = connect(Number(port), hostname, () => resolve(socket)).on('error', reject)
    })
  const sockets = await Promise.all(Array.from({ length: count }, open))
  return await Promise.all(sockets.map((socket) => ask(socket, bytes)))
}

function ask(socket: Socket, bytes: Buffer): Promise<RawReply> {
  return new Promise((resolve, reject) => {
    const begun = performance.now()
    let raw = ''
    socket.setEncoding('utf8')
    socket.on('data', (part: string) => {
      raw += part
    })
    socket.on('error', reject)
    socket.on('end', () =>
      resolve({
        status: Number(/^HTTP\/1\.1 (\d+)/.exec(raw)?.[1]),
        retryAfter: /^retry-after: (\d+)/im.exec(raw)?.[1],
        raw,
        endMs: performance.now() - begun,
      }),
    )
    socket.write(bytes)
  })
}

/** The text in a stream of completions or chats; throws if it does not end as it must. */
export function textOf({ body }: Reply): string {
  const events = body.split('\n\n').filter((event) => event.startsWith('data: '))
  if (events.pop() !== 'data: [DONE]') throw new Error(`a stream must end with [DONE]: ${body.slice(-300)}`)
  return events
    .map((event) => {
      const [choice] = JSON.parse(event.slice(6)).choices
      return choice?.text ?? choice?.delta?.content ?? ''
    })
    .join('')
}

export async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])
}

/** The value below which that share of all lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

export const median = (values: readonly number[]) => quantile(values, 0.5)

/** Runs `count` pieces of work, so many at a time. */
export async function pool(count: number, parallel: number, work: (i: number) => Promise<void>): Promise<void> {
  let next = 0
  const one = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: parallel }, one))
}
