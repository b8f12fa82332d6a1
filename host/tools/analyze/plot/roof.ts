/** A roofline: operations as dots below what memory and arithmetic allow. */
import { type Area, type Axis, axes, legend, Scale } from './axes.ts'
import type { Point } from './lines.ts'
import { colours, headline, INK, MUTED, marker, picture, round, text } from './svg.ts'

export interface Dot extends Point {
  /** Beside the dot. */
  label?: string
  /** Index into `groups`: the colour. */
  group: number
  /** Index into `kinds`: the shape. */
  kind: number
}

interface RoofPlot {
  title: string
  description: string
  /** Bytes per second: the slopes; operations per second: the ceilings. */
  slopes: { name: string; value: number }[]
  ceilings: { name: string; value: number }[]
  dots: Dot[]
  groups: string[]
  kinds: string[]
  x: Axis
  y: Axis
  width?: number
  height?: number
}

/** A roofline: dots by arithmetic intensity and performance, below what memory and arithmetic allow. */
export function roofPlot(plot: RoofPlot): string {
  const { title, description, slopes, ceilings, dots, groups, kinds, x, y, width = 480, height = 420 } = plot
  const samples = [
    ...groups.map((name, i) => ({
      name,
      draw: (at: number, line: number) => marker(0, at + 12, line, colours[i % colours.length] as string, 6),
    })),
    ...(kinds.length > 1 ? kinds : []).map((name, i) => ({
      name,
      draw: (at: number, line: number) => marker(i, at + 12, line, MUTED, 5),
    })),
  ]
  const names = legend(samples, 16, 50, width - 12)
  const area = { left: 78, top: 62 + names.height, right: width - 20, bottom: height - 52 }
  const roof = Math.max(...ceilings.map(({ value }) => value))
  const ridge = Math.max(...slopes.map(({ value }) => roof / value))
  const range = (values: number[]) => ({ min: Math.min(...values) / 1.6, max: Math.max(...values) * 1.9 })
  const across = range([...dots.map((dot) => dot.x), ridge * 10])
  const up = range([...dots.map((dot) => dot.y), roof])
  const xs = new Scale({ ...x, isLog: true, ticks: decades(across), ...across }, [], area.left, area.right)
  const ys = new Scale({ ...y, isLog: true, ticks: decades(up), ...up }, [], area.bottom, area.top)
  const parts: string[] = []
  slopes.forEach(({ name, value }, i) => {
    const start = Math.max(xs.min, ys.min / value)
    const end = roof / value
    parts.push(roofLine(xs.at(start), ys.at(start * value), xs.at(end), ys.at(roof)))
    // Along the line, the first one above it, others below.
    const [x0, y0] = [xs.at(start), ys.at(start * value)]
    const [width0, height0] = [xs.at(end) - x0, ys.at(roof) - y0]
    const rotate = Number(((Math.atan2(height0, width0) * 180) / Math.PI).toFixed(1))
    const aside = (i === 0 ? -7 : 15) / Math.hypot(width0, height0)
    const [x1, y1] = [x0 + 0.35 * width0 - aside * height0, y0 + 0.35 * height0 + aside * width0]
    parts.push(text(x1, y1, name, { anchor: 'middle', fill: MUTED, size: 12, rotate }))
  })
  const widest = Math.max(...slopes.map(({ value }) => value))
  for (const { name, value } of ceilings) {
    parts.push(roofLine(xs.at(value / widest), ys.at(value), area.right, ys.at(value)))
    parts.push(text(area.right - 4, ys.at(value) - 6, name, { anchor: 'end', fill: MUTED, size: 12 }))
  }
  for (const { x: at, y: high, title: tip, group, kind } of dots)
    parts.push(marker(kind, xs.at(at), ys.at(high), colours[group % colours.length] as string, 6, tip))
  parts.push(
    ...placeLabels(together(dots, xs, ys), area, [
      ...ceilings.map(({ name, value }) => ({
        x: area.right - 6.6 * name.length,
        y: ys.at(value) - 6,
        width: 6.6 * name.length,
      })),
      ...dots.map((dot) => ({ x: xs.at(dot.x) - 6, y: ys.at(dot.y) + 4, width: 12 })),
    ]),
  )
  const heading = headline(title, width)
  return picture({ title, description, width, height }, heading + names.svg + axes(x, y, xs, ys, area) + parts.join(''))
}

function decades({ min, max }: { min: number; max: number }): number[] {
  const first = Math.ceil(Math.log10(min))
  return Array.from({ length: Math.floor(Math.log10(max)) - first + 1 }, (_, i) => 10 ** (first + i))
}

/** Dots that lie on each other share a label: the last drawn one's, and how many others there are. */
function together(dots: Dot[], xs: Scale, ys: Scale): { x: number; y: number; text: string }[] {
  const places: { x: number; y: number; names: Set<string> }[] = []
  for (const dot of dots.toReversed()) {
    if (!dot.label) continue
    const [x, y] = [xs.at(dot.x), ys.at(dot.y)]
    const found = places.find((place) => Math.hypot(place.x - x, place.y - y) < 16)
    if (found) found.names.add(dot.label)
    else places.push({ x, y, names: new Set([dot.label]) })
  }
  return places.map(({ x, y, names }) => ({
    x,
    y,
    text: [...names][0] + (names.size > 1 ? ` +${names.size - 1}` : ''),
  }))
}

function roofLine(x0: number, y0: number, x1: number, y1: number): string {
  return `<path d="M${round(x0)} ${round(y0)}L${round(x1)} ${round(y1)}" stroke="${INK}" stroke-width="1.8" fill="none"/>`
}

/** Where a label begins and how wide it is. */
interface Box {
  x: number
  y: number
  width: number
}

/** Labels beside their dots, further down where something is in the way; too many at one place are left to tooltips. */
function placeLabels(
  labels: { x: number; y: number; text: string }[],
  { right, bottom }: Area,
  others: Box[],
): string[] {
  const taken = [...others]
  const parts: string[] = []
  for (const { x, y, text: content } of labels) {
    const width = content.length * 6.6
    const isFree = (left: number, line: number) =>
      left + width <= right &&
      line < bottom - 4 &&
      taken.every((other) => Math.abs(other.y - line) >= 13 || other.x > left + width || other.x + other.width < left)
    const places = [4, 19, 34, 49, 64].flatMap((down) =>
      [x + 12, x - 12 - width].map((left) => ({ left, line: y + down })),
    )
    const found = places.find(({ left, line }) => isFree(left, line))
    if (!found) continue
    const { left, line } = found
    taken.push({ x: left, y: line, width })
    parts.push(text(left, line, content, { size: 12 }))
    if (line > y + 4)
      parts.push(
        `<path d="M${round(x)} ${round(y)}L${round(left < x ? x - 8 : x + 8)} ${round(line - 4)}" stroke="${MUTED}" stroke-width="0.7"/>`,
      )
  }
  return parts
}
