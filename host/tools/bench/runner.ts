/**
 * Runs tests on an engine against the clock. Each is run once to warm up, then `repetitions` times, with the account of its
 * parts, which is some clock readings per layer. Sampling is greedy and part of a step.
 *
 * The positions before a test are filled by reading as many tokens, once, and by copying what that left for further
 * conversations; between repetitions they are rewound to that depth.
 */
import { createHash, type Hash } from 'node:crypto'
import type { KvCache } from '../../cache/cache.ts'
import { finite, greedy, type Row, type StepPart, type StepProfile, secondsOf, stepParts } from '../../engine/engine.ts'
import { watchLoad } from '../../platform/load.ts'
import { type BenchProgress, type BenchTest, workloadName } from './workload.ts'

export interface Spread {
  median: number
  min: number
  max: number
  /** In the order of the repetitions. */
  values: number[]
  /** Standard deviation of the values; 0 for one. */
  deviation: number
}

/** What an engine was seen to do. */
export interface Timing extends BenchTest {
  /** Name: pp128, tg64 x8 @ d1536. */
  test: string
  /** All conversations together. */
  tokensPerSecond: Spread
  /** SHA-256 of all sampled tokens and of the last logits of each conversation, first 16 hex digits. */
  hash: string
  /** Seconds of a thread in each part of a repetition: the mean of its threads and of the repetitions. */
  parts: StepProfile
  /** Share of that time that went into waiting for the other threads. */
  barrierShare: number
  /** Of all processors' time during the repetitions, what other programs took; absent: too short to tell, or unknown. */
  foreignShare?: number
  /** Why the result is not to be trusted; empty: it is good. */
  problems: string[]
}

/** What of an engine is timed. */
export type TimedEngine = Pick<KvCache, 'step' | 'logits' | 'rewind' | 'threads' | 'measure'>

export interface RunOptions {
  vocabSize: number
  repetitions: number
  /** Tokens of a prompt per step. */
  batch: number
  /**
   * Fills an empty conversation with what another one has in the cache, in memory of its own; without it, each reads its
   * own tokens, which on a board can take an hour.
   */
  copy?: (from: number, to: number) => Promise<void>
  signal?: AbortSignal
  onProgress?: (progress: BenchProgress) => void
}

/** Longer than any engine needs to reach its speed. */
const WARM_UP_SECONDS = 2

/** Runs the tests one after the other. A result that differs from an earlier one is marked, and that one too. */
export async function* runTests(engine: TimedEngine, tests: BenchTest[], options: RunOptions): AsyncGenerator<Timing> {
  const runner = new Runner(engine, options, Math.max(...tests.map(({ threads }) => threads)))
  const before = new Map<string, Timing>()
  for (const test of tests) {
    const timing = await runner.time(test)
    const first = before.get(timing.test)
    before.set(timing.test, first ?? timing)
    if (first && first.hash !== timing.hash)
      for (const [one, other] of [
        [timing, first],
        [first, timing],
      ] as const)
        one.problems.push(
          `hash ${one.hash} must be that of ${other.threads} thread${other.threads === 1 ? '' : 's'}, which is ${other.hash}`,
        )
    yield timing
  }
}

interface Run {
  seconds: number
  hash: string
  parts: StepProfile
  /** Not cut short. */
  isWhole: boolean
}

class Runner {
  private readonly engine: TimedEngine
  private readonly options: RunOptions
  private readonly maxThreads: number
  /** Positions of each conversation that are filled and kept. */
  private readonly filled: number[] = []

  constructor(engine: TimedEngine, options: RunOptions, maxThreads: number) {
    this.engine = engine
    this.options = options
    this.maxThreads = maxThreads
  }

  async time(test: BenchTest): Promise<Timing> {
    const { options } = this
    const name = workloadName(test)
    const { repetitions } = options
    this.setThreads(this.maxThreads)
    for (let i = 0; i < test.conversations; i++) await this.fill(i, test.depth)
    this.setThreads(test.threads)
    const report = (done: number) => options.onProgress?.({ label: name, done, total: repetitions + 1 })
    report(0)
    const warmUp = await this.run(test, WARM_UP_SECONDS)
    const runs: Run[] = []
    const seen = watchLoad()
    for (let i = 1; i <= repetitions; i++) {
      report(i)
      runs.push(await this.run(test))
    }
    const { foreignShare } = seen()
    report(repetitions + 1)
    // A warm-up that was not cut short is a repetition but for its time: one with -r 1 has something to be compared with.
    const hashes = [...new Set([...runs, ...(warmUp.isWhole ? [warmUp] : [])].map(({ hash }) => hash))]
    const parts = meanOf(runs.map((run) => run.parts))
    const total = secondsOf(parts)
    return {
      ...test,
      test: name,
      tokensPerSecond: spreadOf(runs.map(({ seconds }) => (test.tokens * test.conversations) / seconds)),
      hash: hashes[0] as string,
      parts,
      barrierShare: total > 0 ? parts.barrier / total : 0,
      foreignShare,
      problems: hashes.length > 1 ? [`hash must be the same in every repetition, found ${hashes.join(', ')}`] : [],
    }
  }

  private setThreads(count: number): void {
    this.engine.threads = { decode: count, prefill: count }
  }

  /** Leaves a conversation with exactly `depth` positions. */
  private async fill(conversation: number, depth: number): Promise<void> {
    const { batch, onProgress } = this.options
    let length = this.filled[conversation] ?? 0
    if (length > depth) length = this.engine.rewind(conversation, depth)
    if (length < depth && conversation > 0 && this.options.copy) {
      this.engine.rewind(conversation, 0)
      await this.options.copy(0, conversation)
      length = depth
    }
    for (; length < depth; length += batch) {
      this.options.signal?.throwIfAborted()
      onProgress?.({ label: `filling ${depth} positions of conversation ${conversation}`, done: length, total: depth })
      await this.engine.step(this.prompt(conversation, length, Math.min(batch, depth - length)))
    }
    this.filled[conversation] = depth
  }

  /** Runs a test from its depth and rewinds to it; ends early after `limit` seconds. */
  private async run(test: BenchTest, limit = Number.POSITIVE_INFINITY): Promise<Run> {
    const { engine } = this
    const hash = createHash('sha256')
    await engine.measure((probe) => probe.profile(true))
    const started = performance.now()
    const isOver = () => performance.now() - started > limit * 1000
    const { phase, tokens, prompt = 0, depth } = test
    if (phase === 'pg') {
      await this.read({ ...test, tokens: prompt }, hash, isOver)
      if (!isOver()) await this.generate({ ...test, tokens: tokens - prompt, depth: depth + prompt }, hash, isOver)
    } else await (phase === 'pp' ? this.read(test, hash, isOver) : this.generate(test, hash, isOver))
    const seconds = (performance.now() - started) / 1000
    const isWhole = !isOver()
    if (isWhole) for (let i = 0; i < test.conversations; i++) hash.update((await engine.logits(i)).slice())
    const parts = meanOf((await engine.measure((probe) => probe.profiled())).slice(0, test.threads))
    await engine.measure((probe) => probe.profile(false))
    // Layers with a window may have to read some of it again.
    for (let i = 0; i < test.conversations; i++) {
      this.filled[i] = engine.rewind(i, test.depth)
      await this.fill(i, test.depth)
    }
    return { seconds, hash: hash.digest('hex').slice(0, 16), parts, isWhole }
  }

  private async read({ tokens, depth }: BenchTest, hash: Hash, isOver: () => boolean): Promise<void> {
    const { batch, signal } = this.options
    for (let done = 0; done < tokens && !isOver(); done += batch) {
      signal?.throwIfAborted()
      const rows = this.prompt(0, depth + done, Math.min(batch, tokens - done))
      if (done + rows.length === tokens) (rows.at(-1) as Row).sampling = greedy
      hash.update(finite(await this.engine.step(rows)))
    }
  }

  private async generate(test: BenchTest, hash: Hash, isOver: () => boolean): Promise<void> {
    const { tokens, depth, conversations } = test
    const first = Array.from({ length: conversations }, (_, conversation) => this.token(conversation, depth))
    let next: ArrayLike<number> = first
    for (let i = 0; i < tokens && !isOver(); i++) {
      this.options.signal?.throwIfAborted()
      const rows = first.map((_, conversation) => ({
        conversation,
        position: depth + i,
        token: next[conversation] as number,
        sampling: greedy,
      }))
      const sampled = finite(await this.engine.step(rows))
      hash.update(sampled)
      next = sampled
    }
  }

  private prompt(conversation: number, from: number, count: number): Row[] {
    return Array.from({ length: count }, (_, i) => ({
      conversation,
      position: from + i,
      token: this.token(conversation, from + i),
    }))
  }

  /** Tokens that look random; each conversation has its own. */
  private token(conversation: number, position: number): number {
    const mixed = Math.imul(position + 1, 0x9e3779b1) ^ Math.imul(conversation + 1, 0x85ebca6b)
    return ((mixed ^ (mixed >>> 15)) >>> 0) % this.options.vocabSize
  }
}

export function spreadOf(values: number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (index: number) => sorted[index] as number
  const half = (sorted.length - 1) / 2
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return {
    median: (at(Math.floor(half)) + at(Math.ceil(half))) / 2,
    min: at(0),
    max: at(sorted.length - 1),
    values,
    deviation: Math.sqrt(squares / Math.max(1, values.length - 1)),
  }
}

function meanOf(profiles: StepProfile[]): StepProfile {
  const mean = (part: StepPart) => profiles.reduce((sum, profile) => sum + profile[part], 0) / profiles.length
  return Object.fromEntries(stepParts.map((part) => [part, mean(part)])) as StepProfile
}
