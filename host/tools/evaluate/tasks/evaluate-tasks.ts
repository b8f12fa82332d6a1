/** Questions of multiple choice: which choice a model holds most likely, reported as lm-evaluation-harness does. */

import { createHash } from 'node:crypto'
import { largest } from '../../../../models/index.ts'
import { checkCallback, checkList, checkNames, checkSignal, errors } from '../../../errors.ts'
import { type Model, runtimeOf } from '../../../runtime/model.ts'
import type { TaskDocument } from './documents.ts'
import type { Task } from './find.ts'
import type { Question } from './formats.ts'
import { encode, type ScoredText, scoreAll } from './likelihood.ts'
import { meanAndError, nameOf, rate } from './metrics.ts'
import { ResultsFile } from './results-file.ts'

export interface TaskOptions {
  /** Only the first so many items of each task. */
  limit?: number | undefined
  /** A file that keeps each result as it comes: what it has is not computed again. */
  resume?: string | undefined
  signal?: AbortSignal | undefined
  /** Told after every item. */
  onProgress?: (progress: { done: number; total: number }) => void
}

/** One item, and what the model makes of it. */
export interface TaskSample {
  doc_id: number
  doc: TaskDocument
  /** Index of the right choice; of the right ones, where several are. */
  target: number[]
  /** Context and continuation of each choice. */
  arguments: [context: string, continuation: string][]
  /** Log-likelihood of each continuation, in nats. */
  resps: number[]
  /** Tokens that were cut off at the beginning of the longest one, to fit the context. */
  truncated: number
  /** acc, acc_norm: 0 … 1. */
  [metric: string]: unknown
}

type Of<T> = Record<string, T>

/** The fields of lm-evaluation-harness' results that mean something here, by the names of the tasks, and a few more. */
export interface TaskResults {
  /** alias, "acc,none", "acc_stderr,none", "acc_norm,none", "acc_norm_stderr,none". */
  results: Of<Of<string | number>>
  group_subtasks: Of<string[]>
  configs: Of<object>
  versions: Of<number>
  'n-shot': Of<number>
  higher_is_better: Of<Of<boolean>>
  'n-samples': Of<{ original: number; effective: number }>
  /** Items whose beginning was cut off, because they are longer than the context. */
  'n-truncated': Of<number>
  /** Items with two choices that are the same: the first one counts. */
  'n-duplicate': Of<number>
  config: object
  /** SHA-256 of all documents that were asked. */
  task_hashes: Of<string>
  model_source: string
  model_name: string
  max_length: number
  total_evaluation_time_seconds: number
  samples: Of<TaskSample[]>
}

interface Item {
  task: Task
  index: number
  question: Question
  texts: ScoredText[]
  logLikelihoods?: number[] | undefined
}

/**
 * Asks a model the questions of tasks (`findTasks`). The model must be free: all of its conversations are used. Items that do
 * not fit the context lose their beginning, and are counted. Throws GtaError; with `resume` nothing is lost then.
 */
export async function evaluateTasks(
  model: Model,
  tasks: readonly Task[],
  options: TaskOptions = {},
): Promise<TaskResults> {
  checkNames('evaluateTasks()', options, ['limit', 'resume', 'signal', 'onProgress'])
  const { limit, resume, signal, onProgress } = options
  if (limit !== undefined && (!Number.isInteger(limit) || limit < 1))
    throw errors.badOption('limit (--limit)', 'a whole number of at least 1', limit)
  checkSignal(signal)
  checkCallback('onProgress', onProgress)
  checkList('tasks', 'those that findTasks() gave', tasks)
  for (const task of tasks)
    if (!Array.isArray(task?.documents)) throw errors.badOption('a task', 'one that findTasks() gave', task)
  const started = performance.now()
  const items = tasks.flatMap((task) =>
    task.documents.slice(0, limit).map((document, i) => ask(model, task, document, i)),
  )
  const file = resume === undefined ? undefined : new ResultsFile(resume, await runtimeOf(model).cache.fingerprint())
  try {
    for (const item of items) item.logLikelihoods = file?.find(item.task.format.name, item.index, item.texts)
    const left = items.filter((item) => !item.logLikelihoods)
    let done = items.length - left.length
    const onScored = (i: number, logLikelihoods: number[]) => {
      const { task, index, texts } = left[i] as Item
      file?.add(task.format.name, index, texts, logLikelihoods)
      ;(left[i] as Item).logLikelihoods = logLikelihoods
      onProgress?.({ done: ++done, total: items.length })
    }
    await scoreAll(
      model,
      left.map(({ texts }) => texts),
      onScored,
      signal,
    )
  } finally {
    file?.close()
  }
  const seconds = (performance.now() - started) / 1000
  return report(model, tasks, items, limit, seconds)
}

function ask(model: Model, task: Task, document: TaskDocument, index: number): Item {
  const question = task.format.ask(document)
  return { task, index, question, texts: question.continuations.map((pair) => encode(model, pair)) }
}

function report(
  model: Model,
  tasks: readonly Task[],
  items: readonly Item[],
  limit: number | undefined,
  seconds: number,
): TaskResults {
  const ofEach = <T>(value: (task: Task, items: Item[]) => T): Of<T> =>
    Object.fromEntries(
      tasks.map((task) => [
        task.format.name,
        value(
          task,
          items.filter((item) => item.task === task),
        ),
      ]),
    )
  const samples = ofEach((_, own) => own.map(sampleOf))
  const names = (task: Task) => task.format.metrics.map(nameOf)
  return {
    results: ofEach((task) => ({
      alias: task.format.name,
      ...summary(names(task), samples[task.format.name] as TaskSample[]),
    })),
    group_subtasks: ofEach(() => []),
    configs: ofEach(configOf),
    versions: ofEach(({ format }) => format.version),
    'n-shot': ofEach(() => 0),
    higher_is_better: ofEach((task) => Object.fromEntries(names(task).map((name) => [name, true]))),
    'n-samples': ofEach(({ documents }, own) => ({ original: documents.length, effective: own.length })),
    'n-truncated': ofEach((_, own) => own.filter(({ texts }) => texts.some(({ cut }) => cut > 0)).length),
    'n-duplicate': ofEach((_, own) => own.filter(({ question }) => hasTwins(question)).length),
    config: {
      model: 'gta-edge',
      model_args: `pretrained=${model.path},type=${model.weightType},cache=${model.cacheType},add_bos_token=${model.corpusIds('').length > 0 ? 'True' : 'False'}`,
      limit: limit ?? null,
    },
    task_hashes: ofEach((_, own) => hashOf(own)),
    model_source: 'gta-edge',
    model_name: model.path,
    max_length: model.context,
    total_evaluation_time_seconds: seconds,
    samples,
  }
}

/** What lm-evaluation-harness' configuration of a task says here. */
function configOf({ format, path }: Task): object {
  return {
    task: format.name,
    dataset_path: path,
    output_type: 'multiple_choice',
    num_fewshot: 0,
    target_delimiter: ' ',
    metric_list: format.metrics.map((metric) => ({
      metric: nameOf(metric),
      aggregation: 'mean',
      higher_is_better: true,
    })),
    metadata: { version: format.version },
  }
}

function sampleOf({ task, index, question, texts, logLikelihoods = [] }: Item): TaskSample {
  return {
    doc_id: index,
    doc: task.documents[index] as TaskDocument,
    target: question.right,
    arguments: question.continuations.map(({ context, continuation }) => [context, continuation]),
    resps: logLikelihoods,
    truncated: largest(texts.map(({ cut }) => cut)),
    ...rate(task.format.metrics, question, logLikelihoods),
  }
}

function summary(names: string[], samples: readonly TaskSample[]): Of<string | number> {
  const entries = names.flatMap((name) => {
    const [mean, error] = meanAndError(samples.map((sample) => sample[name] as number))
    return [
      [`${name},none`, mean],
      [`${name}_stderr,none`, error],
    ]
  })
  return Object.fromEntries(entries)
}

/** The same choice twice: none is more likely than the other. */
const hasTwins = ({ continuations }: Question) =>
  new Set(continuations.map((pair) => JSON.stringify(pair))).size < continuations.length

function hashOf(items: readonly Item[]): string {
  const hash = createHash('sha256')
  for (const { question } of items) hash.update(`${JSON.stringify([question.continuations, question.right])}\n`)
  return hash.digest('hex')
}
