/** Horizontal bars. */
import { legend } from './axes.ts'
import { colours, escapeHtml, headline, MUTED, picture, round, text } from './svg.ts'

interface BarPlot {
  title: string
  description: string
  /** One bar per series for each row. */
  series: string[]
  rows: { name: string; values: (number | undefined)[]; titles?: string[] }[]
  format(n: number): string
  width?: number
}

/** Horizontal bars with their values written behind them: readable on a phone without an axis. */
export function barPlot({ title, description, series, rows, format, width = 480 }: BarPlot): string {
  const names = legend(
    (series.length > 1 ? series : []).map((name, i) => ({
      name,
      draw: (x: number, y: number) =>
        `<rect x="${x + 4}" y="${y - 6}" width="18" height="12" rx="2" fill="${colours[i % colours.length]}"/>`,
    })),
    16,
    50,
    width - 12,
  )
  const left = 24 + 7.2 * Math.max(...rows.map(({ name }) => name.length))
  const room = width - left - 110
  const most = Math.max(...rows.flatMap(({ values }) => values.map((value) => value ?? 0))) || 1
  const bar = series.length > 1 ? 14 : 16
  let y = 46 + names.height
  const parts: string[] = []
  for (const { name, values, titles } of rows) {
    parts.push(text(left - 10, y + (values.length * bar) / 2 + 4, name, { anchor: 'end' }))
    values.forEach((value, i) => {
      if (value !== undefined) {
        const length = Math.max(1, (room * value) / most)
        const tip = titles?.[i] ?? `${name}, ${series[i]}: ${format(value)}`
        parts.push(
          `<rect x="${round(left)}" y="${round(y + i * bar)}" width="${round(length)}" height="${bar - 2}" rx="2" fill="${colours[i % colours.length]}"><title>${escapeHtml(tip)}</title></rect>`,
          text(left + length + 6, y + i * bar + bar / 2 + 3, format(value), { size: 11, fill: MUTED }),
        )
      }
    })
    y += values.length * bar + 9
  }
  const heading = headline(title, width)
  return picture({ title, description, width, height: y + 8 }, heading + names.svg + parts.join(''))
}
