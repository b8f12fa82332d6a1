/** The command without a process: its arguments in, its exit code and what it wrote out. A process costs a quarter of a second. */
import { main } from '../../host/cli/main.ts'
import { sayAsJson } from '../../host/cli/terminal.ts'

export interface Ended {
  args: string[]
  code: number
  stdout: string
  stderr: string
}

/** One after the other, because what a process has once is shared: its folder, its streams, its exit code. */
let last: Promise<unknown> = Promise.resolve()

/** Runs `gta …args` in this process, from the sources, in `folder`. */
export function runHere(folder: string, ...args: string[]): Promise<Ended> {
  const ended = last.then(() => runNow(folder, args))
  last = ended.catch(() => {})
  return ended
}

async function runNow(folder: string, args: string[]): Promise<Ended> {
  const output = { stdout: '', stderr: '' }
  const writes = { stdout: process.stdout.write, stderr: process.stderr.write }
  const [back, listeners] = [process.cwd(), process.getMaxListeners()]
  // Each command listens for signals until its process ends.
  process.setMaxListeners(0)
  process.chdir(folder)
  for (const name of ['stdout', 'stderr'] as const)
    process[name].write = (text: string | Uint8Array) => {
      output[name] += typeof text === 'string' ? text : Buffer.from(text).toString()
      return true
    }
  try {
    return { args, code: await main(args), ...output }
  } finally {
    for (const name of ['stdout', 'stderr'] as const) process[name].write = writes[name]
    process.chdir(back)
    process.setMaxListeners(listeners)
    process.exitCode = undefined
    sayAsJson(false)
  }
}
