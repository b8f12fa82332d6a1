/** Lines over an axis. */
import { type Axis, axes, legend, Scale } from './axes.ts'
import { colours, dashes, headline, marker, picture, round } from './svg.ts'

export interface Point {
  x: number
  y: number
  /** Tooltip. */
  title?: string
}

interface LinePlot {
  title: string
  /** What the plot shows, for screen readers. */
  description: string
  x: Axis
  y: Axis
  series: { name: string; points: Point[] }[]
  width?: number
  height?: number
}

export function linePlot({ title, description, x, y, series, width = 480, height = 340 }: LinePlot): string {
  const names = legend(
    series.map(({ name }, i) => ({ name, draw: (at: number, line: number) => lineSample(i, at, line) })),
    16,
    50,
    width - 12,
  )
  const area = { left: 70, top: 62 + names.height, right: width - 30, bottom: height - 52 }
  const points = series.flatMap((one) => one.points)
  const xs = new Scale(
    x,
    points.map((point) => point.x),
    area.left,
    area.right,
  )
  const ys = new Scale(
    y,
    points.map((point) => point.y),
    area.bottom,
    area.top,
  )
  const lines = series.map(({ name, points: own }, i) => {
    const d = own.map((point) => `${round(xs.at(point.x))} ${round(ys.at(point.y))}`).join('L')
    const marks = own.map((point) => {
      const tip = `${name}: ${x.format(point.x)}, ${point.title ?? y.format(point.y)}`
      return marker(i, xs.at(point.x), ys.at(point.y), colours[i % colours.length] as string, 4.5, tip)
    })
    const stroke = `stroke="${colours[i % colours.length]}" stroke-width="2.2" stroke-dasharray="${dashes[i % dashes.length]}"`
    return `<path d="M${d}" fill="none" ${stroke} stroke-linejoin="round"/>${marks.join('')}`
  })
  const heading = headline(title, width)
  return picture({ title, description, width, height }, heading + names.svg + axes(x, y, xs, ys, area) + lines.join(''))
}

function lineSample(i: number, x: number, y: number): string {
  const colour = colours[i % colours.length] as string
  return `<path d="M${x} ${y}h24" stroke="${colour}" stroke-width="2.2" stroke-dasharray="${dashes[i % dashes.length]}"/>${marker(i, x + 12, y, colour)}`
}
