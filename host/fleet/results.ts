/**
 * Results in the form of OpenAI's batches, a JSON object a line:
 *
 *     {"id":"batch_req_…","custom_id":"log-17","response":{"status_code":200,"request_id":"req_…","body":{…}},"error":null}
 *
 * What an endpoint refuses has its status and its body. A line that is no request has `response` null and `error` with code,
 * message, param and the number of the line; where it has no id that could be told, `custom_id` is null.
 */
import { randomUUID } from 'node:crypto'
import type { ApiError } from '../server/errors.ts'
import type { Answer } from '../server/local-api.ts'
import type { Parsed } from './requests.ts'

const newId = (prefix: string) => `${prefix}_${randomUUID().replaceAll('-', '')}`

/** A line, with its end. */
export function answeredLine(customId: string, { status, body }: Answer): string {
  const response = { status_code: status, request_id: newId('req'), body }
  return `${JSON.stringify({ id: newId('batch_req'), custom_id: customId, response, error: null })}\n`
}

export function refusedLine({ number, customId }: Parsed, { code, message, param }: ApiError): string {
  const error = { code, message, param: param ?? null, line: number }
  return `${JSON.stringify({ id: newId('batch_req'), custom_id: customId ?? null, response: null, error })}\n`
}

/** What a result is of: of an id, or of a line that has none. */
export const keyOfId = (customId: string) => `id ${customId}`
export const keyOfLine = (number: number, code: string) => `line ${number} ${code}`

/** What a line of results is of, and whether that was answered; undefined for anything else. */
export function readResult(text: string): { key: string; isGood: boolean } | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const { custom_id: customId, response, error } = (value ?? {}) as Record<string, unknown>
  const isGood = isObject(response) && response.status_code === 200
  if (!isObject(response) && !isObject(error)) return undefined
  if (typeof customId === 'string') return { key: keyOfId(customId), isGood }
  if (customId !== null || !isObject(error)) return undefined
  const { line, code } = error
  return typeof line === 'number' && typeof code === 'string' ? { key: keyOfLine(line, code), isGood } : undefined
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
