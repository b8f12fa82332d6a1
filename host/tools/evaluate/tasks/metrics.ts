/** From log-likelihoods to what lm-evaluation-harness prints: api/task.py and api/metrics.py, v0.4. */
import { largest } from '../../../../models/index.ts'
import type { Metric, Question } from './formats.ts'

/** What one question is worth, 0 … 1, by each of the metrics. `logLikelihoods` are those of its choices, in nats. */
export function rate(metrics: readonly Metric[], { choices, right }: Question, logLikelihoods: readonly number[]) {
  const values = {
    acc: () => Number(right.includes(argmax(logLikelihoods))),
    acc_norm: () =>
      Number(right.includes(argmax(logLikelihoods.map((ll, i) => ll / codePoints(choices[i] as string))))),
    mass: () => massOf(right, logLikelihoods),
  }
  // lm-evaluation-harness calls the mass acc too.
  return Object.fromEntries(metrics.map((metric) => [nameOf(metric), values[metric]()])) as Record<string, number>
}

export const nameOf = (metric: Metric) => (metric === 'mass' ? 'acc' : metric)

/** The first of equals, as numpy's argmax. */
function argmax(values: readonly number[]): number {
  return values.indexOf(largest(values))
}

/** Python's len() of a text. */
const codePoints = (text: string) => [...text].length

/** Share of the probability of all choices; relative to the largest one, which e^ of a long text would lose. */
function massOf(right: readonly number[], logLikelihoods: readonly number[]): number {
  const peak = largest(logLikelihoods)
  const masses = logLikelihoods.map((ll) => Math.exp(ll - peak))
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0)
  return sum(right.map((i) => masses[i] as number)) / sum(masses)
}

/** Mean and its standard error with the sample's deviation, √(Σ(x − mean)² / (n − 1) / n); "N/A" for one value. */
export function meanAndError(values: readonly number[]): [mean: number, error: number | 'N/A'] {
  const n = values.length
  const mean = values.reduce((sum, value) => sum + value, 0) / n
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return [mean, n < 2 ? 'N/A' : Math.sqrt(squares / (n - 1) / n)]
}
