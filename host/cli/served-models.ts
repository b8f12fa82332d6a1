/** Options of commands that answer requests: which models, in how much memory, and what they write if a request does not say. */
import { basename } from 'node:path'
import { checkModelPath, defaultModel } from '../load.ts'
import type { LocalApiOptions } from '../server/local-api.ts'
import type { ModelEntry } from '../server/model-pool.ts'
import { builtInTemplates } from '../text/template/templates.ts'
import { readText } from './open.ts'
import { type Arguments, generateNames, generateOptions, modelOptions, type Options } from './options.ts'

/** Texts that are written at a time. */
export const DEFAULT_SLOTS = 4
export const MAX_SLOTS = 32

const { model: _, recover: __, memory: ___, ...loadFlags } = modelOptions

export const servedOptions: Options = {
  'models-memory': {
    type: 'string',
    value: 'SIZE',
    help: 'memory of all models; the one that nobody used for longest goes (default: three quarters of the machine)',
  },
  'chat-template': {
    type: 'string',
    value: 'NAME|FILE',
    help: `${Object.keys(builtInTemplates).join(', ')}, or a file with a Jinja template (default: the model's own)`,
  },
  ...loadFlags,
  ...generateOptions,
}

/** What `servedOptions` say. `models`: as the command line names them; none: the embedded one. */
export async function servedModels(
  args: Arguments,
  models: readonly string[],
): Promise<Pick<LocalApiOptions, 'load' | 'models' | 'budget' | 'template' | 'defaults'>> {
  return {
    load: {
      ...given(args.values('type', 'cache', 'context', 'cacheMemory', 'offload', 'offloadDirectory')),
      ...given(args.values('threads', 'batchThreads', 'gpu', 'gpuForce', 'verify')),
      // Who loses a thread is not to end all that others are told.
      recover: true,
    },
    budget: args.bytes('models-memory', 1e6),
    defaults: given(args.values(...generateNames)),
    template: await readTemplate(args.text('chat-template')),
    models: await entriesOf(models),
  }
}

/** NAME=MODEL, a path, or the name of a pulled model. A path is called by the name of its file. */
async function entriesOf(models: readonly string[]): Promise<ModelEntry[]> {
  if (models.length === 0) return [{ name: 'stories', path: defaultModel }]
  return await Promise.all(
    models.map(async (text) => {
      const [, alias, model = text] = /^([\w.:-]+)=(.+)$/.exec(text) ?? []
      const path = (await checkModelPath(model)) as string
      const name = path === model ? basename(model).replace(/\.(?:gta|gguf)$/, '') : model
      return { name: alias ?? name, path }
    }),
  )
}

async function readTemplate(name: string | undefined): Promise<string | undefined> {
  return name === undefined || Object.hasOwn(builtInTemplates, name) ? name : await readText(name)
}

function given<T extends object>(values: T): { [name in keyof T]?: Exclude<T[name], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never
}
