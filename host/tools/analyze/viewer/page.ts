/**
 * The viewer's page: reads the settings, runs the analyzer right here, draws. The settings live in the address, so that a view
 * can be kept and sent. Bundled for browsers; everything that it imports is pure.
 */
import { countedLayers, describe } from '../../../../models/index.ts'
import { amount, duration, exactly, percent } from '../amounts.ts'
import { Analysis, type AnalyzeSettings } from '../analyze.ts'
import {
  contextChart,
  type Entry,
  memoryBoundShare,
  memoryChart,
  operationsChart,
  rooflineChart,
  tokensPerSecond,
} from '../charts.ts'
import { compareAll, comparisonSentences, conversationsIn } from '../compare.ts'
import { layerGraph } from '../graph.ts'
import type { Hardware } from '../hardware.ts'
import { escapeHtml } from '../plot/svg.ts'
import { operationsTable, table } from '../report.ts'
import type { Stage } from '../walk.ts'

interface Data {
  models: Record<string, unknown>
  hardware: Hardware[]
}

const NONE = 'nothing'
const form = document.querySelector('form') as HTMLFormElement
const place = (id: string) => document.getElementById(id) as HTMLElement
const field = (name: string) => form.elements.namedItem(name) as HTMLInputElement
const problem = document.querySelector('.problem') as HTMLElement
let selected = 'fused_attention'

const data: Data = await (await fetch('/data.json')).json()
fillChoices()
restore()
form.addEventListener('input', (event) => {
  if ((event.target as HTMLInputElement).name === 'doubling')
    field('seqlen').value = String(2 ** Number(field('doubling').value))
  else if ((event.target as HTMLInputElement).name === 'seqlen') syncDoubling()
  render()
})
form.addEventListener('submit', (event) => event.preventDefault())
addEventListener('hashchange', () => {
  restore()
  render()
})
place('graphs').addEventListener('click', (event) => select((event.target as Element).closest('[data-op]')))
place('graphs').addEventListener('keydown', (event) => {
  const node = (event.target as Element).closest('[data-op]')
  if (!node || (event.key !== 'Enter' && event.key !== ' ')) return
  event.preventDefault()
  select(node)
})
render()
document.documentElement.dataset.ready = 'yes'

function fillChoices(): void {
  const option = (value: string, label = value) => `<option value="${escapeHtml(value)}">${escapeHtml(label)}</option>`
  const names = Object.keys(data.models)
  field('a').innerHTML = names.map((name) => option(name)).join('')
  field('b').innerHTML = [NONE, ...names].map((name) => option(name)).join('')
  field('b').value = names[1] ?? NONE
  field('hardware').innerHTML = data.hardware.map(({ name, title }) => option(name, `${title} (${name})`)).join('')
}

/** Settings from the address; what is no choice is left as it is. */
function restore(): void {
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const found = form.elements.namedItem(name)
    if (found instanceof RadioNodeList) found.value = value
    else if (found instanceof HTMLSelectElement) {
      if ([...found.options].some((choice) => choice.value === value)) found.value = value
    } else if (found instanceof HTMLInputElement && found.type === 'checkbox') found.checked = value === 'on'
    else if (found instanceof HTMLInputElement) found.value = value
  }
  syncDoubling()
}

function syncDoubling(): void {
  field('doubling').value = String(Math.round(Math.log2(Number(field('seqlen').value) || 1)))
}

function remember(): void {
  const entries = [...new FormData(form)].filter(([name]) => name !== 'doubling') as [string, string][]
  history.replaceState(null, '', `#${new URLSearchParams(entries)}`)
}

function whole(name: string, least: number, most: number): number {
  const value = Number(field(name).value)
  if (!Number.isInteger(value) || value < least || value > most)
    throw new RangeError(`${name === 'seqlen' ? 'context' : name} must be a whole number from ${least} to ${most}`)
  return value
}

function readSettings(): AnalyzeSettings {
  const formats = field('formats').value
  const isPlain = formats === 'bits' || formats === 'llm-viewer'
  for (const name of ['w', 'act', 'kv', 'flash']) field(name).disabled = !isPlain
  if (formats === 'q8' || formats === 'q4' || formats === 'f32') return { type: formats }
  const widths = { weights: whole('w', 1, 32), activations: whole('act', 1, 32), cache: whole('kv', 1, 32) }
  return { mode: formats === 'bits' ? 'exact' : 'llm-viewer', widths, flash: field('flash').checked }
}

function render(): void {
  try {
    const settings = readSettings()
    const [batch, seqlen] = [whole('batch', 1, 4096), whole('seqlen', 1, 2 ** 24)]
    const stage = (new FormData(form).get('stage') ?? 'decode') as Stage
    const hardware = data.hardware.find(({ name }) => name === field('hardware').value) as Hardware
    const names = [field('a').value, field('b').value].filter(
      (name, i, all) => name !== NONE && all.indexOf(name) === i,
    )
    const entries = names.map((name) => ({
      name,
      analysis: new Analysis(describe(data.models[name]), hardware, settings),
    }))
    show(entries, stage, batch, seqlen)
    problem.textContent = ''
    remember()
  } catch (error) {
    // What was there stays to be seen.
    problem.textContent = (error as Error).message
  }
}

function show(entries: Entry[], stage: Stage, batch: number, seqlen: number): void {
  place('summary').innerHTML = summary(entries, stage, batch, seqlen)
  place('sentences').innerHTML = sentences(entries, batch, seqlen)
  const longest = Math.max(8192, 4 * seqlen)
  drawGraphs(entries, stage, batch, seqlen)
  const plots = [
    rooflineChart(entries, stage, batch, seqlen),
    operationsChart(entries, stage, batch, seqlen),
    contextChart(entries, stage, batch, longest),
    memoryChart(entries, batch, longest),
  ]
  place('plots').innerHTML = plots.map((svg) => `<figure>${svg}</figure>`).join('')
  place('tables').innerHTML = entries.map((entry) => operationsTable(entry, stage, batch, seqlen)).join('')
}

let drawn: { entries: Entry[]; stage: Stage; batch: number; seqlen: number } | undefined

function drawGraphs(entries: Entry[], stage: Stage, batch: number, seqlen: number): void {
  drawn = { entries, stage, batch, seqlen }
  place('graphs').innerHTML = entries
    .map(({ name, analysis }) => {
      const counts = countedLayers(analysis.model.spec).map(({ count }) => count)
      const svg = layerGraph(name, analysis.operations, analysis.pass(stage, batch, seqlen), counts, selected)
      return `<figure>${svg}</figure>`
    })
    .join('')
  place('detail').innerHTML = detail(entries, stage, batch, seqlen)
}

function select(node: Element | null): void {
  if (!(node instanceof SVGElement) || !drawn) return
  selected = node.dataset.op ?? selected
  const figure = [...place('graphs').children].indexOf(node.closest('figure') as Element)
  drawGraphs(drawn.entries, drawn.stage, drawn.batch, drawn.seqlen)
  // The node was drawn anew: the focus goes where it was.
  const again = place('graphs').children[figure]?.querySelector(`[data-op="${CSS.escape(selected)}"]`)
  if (again instanceof SVGElement) again.focus()
}

function detail(entries: Entry[], stage: Stage, batch: number, seqlen: number): string {
  const found = entries.flatMap(({ name, analysis }) => {
    const one = analysis.pass(stage, batch, seqlen).operations.find((operation) => operation.name === selected)
    return one ? [{ name, one }] : []
  })
  if (found.length === 0) return ''
  const row = (what: string, value: (one: (typeof found)[number]['one']) => string) => [
    what,
    ...found.map(({ one }) => value(one)),
  ]
  return table(
    `${selected}, once`,
    ['', ...found.map(({ name }) => name)],
    [
      row('done', ({ count }) => `${count} ×`),
      row('operations', ({ operations }) => amount(operations, 'OP')),
      row('multiply-adds', ({ macs }) => amount(macs, '')),
      row('weights', ({ weights }) => amount(weights, 'B')),
      row('read', ({ loads }) => amount(loads, 'B')),
      row('written', ({ stores }) => amount(stores, 'B')),
      row('cache read', ({ cacheReads }) => amount(cacheReads, 'B')),
      row('cache written', ({ cacheWrites }) => amount(cacheWrites, 'B')),
      row('OP/byte', ({ intensity }) => `${intensity.toPrecision(3)}`),
      row('bound', ({ bound }) => bound),
      row('time', ({ seconds }) => duration(seconds)),
    ],
  )
}

function summary(entries: Entry[], stage: Stage, batch: number, seqlen: number): string {
  const passes = entries.map(({ analysis }) => ({ analysis, pass: analysis.pass(stage, batch, seqlen) }))
  const row = (what: string, value: (one: (typeof passes)[number]) => string) => [what, ...passes.map(value)]
  return table(
    `${stage}, batch ${batch}, ${exactly(seqlen)} tokens`,
    ['', ...entries.map(({ name }) => name)],
    [
      row('time', ({ pass }) => duration(pass.total.seconds)),
      row('tokens per second', ({ pass }) => amount(tokensPerSecond(pass), '', 3)),
      row('operations', ({ pass }) => amount(pass.total.operations, 'OP', 3)),
      row('bytes', ({ pass }) => amount(pass.total.bytes, 'B', 3)),
      row('bound by memory', ({ pass }) => percent(memoryBoundShare(pass))),
      row('memory: weights', ({ analysis, pass }) => amount(analysis.memory(pass).weights, 'B', 3)),
      row('memory: cache', ({ analysis, pass }) => amount(analysis.memory(pass).cache, 'B', 3)),
    ],
  )
}

function sentences(entries: Entry[], batch: number, seqlen: number): string {
  const lines = compareAll(
    entries.map(({ analysis }) => analysis),
    batch,
  ).flatMap((comparison) =>
    comparisonSentences(
      comparison,
      entries.map(({ name }) => name),
    ),
  )
  const memory = entries[0]?.analysis.hardware.memory?.value
  if (memory !== undefined) {
    const rooms = entries.map(
      ({ name, analysis }) => `${name} ${conversationsIn(analysis, memory, seqlen).toLocaleString('en')}`,
    )
    lines.push(
      `conversations of ${seqlen.toLocaleString('en')} tokens that fit in ${amount(memory, 'B', 3)}: ${rooms.join(', ')}`,
    )
  }
  return `<ul>${lines.map((line) => `<li>${escapeHtml(line)}</li>`).join('')}</ul>`
}
