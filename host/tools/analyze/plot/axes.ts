/** Axes, linear and logarithmic, with round ticks; and the legend. */
import { FAINT, MUTED, round, text } from './svg.ts'

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

/** Positions on an axis from `from` to `to`, with its range and ticks. */
export class Scale {
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

export interface Area {
  left: number
  top: number
  right: number
  bottom: number
}

export function axes(x: Axis, y: Axis, xs: Scale, ys: Scale, { left, top, right, bottom }: Area): string {
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
export function legend(
  names: { name: string; draw(x: number, y: number): string }[],
  left: number,
  top: number,
  right: number,
) {
  const parts: string[] = []
  let [x, y] = [left, top]
  for (const { name, draw } of names) {
    const width = 34 + name.length * 8
    if (x + width > right && x > left) [x, y] = [left, y + 20]
    parts.push(draw(x, y - 4), text(x + 30, y, name))
    x += width + 12
  }
  return { svg: parts.join(''), height: names.length > 0 ? y - top + 24 : 0 }
}
