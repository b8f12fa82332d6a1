/** What several commands do alike: load the model that the command line names, and read the prompt. */
import { createReadStream, fstat } from 'node:fs'
import { availableParallelism } from 'node:os'
import { promisify } from 'node:util'
import { errors, GtaError, megabytes } from '../errors.ts'
import { defaultModel, type LoadOptions, load } from '../load.ts'
import type { Model } from '../runtime/model.ts'
import { titleOf } from '../settings.ts'
import { type Arguments, UsageError } from './options.ts'
import { ProgressLine } from './progress.ts'
import { say } from './terminal.ts'

/** Loads the named model, or the embedded one, with the options of the command line unless `options` has others. */
export async function loadModel(
  args: Arguments,
  signal: AbortSignal,
  options: LoadOptions = {},
  path: string | URL = args.modelPath() ?? defaultModel,
): Promise<Model> {
  warnThreads(args)
  const progress = new ProgressLine('loading', megabytes)
  try {
    const model = await load(path, {
      type: 'type' in options ? options.type : args.value('type'),
      cache: 'cache' in options ? options.cache : args.value('cache'),
      ...args.values('context', 'cacheMemory', 'memory', 'offload', 'offloadDirectory', 'threads', 'batchThreads'),
      ...args.values('gpu', 'gpuForce', 'recover', 'verify'),
      signal,
      onProgress: progress.update,
      ...options,
    })
    warnUnused(model.unusedTensors)
    warnSettings(model.unusedSettings)
    return model
  } finally {
    progress.end()
  }
}

/** More threads than cores wait for each other: a warning, for a container may be told less than it has. */
function warnThreads(args: Arguments): void {
  const cores = availableParallelism()
  for (const name of ['threads', 'batchThreads'] as const) {
    const count = args.value(name) ?? 0
    if (count > cores)
      say(
        `warning: ${titleOf(name)} is ${count}, more than the ${cores} cores that this process may use: it will be slower`,
      )
  }
}

/** What a model asks for in vain. */
function warnSettings(settings: string[]): void {
  for (const setting of settings) say(`warning: generation_config.json says ${setting}, which is not applied`)
}

/** Tensors that a model leaves out. */
export function warnUnused(names: string[]): void {
  if (names.length <= 3) for (const name of names) say(`warning: tensor "${name}" is not used by this model`)
  else say(`warning: ${names.length} tensors are not used by this model: ${namesOf(names)}`)
}

/** Some names as they are, many by what they begin with. */
export function namesOf(names: string[]): string {
  return names.length <= 3 ? names.map((name) => `"${name}"`).join(', ') : beginnings(names).join(', ')
}

/** "vision_tower.…" for hundreds of them; of "model.…", which says nothing, one word more. */
function beginnings(names: string[]): string[] {
  const counts = new Map<string, number>()
  for (const name of names) {
    const words = name.split('.')
    const first = words.slice(0, words[0] === 'model' ? 2 : 1)
    const beginning = first.length < words.length ? `${first.join('.')}.…` : name
    counts.set(beginning, (counts.get(beginning) ?? 0) + 1)
  }
  const shown = Array.from(counts, ([beginning, count]) => `"${beginning}" (${count})`)
  return shown.length > 5 ? [...shown.slice(0, 5), `and ${shown.length - 5} more`] : shown
}

/** The prompt of -p, -f or --tokens; undefined if none was given. */
export async function readPrompt(args: Arguments): Promise<string | number[] | undefined> {
  const given = ['prompt', 'file', 'tokens'].filter((name) => args.text(name) !== undefined)
  if (given.length > 1) throw new UsageError(`only one of --${given.join(', --')} must be given, found ${given.length}`)
  const file = args.text('file')
  if (file === undefined) return args.tokens() ?? args.text('prompt')
  // Editors end a file with a newline that is not meant as text; llama.cpp drops it too.
  return (await readText(file)).replace(/\r?\n$/, '')
}

/**
 * The prompt on stdin, where the command line has none: `echo hi | gta run`, `gta run < file`. Undefined if stdin is neither a
 * pipe nor a file, as a terminal and /dev/null are not, or is empty. A socket, which is what programs in Node give, is not
 * waited for: it is often left open. It is read with `-f -`.
 */
export async function readPiped(): Promise<string | undefined> {
  const stdin = await promisify(fstat)(0).catch(() => undefined)
  if (!stdin?.isFIFO() && !stdin?.isFile()) return undefined
  // Somebody may wonder what it waits for.
  const hint = setTimeout(() => say('reading the prompt from stdin: end it with Ctrl-D, or give one with -p'), 3000)
  const text = await readText('-').finally(() => clearTimeout(hint))
  return text === '' ? undefined : text.replace(/\r?\n$/, '')
}

/** Of a text that is read whole: the works of Shakespeare have 5 MB. A device has no end. */
const MAX_TEXT = 256e6

/** Bytes of a file, a pipe, or stdin: that not by the name /dev/stdin, under which a socket cannot be opened. */
async function readBytes(path: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of path === '-' ? process.stdin : createReadStream(path)) {
    length += chunk.length
    if (length > MAX_TEXT) throw errors.badFile(path, 'the size', `at most ${megabytes(MAX_TEXT)}`, 'more')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** A text file; bytes that are not UTF-8 are refused, they would silently become other text. */
export async function readText(path: string): Promise<string> {
  const bytes = await readBytes(path).catch((cause) => {
    if (cause instanceof GtaError) throw cause
    throw cause?.code === 'ENOENT' ? errors.noFile(path) : errors.unreadable(path, cause)
  })
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw errors.badFile(path, 'the content', 'UTF-8 text', 'other bytes')
  }
}
