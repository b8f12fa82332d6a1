/** gta eval --tasks: questions of multiple choice, reported as lm-evaluation-harness does. */
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { errors } from '../errors.ts'
import { distUrl } from '../platform/dist.ts'
import { evaluateTasks, type TaskResults } from '../tools/evaluate/tasks/evaluate-tasks.ts'
import { findTasks, taskDirectory } from '../tools/evaluate/tasks/find.ts'
import { interruptSignal } from './interrupt.ts'
import { loadModel } from './open.ts'
import type { Arguments } from './options.ts'
import { ProgressLine } from './progress.ts'
import { csvLine, headLine, type TableFormat, tableLine } from './table.ts'
import { say } from './terminal.ts'

/** Samples that a clone brings along, and a package does not. */
const clonedTasks = fileURLToPath(new URL('../bench/tasks/', distUrl))

export async function evaluateQuestions(args: Arguments, output: TableFormat): Promise<void> {
  const limit = args.whole('limit', 1)
  const names = (args.text('tasks') ?? '').split(',').map((name) => name.trim())
  const directory = args.text('task-dir')
  const tasks = await findTasks(names, directory === undefined ? [taskDirectory(), clonedTasks] : [directory])
  const path = args.text('samples')
  // A path that cannot be written is known before anything is computed.
  await writeSamples(path, {})
  const signal = interruptSignal()
  const model = await loadModel(args, signal, { maxLogits: 64 })
  const progress = new ProgressLine('evaluating', (n) => `${n} items`)
  try {
    const options = { limit, resume: args.text('resume'), signal, onProgress: progress.update }
    const { samples, ...results } = await evaluateTasks(model, tasks, options).finally(() => progress.end())
    warn(results)
    await writeSamples(path, samples)
    // The shape of lm-evaluation-harness, for what reads its results.
    if (output === 'json') process.stdout.write(`${JSON.stringify(results)}\n`)
    else process.stdout.write(output === 'csv' ? csvOf(results) : tableOf(results))
  } finally {
    await model.close()
  }
}

function warn(results: Omit<TaskResults, 'samples'>): void {
  for (const [task, { effective }] of Object.entries(results['n-samples'])) {
    const [cut, twins] = [results['n-truncated'][task], results['n-duplicate'][task]]
    if (cut)
      say(
        `warning: ${cut} of ${effective} items of ${task} are longer than the context of ${results.max_length} tokens: their beginnings were cut off`,
      )
    if (twins)
      say(`warning: ${twins} of ${effective} items of ${task} have the same choice twice: the first one counts`)
  }
}

async function writeSamples(path: string | undefined, samples: TaskResults['samples']): Promise<void> {
  if (path === undefined) return
  const lines = Object.entries(samples).flatMap(([task, own]) =>
    own.map((sample) => `${JSON.stringify({ task, ...sample })}\n`),
  )
  await writeFile(path, lines.join('')).catch((cause) => {
    throw errors.writeFailed(path, cause)
  })
}

const columns = [
  { name: 'task', width: 16, isText: true },
  { name: 'version', width: 7 },
  { name: 'items', width: 6 },
  { name: 'metric', width: 8, isText: true },
  { name: 'value', width: 6 },
  { name: 'stderr', width: 6 },
]

/** A cell for each of the columns, a row for each metric. */
function rowsOf({ results, versions, 'n-samples': counts, higher_is_better }: Omit<TaskResults, 'samples'>) {
  return Object.entries(results).flatMap(([task, values]) =>
    Object.keys(higher_is_better[task] ?? {}).map((metric) => [
      task,
      versions[task],
      counts[task]?.effective,
      metric,
      values[`${metric},none`],
      values[`${metric}_stderr,none`],
    ]),
  )
}

function csvOf(results: Omit<TaskResults, 'samples'>): string {
  return [columns.map(({ name }) => name), ...rowsOf(results)].map((cells) => csvLine(cells)).join('')
}

function tableOf(results: Omit<TaskResults, 'samples'>): string {
  const rounded = (cell: unknown, i: number) => (i > 3 && typeof cell === 'number' ? cell.toFixed(4) : String(cell))
  const lines = rowsOf(results).map((cells) => tableLine(columns, cells.map(rounded)))
  return `${headLine(columns)}${lines.join('')}
Without examples, as lm-evaluation-harness asks; ${results.total_evaluation_time_seconds.toFixed(1)} s.
`
}
