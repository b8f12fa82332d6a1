/** Tables: markdown that people can read as it is and paste into an issue, and CSV. */

/** How a command prints what could be a table. */
export const tableFormats = ['md', 'csv', 'json'] as const
export type TableFormat = (typeof tableFormats)[number]

export interface Column {
  name: string
  /** Characters of the widest cell that is expected. */
  width: number
  /** Aligned to the left. */
  isText?: boolean
}

export function headLine(columns: readonly Column[]): string {
  const rule = columns.map(({ width, isText }) => (isText ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  const names = columns.map(({ name }) => name)
  return `${tableLine(columns, names)}${tableLine(columns, rule)}`
}

export function tableLine(columns: readonly Column[], cells: string[]): string {
  const padded = cells.map((cell, i) => {
    const { width = 0, isText } = columns[i] ?? {}
    return isText ? cell.padEnd(width) : cell.padStart(width)
  })
  return `| ${padded.join(' | ')} |\n`
}

export function csvLine(cells: unknown[]): string {
  const quote = (cell: unknown) => {
    const text = cell === undefined ? '' : String(cell)
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  }
  return `${cells.map(quote).join(',')}\n`
}
