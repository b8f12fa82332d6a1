/**
 * Cycles of loop bodies as llvm-mca predicts them for Neoverse N1, the server twin of the Cortex-A76; LLVM's own model of
 * cortex-a76 is that of an older core. Everything is assumed to hit L1. A prediction from machine code, never a
 * measurement.
 *
 * The machine words go through llvm-mc's disassembler, because V8's notation is not quite an assembler's.
 */
import { spawnSync } from 'node:child_process'
import type { Instruction } from './listing.ts'

/** The A76 decodes 4 instructions per cycle; 3 and 8 are the error bars. */
export const DISPATCH = [3, 4, 8] as const

const ITERATIONS = 1000

function run(command: string, args: string[], input: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { input, encoding: 'utf8', maxBuffer: 1 << 28 })
  if (status !== 0) throw new Error(`${command} failed: ${error?.message ?? stderr}`)
  return stdout
}

/** Four bytes of each word, lowest first, to one line of assembly each. */
function disassemble(bodies: Instruction[][]): string[][] {
  const bytes = ({ word }: Instruction) =>
    [3, 2, 1, 0].map((byte) => `0x${word.slice(2 * byte, 2 * byte + 2)}`).join(' ')
  const input = bodies.flat().map(bytes).join('\n')
  const output = run('llvm-mc-22', ['-disassemble', '-triple=aarch64', '-mattr=+all'], input)
  const lines = output.split('\n').filter((line) => /^\s+[a-z]/.test(line) && !line.includes('.text'))
  if (lines.length !== bodies.flat().length) throw new Error('llvm-mc left out instructions')
  return bodies.map((body, index) => {
    const start = bodies.slice(0, index).flat().length
    return lines.slice(start, start + body.length)
  })
}

interface Report {
  CodeRegions: { SummaryView: { Iterations: number; TotalCycles: number } }[]
}

/** For each body, cycles per passage at each dispatch width. */
export function predictCycles(bodies: Instruction[][]): number[][] {
  if (bodies.length === 0) return []
  const input = disassemble(bodies)
    .map((lines, index) => `# LLVM-MCA-BEGIN ${index}\n${lines.join('\n')}\n# LLVM-MCA-END\n`)
    .join('')
  const columns = DISPATCH.map((width) => {
    const args = ['-march=aarch64', '-mcpu=neoverse-n1', '-mattr=+all', '--json', '--resource-pressure=false']
    const output = run('llvm-mca-22', [...args, `-dispatch=${width}`, `-iterations=${ITERATIONS}`], input)
    const { CodeRegions } = JSON.parse(output) as Report
    if (CodeRegions.length !== bodies.length) throw new Error('llvm-mca left out loops')
    return CodeRegions.map(({ SummaryView }) => SummaryView.TotalCycles / SummaryView.Iterations)
  })
  return bodies.map((_, index) => columns.map((column) => column[index] ?? Number.NaN))
}
