/**
 * Every error of the host, in one table: what, expected, found, what to do. Programs look at `code`, people at the text.
 * A model that cannot exist or is not supported is a ModelError of models/spec.ts.
 */
import { expectedOf, isAllowed, type Setting, type SettingName, settings, titleOf } from './settings.ts'

export type ErrorCode =
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
  | 'ENGINE_FAILED'
  | 'OFFLOAD_FAILED'
  | 'CLOSED'
  | 'BUSY'
  | 'WRITE_FAILED'
  | 'BAD_SESSION'
  | 'OTHER_MODEL'
  | 'NO_BUILD'
  | 'FETCH_FAILED'

export class GtaError extends Error {
  override name = 'GtaError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** The cache has no room: other conversations go on, and this one can once there is. */
export class OutOfMemoryError extends GtaError {
  override name = 'OutOfMemoryError'
  /** Bytes of cache. */
  readonly needed: number
  readonly available: number

  constructor(needed: number, available: number) {
    super(
      'OUT_OF_MEMORY',
      `the cache must have ${megabytes(needed)} for more tokens, found ${megabytes(available)}: close a conversation, or raise --cache-memory (cacheMemory)`,
    )
    this.needed = needed
    this.available = available
  }
}

/** 22.1 MB, 1.13 GB: decimal units, as vendors count bandwidth. */
export function megabytes(bytes: number): string {
  if (bytes > 0 && bytes < 1e5) return `${(bytes / 1e3).toFixed(1)} kB`
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`
}

export const errors = {
  notFound: (path: string) =>
    new GtaError(
      'NOT_FOUND',
      `"${path}" must be a .gta file or a model directory, found nothing there: check the path`,
    ),
  noFile: (path: string) => new GtaError('NOT_FOUND', `"${path}" must be a file, found nothing there: check the path`),
  unreadable: (path: string, cause: unknown) =>
    new GtaError('NOT_FOUND', `"${path}" cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause }),
  notAModel: (path: string, expected: string, found: string) =>
    new GtaError(
      'NOT_A_MODEL',
      `"${path}" must be ${expected}, found ${found}: give a .gta file, or a Hugging Face directory with config.json and model.safetensors`,
    ),
  badFile: (path: string, what: string, expected: string, found: unknown) =>
    new GtaError(
      'BAD_FILE',
      `${what} of "${path}" must be ${expected}, found ${found}: the file is damaged or not what its name says, get it again`,
    ),
  badTaskLine: (path: string, line: number, what: string, expected: string, found: unknown) =>
    new GtaError(
      'BAD_FILE',
      `line ${line} of "${path}" must be a question: ${what} must be ${expected}, found ${found}. Mend the file, or get it again`,
    ),
  noTask: (name: string, places: readonly string[], known: readonly string[]) =>
    new GtaError(
      'NOT_FOUND',
      `the task "${name}" must be a file ${name}.jsonl in ${places.join(' or ')}, found none there: give --task-dir DIR or the path of a .jsonl file. Tasks with a format of their own: ${known.join(', ')}`,
    ),
  generativeTask: (name: string) =>
    new GtaError(
      'BAD_OPTION',
      `a task must be one of multiple choice, found "${name}", whose answers are texts that a model writes: this version cannot rate them, choose another task`,
    ),
  badContinuation: (text: string, tokens: number, context: number) =>
    new GtaError(
      'BAD_PROMPT',
      `a choice must have from 1 to ${context} tokens of its own, and one before them, found ${tokens} in "${text.slice(0, 80)}": leave the item out or raise -c`,
    ),
  badResults: (path: string, line: number, what: string) =>
    new GtaError(
      'BAD_FILE',
      `line ${line} of "${path}" must be what "gta eval --resume" wrote, found ${what}: use another file, or cut it off before this line`,
    ),
  otherResults: (path: string, what: string) =>
    new GtaError(
      'OTHER_MODEL',
      `the results in "${path}" must be ${what}, found others: resume with what they were begun with, or begin another file`,
    ),
  badJson: (path: string, cause: unknown) =>
    new GtaError(
      'BAD_FILE',
      `"${path}" must be valid JSON: ${cause instanceof Error ? cause.message : cause}. Get the file again`,
      { cause },
    ),
  missingTensors: (path: string, names: string[]) =>
    new GtaError(
      'BAD_TENSOR',
      `"${path}" must hold ${names.length} more tensor${names.length === 1 ? '' : 's'} for its config.json, missing: ${names.join(', ')}. Is the download complete, and does config.json belong to these weights?`,
    ),
  wrongTensor: (name: string, expected: string, found: string) =>
    new GtaError(
      'BAD_TENSOR',
      `tensor "${name}" must be ${expected}, found ${found}: does config.json belong to these weights?`,
    ),
  notFiniteWeights: (name: string, index: number, value: number) =>
    new GtaError(
      'BAD_WEIGHTS',
      `tensor "${name}" must hold finite numbers, found ${value} at index ${index}: the weights are broken, get them again`,
    ),
  badTokenizer: (path: string, what: string) =>
    new GtaError('BAD_TOKENIZER', `the tokenizer of "${path}" ${what}: get the model again, or use --tokens with ids`),
  noTemplate: (path: string, known: string[]) =>
    new GtaError(
      'NO_TEMPLATE',
      `"${path}" must have a chat template, found none: this model continues texts (gta run). If it was trained to chat, give its template with --chat-template (template): a file, or one of ${known.join(', ')}`,
    ),
  badTemplate: (path: string, expected: string, found: unknown) =>
    new GtaError(
      'BAD_TEMPLATE',
      `the chat template of "${path}" must ${expected}, found ${found}: give another one with --chat-template (template)`,
    ),
  otherVersion: (path: string, found: unknown, expected: number) =>
    new GtaError(
      'OTHER_VERSION',
      `"${path}" must be a packed model of format version ${expected}, found version ${found}: convert the original model again with this version of gta`,
    ),
  tooLarge: (what: string, needed: number, available: number, advice: string) =>
    new GtaError('TOO_LARGE', `${what} must fit in ${megabytes(available)}, it needs ${megabytes(needed)}: ${advice}`),
  noMemory: (bytes: number) =>
    new GtaError(
      'TOO_LARGE',
      `the system must give the engine ${megabytes(bytes)} of shared memory (and reserve up to 4.3 GB of addresses), it refused: close other programs, raise ulimit -v, or use a smaller -c`,
    ),
  badOption: (name: string, expected: string, found: unknown) =>
    new GtaError(
      'BAD_OPTION',
      `${name} must be ${expected}, found ${typeof found === 'string' ? `"${found}"` : found}`,
    ),
  unknownHardware: (name: string, near: string[]) =>
    new GtaError(
      'BAD_OPTION',
      `--hardware must be a known device, found "${name}": did you mean ${near.join(', ')}? All: gta analyze --list`,
    ),
  noPeak: (device: string, format: string, known: string[]) =>
    new GtaError(
      'BAD_OPTION',
      `widths must be ones that ${device} computes with (${known.join(', ')}), found ${format}: choose other widths or another device`,
    ),
  unaddressable: (model: string, bytes: number, batch: number, seqlen: number) =>
    new GtaError(
      'BAD_OPTION',
      `${model} with ${batch} × ${seqlen} tokens must fit in the 4.3 GB that one engine addresses, it takes ${megabytes(bytes)}: use smaller --seqlen or --batch, --type q4, or --w-bit, --a-bit and --kv-bit for another engine`,
    ),
  notLoopback: (host: string) =>
    new GtaError(
      'BAD_OPTION',
      `--host must be a loopback address such as 127.0.0.1, found "${host}": add --public to let other machines read the page`,
    ),
  cannotListen: (host: string, port: number, cause: Error) =>
    new GtaError('BAD_OPTION', `--host and --port must be free to listen on, found ${host}:${port}: ${cause.message}`, {
      cause,
    }),
  emptyPrompt: () =>
    new GtaError('BAD_PROMPT', 'the prompt must hold at least one token, found none: give some text or --tokens'),
  shortText: (tokens: number) =>
    new GtaError('BAD_PROMPT', `the text must hold at least 2 tokens, found ${tokens}: one token predicts nothing`),
  badToken: (id: unknown, vocabSize: number) =>
    new GtaError(
      'BAD_PROMPT',
      `a token id must be a whole number from 0 to ${vocabSize - 1}, found ${id}: check the ids against this model's vocabulary`,
    ),
  contextFull: (tokens: number, context: number, maxContext: number) =>
    new GtaError(
      'CONTEXT_FULL',
      `the prompt must leave room in a context of ${context} tokens, found ${tokens} tokens: ${
        context < maxContext ? `raise -c (the model allows ${maxContext})` : 'shorten it, nothing was cut off'
      }`,
    ),
  outOfMemory: (needed: number, available: number) => new OutOfMemoryError(needed, available),
  tooManyConversations: (most: number) =>
    new GtaError('BUSY', `at most ${most} conversations can be open, found as many: close one first`),
  notFinite: () =>
    new GtaError(
      'NOT_FINITE',
      'logits must be finite, found NaN or infinity: the weights are broken, get the model again',
    ),
  badWeights: () =>
    new GtaError(
      'BAD_FILE',
      'q8 weights must be bytes below 128, found others: the file was not written by "gta convert" or is damaged, convert the model again',
    ),
  offloadFailed: (directory: string, cause: unknown) =>
    new GtaError(
      'OFFLOAD_FAILED',
      `the part of the cache that does not fit in memory must be written to "${directory}" and read back: ${cause instanceof Error ? cause.message : cause}. Load the model again, with another --offload-dir or without --offload`,
      { cause },
    ),
  engineFailed: (what: string, cause?: unknown) =>
    new GtaError(
      'ENGINE_FAILED',
      `the engine stopped: ${what}. Load the model again; please report it if it happens again`,
      {
        cause,
      },
    ),
  closed: () => new GtaError('CLOSED', 'the model must be open, found it closed: load it again'),
  conversationClosed: () =>
    new GtaError('CLOSED', 'the conversation must be open, found it closed: open or restore one'),
  busy: () =>
    new GtaError(
      'BUSY',
      'the conversation must be free, found a generation under way: wait for it or abort it first, or fork the conversation',
    ),
  writeFailed: (path: string, cause: unknown) =>
    new GtaError(
      'WRITE_FAILED',
      `"${path}" cannot be written: ${cause instanceof Error ? cause.message : cause}. Nothing was left behind`,
      { cause },
    ),
  badSession: (path: string, what: string, expected: string, found: unknown, cause?: unknown) =>
    new GtaError(
      'BAD_SESSION',
      `${what} of "${path}" must be ${expected}, found ${found}: it is damaged or no session, restore a copy of it or begin a new one`,
      { cause },
    ),
  otherSessionVersion: (path: string, found: unknown, expected: number) =>
    new GtaError(
      'OTHER_VERSION',
      `"${path}" must be a session of format version ${expected}, found version ${found}: use the version of gta that wrote it, or begin a new one`,
    ),
  otherModel: (path: string, what: string, expected: unknown, found: unknown) =>
    new GtaError(
      'OTHER_MODEL',
      `${what} of the session "${path}" must be ${expected}, found ${found}: restore it with the model that it was saved with, or begin a new one`,
    ),
  exists: (path: string) =>
    new GtaError(
      'BAD_OPTION',
      `"${path}" must be a new file, found one that is there already: give another name, or remove it first`,
    ),
  otherReportVersion: (path: string, found: string, expected: string) =>
    new GtaError(
      'OTHER_VERSION',
      `"${path}" must be a report of form ${expected}, found ${found}: read it with the version of gta that wrote it`,
    ),
  saveFailed: (path: string, cause: unknown) =>
    new GtaError(
      'WRITE_FAILED',
      `"${path}" cannot be saved: ${cause instanceof Error ? cause.message : cause}. What was there before is unchanged: ${adviceFor(cause)}`,
      { cause },
    ),
  saveUnconfirmed: (path: string, cause: unknown) =>
    new GtaError(
      'WRITE_FAILED',
      `"${path}" was saved, but the disk must confirm its directory, found ${cause instanceof Error ? cause.message : cause}: save it again, best on another disk`,
      { cause },
    ),
  notRemoved: (path: string, cause: unknown) =>
    new GtaError(
      'WRITE_FAILED',
      `"${path}" cannot be removed: ${cause instanceof Error ? cause.message : cause}. Check who may write to its directory`,
      { cause },
    ),
  badSessionName: (rule: string, found: string) =>
    new GtaError('BAD_OPTION', `the name of a session must ${rule}, found ${found}: choose another name`),
  noBuild: (reason: string, advice: string) =>
    new GtaError('NO_BUILD', `this platform must run WebAssembly with ${reason}, found none: ${advice}`),
  needsFiles: (what: string) =>
    new GtaError('BAD_OPTION', `${what} must have files to write to, found a browser: use it in Node`),
  needsProcesses: () =>
    new GtaError('BAD_OPTION', 'a chat template must have a process to run in, found a browser: use it in Node'),
  unreachable: (url: string, cause: unknown) =>
    new GtaError(
      'FETCH_FAILED',
      `"${url}" must be reachable, found ${because(cause)}: check the address, the network and, for another origin, that its server allows this page (CORS)`,
      { cause },
    ),
  badStatus: (url: string, status: number) =>
    new GtaError(
      status === 404 || status === 410 ? 'NOT_FOUND' : 'FETCH_FAILED',
      `"${url}" must be answered with a file, found status ${status}: check the address`,
    ),
  interrupted: (url: string, received: number, size: number, cause: unknown) =>
    new GtaError(
      'FETCH_FAILED',
      `"${url}" must arrive whole, found ${megabytes(received)}${Number.isFinite(size) ? ` of ${megabytes(size)}` : ''} and then, again and again, ${because(cause)}: check the network and load again`,
      { cause },
    ),
  changed: (url: string, what: string, expected: unknown, found: unknown) =>
    new GtaError(
      'FETCH_FAILED',
      `${what} of "${url}" must stay ${expected} while it is fetched, found ${found}: the file was replaced meanwhile, load it again`,
    ),
}

function because(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}

/** What to do where a session cannot be written. */
function adviceFor(cause: unknown): string {
  const code = (cause as NodeJS.ErrnoException)?.code ?? ''
  if (['ENOSPC', 'EDQUOT', 'EFBIG'].includes(code)) return 'free some space and save again'
  if (['EACCES', 'EPERM', 'EROFS'].includes(code)) return 'choose a path that may be written to'
  return 'save again, or choose another path'
}

/**
 * Refuses what a setting of the table cannot be; undefined stands for its default. `max`: what this model allows. TypeScript's
 * types do not reach callers in JavaScript.
 */
export function checkSetting(name: SettingName, value: unknown, max?: number): void {
  const setting: Setting = max === undefined ? settings[name] : { ...settings[name], max }
  if (value !== undefined && !isAllowed(setting, value))
    throw errors.badOption(titleOf(name), expectedOf(setting), value)
}

/** Refuses options of other names: a misspelt one would be ignored without a word. */
export function checkNames(what: string, options: object, names: readonly string[]): void {
  if (typeof options !== 'object' || options === null)
    throw errors.badOption(`options of ${what}`, 'an object', options)
  const unknown = Object.keys(options).find((name) => !names.includes(name))
  if (unknown !== undefined) throw errors.badOption(`an option of ${what}`, `one of ${names.join(', ')}`, unknown)
}

/** Refuses ids that are not in the vocabulary. */
export function checkTokens(ids: readonly number[], vocabSize: number): void {
  for (const id of ids) if (!Number.isInteger(id) || id < 0 || id >= vocabSize) throw errors.badToken(id, vocabSize)
}
