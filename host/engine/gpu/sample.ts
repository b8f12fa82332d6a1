/**
 * The next token of each row that wants one. The device finds the most likely token of every row, and says whether its logits
 * are finite; for rows that draw among their topK best it finds these, and draw.ts chooses. Only what no topK bounds needs all
 * of a row's logits on the host.
 */
import { NO_TOKEN, type Row } from '../engine.ts'
import { type Candidates, chooseToken, drawFrom, isAdjusted, isGreedy } from './draw.ts'
import type { Gpu } from './gpu.ts'
import type { Operation, RowsAt, StepBuffers } from './operations.ts'
import type { GpuPlan } from './plan.ts'
import type { Part } from './readback.ts'
import { bestText, candidatesText, stepText } from './texts.ts'

/** The largest topK that the device looks for. */
export const MOST_CANDIDATES = 1024
const CANDIDATE_BYTES = 8

/** What the host must have of a row to choose its token. */
export type Wanted = { is: 'best' } | { is: 'candidates'; count: number } | { is: 'logits' }

export function wantedOf(row: Row, vocabSize: number): Wanted {
  const { sampling, mask } = row
  if (!sampling) throw new RangeError('a row without sampling wants nothing')
  const { topK } = sampling
  if (mask || isAdjusted(row)) return { is: 'logits' }
  if (isGreedy(sampling)) return { is: 'best' }
  if (topK === 0 || topK > MOST_CANDIDATES || topK >= vocabSize) return { is: 'logits' }
  return { is: 'candidates', count: topK }
}

/** Buffers of what the device found. */
export interface Samples {
  /** u32 (maxLogits). */
  picked: GPUBuffer
  /** (u32 bits of the logit, u32 id) (maxLogits, MOST_CANDIDATES). */
  candidates: GPUBuffer
}

export function makeSamples(gpu: Gpu, maxLogits: number): Samples {
  return {
    picked: gpu.buffer('picked', 4 * maxLogits),
    candidates: gpu.buffer('candidates', CANDIDATE_BYTES * MOST_CANDIDATES * maxLogits),
  }
}

export async function sampleOperations(
  gpu: Gpu,
  step: StepBuffers,
  { vocabSize }: GpuPlan,
  logits: RowsAt,
  { picked, candidates }: Samples,
): Promise<Operation[]> {
  const sizes = { WIDTH: vocabSize, STRIDE: logits.stride }
  const best = await gpu.pipeline({ name: 'best', text: bestText }, sizes)
  const select = await gpu.pipeline(
    { name: 'candidates', text: stepText + candidatesText },
    { ...sizes, MOST: MOST_CANDIDATES },
  )
  return [
    {
      name: 'best',
      pipeline: best,
      bindings: gpu.bind('best', best, [logits.buffer, picked]),
      workgroups: ({ logits: count }) => [count, 1],
    },
    {
      name: 'candidates',
      pipeline: select,
      bindings: gpu.bind('candidates', select, [logits.buffer, step.rows, step.wanted, candidates]),
      workgroups: ({ drawn = 0 }) => [drawn, 1],
    },
  ]
}

/** What is read back behind a step whose rows want these: the tokens that were picked, then of each row what it wants. */
export function partsOf(
  wanted: readonly Wanted[],
  { picked, candidates }: Samples,
  logits: RowsAt,
  vocabSize: number,
): Part[] {
  const rows = wanted.flatMap((each, k): Part[] => {
    if (each.is === 'best') return []
    if (each.is === 'logits') return [{ buffer: logits.buffer, offset: 4 * k * logits.stride, bytes: 4 * vocabSize }]
    const offset = CANDIDATE_BYTES * MOST_CANDIDATES * k
    return [{ buffer: candidates, offset, bytes: CANDIDATE_BYTES * each.count }]
  })
  return wanted.length === 0 ? [] : [{ buffer: picked, offset: 0, bytes: 4 * wanted.length }, ...rows]
}

/** Tokens from what was read back, each part on its own; `tokenAt`: of a row's conversation. */
export function chooseTokens(
  rows: readonly Row[],
  wanted: readonly Wanted[],
  read: readonly ArrayBuffer[],
  tokenAt: (row: Row, position: number) => number,
): Uint32Array {
  const picked = new Uint32Array(read[0] as ArrayBuffer)
  let next = 1
  return picked.map((best, k) => {
    const each = wanted[k] as Wanted
    const row = rows[k] as Row
    const { sampling, position, dropped = 0 } = row
    const part = each.is === 'best' ? undefined : (read[next++] as ArrayBuffer)
    if (!part || !sampling || best === NO_TOKEN) return best
    if (each.is === 'candidates') return drawFrom(unzip(part), false, { sampling, position: dropped + position })
    return chooseToken(new Float32Array(part), row, (at) => tokenAt(row, at))
  })
}

/** (logit, id) pairs as two lists. */
function unzip(pairs: ArrayBuffer): Candidates {
  const [floats, words] = [new Float32Array(pairs), new Uint32Array(pairs)]
  const count = words.length / 2
  const logits = Float32Array.from({ length: count }, (_, i) => floats[2 * i] as number)
  return { logits, ids: Uint32Array.from({ length: count }, (_, i) => words[2 * i + 1] as number) }
}
