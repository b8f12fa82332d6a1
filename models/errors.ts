/** The one class of errors to catch, whatever throws them: programs look at `code`, people at the text. */

export type ErrorCode =
  | 'BAD_MODEL'
  | 'NOT_FOUND'
  | 'NOT_A_MODEL'
  | 'BAD_FILE'
  | 'BAD_TENSOR'
  | 'BAD_WEIGHTS'
  | 'BAD_TOKENIZER'
  | 'NO_TEMPLATE'
  | 'BAD_TEMPLATE'
  | 'OTHER_VERSION'
  | 'TOO_LARGE'
  | 'BAD_OPTION'
  | 'BAD_PROMPT'
  | 'CONTEXT_FULL'
  | 'OUT_OF_MEMORY'
  | 'NOT_FINITE'
  | 'NOTHING_ALLOWED'
  | 'ENGINE_FAILED'
  | 'OFFLOAD_FAILED'
  | 'CLOSED'
  | 'BUSY'
  | 'TOO_MANY'
  | 'WRITE_FAILED'
  | 'BAD_SESSION'
  | 'OTHER_MODEL'
  | 'NO_BUILD'
  | 'NO_GPU'
  | 'GPU_LOST'
  | 'FETCH_FAILED'
  | 'BAD_SCHEMA'

/** What was found, in words; any other value is shown as it is. */
export class Words {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

export class GtaError extends Error {
  override name = 'GtaError'
  readonly code: ErrorCode
  /** The option or argument that was wrong, such as "temperature" or "messages[2]", where one was. */
  option?: string

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** A config.json that cannot be run, or a combination of sizes that cannot exist. */
export class ModelError extends GtaError {
  override name = 'ModelError'

  constructor(message: string) {
    super('BAD_MODEL', message)
  }
}
