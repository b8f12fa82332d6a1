/** What `gta analyze` prints: tables for people, CSV, one JSON document, a picture, or a page. */
import { megabytes } from '../errors.ts'
import { version } from '../platform/version.ts'
import { amount, duration } from '../tools/analyze/amounts.ts'
import type { Analysis } from '../tools/analyze/analyze.ts'
import { memoryBoundShare, tokensPerSecond } from '../tools/analyze/charts.ts'
import { compareAll, comparisonSentences, conversationsIn } from '../tools/analyze/compare.ts'
import { type Flat, generationRecord, recordsOf } from '../tools/analyze/records.ts'
import { type ReportInput, renderReport, renderRooflines } from '../tools/analyze/report.ts'
import type { OperationResult, PassResult } from '../tools/analyze/walk.ts'

export interface AnalyzeInput extends ReportInput {
  isPerOperation: boolean
  generation?: { prompt: number; gen: number } | undefined
}

export const analyzeFormats: Record<'md' | 'csv' | 'json' | 'svg' | 'html', (input: AnalyzeInput) => string> = {
  md: markdown,
  csv,
  // The rows have LLM-Viewer's names, so that its results can be compared with them.
  json: (input) => `${JSON.stringify({ schema: 'gta-analysis/1', version: version ?? null, rows: records(input) })}\n`,
  svg: (input) => renderRooflines(input),
  html: (input) => renderReport(input),
}

function records({ entries, batches, seqlens, stages, isPerOperation, generation }: AnalyzeInput): Flat[] {
  const rows: Flat[] = []
  for (const { name, analysis } of entries)
    for (const batch of batches) {
      for (const seqlen of seqlens)
        for (const stage of stages)
          rows.push(...recordsOf(name, analysis, analysis.pass(stage, batch, seqlen), isPerOperation))
      if (generation) rows.push(generationRecord(name, analysis, batch, generation.prompt, generation.gen))
    }
  return rows
}

function csv(input: AnalyzeInput): string {
  const rows = records(input)
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const quote = (value: unknown) => {
    const text = value === undefined ? '' : String(value)
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  }
  return [names, ...rows.map((row) => names.map((name) => row[name]))]
    .map((cells) => `${cells.map(quote).join(',')}\n`)
    .join('')
}

interface Column<T> {
  name: string
  isText?: boolean
  /** Left out on a terminal, which has 100 columns. */
  isExtra?: boolean
  value(row: T): string
}

/** A table that is one in a terminal as well. */
function table<T>(all: Column<T>[], rows: T[]): string[] {
  const columns = process.stdout.isTTY ? all.filter(({ isExtra }) => !isExtra) : all
  const cells = rows.map((row) => columns.map(({ value }) => value(row)))
  const widths = columns.map(({ name }, i) =>
    Math.max(3, name.length, ...cells.map((row) => (row[i] as string).length)),
  )
  const line = (row: string[]) =>
    `| ${row.map((cell, i) => (columns[i]?.isText ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number))).join(' | ')} |`
  const rule = columns.map(({ isText }, i) =>
    isText ? '-'.repeat(widths[i] as number) : `${'-'.repeat((widths[i] as number) - 1)}:`,
  )
  return [line(columns.map(({ name }) => name)), line(rule), ...cells.map(line)]
}

interface Row {
  name: string
  analysis: Analysis
  pass: PassResult
}

const passColumns: Column<Row>[] = [
  { name: 'model', isText: true, value: ({ name }) => name },
  { name: 'stage', isText: true, value: ({ pass }) => pass.stage },
  { name: 'batch', value: ({ pass }) => String(pass.batch) },
  { name: 'context', value: ({ pass }) => String(pass.seqlen) },
  { name: 'operations', isExtra: true, value: ({ pass }) => amount(pass.total.operations, 'OP') },
  { name: 'bytes', value: ({ pass }) => amount(pass.total.bytes, 'B') },
  { name: 'weights', isExtra: true, value: ({ pass }) => amount(pass.total.weights, 'B') },
  { name: 'activations', isExtra: true, value: ({ pass }) => amount(pass.total.loads + pass.total.stores, 'B') },
  { name: 'cache', value: ({ pass }) => amount(pass.total.cacheReads + pass.total.cacheWrites, 'B') },
  { name: 'OP/byte', isExtra: true, value: ({ pass }) => (pass.total.operations / pass.total.bytes).toPrecision(3) },
  { name: 'memory-bound', isExtra: true, value: ({ pass }) => `${(100 * memoryBoundShare(pass)).toFixed(0)} %` },
  { name: 'time', value: ({ pass }) => duration(pass.total.seconds) },
  { name: 'tok/s', value: ({ pass }) => Number(tokensPerSecond(pass).toPrecision(3)).toLocaleString('en') },
  { name: 'memory', value: ({ analysis, pass }) => megabytes(analysis.memory(pass).total) },
]

const operationColumns: Column<OperationResult & { share: number }>[] = [
  { name: 'operation', isText: true, value: ({ name }) => name },
  { name: 'times', isExtra: true, value: ({ count }) => String(count) },
  { name: 'operations', value: ({ operations }) => amount(operations, 'OP') },
  { name: 'weights', value: ({ weights }) => amount(weights, 'B') },
  { name: 'read', isExtra: true, value: ({ loads }) => amount(loads, 'B') },
  { name: 'written', isExtra: true, value: ({ stores }) => amount(stores, 'B') },
  { name: 'cache read', value: ({ cacheReads }) => amount(cacheReads, 'B') },
  { name: 'cache written', isExtra: true, value: ({ cacheWrites }) => amount(cacheWrites, 'B') },
  { name: 'OP/byte', isExtra: true, value: ({ intensity }) => intensity.toPrecision(3) },
  { name: 'bound', isText: true, value: ({ bound }) => bound },
  { name: 'time', value: ({ seconds }) => duration(seconds) },
  { name: 'share', value: ({ share }) => `${(100 * share).toFixed(1)} %` },
]

function markdown(input: AnalyzeInput): string {
  const { entries, batches, seqlens, stages, generation } = input
  const lines: string[] = []
  for (const hardware of new Set(entries.map(({ analysis }) => analysis.hardware))) {
    const here = entries.filter(({ analysis }) => analysis.hardware === hardware)
    lines.push(`# ${hardware.name}: ${hardware.title}`, '', ...describeHere(here.map(({ analysis }) => analysis)), '')
    const rows = here.flatMap(({ name, analysis }) =>
      stages.flatMap((stage) =>
        batches.flatMap((batch) =>
          seqlens.map((seqlen) => ({ name, analysis, pass: analysis.pass(stage, batch, seqlen) })),
        ),
      ),
    )
    lines.push(...table(passColumns, rows), '')
    if (input.isPerOperation || rows.length <= 2)
      for (const { name, pass } of rows) {
        lines.push(`## ${name}: ${pass.stage}, batch ${pass.batch}, context ${pass.seqlen}`, '')
        const shares = pass.operations.map((one) => ({ ...one, share: (one.seconds * one.count) / pass.total.seconds }))
        lines.push(...table(operationColumns, shares), '')
      }
    if (generation) lines.push(...describeGenerations(here, batches, generation), '')
    if (here.length > 1) lines.push(...describeComparisons(here, batches, seqlens), '')
  }
  return `${lines.join('\n').trimEnd()}\n`
}

/** The device as it is taken, and how wide numbers are. */
function describeHere(analyses: Analysis[]): string[] {
  const [{ hardware, formats, mode, isFlash }] = analyses as [Analysis, ...Analysis[]]
  const { bandwidth, peak, rates } = hardware
  const speeds = Object.entries(peak).map(([format, { value }]) => `${format} ${amount(value, 'OP/s')}`)
  const read = `memory ${amount(bandwidth.peak.value, 'B/s')} at its peak${
    bandwidth.sustained ? `, ${amount(bandwidth.sustained.value, 'B/s')} sustained` : ''
  }`
  const widths =
    formats.is === 'engine'
      ? `${formats.type} weights, ${formats.cache} cache, f32 activations, prompts in slices of ${formats.rowsPerStep}`
      : `weights ${formats.widths.weights}, activations ${formats.widths.activations}, cache ${formats.widths.cache} bits${isFlash ? ', flash' : ''}`
  const measured = (rates ?? []).map(
    ({ threads, bandwidth: bytes, linear, sweep }) =>
      `- ${threads} thread${threads === 1 ? '' : 's'}: reads ${amount(bytes, 'B/s')}, products q8 ${amount(linear.q8?.operations ?? 0, 'OP/s')}, q4 ${amount(linear.q4?.operations ?? 0, 'OP/s')}, sweep ${amount(sweep.many, 'OP/s')}`,
  )
  return [`- ${read}; ${speeds.join(', ')}`, ...measured, `- ${mode} mode: ${widths}`]
}

function describeGenerations(
  entries: AnalyzeInput['entries'],
  batches: number[],
  { prompt, gen }: { prompt: number; gen: number },
): string[] {
  return entries.flatMap(({ name, analysis }) =>
    batches.map((batch) => {
      const { seconds, prefillSeconds } = analysis.generation(batch, prompt, gen)
      return `- ${name}, batch ${batch}: a prompt of ${prompt} tokens ${duration(prefillSeconds)}, ${gen} more tokens ${duration(seconds - prefillSeconds)}, together ${duration(seconds)}`
    }),
  )
}

function describeComparisons(entries: AnalyzeInput['entries'], batches: number[], seqlens: number[]): string[] {
  const names = entries.map(({ name }) => name)
  const analyses = entries.map(({ analysis }) => analysis)
  const lines = batches.flatMap((batch) =>
    compareAll(analyses, batch).flatMap((comparison) => comparisonSentences(comparison, names)),
  )
  const memory = analyses[0]?.hardware.memory?.value
  if (memory !== undefined)
    for (const seqlen of seqlens) {
      const rooms = entries.map(({ name, analysis }) => `${name} ${conversationsIn(analysis, memory, seqlen)}`)
      lines.push(`conversations of ${seqlen} tokens that fit in ${megabytes(memory)}: ${rooms.join(', ')}`)
    }
  return ['## Side by side', '', ...[...new Set(lines)].map((line) => `- ${line}`)]
}
