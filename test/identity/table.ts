/** Verdicts on what platforms computed, the table, and the lines that .ci/run sums. */
import { createHash } from 'node:crypto'
import type { Answer } from './job.ts'
import { describe, type Row } from './rows.ts'

/** How many prompts, and how many tokens after each. */
export interface Size {
  prompts: number
  tokens: number
}

export interface Result {
  row: Row
  size: Size
  seconds: number
  /** Undefined: it was skipped, or it failed. */
  answer?: Answer
  /** Why it was skipped. */
  skipped?: string
  /** What went wrong. */
  failed?: string
}

export interface Verdict extends Result {
  /** Of all token ids and last logits at temperature 0, and with seeds. One per number of threads that differs. */
  greedy: string
  seeded: string
  verdict: string
  isGood: boolean
}

const hashOf = (found: unknown) => createHash('sha256').update(JSON.stringify(found)).digest('hex').slice(0, 16)
const distinct = (hashes: string[]) => [...new Set(hashes)].join(' ')

/** Every result against the first one of its size. */
export function judge(results: Result[]): Verdict[] {
  return results.map((result) => {
    const { size, answer } = result
    const half = (part: 0 | 1) =>
      distinct(answer?.map((found) => hashOf(found.slice(part * size.prompts, (part + 1) * size.prompts))) ?? [])
    const verdict = verdictOf(result, results)
    return { ...result, greedy: half(0), seeded: half(1), verdict, isGood: verdict === 'same' || !!result.skipped }
  })
}

function verdictOf({ row, size, answer, skipped, failed }: Result, results: Result[]): string {
  if (skipped) return `skipped: ${skipped}`
  if (!answer) return `FAILED: ${failed}`
  const isSize = (other: Result) => other.size.prompts === size.prompts && other.size.tokens === size.tokens
  const expected = results.find(isSize)?.answer?.[0]
  if (!expected) return 'FAILED: there is nothing to compare with'
  for (const [team, found] of answer.entries())
    for (const [i, { tokens, logitsHash }] of expected.entries()) {
      const place = `threads ${row.threads[team]}, ${i < size.prompts ? 'greedy' : 'seeded'} prompt ${(i % size.prompts) + 1}`
      const at = tokens.findIndex((token, k) => token !== found[i]?.tokens[k])
      if (at >= 0) return `DIFFERS: ${place}, token ${at + 1}`
      if (found[i]?.tokens.length !== tokens.length) return `DIFFERS: ${place}, ${found[i]?.tokens.length} tokens`
      if (found[i]?.logitsHash !== logitsHash) return `DIFFERS: ${place}, logits`
    }
  return 'same'
}

export function markdown(verdicts: Verdict[]): string {
  const columns: [string, (verdict: Verdict) => string][] = [
    ['platform', ({ row }) => describe(row)],
    ['build', ({ row }) => row.build],
    ['threads', ({ row }) => row.threads.join(', ')],
    ['prompts × tokens', ({ size }) => `${size.prompts} × ${size.tokens}`],
    ['temperature 0', ({ greedy }) => greedy],
    ['with seeds', ({ seeded }) => seeded],
    ['seconds', ({ seconds, skipped }) => (skipped ? '' : seconds.toFixed(0))],
    ['', ({ verdict }) => verdict],
  ]
  const cells = [columns.map(([name]) => name), ...verdicts.map((verdict) => columns.map(([, cell]) => cell(verdict)))]
  const widths = columns.map((_, i) => Math.max(3, ...cells.map((row) => row[i]?.length ?? 0)))
  const [head = [], ...body] = cells.map((row) => row.map((cell, i) => cell.padEnd(widths[i] as number)))
  const rule = widths.map((width) => '-'.repeat(width))
  return [head, rule, ...body].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/** `lane NAME: N passed, N failed, N skipped, N s` for each lane, which .ci/run repeats at its end. */
export function laneLines(verdicts: Verdict[]): string[] {
  return [...new Set(verdicts.map(({ row }) => row.lane))].map((lane) => {
    const own = verdicts.filter(({ row }) => row.lane === lane)
    const skipped = own.filter((verdict) => verdict.skipped)
    const failed = own.filter(({ isGood }) => !isGood).length
    const seconds = own.reduce((sum, verdict) => sum + verdict.seconds, 0)
    const counts = `${own.length - failed - skipped.length} passed, ${failed} failed, ${skipped.length} skipped`
    const why = distinct(skipped.map(({ skipped = '' }) => `; skipped: ${skipped}`))
    return `lane identity, ${lane}: ${counts}, ${seconds.toFixed(0)} s${why}`
  })
}
