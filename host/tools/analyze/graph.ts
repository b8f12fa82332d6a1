/**
 * The layer as a graph: every operation a node with its bytes, operations and bound, an arrow wherever a result goes. Steps are
 * the longest way from the input, so arrows point down. Two nodes stand in a row: all graphs are of one width, which a phone
 * has, and of one scale. An arrow past other nodes runs between the two columns, or at the side in a lane of its own. Pure.
 *
 * Nodes can be reached with the keyboard and tell a screen reader all that they show.
 */
import { amount, duration, percent } from './amounts.ts'
import type { Operation } from './operation.ts'
import { colours, escapeHtml, picture, text } from './plot/svg.ts'
import type { OperationResult, PassResult } from './walk.ts'

const NODE = { width: 132, height: 64, gapX: 16, gapY: 22 }
const COLUMNS = 2
/** Room at the sides for arrows past other nodes, and between their lanes. */
const SIDE = 38
const LANE = 9
const WIDTH = 2 * SIDE + COLUMNS * NODE.width + (COLUMNS - 1) * NODE.gapX
const CENTRE = WIDTH / 2
const TOP = 60

const boundColours = { memory: colours[1], compute: colours[0] } as const

interface Placed {
  name: string
  inputs: string[]
  result?: OperationResult
  x: number
  y: number
  row: number
  /** Alone in the middle, where no arrow can pass. */
  isCentred: boolean
}

/** `layers`: how many there are of each distinct one; `selected`: the operation that is shown as chosen. */
export function layerGraph(
  title: string,
  operations: readonly Operation[],
  pass: PassResult,
  layers: readonly number[],
  selected?: string,
): string {
  const results = new Map(pass.operations.map((result) => [result.name, result]))
  const { nodes, height } = place(
    operations.filter(({ name }) => results.has(name)),
    results,
  )
  const most = Math.max(...pass.operations.map(({ seconds, count }) => seconds * count))
  const description = `${nodes.length} operations; time together ${duration(pass.total.seconds)}`
  const head =
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8Z" fill="var(--muted, #57606a)"/></marker></defs>'
  const content = [
    head,
    text(16, 24, title, { size: 16, weight: 600 }),
    text(16, 44, `each layer × ${layers.join(' and ')}; the bar is the share of the time`, {
      fill: 'var(--muted, #57606a)',
      size: 12,
    }),
    ...drawArrows(nodes),
    ...nodes.map((node) => draw(node, most, pass.total.seconds, node.name === selected)),
  ]
  // A group of controls, not one picture: what is inside must be reachable.
  return picture({ title, description, width: WIDTH, height }, content.join('')).replace('role="img"', 'role="group"')
}

/** Rows from the top: the model's input, a layer, what follows it. */
function place(operations: Operation[], results: Map<string, OperationResult>) {
  const rows = steps(operations).flatMap((step) => {
    const isCentred = step.length === 1
    const count = Math.ceil(step.length / COLUMNS)
    return Array.from({ length: count }, (_, i) => ({ isCentred, own: step.slice(i * COLUMNS, (i + 1) * COLUMNS) }))
  })
  const nodes: Placed[] = rows.flatMap(({ isCentred, own }, row) =>
    own.map(({ name, inputs }, i) => ({
      name,
      inputs,
      ...(results.has(name) ? { result: results.get(name) as OperationResult } : {}),
      x: isCentred ? CENTRE - NODE.width / 2 : SIDE + i * (NODE.width + NODE.gapX),
      y: TOP + row * (NODE.height + NODE.gapY),
      row,
      isCentred,
    })),
  )
  return { nodes, height: TOP + rows.length * (NODE.height + NODE.gapY) }
}

/** Operations by their longest way from the input. */
function steps(operations: Operation[]): { name: string; inputs: string[] }[][] {
  const known = new Set(operations.map(({ name }) => name))
  const first = known.has('embed') ? 'embed' : 'input'
  const list: { name: string; inputs: string[] }[] = first === 'input' ? [{ name: 'input', inputs: [] }] : []
  for (const { name, inputs } of operations) {
    const taken = inputs.map((input) => (input === 'input' ? first : nearestKnown(input, operations, known)))
    list.push({ name, inputs: [...new Set(taken)] })
  }
  const stepOf = new Map<string, number>()
  for (const { name, inputs } of list)
    stepOf.set(name, inputs.length === 0 ? 0 : 1 + Math.max(...inputs.map((input) => stepOf.get(input) ?? 0)))
  const depth = Math.max(...stepOf.values()) + 1
  return Array.from({ length: depth }, (_, step) => list.filter(({ name }) => stepOf.get(name) === step))
}

/** LLM-Viewer does not know some operations: what they take is passed on. */
function nearestKnown(name: string, operations: Operation[], known: Set<string>): string {
  if (known.has(name)) return name
  const behind = operations.findLast((operation) => known.has(operation.name) && /q.*_proj|embed/.test(operation.name))
  return behind?.name ?? name
}

function drawArrows(nodes: Placed[]): string[] {
  const byName = new Map(nodes.map((node) => [node.name, node]))
  const isBlocked = (row: number) => nodes.some((node) => node.row === row && node.isCentred)
  // The lowest row that each lane is taken to, at the left and at the right.
  const lanes = { left: [] as number[], right: [] as number[] }
  return nodes.flatMap((to) =>
    to.inputs.flatMap((input) => {
      const from = byName.get(input)
      if (!from) return []
      const between = Array.from({ length: to.row - from.row - 1 }, (_, i) => from.row + 1 + i)
      return [between.some(isBlocked) ? sideArrow(from, to, lanes) : arrow(from, to)]
    }),
  )
}

const line = (path: string) =>
  `<path d="${path}" fill="none" stroke="var(--muted, #57606a)" stroke-width="1.2" marker-end="url(#tip)"/>`

/** To the next row, or between the columns of those that lie in between. */
function arrow(from: Placed, to: Placed): string {
  const [x0, y0] = [from.x + NODE.width / 2, from.y + NODE.height]
  const [x1, y1] = [to.x + NODE.width / 2, to.y - 2]
  const bend = NODE.gapY / 2
  if (to.row - from.row === 1) return line(`M${x0} ${y0}C${x0} ${y0 + bend} ${x1} ${y1 - bend} ${x1} ${y1}`)
  const [down, up] = [y0 + NODE.gapY, y1 - NODE.gapY]
  return line(
    `M${x0} ${y0}C${x0} ${y0 + bend} ${CENTRE} ${y0 + bend} ${CENTRE} ${down}V${up}C${CENTRE} ${y1 - bend} ${x1} ${y1 - bend} ${x1} ${y1}`,
  )
}

/** Past the others at the nearer side, in the first lane that is free. */
function sideArrow(from: Placed, to: Placed, lanes: { left: number[]; right: number[] }): string {
  const isLeft = from.x + NODE.width / 2 <= CENTRE
  const taken = isLeft ? lanes.left : lanes.right
  const found = taken.findIndex((end) => end < from.row)
  const lane = found < 0 ? taken.length : found
  taken[lane] = to.row
  const inset = Math.max(4, SIDE - 12 - lane * LANE)
  const side = isLeft ? inset : WIDTH - inset
  const [start, end] = [isLeft ? from.x : from.x + NODE.width, isLeft ? to.x - 2 : to.x + NODE.width + 2]
  const [y0, y1] = [from.y + NODE.height / 2, to.y + NODE.height / 2]
  return line(
    `M${start} ${y0}C${side} ${y0} ${side} ${y0} ${side} ${y0 + 24}V${y1 - 24}C${side} ${y1} ${side} ${y1} ${end} ${y1}`,
  )
}

function draw({ name, result, x, y }: Placed, most: number, total: number, isSelected: boolean): string {
  const box = (extra: string) =>
    `<rect x="${x}" y="${y}" width="${NODE.width}" height="${NODE.height}" rx="7" fill="var(--paper, #fff)" stroke="var(--faint, #d8dee4)" ${extra}/>`
  if (!result) return `<g>${box('')}${text(x + NODE.width / 2, y + 36, name, { anchor: 'middle', weight: 600 })}</g>`
  const { operations, bytes, bound, seconds, count } = result
  const share = (seconds * count) / total
  const label = `${name}: ${amount(operations, 'operations', 3)}, ${amount(bytes, 'bytes', 3)}, bound by ${bound}, ${percent(share)} of the time`
  const length = Math.max(2, ((NODE.width - 16) * seconds * count) / most)
  return [
    `<g tabindex="0" role="button" data-op="${escapeHtml(name)}" aria-pressed="${isSelected}" aria-label="${escapeHtml(label)}"><title>${escapeHtml(label)}</title>`,
    box(isSelected ? 'style="stroke: var(--accent, #0072b2); stroke-width: 2.5"' : ''),
    `<rect x="${x}" y="${y + 8}" width="4" height="${NODE.height - 16}" fill="${boundColours[bound]}"/>`,
    text(x + 12, y + 18, name, { weight: 600, size: 12 }),
    text(x + 12, y + 33, `${amount(operations, 'OP', 3)} · ${amount(bytes, 'B', 3)}`, { size: 11 }),
    text(x + 12, y + 47, bound, { size: 11, fill: 'var(--muted, #57606a)' }),
    `<rect x="${x + 8}" y="${y + NODE.height - 9}" width="${Math.round(length)}" height="4" rx="2" fill="${boundColours[bound]}"/>`,
    '</g>',
  ].join('')
}
