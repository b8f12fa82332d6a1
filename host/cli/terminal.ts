/** What commands write, for people and for programs. */
import { version } from '../platform/version.ts'

let isJson = false

/** With --json every line of stderr is a JSON document too: programs that read it need no other parser. */
export function sayAsJson(isAsked: boolean): void {
  isJson = isAsked
}

/** A line on stderr; what a file brought into it is shown, not obeyed. */
export function say(text: string): void {
  process.stderr.write(isJson ? `${document('message', { message: text })}\n` : `gta: ${printable(text)}\n`)
}

/** Why a command failed, for its last line. `code` is that of the GtaError, if it was one. */
export function sayError(message: string, code: string | undefined, exitCode: number): void {
  if (isJson) process.stderr.write(`${document('error', { code: code ?? null, message, exitCode })}\n`)
  else say(message)
}

/** Text with control characters, other than tab and newline, made visible: a terminal would obey them. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this is about
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, '\u{fffd}')
}

/**
 * A JSON document on stdout, in one line. Keys are camelCase, sizes are bytes. `schema` names its shape: what gta writes in
 * another tool's shape does not come from here.
 */
export function printJson(kind: string, value: object): void {
  process.stdout.write(`${document(kind, value)}\n`)
}

function document(kind: string, value: object): string {
  return JSON.stringify({ schema: `gta-${kind}/1`, version: version ?? null, ...value })
}
