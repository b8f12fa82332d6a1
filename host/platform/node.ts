/** Node: worker_threads, files, and the machine as the system describes it. */
import { createHash, randomUUID } from 'node:crypto'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { type Transferable, Worker } from 'node:worker_threads'
import { makeDirectory } from './directory.ts'
import { openGpu } from './gpu.ts'
import { readKernel } from './kernels.ts'
import { watchLoad } from './load.ts'
import { isRelaxedRight } from './optimize.ts'
import type { Platform, ThreadStart } from './platform.ts'
import { rank, reader } from './programs.ts'
import { cacheFile, readEntries, removeEntries, writeEntry } from './remember.ts'
import { within } from './within.ts'

export const platform: Platform = {
  unshared: undefined,
  advice: 'use Node 20 or later',
  createHash: () => createHash('sha256'),
  machineMemory: () => Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY),
  availableParallelism,
  processorName: () => cpus()[0]?.model ?? '',
  isRelaxedRight,
  within,
  readKernel,
  startThread({ kind, name, data, transfer = [], onError, onExit }: ThreadStart) {
    const transferList = transfer as unknown as Transferable[]
    const options = { eval: true, workerData: data, transferList, name, execArgv: [] }
    const worker = new Worker({ rank, reader }[kind], options)
    worker.once('error', onError)
    worker.once('exit', onExit)
    return worker
  },
  openGpu,
  prepareOffload(directory) {
    makeDirectory(directory)
    return join(directory, `.offload-${randomUUID()}`)
  },
  cacheFile,
  readEntries,
  writeEntry,
  removeEntries,
  watchLoad,
}
