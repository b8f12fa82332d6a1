/** What all forms of `gta bench` share: the flags that name tests, and lines of progress. */
import { megabytes } from '../errors.ts'
import { settings } from '../settings.ts'
import type { BenchOptions } from '../tools/bench/settings.ts'
import type { BenchProgress } from '../tools/bench/workload.ts'
import { type Arguments, UsageError } from './options.ts'
import { ProgressLine } from './progress.ts'

/** What the flags name: a model and its tests. */
export function readTests(args: Arguments): BenchOptions {
  const [path, configs] = [args.modelPath(), args.texts('config')]
  const [config] = configs
  if (configs.length > 1) throw new UsageError(`one --config must be given without --offload, found ${configs.length}`)
  if (args.text('offload-dir') !== undefined) throw new UsageError('--offload-dir must come with --offload')
  if (path !== undefined && config !== undefined)
    throw new UsageError(`one of a model and --config must be given, found "${path}" and "${config}"`)
  const { max } = settings.context
  return {
    model: path,
    config,
    ...args.values('type', 'cache'),
    prompt: args.list('n-prompt', 0, max),
    predict: args.list('n-gen', 0, max),
    depth: args.list('n-depth', 0, max),
    conversations: args.list('parallel', 1, 1024),
    threads: args.list('threads', 1, settings.threads.max),
    batchThreads: args.list('threads-batch', 1, settings.batchThreads.max),
    batch: args.whole('batch-size', 1, settings.batch.max),
    repetitions: args.whole('repetitions', 1, 1000),
  }
}

/** A line of progress for each thing that is done. */
export class Phases {
  private label = ''
  private progress: ProgressLine | undefined

  update = ({ label, done, total }: BenchProgress): void => {
    if (label !== this.label) this.end()
    this.label = label
    this.progress ??= new ProgressLine(label, label === 'loading' ? megabytes : String)
    this.progress.update({ done, total })
  }

  end(): void {
    this.progress?.end()
    this.progress = undefined
  }
}
