/**
 * The table of predictions, as committed in table.md: written, read back, and compared.
 */
import type { Build } from './loops.ts'
import { DISPATCH } from './mca.ts'

export interface Row {
  build: Build
  name: string
  /** Functions whose code has the loop; the figures are those of the slowest. */
  functions: string[]
  instructions: number
  sdot: number
  macs: number
  /** Per passage, at each of DISPATCH. */
  cycles: number[]
}

/** What the table is compared by: cycles per product with 4 µops a cycle. */
export const cyclesPerMac = ({ cycles, macs }: Row) => (cycles[DISPATCH.indexOf(4)] ?? Number.NaN) / macs

/** Two SDOT of 16 products in each cycle are 100 %. */
export const percentOf = (cycles: number, macs: number) => (100 * macs) / 32 / cycles
export const percentOfBound = (row: Row) => 100 / 32 / cyclesPerMac(row)

const HEAD = ['build', 'loop', 'in', 'instructions', 'SDOT', 'MACs', 'decode']
const COLUMNS = [...HEAD, ...DISPATCH.map((width) => `dispatch ${width}`), 'cycles per MAC', '% of two SDOT per cycle']

export function formatTable(rows: Row[]): string {
  const lines = rows.map((row) => {
    const decode = row.instructions / 4
    const percents = [percentOfBound(row), percentOf(Math.max(decode, row.cycles[2] ?? 0), row.macs)]
    return [
      row.build,
      row.name,
      row.functions.join(', '),
      row.instructions,
      row.sdot,
      row.macs,
      decode.toFixed(1),
      ...row.cycles.map((cycles) => cycles.toFixed(1)),
      cyclesPerMac(row).toFixed(4),
      percents.map((percent) => percent.toFixed(0)).join(' … '),
    ]
  })
  const rule = COLUMNS.map((_, index) => (index < 3 ? '---' : '--:'))
  return `${[COLUMNS, rule, ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`
}

/** Cycles per MAC by build and loop, of a committed table. */
export function readTable(markdown: string): Map<string, number> {
  const lines = markdown.split('\n').map((line) => line.split('|').map((cell) => cell.trim()))
  const rows = lines.filter(([, build]) => build === 'relaxed' || build === 'strict')
  const column = COLUMNS.indexOf('cycles per MAC') + 1
  return new Map(rows.map((cells) => [`${cells[1]} ${cells[2]}`, Number(cells[column])]))
}

/** More cycles than that for the same product fail; fewer ask for a new table. */
export const MARGIN = 0.1

export function compareRow(row: Row, committed: Map<string, number>): { fault?: string; hint?: string } {
  const before = committed.get(`${row.build} ${row.name}`)
  if (!before) return { fault: 'not in table.md: npm run bench:a76 -- --write' }
  const change = cyclesPerMac(row) / before - 1
  const percent = `${Math.abs(100 * change).toFixed(0)} %`
  if (change > MARGIN) return { fault: `${percent} more cycles than in table.md` }
  return change < -MARGIN ? { hint: `${percent} fewer cycles than in table.md: npm run bench:a76 -- --write` } : {}
}
