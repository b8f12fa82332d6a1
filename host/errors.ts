/**
 * Errors that several rooms throw, in one table: what, expected, found, what to do. Programs look at `code`, people at the
 * text. What only one room throws is in its own errors.ts.
 */
import { GtaError, Words } from '../models/errors.ts'
import { show } from '../models/index.ts'
import { expectedOf, isAllowed, type Setting, type SettingName, settings, titleOf } from './settings.ts'
import { megabytes } from './sizes.ts'

export { type ErrorCode, GtaError, Words } from '../models/errors.ts'
export { megabytes } from './sizes.ts'

/**
 * The cache has no room: other conversations go on, and this one can once there is. Or, from `load()`, a model takes more than
 * the `memory` that it may take.
 */
export class OutOfMemoryError extends GtaError {
  override name = 'OutOfMemoryError'
  /** Bytes: of the cache, or of all that a model takes. */
  readonly needed: number
  readonly available: number

  constructor(needed: number, available: number, message?: string) {
    super(
      'OUT_OF_MEMORY',
      message ??
        `the cache must have ${megabytes(needed)} for more tokens, found ${megabytes(available)}: close a conversation, or raise --cache-memory (cacheMemory)`,
    )
    this.needed = needed
    this.available = available
  }
}

/** JSON has no words for some numbers. */
function shown(found: unknown): string {
  if (found instanceof Words) return found.text
  return ['number', 'bigint', 'undefined'].includes(typeof found) ? String(found) : show(found)
}

export const errors = {
  noFile: (path: string) => new GtaError('NOT_FOUND', `"${path}" must be a file, found nothing there: check the path`),
  unreadable: (path: string, cause: unknown) =>
    new GtaError('NOT_FOUND', `"${path}" cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause }),
  notAModel: (path: string, expected: string, found: string) =>
    new GtaError(
      'NOT_A_MODEL',
      `"${path}" must be ${expected}, found ${found}: give a .gta or .gguf file, or a Hugging Face directory with config.json and model.safetensors`,
    ),
  otherKind: (path: string, expected: string, found: string, advice: string) =>
    new GtaError('NOT_A_MODEL', `"${path}" must be ${expected}, found ${found}: ${advice}`),
  badFile: (path: string, what: string, expected: string, found: unknown) =>
    new GtaError(
      'BAD_FILE',
      `${what} of "${path}" must be ${expected}, found ${found}: the file is damaged or not what its name says, get it again`,
    ),
  damaged: (path: string, names: readonly string[]) =>
    new GtaError(
      'BAD_FILE',
      `"${path}" must be as "gta convert" wrote it, found other bytes in ${names.slice(0, 5).join(', ')}${names.length > 5 ? ` and ${names.length - 5} more` : ''}: the file is damaged, get it again or convert the original model again`,
    ),
  notVerifiable: (path: string) =>
    new GtaError(
      'BAD_OPTION',
      `--verify (verify) must be left out unless the model is a .gta file, found "${path}": only "gta convert" writes hashes`,
    ),
  noHashes: (path: string) =>
    new GtaError(
      'OTHER_VERSION',
      `"${path}" must hold hashes of its tensors to be verified, found none: convert the original model again with this version of gta`,
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
    new GtaError('BAD_OPTION', `${name} must be ${expected}, found ${shown(found)}`),
  nothingToKeep: (path: string) =>
    new GtaError(
      'BAD_OPTION',
      `--type keep takes a GGUF file with matrices of type Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K or Q8_0, found none in "${path}": use --type q8`,
    ),
  emptyPrompt: () =>
    new GtaError(
      'BAD_PROMPT',
      'the prompt must hold at least one token, found none: give some text, or token ids (--tokens)',
    ),
  shortText: (tokens: number) =>
    new GtaError('BAD_PROMPT', `the text must hold at least 2 tokens, found ${tokens}: one token predicts nothing`),
  badToken: (id: unknown, vocabSize: number) =>
    new GtaError(
      'BAD_PROMPT',
      `a token id must be a whole number from 0 to ${vocabSize - 1}, found ${shown(id)}: check the ids against this model's vocabulary`,
    ),
  contextFull: (tokens: number, context: number, maxContext: number, isLeast = false) =>
    new GtaError(
      'CONTEXT_FULL',
      `the prompt must leave room in a context of ${context} tokens, found ${isLeast ? 'at least ' : ''}${tokens} tokens: ${
        context < maxContext ? `raise -c (the model allows ${maxContext})` : 'shorten it, nothing was cut off'
      }`,
    ),
  outOfMemory: (needed: number, available: number) => new OutOfMemoryError(needed, available),
  overMemory: (needed: number, available: number, parts: string) =>
    new OutOfMemoryError(
      needed,
      available,
      `the model must fit in ${titleOf('memory')} of ${megabytes(available)}, it needs ${megabytes(needed)} (${parts}): use a smaller -c, a smaller type or fewer threads, or raise it`,
    ),
  tooManyConversations: (most: number) =>
    new GtaError(
      'TOO_MANY',
      `at most ${most} conversations can be open, found as many: close one first, or wait for one (busy: 'wait')`,
    ),
  streamLeft: () =>
    new GtaError('CLOSED', 'a stream must be read to its end to have a result, found that its reader left'),
  notFinite: () =>
    new GtaError(
      'NOT_FINITE',
      'logits must be finite, found NaN or infinity: the weights are broken, get the model again',
    ),
  nothingAllowed: () =>
    new GtaError(
      'NOTHING_ALLOWED',
      'a constraint must allow at least one token, found none: no token of this model can go on with what was asked for, ask for another form',
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
  conversationLost: (cause: unknown) =>
    new GtaError(
      'ENGINE_FAILED',
      `the conversation must be computed again since its engine was lost, it cannot be: ${cause instanceof Error ? cause.message : cause}. Begin another one`,
      { cause },
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
  exists: (path: string, advice = 'give another name, or remove it first') =>
    new GtaError('BAD_OPTION', `"${path}" must be a new file, found one that is there already: ${advice}`),
  noBuild: (reason: string, advice: string) =>
    new GtaError('NO_BUILD', `this platform must run WebAssembly with ${reason}, found none: ${advice}`),
  noGpu: (found: string, advice: string) =>
    new GtaError('NO_GPU', `gpu (--gpu) must have a GPU that it can use, found ${found}: ${advice}`),
  needsFiles: (what: string) =>
    new GtaError('BAD_OPTION', `${what} must have files to write to, found a browser: use it in Node`),
  needsProcesses: () =>
    new GtaError('BAD_OPTION', 'a chat template must have a process to run in, found a browser: use it in Node'),
}

/**
 * Refuses what a setting of the table cannot be; undefined stands for its default. `max`: what this model allows. TypeScript's
 * types do not reach callers in JavaScript.
 */
export function checkSetting(name: SettingName, value: unknown, max?: number): void {
  const setting: Setting = max === undefined ? settings[name] : { ...settings[name], max }
  if (value !== undefined && !isAllowed(setting, value))
    throw optionError(name, errors.badOption(titleOf(name), expectedOf(setting), value))
}

/** Runs a check of an option; what it throws says which one. */
export function checking<T>(option: string, check: () => T): T {
  try {
    return check()
  } catch (error) {
    throw optionError(option, error)
  }
}

function optionError(option: string, error: unknown): unknown {
  if (error instanceof GtaError) error.option ??= option
  return error
}

/** Refuses options of other names: a misspelt one would be ignored without a word. */
export function checkNames(what: string, options: object, names: readonly string[]): void {
  if (typeof options !== 'object' || options === null)
    throw errors.badOption(`options of ${what}`, 'an object', options)
  const unknown = Object.keys(options).find((name) => !names.includes(name))
  if (unknown !== undefined) throw errors.badOption(`an option of ${what}`, `one of ${names.join(', ')}`, unknown)
}

/** Refuses a signal that is none; undefined stands for none. */
export function checkSignal(signal: unknown): void {
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw errors.badOption('signal', 'an AbortSignal', signal)
}

/** Refuses what cannot be called; undefined stands for nobody who is told. */
export function checkCallback(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'function') throw errors.badOption(name, 'a function', value)
}

/** Refuses what is no list; numbers may come in a typed one. */
export function checkList(what: string, expected: string, value: unknown): void {
  if (!Array.isArray(value) && (!ArrayBuffer.isView(value) || value instanceof DataView))
    throw errors.badOption(what, expected, value)
}

/** Refuses ids that are not in the vocabulary. */
export function checkTokens(ids: readonly number[], vocabSize: number): void {
  checkList('token ids', 'a list of whole numbers', ids)
  for (const id of ids) if (!Number.isInteger(id) || id < 0 || id >= vocabSize) throw errors.badToken(id, vocabSize)
}

/** Is there nothing at the path? */
export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException)?.code === 'ENOENT'
}
