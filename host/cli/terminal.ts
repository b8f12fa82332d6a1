/** What commands write, for people and for programs. */

/** A line on stderr; what a file brought into it is shown, not obeyed. */
export function say(text: string): void {
  process.stderr.write(`gta: ${printable(text)}\n`)
}

/** Text with control characters, other than tab and newline, made visible: a terminal would obey them. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this is about
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, '\u{fffd}')
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}
