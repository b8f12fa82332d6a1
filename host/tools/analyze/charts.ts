/** What the analyzer's results look like: the plots of the report, of `-o svg`, of the viewer and of the papers' figures. */
import { amount, duration, exactly, percent } from './amounts.ts'
import type { Analysis } from './analyze.ts'
import { contextSteps } from './compare.ts'
import type { OperationPart } from './operation.ts'
import type { Axis } from './plot/axes.ts'
import { barPlot } from './plot/bars.ts'
import { linePlot } from './plot/lines.ts'
import { type Dot, roofPlot } from './plot/roof.ts'
import type { PassResult, Stage } from './walk.ts'

export interface Entry {
  name: string
  analysis: Analysis
}

export const partNames: Record<OperationPart, string> = {
  linear: 'matrices',
  attention: 'attention sweep',
  valueDecoder: 'value decoder',
  rest: 'the rest',
}
const parts = Object.keys(partNames) as OperationPart[]

const contextAxis = (label: string, ticks: number[]): Axis => ({
  label,
  isLog: true,
  ticks,
  format: exactly,
})

/** Every operation of one pass of each model as a dot under the device's roof. The slowest ones are named. */
export function rooflineChart(
  entries: readonly Entry[],
  stage: Stage,
  batch: number,
  seqlen: number,
  width = 480,
): string {
  const passes = entries.map(({ analysis }) => analysis.pass(stage, batch, seqlen))
  const dots: (Dot & { share: number })[] = passes.flatMap((pass, kind) =>
    pass.operations
      .filter(({ operations }) => operations > 0)
      .map((operation) => {
        const share = (operation.seconds * operation.count) / pass.total.seconds
        const sizes = `${amount(operation.intensity, 'OP/byte', 3)}, ${amount(operation.performance, 'OP/s', 3)}`
        const where = entries.length > 1 ? `${entries[kind]?.name} ` : ''
        return {
          x: operation.intensity,
          y: operation.performance,
          group: parts.indexOf(operation.part),
          kind,
          title: `${where}${operation.name}: ${sizes}, bound by ${operation.bound}, ${percent(share)} of the time`,
          label: operation.name,
          share,
        }
      }),
  )
  // Later marks lie above earlier ones, and labels of the slow ones find their place first.
  dots.sort((a, b) => b.share - a.share)
  const named = dots.map(({ label, share, ...dot }, i) => ({
    ...dot,
    ...(share > 0.02 || i < 3 ? { label: label as string } : {}),
  }))
  const { hardware } = (entries[0] as Entry).analysis
  const { peak, sustained } = hardware.bandwidth
  const slopes = [{ name: amount(peak.value, 'B/s', 3), value: peak.value }]
  if (sustained && sustained.value < peak.value * 0.98)
    slopes.push({ name: `${amount(sustained.value, 'B/s', 3)} sustained`, value: sustained.value })
  const used = Math.max(...dots.map(({ y }) => y))
  const ceilings = Object.entries(hardware.peak)
    .map(([format, { value }]) => ({ name: `${format} ${amount(value, 'OP/s', 3)}`, value }))
    .filter(({ value }) => value >= used * 0.45)
  const memoryBound = passes.map((pass, i) => `${entries[i]?.name} ${percent(memoryBoundShare(pass))}`).join(', ')
  return roofPlot({
    title: `Roofline of ${hardware.name}: ${stage}, batch ${batch}, ${exactly(seqlen)} tokens`,
    description: `Operations by arithmetic intensity and performance. Share of the time bound by memory: ${memoryBound}`,
    slopes,
    ceilings: ceilings.length > 0 ? ceilings : [{ name: '', value: used }],
    dots: named.reverse().map((dot) => dot),
    groups: parts.map((part) => partNames[part]),
    kinds: entries.map(({ name }) => name),
    x: { label: 'arithmetic intensity, operations per byte', format: (n) => String(n) },
    y: { label: 'operations per second', format: (n) => amount(n, '', 3) },
    width,
  })
}

/** Time of every operation in a pass, all layers, for each model. */
export function operationsChart(
  entries: readonly Entry[],
  stage: Stage,
  batch: number,
  seqlen: number,
  width = 480,
): string {
  const passes = entries.map(({ analysis }) => analysis.pass(stage, batch, seqlen))
  const names = [...new Set(passes.flatMap((pass) => pass.operations.map(({ name }) => name)))]
  const find = (pass: PassResult, name: string) => pass.operations.find((operation) => operation.name === name)
  const secondsOf = (pass: PassResult, name: string) => {
    const found = find(pass, name)
    return found && found.seconds * found.count
  }
  const rows = names
    .map((name) => ({ name, values: passes.map((pass) => secondsOf(pass, name)) }))
    .sort((a, b) => Math.max(...b.values.map((n) => n ?? 0)) - Math.max(...a.values.map((n) => n ?? 0)))
    .slice(0, 14)
  const totals = passes.map((pass, i) => `${entries[i]?.name} ${duration(pass.total.seconds)}`).join(', ')
  return barPlot({
    title: `Where the time goes: ${stage}, batch ${batch}, ${exactly(seqlen)} tokens`,
    description: `Together: ${totals}`,
    series: entries.map(({ name }) => name),
    rows,
    format: duration,
    width,
  })
}

/** Tokens per second over the context. */
export function contextChart(
  entries: readonly Entry[],
  stage: Stage,
  batch: number,
  longest: number,
  width = 480,
): string {
  const contexts = contextSteps(128, Math.max(256, longest)).filter(
    (n) => Number.isInteger(Math.log2(n)) || n === longest,
  )
  const series = entries.map(({ name, analysis }) => ({
    name,
    points: contexts.map((context) => {
      const seconds = analysis.seconds(stage, batch, context)
      const speed = (stage === 'prefill' ? batch * context : batch) / seconds
      return { x: context, y: speed, title: `${amount(speed, 'tok/s', 3)}` }
    }),
  }))
  const ends = series.map(({ name, points }) => `${name} ${points[0]?.title} to ${points.at(-1)?.title}`).join(', ')
  return linePlot({
    title: stage === 'prefill' ? `Reading prompts, batch ${batch}` : `Generating, batch ${batch}`,
    description: `From the shortest to the longest context: ${ends}`,
    x: contextAxis(
      stage === 'prefill' ? 'tokens of the prompt' : 'tokens in the cache',
      contexts.filter((n) => Number.isInteger(Math.log2(n))),
    ),
    y: { label: 'tokens per second', format: (n) => amount(n, '', 3) },
    series,
    width,
  })
}

/** Memory over the context: weights and cache. */
export function memoryChart(entries: readonly Entry[], batch: number, longest: number, width = 480): string {
  const contexts = contextSteps(128, Math.max(256, longest)).filter(
    (n) => Number.isInteger(Math.log2(n)) || n === longest,
  )
  const series = entries.map(({ name, analysis }) => ({
    name,
    points: contexts.map((context) => {
      const { weights, cache } = analysis.memory(analysis.pass('decode', batch, context))
      return { x: context, y: weights + cache, title: amount(weights + cache, 'B', 3) }
    }),
  }))
  return linePlot({
    title: `Weights and cache, batch ${batch}`,
    description: series.map(({ name, points }) => `${name} ${points[0]?.title} to ${points.at(-1)?.title}`).join(', '),
    x: contextAxis(
      'tokens in the cache',
      contexts.filter((n) => Number.isInteger(Math.log2(n))),
    ),
    y: { label: 'bytes', format: (n) => amount(n, 'B', 3) },
    series,
    width,
  })
}

/** Share of the time that operations bound by memory take. */
export function memoryBoundShare({ operations, total }: PassResult): number {
  const seconds = operations.reduce((sum, one) => sum + (one.bound === 'memory' ? one.seconds * one.count : 0), 0)
  return seconds / total.seconds
}

export function tokensPerSecond({ stage, batch, seqlen, total }: PassResult): number {
  return (stage === 'prefill' ? batch * seqlen : batch) / total.seconds
}
