/** Errors of servers on this machine, and how those of an API are told: a status that a client can act on, and a shape that it knows. */
import { GtaError, megabytes } from '../errors.ts'

export const serverErrors = {
  notLoopback: (host: string) =>
    new GtaError(
      'BAD_OPTION',
      `--host must be a loopback address such as 127.0.0.1, found "${host}": add --public to let other machines read the page`,
    ),
  needsKey: (host: string) =>
    new GtaError(
      'BAD_OPTION',
      `--host must be a loopback address such as 127.0.0.1 unless there is a key, found "${host}": give one with --api-key-file, or let everybody in with --insecure`,
    ),
  noKeys: (path: string) =>
    new GtaError('BAD_OPTION', `--api-key-file must hold a key, one a line, found none in "${path}"`),
  cannotListen: (host: string, port: number, cause: Error) =>
    new GtaError('BAD_OPTION', `--host and --port must be free to listen on, found ${host}:${port}: ${cause.message}`, {
      cause,
    }),
  overBudget: (name: string, needed: number, budget: number) =>
    new GtaError(
      'BAD_OPTION',
      `model "${name}" must fit in --models-memory of ${megabytes(budget)}, it needs ${megabytes(needed)}: raise that, or use a smaller -c or -np`,
    ),
  sameName: (name: string) =>
    new GtaError(
      'BAD_OPTION',
      `models must have names of their own, found "${name}" twice: give one another name with NAME=MODEL`,
    ),
}

/** An answer that is no success. `code` is for programs, `param` names what of the request was wrong. */
export class ApiError extends Error {
  override name = 'ApiError'
  readonly status: number
  readonly code: string
  readonly param: string | undefined
  /** Sent with it. */
  readonly headers: Record<string, string>

  constructor(
    status: number,
    code: string,
    message: string,
    { param, headers = {}, cause }: { param?: string; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    // It is an answer, and no fault of ours: where it was made is told to nobody, and would take as long as all the rest of it.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(message, { cause })
    Error.stackTraceLimit = stackTraceLimit
    this.status = status
    this.code = code
    this.param = param
    this.headers = headers
  }
}

/** The header allow: whoever takes GET takes HEAD. */
export const allowOf = (methods: readonly string[]) =>
  [...methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])), 'OPTIONS'].join(', ')

/** Seconds after which it is worth asking again. */
const retryAfter = (seconds: number) => ({ 'retry-after': String(Math.min(60, Math.max(1, Math.ceil(seconds)))) })

export const apiErrors = {
  badValue: (param: string, expected: string, found: string) =>
    new ApiError(400, 'invalid_value', `${param} must be ${expected}, found ${found}`, { param }),
  missing: (param: string) =>
    new ApiError(400, 'missing_parameter', `${param} must be given, found nothing`, { param }),
  unknown: (param: string) =>
    new ApiError(
      400,
      'unsupported_parameter',
      `${param} is not understood here, and ignoring it could change the answer: leave it out`,
      { param },
    ),
  onlyValue: (param: string, expected: string, found: string, why: string) =>
    new ApiError(400, 'unsupported_parameter', `${param} must be ${expected}, found ${found}: ${why}`, { param }),
  unsupported: (param: string, why: string) =>
    new ApiError(400, 'unsupported_parameter', `${param} is not supported: ${why}`, { param }),
  badJson: (why: string, what: string) =>
    new ApiError(400, 'invalid_json', `${what} must be a JSON object in UTF-8, found that ${why}`),
  tooMuch: (found: string, what: string) =>
    new ApiError(
      400,
      'invalid_json',
      `${what} must be of a size that can be answered, found ${found}: send less at once`,
    ),
  noKey: () =>
    new ApiError(401, 'invalid_api_key', 'the header authorization must be "Bearer" and a key of this server', {
      headers: { 'www-authenticate': 'Bearer' },
    }),
  badHost: (host: string) =>
    new ApiError(
      403,
      'host_not_allowed',
      `the header host must be a name of this machine, found "${host.slice(0, 100)}": the server allows others with --allow-host`,
    ),
  severalHosts: () => new ApiError(400, 'bad_request', 'the header host must be there once, found several'),
  badOrigin: (origin: string) =>
    new ApiError(
      403,
      'origin_not_allowed',
      `pages of ${origin.slice(0, 100)} may not use this server: it allows others with --cors`,
    ),
  notFound: (path: string) =>
    new ApiError(
      404,
      'not_found',
      `there is nothing at ${path.slice(0, 200)}: check the path, which ends without a slash`,
    ),
  noModel: (name: string, names: readonly string[]) =>
    new ApiError(404, 'model_not_found', `model must be one of ${names.join(', ')}, found "${name.slice(0, 200)}"`, {
      param: 'model',
    }),
  badMethod: (found: string, allowed: readonly string[]) =>
    new ApiError(405, 'method_not_allowed', `the method must be ${allowed.join(' or ')}, found ${found}`, {
      headers: { allow: allowOf(allowed) },
    }),
  noHttp: (found: string) =>
    new ApiError(400, 'bad_request', `the request must be HTTP/1.1 that can be read in one way only, found: ${found}`),
  headersTooLong: (limit: number) =>
    new ApiError(
      431,
      'request_header_fields_too_large',
      `headers must have at most ${limit} bytes together, found more`,
    ),
  slow: () => new ApiError(408, 'request_timeout', 'the request must arrive within 30 s, its headers within 10 s'),
  tooLong: (limit: number) =>
    new ApiError(413, 'body_too_large', `the body must have at most ${limit} bytes, found more`),
  badEncoding: (found: string) =>
    new ApiError(
      415,
      'unsupported_media_type',
      `a body must be sent as it is, without content-encoding or another transfer-encoding than chunked, found ${found}`,
    ),
  badType: (found: string) =>
    new ApiError(
      415,
      'unsupported_media_type',
      `the header content-type must be application/json, in UTF-8, found "${found}"`,
    ),
  queueFull: (waiting: number, seconds: number) =>
    new ApiError(429, 'queue_full', `${waiting} requests are waiting already: ask again later`, {
      headers: retryAfter(seconds),
    }),
  bodiesFull: () =>
    new ApiError(503, 'overloaded', 'too many large bodies are being read: ask again later', {
      headers: retryAfter(1),
    }),
  deadline: (seconds: number) =>
    new ApiError(503, 'timeout', `the answer took longer than the ${seconds} s that this server gives one`, {
      headers: retryAfter(10),
    }),
  ending: () =>
    new ApiError(503, 'shutting_down', 'the server is ending: ask again later', {
      headers: { ...retryAfter(5), connection: 'close' },
    }),
  loading: (name: string) =>
    new ApiError(503, 'loading', `model "${name}" is being loaded: ask again later`, { headers: retryAfter(2) }),
  cannotLoad: (name: string, cause: Error) =>
    new ApiError(503, 'model_not_loaded', `model "${name}" cannot be loaded: ${cause.message}`, {
      headers: retryAfter(30),
      cause,
    }),
  failed: (cause: unknown) =>
    new ApiError(500, 'internal_error', 'the request failed here; the server’s log tells why', { cause }),
}

/** Codes of the library that a client can do something about. */
export const statuses: Partial<Record<GtaError['code'], [number, string]>> = {
  BAD_OPTION: [400, 'invalid_value'],
  BAD_PROMPT: [400, 'invalid_prompt'],
  BAD_SCHEMA: [400, 'invalid_schema'],
  CONTEXT_FULL: [400, 'context_length_exceeded'],
  NO_TEMPLATE: [400, 'no_chat_template'],
  BAD_TEMPLATE: [400, 'chat_template_failed'],
  NOTHING_ALLOWED: [400, 'nothing_allowed'],
  OUT_OF_MEMORY: [503, 'out_of_memory'],
  TOO_MANY: [503, 'overloaded'],
  CLOSED: [503, 'model_closed'],
  NOT_FINITE: [500, 'not_finite'],
  ENGINE_FAILED: [500, 'engine_failed'],
  GPU_LOST: [500, 'gpu_lost'],
}

/** What of a request options of the library come from; `prompt` and `form` are what is read and what is asked for. */
export type Params = Partial<Record<string, string>>

const libraryParams: Params = {
  tools: 'tools',
  toolChoice: 'tool_choice',
  reasoningEffort: 'reasoning_effort',
  variables: 'chat_template_kwargs',
  logitBias: 'logit_bias',
  stop: 'stop',
}

/** Codes that are about all of the prompt, or about the form of the answer. */
const subjects: Partial<Record<GtaError['code'], string>> = {
  BAD_PROMPT: 'prompt',
  CONTEXT_FULL: 'prompt',
  NO_TEMPLATE: 'prompt',
  BAD_TEMPLATE: 'prompt',
  NOTHING_ALLOWED: 'form',
}

/** Any error as one of the API: what the library says is for the client, what nobody foresaw is not. */
export function asApiError(error: unknown, params: Params = {}): ApiError {
  if (error instanceof ApiError) return error
  const [status, code] = (error instanceof GtaError && statuses[error.code]) || []
  if (status === undefined || code === undefined) return apiErrors.failed(error)
  const { message } = error as GtaError
  const headers = status === 503 ? retryAfter(5) : {}
  const param = status === 400 ? paramOf(error as GtaError, { ...libraryParams, ...params }) : undefined
  if (param === undefined) return new ApiError(status, code, message, { headers, cause: error })
  const named = message.includes(param) ? message : `${param}: ${message}`
  return new ApiError(status, code, named, { param, headers, cause: error })
}

/** messages[2] of the library is messages[2] of a chat; where messages are made of something else, it is all of that. */
function paramOf({ code, option }: GtaError, params: Params): string | undefined {
  if (option === undefined) return params[subjects[code] ?? '']
  const [name = '', index = ''] = option.split(/(?=\[)/)
  if (name !== 'messages') return params[name] === undefined ? undefined : params[name] + index
  return params.prompt === 'messages' ? option : params.prompt
}

/** In whose shape an error is told. */
export type ErrorShape = 'openai' | 'ollama'

const types: Record<number, string> = { 401: 'authentication_error', 403: 'permission_error', 429: 'rate_limit_error' }

export function errorBody(shape: ErrorShape, { status, code, param, message }: ApiError): object {
  if (shape === 'ollama') return { error: message }
  const type =
    types[status] ?? (status < 500 ? 'invalid_request_error' : status === 503 ? 'unavailable_error' : 'server_error')
  return { error: { message, type, param: param ?? null, code } }
}
