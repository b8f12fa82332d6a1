/** What a catch node is told: a sentence, and a code and a status as `gta serve` has them (docs/server.md). */

export class NodeError extends Error {
  override name = 'NodeError'
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.status = status
    this.code = code
  }

  /** What Node-RED takes for the message. */
  override toString(): string {
    return this.message
  }
}

export const errors = {
  badValue: (what: string, expected: string, found: string) =>
    new NodeError(400, 'invalid_value', `${what} must be ${expected}, found ${found}`),
  noModel: () => new NodeError(400, 'no_model', 'the node must have a model, found none: open it and choose one'),
  queueFull: (waiting: number) =>
    new NodeError(
      429,
      'queue_full',
      `${waiting} messages are waiting for the model already: send this one again later`,
    ),
  aborted: () => new NodeError(499, 'aborted', 'the message was aborted by msg.abort or msg.reset'),
  timeout: (seconds: number) =>
    new NodeError(503, 'timeout', `the answer took longer than the ${seconds} s that the node gives one`),
  closed: () =>
    new NodeError(503, 'shutting_down', 'the flow was stopped or deployed again before the answer was whole'),
  unreachable: (url: string, why: string, cause: unknown) =>
    new NodeError(502, 'unreachable', `the server at ${url} must answer, found ${why}: does "gta serve" run there?`, {
      cause,
    }),
  notTheApi: (url: string, found: string) =>
    new NodeError(502, 'unreachable', `${url} must be the API of "gta serve", found ${found}: check the address`),
  brokenOff: (url: string) =>
    new NodeError(502, 'broken_off', `the answer of ${url} must have an end, found that it broke off: ask again`),
  cutShort: (finish: string) =>
    new NodeError(
      422,
      'incomplete',
      `the answer must be whole to be read as JSON, found that it ended early (${finish}): raise the node's tokens, or bound the texts and lists of the schema`,
    ),
  notJson: (cause: unknown) =>
    new NodeError(
      502,
      'not_json',
      'the answer must be JSON of the schema, found a text: the server does not enforce it',
      {
        cause,
      },
    ),
  noLibrary: (cause: unknown) =>
    new NodeError(
      500,
      'not_installed',
      `a model in Node-RED's process needs the package gta-edge, found none: npm install it in Node-RED's folder (~/.node-red), or ask a server`,
      { cause },
    ),
}
