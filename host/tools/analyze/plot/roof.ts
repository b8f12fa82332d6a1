/** A roofline: operations as dots below what memory and arithmetic allow. */
import { type Area, type Axis, axes, legend, Scale } from './axes.ts'
import { boxOf, LABEL, placeLabel, type Segment, Space } from './labels.ts'
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

/** Room for the names of ceilings behind the last dot. */
const CEILING = 130

/** A roofline: dots by arithmetic intensity and performance, below what memory and arithmetic allow. */
export function roofPlot(plot: RoofPlot): string {
  const { title, description, slopes, ceilings, dots, groups, kinds, x, y, width = 480, height = 440 } = plot
  const samples = [
    ...slopes.map(({ name }, i) => ({
      name,
      draw: (at: number, line: number) => roofLine([at, line, at + 24, line], i),
    })),
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
  const last = Math.max(...dots.map((dot) => dot.x))
  const across = range([...dots.map((dot) => dot.x), ridge * 10])
  across.max = Math.max(across.max, last * (last / across.min) ** (CEILING / (area.right - area.left - CEILING)))
  const up = range([...dots.map((dot) => dot.y), roof])
  const xs = new Scale({ ...x, isLog: true, ticks: decades(across), ...across }, [], area.left, area.right)
  const ys = new Scale({ ...y, isLog: true, ticks: decades(up), ...up }, [], area.bottom, area.top)
  const lines = slopes.map(({ value }): Segment => {
    const start = Math.max(xs.min, ys.min / value)
    return [xs.at(start), ys.at(start * value), xs.at(roof / value), ys.at(roof)]
  })
  const widest = Math.max(...slopes.map(({ value }) => value))
  const tops = ceilings.map(({ value }): Segment => [xs.at(value / widest), ys.at(value), area.right, ys.at(value)])
  const space = new Space(area, [...lines, ...tops])
  for (const { x: at, y: high } of dots)
    space.takeMark({ left: xs.at(at) - 8, top: ys.at(high) - 8, right: xs.at(at) + 8, bottom: ys.at(high) + 8 })
  const parts = [
    ...lines.map(roofLine),
    ...tops.map((line) => roofLine(line, 0)),
    ...dots.map(({ x: at, y: high, title: tip, group, kind }) =>
      marker(kind, xs.at(at), ys.at(high), colours[group % colours.length] as string, 6, tip),
    ),
    ...ceilings.map(({ name }, i) => ceilingLabel(space, name, tops[i] as Segment, area)),
    ...together(dots, xs, ys).map((label) => placeLabel(space, label)),
  ]
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

/** The first line, of the peak, is whole, others are broken. */
function roofLine([x0, y0, x1, y1]: Segment, which: number): string {
  const dash = which > 0 ? ' stroke-dasharray="6 3"' : ''
  return `<path d="M${round(x0)} ${round(y0)}L${round(x1)} ${round(y1)}" stroke="${INK}" stroke-width="1.8" fill="none"${dash}/>`
}

/** A ceiling's name as far right as there is room, above its line or below. */
function ceilingLabel(space: Space, name: string, [x0, y]: Segment, { right }: Area): string {
  const width = name.length * LABEL.character
  for (let x = right - width; x >= x0 - width; x -= 10)
    for (const baseline of [y - LABEL.descent - 1, y + LABEL.ascent + 2]) {
      const box = boxOf(x, baseline, name)
      if (!space.isFree(box)) continue
      space.takeLabel(box)
      return text(x, baseline, name, { fill: MUTED, size: LABEL.size })
    }
  return ''
}
