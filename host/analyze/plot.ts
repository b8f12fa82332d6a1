/**
 * Plots as SVG text, in few lines of our own: lines, dots under a roof, and bars, with logarithmic axes. Pure.
 *
 * Colours are those of Okabe and Ito, which people with any kind of colour vision can tell apart; a line has a marker and a
 * dash of its own besides. Every plot carries a title and a description for screen readers, every mark a tooltip. Ink and
 * paper come from CSS variables where a page sets them, so that one plot suits light, dark and print.
 */

/** Okabe and Ito, "Color Universal Design" (2008): blue, vermilion, green, orange, purple, sky blue, black. */
export const colours = ['#0072b2', '#d55e00', '#009e73', '#e69f00', '#cc79a7', '#56b4e9', '#4d4d4d'] as const
const dashes = ['', '7 4', '2 3', '9 3 2 3', '4 2', '1 2', '12 4'] as const
const INK = 'var(--ink, #1f2328)'
const FAINT = 'var(--faint, #d8dee4)'
const MUTED = 'var(--muted, #57606a)'
const PAPER = 'var(--paper, #ffffff)'

export interface Point {
  x: number
  y: number
  /** Tooltip. */
  title?: string
}

export interface Axis {
  label: string
  isLog?: boolean
  /** Where ticks stand; default: round numbers. */
  ticks?: number[]
  format(n: number): string
  /** Range; default: that of the points. */
  min?: number
  max?: number
}

export interface LinePlot {
  title: string
  /** For who cannot see it: what is to be seen. */
  description: string
  x: Axis
  y: Axis
  series: { name: string; points: Point[] }[]
  width?: number
  height?: number
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
}

const round = (n: number) => String(Math.round(n * 10) / 10)

/** The frame of every plot: a picture with title and description, on paper of its own. */
export function picture(
  { title, description, width, height }: { title: string; description: string; width: number; height: number },
  content: string,
): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${round(height)}" role="img" aria-label="${escapeHtml(`${title}. ${description}`)}" font-family="system-ui, -apple-system, 'Segoe UI', sans-serif" font-size="13">`,
    `<title>${escapeHtml(title)}</title><desc>${escapeHtml(description)}</desc>`,
    `<rect width="${width}" height="${round(height)}" fill="${PAPER}"/>`,
    content,
    '</svg>\n',
  ].join('')
}

export function text(
  x: number,
  y: number,
  content: string,
  { anchor = 'start', size, fill = INK, weight, rotate }: TextOptions = {},
): string {
  const extra = [
    size ? ` font-size="${size}"` : '',
    weight ? ` font-weight="${weight}"` : '',
    rotate ? ` transform="rotate(${rotate} ${round(x)} ${round(y)})"` : '',
  ].join('')
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" fill="${fill}"${extra}>${escapeHtml(content)}</text>`
}

/** As large as it fits, within reason. */
function headline(title: string, width: number): string {
  return text(16, 24, title, {
    size: Math.max(11, Math.min(16, Math.floor((width - 24) / title.length / 0.56))),
    weight: 600,
  })
}

interface TextOptions {
  anchor?: 'start' | 'middle' | 'end'
  size?: number
  fill?: string
  weight?: number
  rotate?: number
}

/** One of seven shapes, so that colour is never alone. */
export function marker(which: number, x: number, y: number, fill: string, size = 4.5, title?: string): string {
  const shapes = [
    `<circle cx="${round(x)}" cy="${round(y)}" r="${size}"`,
    `<rect x="${round(x - size)}" y="${round(y - size)}" width="${2 * size}" height="${2 * size}"`,
    path(
      x,
      y,
      [
        [0, -1.3],
        [1.2, 0.9],
        [-1.2, 0.9],
      ],
      size,
    ),
    path(
      x,
      y,
      [
        [0, -1.35],
        [1.35, 0],
        [0, 1.35],
        [-1.35, 0],
      ],
      size,
    ),
    path(
      x,
      y,
      [
        [0, 1.3],
        [1.2, -0.9],
        [-1.2, -0.9],
      ],
      size,
    ),
    path(
      x,
      y,
      [
        [-1.3, -0.45],
        [-0.45, -0.45],
        [-0.45, -1.3],
        [0.45, -1.3],
        [0.45, -0.45],
        [1.3, -0.45],
        [1.3, 0.45],
        [0.45, 0.45],
        [0.45, 1.3],
        [-0.45, 1.3],
        [-0.45, 0.45],
        [-1.3, 0.45],
      ],
      size,
    ),
    path(
      x,
      y,
      [
        [-1.2, -0.5],
        [0, -1.2],
        [1.2, -0.5],
        [0.75, 1.1],
        [-0.75, 1.1],
      ],
      size,
    ),
  ]
  const shape = shapes[which % shapes.length]
  return `${shape} fill="${fill}" stroke="${PAPER}" stroke-width="1">${title ? `<title>${escapeHtml(title)}</title>` : ''}</${shape?.slice(1, shape.indexOf(' '))}>`
}

function path(x: number, y: number, corners: [number, number][], size: number): string {
  const points = corners.map(([dx, dy]) => `${round(x + dx * size)} ${round(y + dy * size)}`)
  return `<path d="M${points.join('L')}Z"`
}

/** Positions on an axis from `from` to `to`, with its range and ticks. */
class Scale {
  readonly min: number
  readonly max: number
  readonly ticks: number[]
  private readonly from: number
  private readonly to: number
  private readonly isLog: boolean

  constructor(axis: Axis, values: number[], from: number, to: number) {
    this.from = from
    this.to = to
    this.isLog = axis.isLog === true
    const low = Math.min(...values)
    const high = Math.max(...values)
    if (this.isLog) {
      this.min = axis.min ?? (axis.ticks ? low : 10 ** Math.floor(Math.log10(low)))
      this.max = axis.max ?? (axis.ticks ? high : 10 ** Math.ceil(Math.log10(high) - 1e-9))
      if (this.max <= this.min) this.max = this.min * 10
    } else {
      const step = niceStep((axis.max ?? high) - (axis.min ?? 0))
      this.min = axis.min ?? 0
      this.max = axis.max ?? Math.max(step, Math.ceil(high / step - 1e-9) * step)
    }
    this.ticks = (axis.ticks ?? this.roundTicks()).filter((n) => n >= this.min * 0.999 && n <= this.max * 1.001)
  }

  at(value: number): number {
    const share = this.isLog
      ? Math.log(value / this.min) / Math.log(this.max / this.min)
      : (value - this.min) / (this.max - this.min)
    return this.from + share * (this.to - this.from)
  }

  private roundTicks(): number[] {
    const ticks: number[] = []
    if (this.isLog) {
      const decades = Math.log10(this.max / this.min)
      const factor = 10 ** Math.max(1, Math.ceil(decades / 7))
      for (let n = this.min; n <= this.max * 1.001; n *= factor) ticks.push(n)
      return ticks
    }
    const step = niceStep(this.max - this.min)
    for (let i = 0; this.min + i * step <= this.max * 1.0001; i++) ticks.push(this.min + i * step)
    return ticks
  }
}

/** 1, 2 or 5 times a power of ten, for four to six ticks. */
function niceStep(range: number): number {
  if (!(range > 0)) return 1
  const power = 10 ** Math.floor(Math.log10(range / 4))
  return power * ([1, 2, 5].find((factor) => range / (power * factor) <= 6) ?? 10)
}

interface Area {
  left: number
  top: number
  right: number
  bottom: number
}

function axes(x: Axis, y: Axis, xs: Scale, ys: Scale, { left, top, right, bottom }: Area): string {
  const parts: string[] = []
  for (const tick of ys.ticks) {
    const at = ys.at(tick)
    parts.push(`<path d="M${left} ${round(at)}H${right}" stroke="${FAINT}"/>`)
    parts.push(text(left - 8, at + 4, y.format(tick), { anchor: 'end', fill: MUTED, size: 12 }))
  }
  for (const tick of xs.ticks) {
    const at = xs.at(tick)
    parts.push(`<path d="M${round(at)} ${bottom}v5" stroke="${MUTED}"/>`)
    parts.push(text(at, bottom + 20, x.format(tick), { anchor: 'middle', fill: MUTED, size: 12 }))
  }
  parts.push(`<path d="M${left} ${bottom}H${right}" stroke="${MUTED}"/>`)
  parts.push(text((left + right) / 2, bottom + 40, x.label, { anchor: 'middle', fill: MUTED }))
  parts.push(text(left, top - 12, y.label, { fill: MUTED }))
  return parts.join('')
}

/** Names of series in rows below the title; returns what it took. */
function legend(
  names: { name: string; draw(x: number, y: number): string }[],
  left: number,
  top: number,
  right: number,
) {
  const parts: string[] = []
  let [x, y] = [left, top]
  for (const { name, draw } of names) {
    const width = 40 + name.length * 7
    if (x + width > right && x > left) [x, y] = [left, y + 20]
    parts.push(draw(x, y - 4), text(x + 30, y, name))
    x += width + 12
  }
  return { svg: parts.join(''), height: names.length > 0 ? y - top + 24 : 0 }
}

export function linePlot({ title, description, x, y, series, width = 480, height = 340 }: LinePlot): string {
  const names = legend(
    series.map(({ name }, i) => ({ name, draw: (at: number, line: number) => lineSample(i, at, line) })),
    16,
    50,
    width - 12,
  )
  const area = { left: 70, top: 62 + names.height, right: width - 24, bottom: height - 52 }
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

export interface Dot extends Point {
  /** Beside the dot. */
  label?: string
  /** Index into `groups`: the colour. */
  group: number
  /** Index into `kinds`: the shape. */
  kind: number
}

export interface RoofPlot {
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
    ...placeLabels(
      together(dots, xs, ys),
      area,
      ceilings.map(({ name, value }) => ({
        x: area.right - 6.6 * name.length,
        y: ys.at(value) - 6,
        width: 6.6 * name.length,
      })),
    ),
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

/** Labels right of their dots, further down where one is in the way; too many at one place are left to tooltips. */
function placeLabels(
  labels: { x: number; y: number; text: string }[],
  { right, bottom }: Area,
  others: Box[],
): string[] {
  const taken = [...others]
  const parts: string[] = []
  for (const { x, y, text: content } of labels) {
    const width = content.length * 6.6
    const isLeft = x + 12 + width > right
    const left = isLeft ? x - 12 - width : x + 12
    const isFree = (line: number) =>
      line < bottom - 4 &&
      taken.every((other) => Math.abs(other.y - line) >= 14 || other.x > left + width || other.x + other.width < left)
    const line = [4, 19, 34, 49].map((down) => y + down).find(isFree)
    if (line === undefined) continue
    taken.push({ x: left, y: line, width })
    parts.push(text(left, line, content, { size: 12 }))
    if (line > y + 4)
      parts.push(
        `<path d="M${round(x)} ${round(y)}L${round(isLeft ? x - 8 : x + 8)} ${round(line - 4)}" stroke="${MUTED}" stroke-width="0.7"/>`,
      )
  }
  return parts
}

export interface BarPlot {
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
  const bar = series.length > 1 ? 12 : 16
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
