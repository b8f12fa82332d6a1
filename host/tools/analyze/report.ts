/** The report: one page without scripts and without a network, readable on a phone and on paper. */
import { amount, duration, exactly, percent } from './amounts.ts'
import {
  contextChart,
  type Entry,
  memoryBoundShare,
  memoryChart,
  operationsChart,
  rooflineChart,
  tokensPerSecond,
} from './charts.ts'
import { compareAll, comparisonSentences, conversationsIn } from './compare.ts'
import { type Explanation, explanationChart, explanationRows } from './explain.ts'
import { fillPage } from './fill-page.ts'
import { escapeHtml } from './plot/svg.ts'
import { reportPage, styles } from './texts.ts'
import type { Stage } from './walk.ts'

export interface ReportInput {
  entries: Entry[]
  batches: number[]
  seqlens: number[]
  stages: readonly Stage[]
  /** From `gta bench --explain`. */
  explanations?: Explanation[]
  /** HTML of what was measured, before all that is predicted. */
  measured?: string
}

/** One picture: the roofline of every stage, batch and length, one below the other. */
export function renderRooflines({ entries, batches, seqlens, stages }: ReportInput): string {
  const width = 480
  let y = 0
  const pictures = groupByHardware(entries)
    .flatMap((here) => everyCase(batches, seqlens, stages).map((one) => rooflineChart(here, ...one, width)))
    .map((svg) => {
      const height = Number(/viewBox="0 0 \d+ ([\d.]+)"/.exec(svg)?.[1])
      const placed = svg.replace('<svg ', `<svg y="${y}" width="${width}" height="${height}" `)
      y += height
      return placed
    })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" height="${y}">${pictures.join('')}</svg>\n`
}

type Case = [stage: Stage, batch: number, seqlen: number]

function everyCase(batches: number[], seqlens: number[], stages: readonly Stage[]): Case[] {
  return batches.flatMap((batch) => seqlens.flatMap((seqlen) => stages.map((stage): Case => [stage, batch, seqlen])))
}

export function renderReport(input: ReportInput): string {
  const { entries, batches, seqlens, stages, explanations = [], measured = '' } = input
  const names = [...new Set(entries.map(({ name }) => name))].join(', ')
  const devices = groupByHardware(entries)
  const sections = devices.map((here) => deviceSection(here, batches, seqlens, stages, devices.length > 1))
  const body = [
    `<header><h1>${escapeHtml(names)}</h1><p>${escapeHtml(subtitle(devices))}</p></header>`,
    measured,
    explanations.length > 0 ? explanationSection(explanations) : '',
    ...sections,
    `<footer><p>Made by <code>gta ${measured ? 'bench' : 'analyze'}</code>. A roofline is what a device allows, not what a program reaches; figures of this machine are predictions from what was measured on it. A dot above the slope reads what the processor’s caches still hold.</p></footer>`,
  ]
  return page(`gta ${measured ? 'bench' : 'analyze'}: ${names}`, body.join('\n'))
}

function groupByHardware(entries: Entry[]): Entry[][] {
  const devices = [...new Set(entries.map(({ analysis }) => analysis.hardware))]
  return devices.map((device) => entries.filter(({ analysis }) => analysis.hardware === device))
}

function subtitle(devices: Entry[][]): string {
  const [first] = devices.flat() as [Entry, ...Entry[]]
  const { formats, mode } = first.analysis
  const widths =
    formats.is === 'engine'
      ? `${formats.type} weights, ${formats.cache} cache`
      : `weights ${formats.widths.weights}, activations ${formats.widths.activations}, cache ${formats.widths.cache} bits`
  const where = devices.map((here) => here[0]?.analysis.hardware.title).join(', ')
  return `on ${where} · ${widths} · ${mode === 'exact' ? 'exact counts' : "LLM-Viewer's formulas"}`
}

function deviceSection(
  here: Entry[],
  batches: number[],
  seqlens: number[],
  stages: readonly Stage[],
  hasHeading: boolean,
): string {
  const { hardware } = (here[0] as Entry).analysis
  const longest = Math.max(8192, 4 * Math.max(...seqlens))
  const plots = (charts: string[]) =>
    `<div class="plots">${charts.map((svg) => `<figure>${svg}</figure>`).join('')}</div>`
  const cases = everyCase(batches, seqlens, stages)
  return [
    `<section>`,
    hasHeading ? `<h2>${escapeHtml(`${hardware.title} (${hardware.name})`)}</h2>` : '',
    summary(here, batches, seqlens, stages),
    here.length > 1 ? sentences(here, batches, seqlens) : '',
    plots(cases.flatMap((one) => [rooflineChart(here, ...one), operationsChart(here, ...one)])),
    plots(
      batches.flatMap((batch) => [
        ...stages.map((stage) => contextChart(here, stage, batch, longest)),
        memoryChart(here, batch, longest),
      ]),
    ),
    ...here.flatMap((entry) => cases.map((one) => operationsTable(entry, ...one))),
    sources(here[0] as Entry),
    '</section>',
  ].join('\n')
}

/** HTML; `names` of columns, of which the first one is text. */
export function table(caption: string, names: string[], rows: string[][]): string {
  const head = names.map((name) => `<th scope="col">${escapeHtml(name)}</th>`).join('')
  const lines = rows.map(
    ([first = '', ...cells]) =>
      `<tr><th scope="row">${escapeHtml(first)}</th>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`,
  )
  return `<div class="wide"><table><caption>${escapeHtml(caption)}</caption><thead><tr>${head}</tr></thead><tbody>${lines.join('')}</tbody></table></div>`
}

function summary(here: Entry[], batches: number[], seqlens: number[], stages: readonly Stage[]): string {
  const rows = here.flatMap(({ name, analysis }) =>
    stages.flatMap((stage) =>
      batches.flatMap((batch) =>
        seqlens.map((seqlen) => {
          const pass = analysis.pass(stage, batch, seqlen)
          const { operations, bytes, seconds } = pass.total
          return [
            name,
            stage,
            String(batch),
            exactly(seqlen),
            amount(operations, 'OP', 3),
            amount(bytes, 'B', 3),
            percent(memoryBoundShare(pass)),
            duration(seconds),
            amount(tokensPerSecond(pass), '', 3),
            amount(analysis.memory(pass).total, 'B', 3),
          ]
        }),
      ),
    ),
  )
  const names = ['model', 'stage', 'batch', 'context', 'operations', 'bytes', 'memory-bound', 'time', 'tok/s', 'memory']
  return table('What it takes', names, rows)
}

function sentences(here: Entry[], batches: number[], seqlens: number[]): string {
  const names = here.map(({ name }) => name)
  const analyses = here.map(({ analysis }) => analysis)
  const lines = batches.flatMap((batch) =>
    compareAll(analyses, batch).flatMap((comparison) => comparisonSentences(comparison, names)),
  )
  const memory = analyses[0]?.hardware.memory?.value
  for (const seqlen of memory === undefined ? [] : seqlens) {
    const rooms = here.map(
      ({ name, analysis }) => `${name} ${conversationsIn(analysis, memory as number, seqlen).toLocaleString('en')}`,
    )
    lines.push(
      `conversations of ${seqlen.toLocaleString('en')} tokens that fit in ${amount(memory as number, 'B', 3)}: ${rooms.join(', ')}`,
    )
  }
  return `<h3>Side by side</h3><ul>${[...new Set(lines)].map((line) => `<li>${escapeHtml(line)}</li>`).join('')}</ul>`
}

/** All operations of a pass, to be unfolded. */
export function operationsTable({ name, analysis }: Entry, stage: Stage, batch: number, seqlen: number): string {
  const { operations, total } = analysis.pass(stage, batch, seqlen)
  const rows = operations.map((one) => [
    one.name,
    String(one.count),
    amount(one.operations, 'OP', 3),
    amount(one.weights, 'B', 3),
    amount(one.loads + one.stores, 'B', 3),
    amount(one.cacheReads + one.cacheWrites, 'B', 3),
    one.intensity.toPrecision(3),
    one.bound,
    duration(one.seconds),
    percent((one.seconds * one.count) / total.seconds),
  ])
  const names = [
    'operation',
    'times',
    'operations',
    'weights',
    'activations',
    'cache',
    'OP/byte',
    'bound',
    'time',
    'share',
  ]
  const caption = `${name}: ${stage}, batch ${batch}, ${seqlen} tokens, each operation once`
  return `<details><summary>${escapeHtml(caption)}</summary>${table(caption, names, rows)}</details>`
}

/** The device's figures, each with its source. */
function sources({ analysis: { hardware } }: Entry): string {
  const { bandwidth, peak, onchipBuffer, memory } = hardware
  const values: [string, { value: number; source: string } | undefined, string][] = [
    ['memory bandwidth, peak', bandwidth.peak, 'B/s'],
    ['memory bandwidth, sustained', bandwidth.sustained, 'B/s'],
    ...Object.entries(peak).map(([format, value]) => [format, value, 'OP/s'] as [string, typeof value, string]),
    ['on-chip buffer', onchipBuffer, 'B'],
    ['memory', memory, 'B'],
  ]
  const rows = values.flatMap(([what, found, unit]) => (found ? [[what, amount(found.value, unit), found.source]] : []))
  const caption = `Where the figures of ${hardware.name} come from`
  return `<details><summary>${escapeHtml(caption)}</summary>${table(caption, ['', 'value', 'source'], rows)}</details>`
}

function explanationSection(explanations: Explanation[]): string {
  const tables = explanations.map((one) => {
    const caption = `${one.name}, ${one.threads} thread${one.threads === 1 ? '' : 's'}`
    return table(caption, ['part', 'predicted', 'measured', 'ratio'], explanationRows(one))
  })
  return [
    '<section><h2>Prediction against measurement</h2>',
    '<p>Predicted from what this machine was measured to do; measured by the engine’s own account. A ratio of 1 is what was expected, above it took longer.</p>',
    '<div class="plots">',
    ...explanations.map((one) => `<figure>${explanationChart(one)}</figure>`),
    '</div>',
    ...tables,
    '</section>',
  ].join('\n')
}

function page(title: string, body: string): string {
  return fillPage(reportPage, { title: escapeHtml(title), styles, body })
}
