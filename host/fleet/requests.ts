/**
 * Requests in the form of OpenAI's batches, a JSON object a line:
 *
 *     {"custom_id":"log-17","method":"POST","url":"/v1/chat/completions","body":{"messages":[…],"max_tokens":50}}
 *
 * `method` and `url` may be left out: they are as above then. What is wrong with a line is found here without a model; what is
 * wrong with its body, its endpoint says.
 */
import { show } from '../../models/index.ts'
import { MAX_BODY, parseObject } from '../server/body.ts'
import { type ApiError, asApiError } from '../server/errors.ts'
import { openaiEndpoints } from '../server/openai/endpoints.ts'
import { lineErrors } from './errors.ts'
import type { Line } from './lines.ts'

/** A body, and what stands around it. */
export const MAX_LINE = MAX_BODY + 4096

export interface Request {
  customId: string
  url: string
  body: Record<string, unknown>
}

/** A line of the input: a request, or what is wrong with it. */
export interface Parsed {
  /** Counted from 1, empty lines too. */
  number: number
  /** Undefined if the line has none that could stand in the output. */
  customId: string | undefined
  request: Request | undefined
  error: ApiError | undefined
}

const FIELDS = ['custom_id', 'method', 'url', 'body']
const DEFAULT_URL = '/v1/chat/completions'

/** Undefined for an empty line. */
export function parseRequest({ number, bytes }: Line): Parsed | undefined {
  let customId: string | undefined
  try {
    if (!bytes) throw lineErrors.tooLong(MAX_LINE)
    if (isBlank(bytes)) return undefined
    // TextDecoder leaves out a mark of the byte order, which some programs write at the beginning.
    const line = parseObject(bytes, 'a line')
    customId = idOf(line.custom_id)
    return { number, customId, request: requestOf(line, customId), error: undefined }
  } catch (error) {
    return { number, customId, request: undefined, error: asApiError(error) }
  }
}

const isBlank = (bytes: Uint8Array) => bytes.every((byte) => byte === 32 || byte === 9 || byte === 13)

function idOf(value: unknown): string {
  if (value === undefined || value === null) throw lineErrors.noId()
  if (typeof value !== 'string' || value === '') throw lineErrors.badField('custom_id', 'a text', show(value))
  return value
}

function requestOf(line: Record<string, unknown>, customId: string): Request {
  const { method = 'POST', url = DEFAULT_URL, body } = line
  const strange = Object.keys(line).find((name) => !FIELDS.includes(name))
  if (strange !== undefined) throw lineErrors.unknownField(show(strange), FIELDS)
  if (method !== 'POST') throw lineErrors.badField('method', '"POST"', show(method))
  if (typeof url !== 'string' || !Object.hasOwn(openaiEndpoints, url))
    throw lineErrors.badField('url', `one of ${Object.keys(openaiEndpoints).join(', ')}`, show(url))
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw lineErrors.badField('body', 'an object', Array.isArray(body) ? 'a list' : show(body))
  return { customId, url, body: body as Record<string, unknown> }
}
