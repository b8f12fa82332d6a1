/** Tasks by their names: from files in the folders where they may be, or from the path of a file. */
import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { checkList, errors } from '../../../errors.ts'
import { cacheDirectory } from '../../../platform/remember.ts'
import { toolErrors } from '../../errors.ts'
import { readDocuments, type TaskDocument } from './documents.ts'
import { plainFormat, type TaskFormat, taskFormats } from './formats.ts'

/** A task with its questions. */
export interface Task {
  format: TaskFormat
  /** Where the questions were read. */
  path: string
  documents: TaskDocument[]
}

/** Tasks whose answers are generated; they are asked for, so they have an answer of their own. */
const generative = /^(mbpp|ifeval|bbh|leaderboard_bbh)(_|$)/

/** Where NAME.jsonl are, unless somebody says where: $XDG_CACHE_HOME/gta-edge/tasks. */
export function taskDirectory(): string {
  return join(cacheDirectory(), 'tasks')
}

/**
 * Finds and reads tasks: names of lm-evaluation-harness or of files (`truthfulqa_mc` is both of its tasks), or paths of .jsonl
 * files. Folders are searched in their order. Throws GtaError for tasks that are not there, are wrong, come twice, or are none of multiple choice.
 */
export async function findTasks(
  names: readonly string[],
  directories: readonly string[] = [taskDirectory()],
): Promise<Task[]> {
  checkList('tasks (--tasks)', 'a list of names', names)
  const tasks: Task[] = []
  for (const name of names) {
    if (typeof name !== 'string') throw errors.badOption('a task (--tasks)', 'a name', name)
    if (generative.test(name)) throw toolErrors.generativeTask(name)
    for (const { format, path } of locate(name, directories)) {
      if (tasks.some((task) => task.format.name === format.name))
        throw errors.badOption('tasks (--tasks)', 'different', format.name)
      tasks.push({ format, path, documents: await readDocuments(path, format.check) })
    }
  }
  if (tasks.length === 0) throw errors.badOption('tasks (--tasks)', 'at least one name', names.join(','))
  return tasks
}

function locate(name: string, directories: readonly string[]): { format: TaskFormat; path: string }[] {
  if (name.endsWith('.jsonl')) {
    const file = basename(name, '.jsonl')
    return formatsOf(file).map((format) => ({ format, path: name }))
  }
  return formatsOf(name).map((format) => {
    const path = directories.map((folder) => join(folder, `${format.file}.jsonl`)).find((file) => existsSync(file))
    if (path === undefined) throw toolErrors.noTask(format.file, directories, knownNames())
    return { format, path }
  })
}

function formatsOf(name: string): TaskFormat[] {
  const found = taskFormats.filter((format) => format.name === name || format.file === name)
  return found.length > 0 ? found : [plainFormat(name)]
}

const knownNames = () => taskFormats.map(({ name }) => name)
