/** What several commands do alike: load the model that the command line names, and read the prompt. */
import { readFile } from 'node:fs/promises'
import { errors, megabytes } from '../errors.ts'
import { defaultModel, type LoadOptions, load } from '../load.ts'
import type { Model } from '../runtime/model.ts'
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
  const progress = new ProgressLine('loading', megabytes)
  try {
    const model = await load(path, {
      type: 'type' in options ? options.type : args.value('type'),
      cache: 'cache' in options ? options.cache : args.value('cache'),
      ...args.values('context', 'cacheMemory', 'offload', 'offloadDirectory', 'threads', 'batchThreads', 'verify'),
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

/** Tensors that a model leaves out: some by their names, many by what their names begin with. */
export function warnUnused(names: string[]): void {
  if (names.length <= 3) for (const name of names) say(`warning: tensor "${name}" is not used by this model`)
  else say(`warning: ${names.length} tensors are not used by this model: ${beginnings(names).join(', ')}`)
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
