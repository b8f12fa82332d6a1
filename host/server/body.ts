/** Bodies of requests: bounded, each and all together, and JSON in UTF-8 or refused. */
import type { IncomingMessage } from 'node:http'
import { show } from '../../models/index.ts'
import { excessOf } from '../json.ts'
import { ApiError, apiErrors } from './errors.ts'
import { Gone } from './exchange.ts'

/** A context of 128 k tokens is half a megabyte of text; with every character escaped, three. */
export const MAX_BODY = 8 * 2 ** 20
/**
 * Names, texts, lists and objects of a body, together. Each costs JSON.parse up to 1 µs: those that 8 MiB can hold are up to two
 * seconds in which nobody else is served. Numbers are not counted, as prompts of tokens are made of them.
 */
export const MAX_PARTS = 100_000
/** Of all requests that are being read. */
const MAX_BODIES = 64 * 2 ** 20

let bodies = 0

/** The object in the body of a request. Throws ApiError. */
export async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  checkType(request)
  const encoding = request.headers['content-encoding']
  if (encoding !== undefined && encoding !== 'identity') throw apiErrors.badEncoding(encoding.slice(0, 100))
  const transfer = request.headers['transfer-encoding'] ?? 'chunked'
  if (transfer.trim().toLowerCase() !== 'chunked') throw apiErrors.badEncoding(transfer.slice(0, 100))
  return parseObject(await readBytes(request))
}

/** Throws 400 for bytes that are no JSON object in UTF-8, or one of too many parts; `what` they are, in words. */
export function parseObject(bytes: Uint8Array, what = 'the body'): Record<string, unknown> {
  const excess = excessOf(bytes, { parts: MAX_PARTS })
  if (excess !== undefined) throw apiErrors.tooMuch(excess, what)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw apiErrors.badJson('it is not UTF-8', what)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    const why = text === '' ? 'it is empty' : `it is not JSON (${(error as Error).message.slice(0, 100)})`
    throw apiErrors.badJson(why, what)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw apiErrors.badJson(`it is ${Array.isArray(value) ? 'a list' : show(value)}`, what)
  return value as Record<string, unknown>
}

/** curl -d says that it sends a form; pages of others that send one say where they come from, and are refused before. */
function checkType({ headers: { 'content-type': given } }: IncomingMessage): void {
  const type = given?.split(';')[0]?.trim().toLowerCase()
  if (type !== undefined && type !== 'application/json' && type !== 'application/x-www-form-urlencoded')
    throw apiErrors.badType(type.slice(0, 100))
  const [, charset = 'utf-8'] = /;\s*charset="?([^";\s]*)/i.exec(given ?? '') ?? []
  if (!/^utf-?8$/i.test(charset)) throw apiErrors.badType((given as string).slice(0, 100))
}

async function readBytes(request: IncomingMessage): Promise<Uint8Array> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY) throw apiErrors.tooLong(MAX_BODY)
  const parts: Uint8Array[] = []
  let length = 0
  try {
    // Not destroyed where the loop ends early: the answer goes over the same connection.
    for await (const part of request.iterator({ destroyOnReturn: false })) {
      length += part.length
      bodies += part.length
      if (length > MAX_BODY) throw apiErrors.tooLong(MAX_BODY)
      if (bodies > MAX_BODIES) throw apiErrors.bodiesFull()
      parts.push(part)
    }
    return Buffer.concat(parts)
  } catch (error) {
    // It was cut off, by the client or for being slow: there is nobody to tell.
    throw request.destroyed && !(error instanceof ApiError) ? new Gone('the client has gone') : error
  } finally {
    bodies -= length
  }
}
