/**
 * Cycles per token of whole models on a Cortex-A76, from the cycles that are predicted for each loop (table.md), beside the
 * roofline of a Raspberry Pi 5: the analyzer's walk with the rate of the loop that an operation runs in, instead of two
 * SDOT a cycle. No operation is faster than its bytes. Left out: exponentials, norms, rounding, what stands around a loop, barriers.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { Analysis } from '../../host/tools/analyze/analyze.ts'
import { findHardware } from '../../host/tools/analyze/hardware.ts'
import type { Operation } from '../../host/tools/analyze/operation.ts'
import type { Stage } from '../../host/tools/analyze/walk.ts'
import { configs, describe } from '../../models/index.ts'
import { readTable } from './table.ts'

const DOCUMENT = new URL('../../docs/raspberry-pi.md', import.meta.url)
const MARKS = ['<!-- written by npm run bench:a76 -- --tokens -->\n\n', '\n<!-- until here -->']
/** Cores times cycles per second. */
const CYCLES = 4 * 2.4e9
const LENGTHS = [128, 2048, 8192]

const qwen3 = new URL('../../test/golden/published/Qwen3-0.6B.json', import.meta.url)
const models = (): [string, unknown][] => [
  ['160M GTA', configs['160m-gta1']],
  ['Qwen3 0.6B', JSON.parse(readFileSync(qwen3, 'utf8'))],
  ['GTA-1B', configs['gta-1b']],
  ['GQA-1B', configs['gqa-1b']],
]

interface Prediction {
  /** Of the loops, all cores together. */
  cycles: number
  /** Tokens per second: what loops and bytes allow, and what SDOT and bytes do. */
  loops: number
  roofline: number
}

/** Cycles per multiply-add of an operation; 0: it is not in the table. */
function cyclesOf({ work }: Operation, stage: Stage, loops: ReadonlyMap<string, number>): number {
  const of = (name: string) => {
    const cycles = loops.get(`relaxed ${name}`)
    if (!cycles) throw new Error(`no "${name}" in bench/a76/table.md: npm run bench:a76 -- --write`)
    return cycles
  }
  if (work.is === 'matrix') {
    const form = stage === 'prefill' ? 'tile (prefill)' : 'rows (decode)'
    return of(`${work.type === 'q4' ? 'q4, q4k, q4m' : 'q8'} ${form}`)
  }
  if (work.is !== 'fused') return 0
  // Queries and weights are two digits: two products for each multiply-add.
  if (stage === 'prefill') return 2 * of('attention tile, int8: two queries (prefill)')
  const [keys, values] = [of('scores, int8 keys, one query'), of('values, int8, one query')]
  return (2 * (keys * work.keyDim + values * work.valueDim)) / (work.keyDim + work.valueDim)
}

function predict(analysis: Analysis, stage: Stage, length: number, loops: ReadonlyMap<string, number>): Prediction {
  const pass = analysis.pass(stage, 1, length)
  const tokens = stage === 'prefill' ? length : 1
  let [cycles, seconds] = [0, 0]
  for (const { name, count, macs, seconds: least } of pass.operations) {
    const operation = analysis.operations.find((one) => one.name === name) as Operation
    const own = macs * cyclesOf(operation, stage, loops)
    cycles += count * own
    seconds += count * Math.max(least, own / CYCLES)
  }
  return { cycles: cycles / tokens, loops: tokens / seconds, roofline: tokens / pass.total.seconds }
}

const rounded = (value: number) => (value < 20 ? value.toFixed(1) : value.toFixed(0))

/** The table, as Markdown, from that of the loops. */
export function tokenTable(loopTable: string): string {
  const loops = readTable(loopTable)
  const board = findHardware('bcm2712')
  const lines = models().flatMap(([name, config]) =>
    (['q8', 'q4'] as const).flatMap((type) => {
      const analysis = new Analysis(describe(config), board, { type })
      return LENGTHS.map((length) => {
        const cells = (['prefill', 'decode'] as const).flatMap((stage) => {
          const { cycles, loops: possible, roofline } = predict(analysis, stage, length, loops)
          return [rounded(cycles / 1e6), rounded(possible), rounded(roofline)]
        })
        return `| ${[`${name} ${type}`, length, ...cells].join(' | ')} |`
      })
    }),
  )
  const head = ['', 'tokens', 'prompt: Mcycles a token', 'tok/s, loops', 'roofline']
  const columns = [...head, 'decode behind it: Mcycles', 'tok/s, loops', 'roofline']
  return `${[`| ${columns.join(' | ')} |`, '|---|--:|--:|--:|--:|--:|--:|--:|', ...lines].join('\n')}\n`
}

/** Where it stands in the document; throws if there is no place for it. */
function split(): [before: string, table: string, after: string] {
  const [before, rest] = readFileSync(DOCUMENT, 'utf8').split(MARKS[0] as string)
  const [table, after] = rest?.split(MARKS[1] as string) ?? []
  if (before === undefined || table === undefined || after === undefined)
    throw new Error(`docs/raspberry-pi.md has no place for the table: ${MARKS.join('…')}`)
  return [before, table, after]
}

/** The table of the document. */
export const committedTokens = () => split()[1]

export function writeTokens(loopTable: string): void {
  const [before, , after] = split()
  writeFileSync(DOCUMENT, `${before}${MARKS[0]}${tokenTable(loopTable)}${MARKS[1]}${after}`)
}
