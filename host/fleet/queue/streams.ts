/** The streams of a queue: made where they are missing, looked at where they are not. */
import type { JetStreamApiError, StreamConfig, StreamInfo } from '@nats-io/jetstream'
import type { Nats } from './connect.ts'
import { queueErrors } from './errors.ts'
import { deadOf, resultsOf } from './names.ts'

/** JetStream's codes (nats-server, errors.json). */
export const apiCodes = { noStream: 10_059, noMessage: 10_037, subjectTaken: 10_077 }

export const apiCode = (error: unknown): number | undefined => (error as JetStreamApiError | undefined)?.code

type Wanted = Pick<StreamConfig, 'name' | 'subjects' | 'retention'>

function streamsOf(stream: string): Wanted[] {
  return [
    // A job goes when it is acknowledged.
    { name: stream, subjects: [`${stream}.jobs.*.*`], retention: 'workqueue' },
    { name: resultsOf(stream), subjects: [`${stream}.results.*`], retention: 'limits' },
    { name: deadOf(stream), subjects: [`${stream}.dead.*`], retention: 'limits' },
  ]
}

/** One message of a subject, in files; what they have besides, such as replicas and limits, is the user's to choose. */
const rules = {
  storage: 'file',
  discard: 'new',
  max_msgs_per_subject: 1,
  discard_new_per_subject: true,
} as const

/** Throws BAD_OPTION where a stream of that name is something else. */
export async function makeStreams({ manager }: Nats, stream: string): Promise<void> {
  for (const wanted of streamsOf(stream)) {
    const found = await findStream(manager, wanted.name)
    if (found) checkConfig(found.config, wanted)
    else
      await manager.streams.add({ ...wanted, ...rules }).catch(async (cause) => {
        // Another worker may have been faster.
        const made = await findStream(manager, wanted.name)
        if (!made) throw queueErrors.cannotMake(wanted.name, cause)
        checkConfig(made.config, wanted)
      })
  }
}

function checkConfig(config: StreamConfig, wanted: Wanted): void {
  const all: Partial<StreamConfig> = { ...wanted, ...rules }
  for (const [name, value] of Object.entries(all))
    if (JSON.stringify(config[name as keyof StreamConfig]) !== JSON.stringify(value))
      throw queueErrors.otherStream(wanted.name, name)
}

async function findStream(manager: Nats['manager'], name: string): Promise<StreamInfo | undefined> {
  try {
    return await manager.streams.info(name)
  } catch (error) {
    if (apiCode(error) === apiCodes.noStream) return undefined
    throw error
  }
}

/** Messages of a stream, and the number of the last one. Throws NOT_FOUND. */
export async function stateOf({ manager }: Nats, name: string): Promise<{ messages: number; last: number }> {
  const found = await findStream(manager, name)
  if (!found) throw queueErrors.noStream(name)
  return { messages: found.state.messages, last: found.state.last_seq }
}
