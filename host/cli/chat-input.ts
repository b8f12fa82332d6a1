/** What somebody types: messages of one or more lines, and Ctrl-C, from a terminal or another program. */
import { createInterface, type Interface } from 'node:readline'
import { exitCodes, Interrupted } from './interrupt.ts'

/** Milliseconds that a chat which saves nothing has to end in good order. */
const PATIENCE = 3000

/** Ctrl-C stops what is under way; a second one, with no line between, ends the program. Other signals end it at once. */
export class Interrupts {
  private readonly end = new AbortController()
  private readonly onIdle: () => void
  private readonly isPatient: boolean
  private turn: AbortController | undefined
  /** Does the next Ctrl-C end the program? It does until the first line. */
  private isLast = true

  constructor(isPatient: boolean, onIdle: () => void) {
    this.isPatient = isPatient
    this.onIdle = onIdle
    process.on('SIGINT', this.interrupt)
    for (const name of ['SIGTERM', 'SIGHUP'] as const) process.once(name, () => this.quit(name))
  }

  /** Aborted when the program is to end. */
  get quitting(): AbortSignal {
    return this.end.signal
  }

  /** Somebody is waited for: what was interrupted before does not count any more. */
  rest(): void {
    this.isLast = false
  }

  /** Runs what Ctrl-C stops. */
  async during<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const turn = new AbortController()
    this.turn = turn
    this.isLast = false
    try {
      return await work(AbortSignal.any([turn.signal, this.quitting]))
    } finally {
      this.turn = undefined
    }
  }

  interrupt = (): void => {
    if (this.isLast) this.quit('SIGINT')
    else if (this.turn) this.turn.abort(new Interrupted('SIGINT'))
    else this.onIdle()
    this.isLast = true
  }

  private quit(name: keyof typeof exitCodes): void {
    this.end.abort(new Interrupted(name))
    if (!this.isPatient) setTimeout(() => process.exit(exitCodes[name]), PATIENCE).unref()
  }
}

/** Messages, one at a time; a line that ends with a backslash goes on in the next one. */
export class Input {
  private readonly lines: AsyncIterator<string>
  private readonly reader: Interface
  private readonly interrupts: Interrupts
  private readonly output: NodeJS.WriteStream
  /** Is a line waited for, and no answer under way? */
  private isWaiting = false

  constructor(interrupts: Interrupts, isJson: boolean) {
    this.output = process.stdout.isTTY && !isJson ? process.stdout : process.stderr
    this.interrupts = interrupts
    this.reader = createInterface({ input: process.stdin, output: this.output, terminal: process.stdin.isTTY === true })
    // A terminal gives Ctrl-C to who reads it, as a key.
    this.reader.on('SIGINT', () => (this.isWaiting ? this.dropLine() : interrupts.interrupt()))
    this.lines = this.reader[Symbol.asyncIterator]()
    interrupts.quitting.addEventListener('abort', () => this.close())
  }

  /** The next message; undefined when there is none any more. */
  async next(): Promise<string | undefined> {
    let message = ''
    for (let prompt = '> '; ; prompt = '… ') {
      this.interrupts.rest()
      this.show(prompt)
      this.isWaiting = true
      const { done, value } = await this.lines.next()
      this.isWaiting = false
      if (this.interrupts.quitting.aborted) return undefined
      // Ctrl-D: what comes next begins a line of its own.
      if (done && process.stdin.isTTY) this.output.write('\n')
      if (done) return message === '' ? undefined : message
      if (!value.endsWith('\\')) return message + value
      message += `${value.slice(0, -1)}\n`
    }
  }

  /** Ctrl-C at a prompt, as in a shell: what was typed is dropped, and a new prompt stands below. */
  private dropLine(): void {
    for (const name of ['e', 'u']) this.reader.write(null, { ctrl: true, name })
    this.output.write('\n')
    this.interrupts.interrupt()
    if (!this.interrupts.quitting.aborted) this.reader.prompt()
  }

  show(prompt: string): void {
    if (process.stdin.isTTY !== true) return
    this.reader.setPrompt(prompt)
    this.reader.prompt()
  }

  close(): void {
    this.reader.close()
  }
}
