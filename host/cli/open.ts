/** What several commands do alike: load the model that the command line names, and read the prompt. */
import { readFile } from 'node:fs/promises'
import { defaultModel, errors, type LoadOptions, load, type Model, megabytes } from '../index.ts'
import { type Arguments, UsageError } from './options.ts'
import { Progress } from './progress.ts'

/** Loads the named model, or the embedded one, with the options of the command line unless `options` has others. */
export async function openModel(
  args: Arguments,
  signal: AbortSignal,
  options: LoadOptions = {},
  path: string | URL = args.modelPath() ?? defaultModel,
): Promise<Model> {
  const progress = new Progress('loading', megabytes)
  try {
    const model = await load(path, {
      type: 'type' in options ? options.type : args.value('type'),
      cache: 'cache' in options ? options.cache : args.value('cache'),
      ...args.values('context', 'cacheMemory', 'offload', 'offloadDirectory', 'threads', 'batchThreads'),
      signal,
      onProgress: progress.update,
      ...options,
    })
    warnUnused(model.unusedTensors)
    return model
  } finally {
    progress.end()
  }
}

/** A line on stderr; what a file brought into it is shown, not obeyed. */
export function say(text: string): void {
  process.stderr.write(`gta: ${printable(text)}\n`)
}

/** Text with control characters, other than tab and newline, made visible: a terminal would obey them. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this is about
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, '\u{fffd}')
}

export function warnUnused(names: string[]): void {
  for (const name of names.slice(0, 3)) say(`warning: tensor "${name}" is not used by this model`)
  if (names.length > 3) say(`warning: … and ${names.length - 3} more`)
}

/** The prompt of -p, -f or --tokens; undefined if none was given. */
export async function readPrompt(args: Arguments): Promise<string | number[] | undefined> {
  const given = ['prompt', 'file', 'tokens'].filter((name) => args.text(name) !== undefined)
  if (given.length > 1) throw new UsageError(`only one of --${given.join(', --')} must be given, found ${given.length}`)
  const file = args.text('file')
  if (file === undefined) return args.tokens() ?? args.text('prompt')
  // Editors end a file with a newline that nobody means, llama.cpp drops it too.
  return (await readText(file)).replace(/\r?\n$/, '')
}

/** A text file; bytes that are not UTF-8 are refused, they would silently become other text. */
export async function readText(path: string): Promise<string> {
  const bytes = await readFile(path === '-' ? '/dev/stdin' : path).catch((cause) => {
    throw cause?.code === 'ENOENT' ? errors.noFile(path) : errors.unreadable(path, cause)
  })
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw errors.badFile(path, 'the content', 'UTF-8 text', 'other bytes')
  }
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

/** Milliseconds that a command has to end in good order after a signal. */
const PATIENCE = 3000

/**
 * Ctrl-C ends what runs, in order: files are cleaned up, statistics are not printed. A command that writes a file has all
 * the time it needs (Infinity): ended earlier, it would leave half of one behind.
 */
export function interruptSignal(patience = PATIENCE): AbortSignal {
  const controller = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(name, () => {
      controller.abort(new Interrupted(name))
      // A step of thousands of rows, or a file system that hangs, would be waited for. Unreferenced: it delays nothing.
      if (Number.isFinite(patience)) setTimeout(() => process.exit(exitCodes[name]), patience).unref()
    })
  return controller.signal
}

/** As a shell reports a process that a signal ended. */
export const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }

export class Interrupted extends Error {
  override name = 'Interrupted'
  readonly signal: keyof typeof exitCodes

  constructor(signal: keyof typeof exitCodes) {
    super(`stopped by ${signal}`)
    this.signal = signal
  }
}
