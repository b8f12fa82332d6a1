/** A rank as a worker of Node. */
import { workerData } from 'node:worker_threads'
import type { WorkerInput } from './protocol.ts'
import { serveRank } from './rank.ts'

serveRank(workerData as WorkerInput)
