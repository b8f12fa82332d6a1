/**
 * Runs templates in a process of their own. A thread would not do: one large string, such as a text doubled thirty times,
 * takes the whole program down with it whatever the thread's resourceLimits are (seen with Node 24). A process has its
 * own heap to fill, and can be ended; V8 lets a single string of up to half a gigabyte pass before it looks at the limit.
 * To start one takes longer than to render, so it is kept for a while. One that failed in any way is not used again.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { errors } from '../../errors.ts'
import { renderProcess } from './programs.ts'
import type { ProcessRequest, TemplateReply } from './render-process.ts'
import { renderRequest } from './render-request.ts'
import type { TemplateRequest } from './requests.ts'

const DEADLINE = 10_000
/** Of the process on top, to start and to end itself. */
const PATIENCE = 20_000
/** For so long one that has nothing to do is kept. */
const KEPT = 30_000
const MOST_PROCESSES = 2
const HEAP_MEGABYTES = 64
/** Characters of a prompt at most; a context of 128 k tokens has some 600,000. */
const MAX_TEXT = 4e6

/** The text that a template makes of messages, or JSON of its names. Throws BAD_TEMPLATE; `path` is for its message. */
export async function renderTemplate(path: string, request: TemplateRequest): Promise<string> {
  const { signal, deadline = DEADLINE } = request
  signal?.throwIfAborted()
  const asked: ProcessRequest = { ...renderRequest(request), deadline, maxText: MAX_TEXT }
  const reply = await ask(JSON.stringify(asked), deadline + PATIENCE, signal)
  if (reply.text === undefined) throw errors.badTemplate(path, 'turn the messages into a prompt', reply.found ?? '')
  return reply.text
}

/** A process that renders, one text after the other. */
interface Renderer {
  child: ChildProcess
  /** Has it rendered before? */
  isUsed: boolean
  idle: NodeJS.Timeout | undefined
  /** Told what it says, or that it has ended. */
  onReply: (reply: TemplateReply) => void
  onEnd: (found: string) => void
}

const free: Renderer[] = []
let running = 0
/** Who waits for one of them. */
let waiting: (() => void)[] = []

async function ask(json: string, patience: number, signal: AbortSignal | undefined): Promise<TemplateReply> {
  await turn(signal)
  try {
    for (;;) {
      const renderer = free.pop() ?? start()
      const { isUsed } = renderer
      const reply = await askOne(renderer, json, patience, signal)
      // The system may have ended a process that had nothing to do.
      if (reply !== undefined) return reply
      if (!isUsed) return { found: `that it takes more than ${HEAP_MEGABYTES} MB of memory` }
    }
  } finally {
    running--
    waiting.shift()?.()
  }
}

/** Waits until one process more may run. */
async function turn(signal: AbortSignal | undefined): Promise<void> {
  if (running >= MOST_PROCESSES)
    await new Promise<void>((resolve, reject) => {
      const leave = () => {
        waiting = waiting.filter((other) => other !== go)
        reject(signal?.reason)
      }
      const go = () => {
        signal?.removeEventListener('abort', leave)
        // Here, so that nobody comes between.
        running++
        resolve()
      }
      signal?.addEventListener('abort', leave)
      waiting.push(go)
    })
  else running++
}

/** Undefined if the process ended without a reply. Rejects with the reason of the signal. */
function askOne(
  renderer: Renderer,
  json: string,
  patience: number,
  signal: AbortSignal | undefined,
): Promise<TemplateReply | undefined> {
  const { child } = renderer
  clearTimeout(renderer.idle)
  child.ref()
  child.channel?.ref()
  return new Promise((resolve, reject) => {
    const finish = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', stop)
      renderer.onEnd = () => undefined
    }
    const end = (settle: () => void) => {
      finish()
      child.kill('SIGKILL')
      settle()
    }
    const stop = () => end(() => reject(signal?.reason))
    const timer = setTimeout(() => end(() => resolve({ found: 'that it takes too long' })), patience)
    signal?.addEventListener('abort', stop)
    renderer.onReply = (reply) => {
      if (reply.text === undefined) return end(() => resolve(reply))
      finish()
      keep(renderer)
      resolve(reply)
    }
    renderer.onEnd = (found) => end(() => resolve(found === '' ? undefined : { found }))
    if (signal?.aborted) stop()
    // That it has ended is told by onEnd.
    else child.send(json, () => undefined)
  })
}

function start(): Renderer {
  const child = spawn(process.execPath, [`--max-old-space-size=${HEAP_MEGABYTES}`, '-'], {
    stdio: ['pipe', 'ignore', 'ignore', 'ipc'],
    // What the user's environment asks of Node is not for this one.
    env: { ELECTRON_RUN_AS_NODE: '1', SystemRoot: process.env.SystemRoot },
    windowsHide: true,
  })
  const renderer: Renderer = {
    child,
    isUsed: false,
    idle: undefined,
    onReply: () => undefined,
    onEnd: () => undefined,
  }
  child.on('message', (reply) => renderer.onReply(reply as TemplateReply))
  child.on('error', (error: NodeJS.ErrnoException) =>
    renderer.onEnd(`that no process can be started for it (${error.code})`),
  )
  child.on('exit', () => {
    drop(renderer)
    renderer.onEnd('')
  })
  // A process that has ended already reads nothing; how it ended is what counts.
  child.stdin?.on('error', () => undefined)
  // The program comes on stdin, as an argument has not enough room for it.
  child.stdin?.end(renderProcess)
  return renderer
}

/** Nobody's program waits for a process that has nothing to do. */
function keep(renderer: Renderer): void {
  const { child } = renderer
  renderer.isUsed = true
  renderer.idle = setTimeout(() => drop(renderer), KEPT)
  renderer.idle.unref()
  child.unref()
  child.channel?.unref()
  free.push(renderer)
}

function drop(renderer: Renderer): void {
  clearTimeout(renderer.idle)
  const at = free.indexOf(renderer)
  if (at >= 0) free.splice(at, 1)
  renderer.child.kill('SIGKILL')
}
