/**
 * Runs a template in a process of its own. A thread would not do: one large string, such as a text doubled thirty times,
 * takes the whole program down with it whatever the thread's resourceLimits are (seen with Node 24). A process has its
 * own heap to fill, and can be ended; V8 lets a single string of up to half a gigabyte pass before it looks at the limit.
 */
import { execFile } from 'node:child_process'
import { errors } from '../../errors.ts'
import { renderProcess } from './programs.ts'
import type { ProcessRequest, TemplateReply } from './render-process.ts'
import { renderRequest } from './render-request.ts'
import type { TemplateRequest } from './requests.ts'

const DEADLINE = 10_000
/** Of the process on top, to start and to end itself. */
const PATIENCE = 20_000
const HEAP_MEGABYTES = 64
/** Characters of a prompt at most; a context of 128 k tokens has some 600,000. */
const MAX_TEXT = 4e6

/** The text that a template makes of messages, or JSON of its names. Throws BAD_TEMPLATE; `path` is for its message. */
export async function renderTemplate(path: string, request: TemplateRequest): Promise<string> {
  const { signal, deadline = DEADLINE } = request
  signal?.throwIfAborted()
  const reply = await new Promise<TemplateReply>((resolve) => {
    const options = {
      signal,
      timeout: deadline + PATIENCE,
      killSignal: 'SIGKILL' as const,
      // Each character of the text may be written in six bytes.
      maxBuffer: 6 * MAX_TEXT + 1000,
      // What the user's environment asks of Node is not for this one.
      env: { ELECTRON_RUN_AS_NODE: '1', SystemRoot: process.env.SystemRoot },
      windowsHide: true,
    }
    const child = execFile(
      process.execPath,
      [`--max-old-space-size=${HEAP_MEGABYTES}`, '-'],
      options,
      (error, stdout) => resolve(error ? { found: foundIn(error) } : JSON.parse(stdout)),
    )
    // A process that has ended already reads nothing; how it ended is what counts.
    child.stdin?.on('error', () => undefined)
    // The program comes on stdin, as an argument has not enough room for it; the request is a literal in front.
    const asked: ProcessRequest = { ...renderRequest(request), deadline, maxText: MAX_TEXT }
    const json = JSON.stringify(asked)
    child.stdin?.end(`globalThis.templateRequest = ${JSON.stringify(json)}\n${renderProcess}`)
  })
  signal?.throwIfAborted()
  if (reply.text === undefined) throw errors.badTemplate(path, 'turn the messages into a prompt', reply.found ?? '')
  return reply.text
}

/** Why the process ended without a reply: V8 ends it when its heap is full. */
function foundIn(error: Error & { code?: unknown; killed?: boolean; signal?: unknown }): string {
  if (error.killed) return 'that it takes too long'
  if (typeof error.code === 'string') return `that no process can be started for it (${error.code})`
  return `that it takes more than ${HEAP_MEGABYTES} MB of memory`
}
