/** Verdicts on cases, the table, and its place in a document. */
import { type AdapterName, type Answer, bounds, type Case, type Figures } from './job.ts'

/** An answer as it is kept: a line of the file of results. */
export type Result = Answer & { adapter: AdapterName; date: string }

const titles: Record<AdapterName, string> = {
  swiftshader: 'SwiftShader',
  lavapipe: 'lavapipe',
  chromium: 'SwiftShader in chromium',
}

/** What is not as it should be; empty if all is. */
export function faultsOf(answer: Answer): string[] {
  if ('failed' in answer) return [answer.failed]
  const { type, places, difference, beyond, otherTokens, slices, changed } = answer
  const faults: string[] = []
  if (places === 0) faults.push('nothing was compared')
  if (beyond > 0 || !(difference <= bounds[type]))
    faults.push(
      `logits differ by ${short(difference)} at ${beyond} of ${places} places, where ${bounds[type]} is asked`,
    )
  if (otherTokens > 0) faults.push(`${otherTokens} tokens are others`)
  if (!(slices <= bounds.slices)) faults.push(`at once and step by step differ by ${short(slices)}`)
  if (changed > 0) faults.push(`${changed} logits are other bits the second time`)
  return faults
}

const short = (difference: number) => (difference === 0 ? '0' : difference.toExponential(1))

const isOf = (one: Case) => (other: Case) => one.model === other.model && one.type === other.type

/** The last word on each case of an adapter. */
export function lastOf(results: readonly Result[], adapter: AdapterName): Result[] {
  const own = results.filter((result) => result.adapter === adapter)
  return own.filter((result, i) => i === own.findLastIndex(isOf(result)))
}

function cell(result: Result | undefined): string {
  if (!result) return 'not run'
  const faults = faultsOf(result)
  if (faults.length > 0) return `**${faults.join('; ')}**`
  const { difference, places, equal } = result as Figures
  return equal === places ? 'every bit' : short(difference)
}

/** A row for each model; a column for each adapter and type. */
export function markdown(results: readonly Result[], adapters: readonly AdapterName[], cases: readonly Case[]): string {
  const columns = adapters.flatMap((adapter) =>
    (['f32', 'q8'] as const).map((type) => ({ adapter, type, own: lastOf(results, adapter) })),
  )
  const rowOf = (model: string) => [model, ...columns.map(({ own, type }) => cell(own.find(isOf({ model, type }))))]
  const head = ['', ...columns.map(({ adapter, type }) => `${titles[adapter]}, ${type}`)]
  const worst = (of: (figures: Figures) => number) =>
    columns.map(({ own, type }) => {
      const found = own.filter((result) => result.type === type && !('failed' in result)) as (Result & Figures)[]
      return found.length === 0 ? '' : short(Math.max(...found.map(of)))
    })
  const rows = [
    head,
    head.map(() => '---'),
    ...[...new Set(cases.map(({ model }) => model))].map(rowOf),
    ['*at once, or step by step*', ...worst(({ slices }) => slices)],
    ['*other tokens*', ...worst(({ otherTokens }) => otherTokens)],
    ['*other bits, from poisoned buffers*', ...worst(({ changed }) => changed)],
  ]
  return rows.map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/** Which engines, and when. */
export function sources(results: readonly Result[], adapters: readonly AdapterName[]): string {
  return adapters
    .map((adapter) => {
      const own = lastOf(results, adapter)
      const engines = new Set(own.flatMap((result) => ('failed' in result ? [] : result.engine)))
      const dates = own.map(({ date }) => date).sort()
      return `${titles[adapter]}: ${[...engines].join('; ')}, ${[...new Set([dates[0], dates.at(-1)])].join(' to ')}`
    })
    .join('. ')
}

const begin = '<!-- npm run conformance:gpu writes this -->'
const end = '<!-- up to here -->'

/** A document with what stands between its marks. Throws where they are not there, once each and in order. */
export function replaceBlock(document: string, block: string): string {
  const [before, rest, ...more] = document.split(begin)
  const [old, after, ...others] = rest?.split(end) ?? []
  if (before === undefined || old === undefined || after === undefined || more.length + others.length > 0)
    throw new Error(`the document must have "${begin}" and then "${end}", once each`)
  return `${before}${begin}\n${block}\n${end}${after}`
}
