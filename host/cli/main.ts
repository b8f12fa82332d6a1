/** From arguments to a command. Exit codes: 0 good, 1 failed, 2 wrong usage. */
import { GtaError } from '../errors.ts'
import { version } from '../platform/version.ts'
import { type CommandEntry, commands } from './commands.ts'
import { exitCodes, Interrupted } from './interrupt.ts'
import { Arguments, asksForJson, help, UsageError } from './options.ts'
import { sayAsJson, sayError } from './terminal.ts'

/** Runs `gta name …rest`; resolves to the exit code. What goes wrong is said on stderr. */
export async function main([name, ...rest]: string[]): Promise<number> {
  try {
    if (name === '--version') process.stdout.write(`${version ?? 'from source'}\n`)
    else if (name === undefined || name === '--help' || name === '-h' || name === 'help')
      process.stdout.write(overview())
    else {
      const entry = entryOf(name)
      if (!entry) throw new UsageError(`there is no command "${name}"; there are ${Object.keys(commands).join(', ')}`)
      const command = await entry.read()
      sayAsJson(asksForJson(rest, command.options))
      const args = new Arguments(rest, command.options)
      if (args.flag('help')) process.stdout.write(`gta ${name}: ${entry.summary}\n\n${help(command)}`)
      else await command.run(args)
    }
    return Number(process.exitCode ?? 0)
  } catch (error) {
    return fail(error, name)
  }
}

function fail(error: unknown, command: string | undefined): number {
  if (error instanceof UsageError) {
    const about = command !== undefined && entryOf(command) ? `${command} --help` : '--help'
    sayError(`${error.message}. See "gta ${about}"`, 'BAD_OPTION', 2)
    return 2
  }
  if (error instanceof Interrupted) {
    // In place of the terminal's own ^C.
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
    sayError(error.message, 'INTERRUPTED', exitCodes[error.signal])
    return exitCodes[error.signal]
  }
  if (error instanceof GtaError) {
    const exitCode = error.code === 'BAD_OPTION' ? 2 : 1
    sayError(error.message, error.code, exitCode)
    return exitCode
  }
  sayError(error instanceof Error ? (error.stack ?? error.message) : String(error), undefined, 1)
  return 1
}

function entryOf(name: string): CommandEntry | undefined {
  return Object.hasOwn(commands, name) ? commands[name] : undefined
}

function overview(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length)) + 2
  return [
    'gta: language models with Grouped-head latenT Attention on small computers',
    '',
    'Usage: gta COMMAND [MODEL] [options]',
    '',
    ...Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}${summary}`),
    '',
    'MODEL is a .gta or .gguf file, a Hugging Face directory, or the name of a pulled model (OWNER/NAME); without one,',
    'the embedded stories model is used.',
    '"gta COMMAND --help" explains a command.',
    '',
  ].join('\n')
}
