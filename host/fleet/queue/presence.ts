/** Who works on a queue: every worker answers who asks. */
import type { Nats } from './connect.ts'
import { queueErrors } from './errors.ts'
import { statusOf } from './names.ts'

/** What a worker says of itself; numbers are since it began. */
export interface WorkerStatus {
  board: string
  model: string
  /** Of the model: weights, their type, and the type of the cache. */
  hash: string
  slots: number
  running: number
  done: number
  failed: number
  tokens: number
  seconds: number
  /** °C, where the board tells it. */
  temperature: number | undefined
  lastError: string | undefined
}

export function answerStatus({ connection }: Nats, stream: string, status: () => Promise<WorkerStatus>): void {
  const subscription = connection.subscribe(statusOf(stream))
  const answer = async () => {
    for await (const message of subscription) message.respond(JSON.stringify(await status()))
  }
  // Who may not listen there works all the same.
  answer().catch(() => undefined)
}

/** Milliseconds in which a worker answers. */
const PATIENCE = 1000

/** Every worker that answers in time. */
export async function askWorkers({ connection }: Nats, stream: string, patience = PATIENCE): Promise<WorkerStatus[]> {
  const found: WorkerStatus[] = []
  const answers = await connection.requestMany(statusOf(stream), '', { strategy: 'timer', maxWait: patience })
  try {
    for await (const answer of answers) {
      const status = readStatus(answer.data)
      if (status) found.push(status)
    }
  } catch (error) {
    // Nobody listens there.
    if ((error as Error).name !== 'NoResponders') throw error
  }
  return found
}

function readStatus(data: Uint8Array): WorkerStatus | undefined {
  try {
    const status = JSON.parse(Buffer.from(data).toString()) as WorkerStatus
    const isStatus = [status.board, status.model, status.hash].every((text) => typeof text === 'string')
    return isStatus && /^[\da-f]{16}$/.test(status.hash) ? status : undefined
  } catch {
    return undefined
  }
}

/** The hash of the model that all workers serve. Throws where there is none, or more than one. */
export async function servedHash(nats: Nats, stream: string): Promise<string> {
  const workers = await askWorkers(nats, stream)
  const names = new Map(workers.map(({ hash, model }) => [hash, `${model} (${hash})`]))
  const [hash, ...others] = names.keys()
  if (hash === undefined) throw queueErrors.noWorker(stream)
  if (others.length > 0) throw queueErrors.severalModels(stream, [...names.values()])
  return hash
}
