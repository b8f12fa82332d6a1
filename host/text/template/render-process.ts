/**
 * The process in which templates run: requests as JSON come as messages, replies go the same way. A render ends when its time is
 * over, even if nobody waits for it any more; the process ends when nobody can send it anything.
 */
import { runInThisContext } from 'node:vm'
import { type RenderRequest, renderText } from './render-request.ts'

export interface ProcessRequest extends RenderRequest {
  /** In milliseconds. */
  deadline: number
  maxText: number
}

/** A text, or what was found instead. */
export interface TemplateReply {
  text?: string
  found?: string
}

function reply(request: ProcessRequest): TemplateReply {
  const { deadline, maxText } = request
  // Only code that is run like this ends at a deadline.
  Object.assign(globalThis, { renderRequest: () => renderText(request) })
  try {
    const text = runInThisContext('renderRequest()', { timeout: deadline }) as string
    return text.length > maxText ? { found: `more than ${maxText} characters` } : { text }
  } catch (error) {
    if (error instanceof RangeError) return { found: `that it nests or grows without end (${error.message})` }
    if ((error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT')
      return { found: `that it takes longer than ${deadline / 1000} s` }
    return { found: String((error as Error).message).slice(0, 500) }
  }
}

process.on('message', (json) => process.send?.(reply(JSON.parse(json as string))))
