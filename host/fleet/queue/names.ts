/**
 * Names of a queue. A queue NAME is three streams: NAME holds jobs until they are done, NAME-results what came of them, NAME-dead
 * those that were given up.
 *
 *     NAME.jobs.MODEL.JOB    a request; MODEL is the hash of the model that it is for
 *     NAME.results.JOB       its result
 *     NAME.dead.JOB          the request again, if nobody lived to answer it
 *     NAME.status            whoever asks there hears from every worker (not kept)
 *
 * JOB is the hash of the request. Each subject takes one message and no second one: the same request is queued once, however
 * often it is submitted, and has one result, however many workers computed it.
 */

import { hashOf } from '../id-set.ts'
import type { Request } from '../requests.ts'
import { queueErrors } from './errors.ts'

export function checkStream(name: string): string {
  if (!/^[\w-]{1,64}$/.test(name)) throw queueErrors.badStream(name)
  return name
}

export const resultsOf = (stream: string) => `${stream}-results`
export const deadOf = (stream: string) => `${stream}-dead`
/** Workers of one model share it. */
export const consumerOf = (model: string) => `model-${model}`
export const statusOf = (stream: string) => `${stream}.status`

export const jobSubject = (stream: string, model: string, job: string) => `${stream}.jobs.${model}.${job}`
export const resultSubject = (stream: string, job: string) => `${stream}.results.${job}`
export const deadSubject = (stream: string, job: string) => `${stream}.dead.${job}`

/** Of all that makes a request: what is asked, and under which name. */
export function jobOf({ customId, url, body }: Request): string {
  return hashOf(JSON.stringify([customId, url, body])).toString('hex', 0, 16)
}
