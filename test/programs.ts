/** Programs that run in a Node of their own. */
import { spawn } from 'node:child_process'

/** Runs Node with these arguments until it ends by itself; status null: it did not within 5 minutes. */
export async function runNode(...args: string[]): Promise<{ status: number | null; output: string }> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], { timeout: 300_000 })
  let output = ''
  for (const part of [child.stdout, child.stderr])
    part.on('data', (data) => {
      output += data
    })
  const status = await new Promise<number | null>((resolve) => child.on('close', resolve))
  return { status, output: output.trim() }
}
