/** Labels that stand on nothing: neither on each other nor on marks and lines. */
import type { Area } from './axes.ts'
import { MUTED, round, text } from './svg.ts'

/** Of a label: a little more than browsers' fonts need. */
export const LABEL = { size: 12, character: 7.4, ascent: 12, descent: 4 }

export interface Box {
  left: number
  top: number
  right: number
  bottom: number
}

/** From a point to another one. */
export type Segment = readonly [x0: number, y0: number, x1: number, y1: number]

/** What is drawn already. */
export class Space {
  private readonly area: Area
  private readonly boxes: Box[] = []
  private readonly labels: Box[] = []
  private readonly segments: Segment[]

  constructor(area: Area, segments: Segment[]) {
    this.area = area
    this.segments = segments
  }

  takeMark(box: Box): void {
    this.boxes.push(box)
  }

  takeLabel(box: Box): void {
    this.boxes.push(box)
    this.labels.push(box)
  }

  /** Whether a line would run through no label; over other lines and past marks it may. */
  isClear(segment: Segment): boolean {
    return !this.labels.some((label) => crosses(segment, label))
  }

  isFree(box: Box): boolean {
    const { left, top, right, bottom } = this.area
    if (box.left < left || box.right > right || box.top < top || box.bottom > bottom) return false
    if (this.boxes.some((other) => overlaps(box, other))) return false
    return !this.segments.some((segment) => crosses(segment, box))
  }
}

export function boxOf(x: number, baseline: number, content: string): Box {
  const width = content.length * LABEL.character
  return { left: x, top: baseline - LABEL.ascent, right: x + width, bottom: baseline + LABEL.descent }
}

function overlaps(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom
}

/** The share of a segment at which it enters a box, after Liang and Barsky; undefined if it passes. */
function entryOf([x0, y0, x1, y1]: Segment, { left, top, right, bottom }: Box): number | undefined {
  let [from, to] = [0, 1]
  // biome-ignore format: a table
  for (const [start, delta, low, high] of [[x0, x1 - x0, left, right], [y0, y1 - y0, top, bottom]] as const) {
    if (delta === 0 && (start < low || start > high)) return undefined
    if (delta === 0) continue
    const [a, b] = [(low - start) / delta, (high - start) / delta]
    from = Math.max(from, Math.min(a, b))
    to = Math.min(to, Math.max(a, b))
  }
  return from <= to ? from : undefined
}

const crosses = (segment: Segment, box: Box): boolean => entryOf(segment, box) !== undefined

/** Distances from a mark at which there may be room for its label, and the directions: right, left, below, above. */
const DISTANCES = [12, 20, 30, 42, 56, 72, 90, 110]
const DIRECTIONS = [0, 180, 90, -90, 30, 150, -30, -150, 60, 120, -60, -120]

/** A label near its mark, with a line to it from further away; nothing where there is no room, as marks have tooltips. */
export function placeLabel(space: Space, mark: { x: number; y: number; text: string }): string {
  const width = mark.text.length * LABEL.character
  const middle = (LABEL.ascent - LABEL.descent) / 2
  for (const distance of DISTANCES)
    for (const degrees of DIRECTIONS) {
      const angle = (degrees * Math.PI) / 180
      const [x, y] = [mark.x + distance * Math.cos(angle), mark.y + distance * Math.sin(angle)]
      const across = Math.cos(angle)
      const left = Math.abs(across) < 0.1 ? x - width / 2 : across > 0 ? x : x - width
      const baseline = y + middle
      const box = boxOf(left, baseline, mark.text)
      if (!space.isFree(box) || !space.isClear([mark.x, mark.y, x, y])) continue
      space.takeLabel(box)
      // As far as the label, not into it.
      const share = entryOf([mark.x, mark.y, x, y], box) ?? 1
      const [endX, endY] = [mark.x + share * (x - mark.x), mark.y + share * (y - mark.y)]
      const line = `<path d="M${round(mark.x)} ${round(mark.y)}L${round(endX)} ${round(endY)}" stroke="${MUTED}" stroke-width="0.7"/>`
      const leader = distance > 20 ? line : ''
      return leader + text(left, baseline, mark.text, { size: LABEL.size })
    }
  return ''
}
