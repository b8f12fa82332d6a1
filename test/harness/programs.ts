/** Programs that run in a Node of their own. */
import { spawn } from 'node:child_process'
import { limit, limitNote } from './limits.ts'

/** Runs Node with these arguments until it ends by itself; status null: its limit came first, and the output says so. */
export async function runNode(...args: string[]): Promise<{ status: number | null; output: string }> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], { timeout: limit(300) })
  let output = ''
  for (const part of [child.stdout, child.stderr])
    part.on('data', (data) => {
      output += data
    })
  return await new Promise((resolve) =>
    child.on('close', (status, signal) => resolve({ status, output: (output + limitNote({ signal }, 300)).trim() })),
  )
}
