/**
 * How long a list of tests still takes: by what each has to compute and to read, at the speed of the tests before it. Before
 * the first one that speed is a guess, good enough to tell minutes from hours.
 */
import type { BenchInfo } from './report.ts'
import { type BenchProgress, type BenchTest, type Work, type Workload, workloadName } from './workload.ts'

/** Operations per second of one thread of a small board. */
const GUESSED_RATE = 10e9

export class RemainingTime {
  private readonly tests: BenchTest[]
  /** Seconds of each test with its warm-up and all repetitions, and of what must be read before it, as guessed. */
  private readonly guesses: number[]
  /** What was found over what was guessed, by phase: prompts and single tokens are bound by different things. */
  private readonly factors = new Map<string, number>()
  private started = performance.now()

  constructor(
    tests: BenchTest[],
    workOf: (workload: Workload) => Work,
    { repetitions, bandwidth }: Pick<BenchInfo, 'repetitions' | 'bandwidth'>,
  ) {
    this.tests = tests
    const read = Math.max(1, ...bandwidth.map(({ bytesPerSecond }) => bytesPerSecond))
    const seconds = (workload: Workload, threads: number) => {
      const { macs, bytes } = workOf(workload)
      return Math.max((2 * macs) / (GUESSED_RATE * threads), bytes / read)
    }
    this.guesses = tests.map((test, i) => {
      const before = tests[i - 1]?.depth ?? 0
      const fill: Workload = { phase: 'pp', tokens: test.depth - before, depth: before, conversations: 1 }
      const filling = fill.tokens > 0 ? seconds(fill, test.threads) : 0
      return filling + (1 + repetitions) * seconds(test, test.threads)
    })
  }

  /** So many tests are done. */
  finish(count: number): void {
    const [test, guess] = [this.tests[count - 1], this.guesses[count - 1]]
    if (test && guess) this.factors.set(test.phase, this.elapsed() / guess)
    this.started = performance.now()
  }

  /** Seconds for the rest of test `index`, which is as far as `progress` says, and for all behind it. */
  seconds(index: number, { label, done, total }: BenchProgress): number {
    const test = this.tests[index]
    if (!test) return 0
    const share = label === workloadName(test) ? done / total : 0
    const guessed = this.expected(index)
    // Behind the warm-up this test itself says how long it takes.
    const whole = share > 0 ? this.elapsed() / share : Math.max(guessed, this.elapsed())
    const rest = this.tests.slice(index + 1).reduce((sum, _, i) => sum + this.expected(index + 1 + i), 0)
    // Nothing is known but a guess: what this test shows holds for those of its kind.
    const scale = share > 0 && !this.factors.has(test.phase) && guessed > 0 ? whole / guessed : 1
    return whole * (1 - share) + rest * scale
  }

  private expected(index: number): number {
    const { phase } = this.tests[index] as BenchTest
    const [any] = this.factors.values()
    return (this.guesses[index] as number) * (this.factors.get(phase) ?? any ?? 1)
  }

  private elapsed(): number {
    return (performance.now() - this.started) / 1000
  }
}
