/**
 * A server that was killed may forget that it has removed jobs that were acknowledged: they lie there again, and no consumer
 * gets them any more. Here they are removed, or, if there is no result (a power cut took it), queued again.
 */
import type { Nats } from './connect.ts'
import { consumerOf, resultSubject, resultsOf } from './names.ts'
import { apiCode, apiCodes } from './streams.ts'

/** Does nothing while there are jobs of the model that somebody will get. */
export async function repairJobs({ manager, stream: client }: Nats, stream: string, hash: string): Promise<void> {
  const { num_pending: waiting, num_ack_pending: given, delivered } = await manager.consumers.info(stream, consumerOf(hash)) // biome-ignore format: one line
  if (waiting + given > 0) return
  const { state } = await manager.streams.info(stream, { subjects_filter: `${stream}.jobs.${hash}.*` })
  for (const subject of Object.keys(state.subjects ?? {})) {
    const job = await findMessage({ manager }, stream, subject)
    // What came since then is somebody's.
    if (!job || job.seq > delivered.stream_seq) continue
    const name = subject.split('.').at(-1) as string
    const isDone = (await findMessage({ manager }, resultsOf(stream), resultSubject(stream, name))) !== undefined
    await manager.streams.deleteMessage(stream, job.seq)
    // Without an id: the server knows that of the first time.
    if (!isDone) await client.publish(subject, job.data)
  }
}

/** The message of a subject, if there is one. */
export async function findMessage({ manager }: Pick<Nats, 'manager'>, stream: string, subject: string) {
  try {
    return (await manager.streams.getMessage(stream, { last_by_subj: subject })) ?? undefined
  } catch (error) {
    if (apiCode(error) === apiCodes.noMessage) return undefined
    throw error
  }
}
