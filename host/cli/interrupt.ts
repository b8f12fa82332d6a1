/** How commands end when a signal asks them to. */

/** Milliseconds that a command has to end in good order after a signal. */
const PATIENCE = 3000

/**
 * Ctrl-C ends what runs, in order: files are cleaned up, and `gta run` tells how far it came. A command that writes a file has all
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
