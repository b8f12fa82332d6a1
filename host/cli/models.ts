/** gta models and gta rm: what was pulled, and away with it. */
import { createInterface } from 'node:readline/promises'
import { megabytes } from '../errors.ts'
import { modelsDirectory } from '../files/hub/find.ts'
import { type CachedModel, listPulled, removePulled } from '../files/hub/models.ts'
import { Interrupted } from './interrupt.ts'
import { type Arguments, type Command, common, UsageError } from './options.ts'
import { headLine, tableLine } from './table.ts'
import { printJson, say } from './terminal.ts'

export const models: Command = {
  usage: 'models [--json]',
  options: { ...common },
  async run(args) {
    args.expectPositionals(0)
    const found = await listPulled(say)
    if (args.flag('json')) printJson('models', { directory: modelsDirectory(), models: found })
    else process.stdout.write(found.length > 0 ? tableOf(found) : 'no model was pulled yet: gta pull Qwen/Qwen3-0.6B\n')
  },
}

export const remove: Command = {
  usage: 'rm NAME [--force] [--json]',
  options: { force: { type: 'boolean', help: 'do not ask' }, ...common },
  run: executeRemove,
}

async function executeRemove(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  const [name] = args.positionals
  if (name === undefined)
    throw new UsageError('a model must be named, as gta models lists them: gta rm Qwen/Qwen3-0.6B')
  const removed = await removePulled(name, async (found) => args.flag('force') || isMeant(found))
  if (args.flag('json')) return printJson('rm', { removed })
  const bytes = removed.reduce((sum, { done }) => sum + done, 0)
  if (removed.length > 0)
    process.stdout.write(`removed ${removed.map((model) => model.name).join(', ')}: ${megabytes(bytes)}\n`)
}

/** Asks who sits there; a program has to say that it means it. */
async function isMeant(found: CachedModel[]): Promise<boolean> {
  if (!process.stdin.isTTY) throw new UsageError('--force must be given where nobody can be asked')
  const asked = createInterface({ input: process.stdin, output: process.stderr })
  const what = found.map(({ name, done }) => `${name} (${megabytes(done)})`).join(', ')
  // Ctrl-C and Ctrl-D are answers too.
  const answer = await asked
    .question(`remove ${what}? [y/N] `)
    .catch((error) => {
      if (error?.name !== 'AbortError') throw error
      process.stderr.write('\n')
      throw new Interrupted('SIGINT')
    })
    .finally(() => asked.close())
  return /^y(?:es)?$/i.test(answer.trim())
}

function tableOf(found: CachedModel[]): string {
  const rows = found.map(({ name, format, type, bytes, done, pulled, path }) => [
    name,
    pulled === null ? `${megabytes(done)} of ${megabytes(bytes)}` : megabytes(bytes),
    type === null ? format : `${format} ${type}`,
    pulled === null ? 'unfinished' : pulled.slice(0, 10),
    path,
  ])
  const columns = ['name', 'size', 'type', 'pulled', 'path'].map((name, i) => ({
    name,
    isText: name !== 'size',
    width: Math.max(name.length, ...rows.map((row) => row[i]?.length ?? 0)),
  }))
  return `${headLine(columns)}${rows.map((row) => tableLine(columns, row)).join('')}`
}
