/** Work that a file of strangers decides about, such as a regular expression that tries every way: it is stopped, wherever it is. */
import { createContext, Script } from 'node:vm'

const context: { work: (() => void) | undefined } = { work: undefined }
/** Made when it is needed: most tokenizers have tables, and no program starts later because of others. */
let call: Script | undefined

/** What `work` returns, or throws. Throws Error if it takes longer. A call takes some 40 µs. */
export function within<T>(milliseconds: number, work: () => T): T {
  let result: { value: T } | undefined
  call ??= new Script('work()')
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
