/** What all forms of `gta bench` share: the flags that name tests, and lines of progress. */
import { megabytes } from '../errors.ts'
import { settings } from '../settings.ts'
import type { BenchOptions } from '../tools/bench/settings.ts'
import type { BenchProgress } from '../tools/bench/workload.ts'
import { type Arguments, UsageError } from './options.ts'
import { ProgressLine } from './progress.ts'

/** What the flags name: the tests of one model or of several. */
export function readTests(args: Arguments): BenchOptions[] {
  if (args.text('offload-dir') !== undefined) throw new UsageError('--offload-dir must come with --offload')
  const paths = [...args.positionals, ...args.texts('model')]
  const configs = args.texts('config')
  const twice = [...paths, ...configs].find((path, i, all) => all.indexOf(path) !== i)
  if (twice !== undefined) throw new UsageError(`each model must be given once, found "${twice}" twice`)
  const { max } = settings.context
  const tests = {
    ...args.values('type', 'cache'),
    prompt: args.list('n-prompt', 0, max),
    predict: args.list('n-gen', 0, max),
    promptPredict: readPairs(args.texts('pg'), max),
    depth: args.list('n-depth', 0, max),
    conversations: args.list('parallel', 1, 1024),
    threads: args.list('threads', 1, settings.threads.max),
    batchThreads: args.list('threads-batch', 1, settings.batchThreads.max),
    batch: args.whole('batch-size', 1, settings.batch.max),
    repetitions: args.whole('repetitions', 1, 1000),
  }
  const given = Object.fromEntries(Object.entries(tests).filter(([, value]) => value !== undefined))
  const subjects = [...paths.map((model) => ({ model })), ...configs.map((config) => ({ config }))]
  return (subjects.length > 0 ? subjects : [{}]).map((subject) => ({ ...subject, ...given }))
}

/** `-pg 512,128`: a prompt, and tokens behind it. */
function readPairs(texts: string[], max: number): [number, number][] | undefined {
  if (texts.length === 0) return undefined
  return texts.map((text) => {
    const pair = /^\s*\d+\s*,\s*\d+\s*$/.test(text) ? text.split(',').map(Number) : []
    if (pair.length !== 2 || !pair.every((n) => n >= 1 && n <= max))
      throw new UsageError(`--pg must be a prompt and the tokens behind it, such as 512,128, found "${text}"`)
    return pair as [number, number]
  })
}

/** A line of progress for each thing that is done. */
export class Phases {
  private label = ''
  private progress: ProgressLine | undefined
  private isShown = false
  private last = Number.NEGATIVE_INFINITY

  update = ({ label, done, total, secondsLeft }: BenchProgress) => {
    if (secondsLeft !== undefined)
      return this.tell(`${label} ${done}/${total}, ${inWords(secondsLeft)} left of all tests`)
    if (label !== this.label) this.end()
    this.label = label
    this.progress ??= new ProgressLine(label, label === 'loading' ? megabytes : String)
    this.progress.update({ done, total })
  }

  private tell(text: string): void {
    const now = performance.now()
    if (!process.stderr.isTTY || now - this.last < 100) return
    this.last = now
    process.stderr.write(`\r\x1b[K${text}`)
    this.isShown = true
  }

  end(): void {
    this.progress?.end()
    this.progress = undefined
    if (this.isShown) process.stderr.write('\r\x1b[K')
    this.isShown = false
  }
}

/** A guess needs no more digits: 'about 40 s', 'about 6 min', 'about 2.5 h'. */
function inWords(seconds: number): string {
  if (seconds < 100) return `about ${Math.ceil(seconds)} s`
  return seconds < 6000 ? `about ${Math.round(seconds / 60)} min` : `about ${(seconds / 3600).toFixed(1)} h`
}
