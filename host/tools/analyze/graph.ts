/**
 * The layer as a graph: every operation a node with its bytes, operations and bound, an arrow wherever a result goes. Rows are
 * the longest way from the input, so arrows point down; what skips many rows runs beside the others. Pure.
 *
 * Nodes can be reached with the keyboard and tell a screen reader all that they show.
 */
import { amount, duration, percent } from './amounts.ts'
import type { Operation } from './operation.ts'
import { colours, escapeHtml, picture, text } from './plot/svg.ts'
import type { OperationResult, PassResult } from './walk.ts'

const NODE = { width: 132, height: 60, gapX: 14, gapY: 20 }
/** Room at the sides for arrows that skip rows. */
const SIDE = 46

const boundColours = { memory: colours[1], compute: colours[0] } as const

interface Placed {
  name: string
  inputs: string[]
  result?: OperationResult
  x: number
  y: number
  row: number
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
  const { nodes, width, height } = place(
    operations.filter(({ name }) => results.has(name)),
    results,
  )
  const byName = new Map(nodes.map((node) => [node.name, node]))
  const most = Math.max(...pass.operations.map(({ seconds, count }) => seconds * count))
  const arrows = nodes.flatMap((node) =>
    node.inputs.flatMap((input) => {
      const from = byName.get(input)
      return from ? [arrow(from, node, width)] : []
    }),
  )
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
    ...arrows,
    ...nodes.map((node) => draw(node, most, pass.total.seconds, node.name === selected)),
  ]
  // A group of controls, not one picture: what is inside must be reachable.
  return picture({ title, description, width, height }, content.join('')).replace('role="img"', 'role="group"')
}

/** Rows from the top: the model's input, a layer, what follows it. */
function place(operations: Operation[], results: Map<string, OperationResult>) {
  const known = new Set(operations.map(({ name }) => name))
  const rows = new Map<string, number>()
  const first = operations.some(({ name }) => name === 'embed') ? 'embed' : 'input'
  const rowOf = (name: string): number => rows.get(name) ?? 0
  const list: { name: string; inputs: string[] }[] = []
  if (first === 'input') list.push({ name: 'input', inputs: [] })
  for (const { name, inputs } of operations) {
    const taken = inputs.map((input) => (input === 'input' ? first : nearestKnown(input, operations, known)))
    list.push({ name, inputs: [...new Set(taken)] })
  }
  for (const { name, inputs } of list) rows.set(name, inputs.length === 0 ? 0 : 1 + Math.max(...inputs.map(rowOf)))
  const depth = Math.max(...rows.values()) + 1
  const byRow = Array.from({ length: depth }, (_, row) => list.filter(({ name }) => rowOf(name) === row))
  const widest = Math.max(...byRow.map((row) => row.length))
  const width = 2 * SIDE + widest * NODE.width + (widest - 1) * NODE.gapX
  const nodes: Placed[] = byRow.flatMap((row, index) => {
    const taken = row.length * NODE.width + (row.length - 1) * NODE.gapX
    return row.map(({ name, inputs }, i) => ({
      name,
      inputs,
      ...(results.has(name) ? { result: results.get(name) as OperationResult } : {}),
      x: (width - taken) / 2 + i * (NODE.width + NODE.gapX),
      y: 60 + index * (NODE.height + NODE.gapY),
      row: index,
    }))
  })
  return { nodes, width, height: 60 + depth * (NODE.height + NODE.gapY) }
}

/** LLM-Viewer does not know some operations: what they take is passed on. */
function nearestKnown(name: string, operations: Operation[], known: Set<string>): string {
  if (known.has(name)) return name
  const behind = operations.findLast((operation) => known.has(operation.name) && /q.*_proj|embed/.test(operation.name))
  return behind?.name ?? name
}

function arrow(from: Placed, to: Placed, width: number): string {
  const [x0, y0] = [from.x + NODE.width / 2, from.y + NODE.height]
  const [x1, y1] = [to.x + NODE.width / 2, to.y - 2]
  const style = 'fill="none" stroke="var(--muted, #57606a)" stroke-width="1.2" marker-end="url(#tip)"'
  if (to.row - from.row <= 2) {
    const middle = (y0 + y1) / 2
    return `<path d="M${x0} ${y0}C${x0} ${middle} ${x1} ${middle} ${x1} ${y1}" ${style}/>`
  }
  // Past the others, on the side that is nearer.
  const isLeft = x0 <= width / 2
  const side = isLeft ? 16 : width - 16
  const [start, end] = [isLeft ? from.x : from.x + NODE.width, isLeft ? to.x - 2 : to.x + NODE.width + 2]
  const [ys, ye] = [from.y + NODE.height / 2, to.y + NODE.height / 2]
  return `<path d="M${start} ${ys}C${side} ${ys} ${side} ${ys} ${side} ${ys + 24}V${ye - 24}C${side} ${ye} ${side} ${ye} ${end} ${ye}" ${style}/>`
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
