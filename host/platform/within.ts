/** Work that a file of strangers decides about, such as a regular expression that tries every way: it is stopped, wherever it is. */
import { createContext, Script } from 'node:vm'

const context: { work: (() => void) | undefined } = { work: undefined }
const call = new Script('work()')

/** What `work` returns, or throws. Throws Error if it takes longer. A call takes some 40 µs. */
export function within<T>(milliseconds: number, work: () => T): T {
  let result: { value: T } | undefined
  createContext(context)
  context.work = () => {
    result = { value: work() }
  }
  try {
    call.runInContext(context, { timeout: milliseconds })
  } catch (error) {
    if ((error as NodeJS.ErrnoException)?.code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error
    throw new Error(`it was stopped after ${milliseconds / 1000} s`)
  } finally {
    context.work = undefined
  }
  return (result as { value: T }).value
}
