/** Node: worker_threads, files, and the machine as the system describes it. */
import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { type Transferable, Worker } from 'node:worker_threads'
import { readKernel } from './kernels.ts'
import type { Platform, ThreadStart } from './platform.ts'
import { cacheFile, readEntries, writeEntry } from './remember.ts'

/** Sources run from host/platform/, the bundle from dist/ itself. */
const fromSources = import.meta.url.endsWith('.ts')
const files = {
  rank: fromSources ? '../engine/wasm/worker.ts' : './worker.mjs',
  reader: fromSources ? '../cache/reader.ts' : './reader.mjs',
}

export const platform: Platform = {
  unshared: undefined,
  advice: 'use Node 20 or later',
  createHash: () => createHash('sha256'),
  machineMemory: () => Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY),
  availableParallelism,
  processorName: () => cpus()[0]?.model ?? '',
  readKernel,
  startThread({ kind, name, data, transfer = [], onError, onExit }: ThreadStart) {
    const options = { workerData: data, transferList: transfer as unknown as Transferable[], name, execArgv: [] }
    const worker = new Worker(new URL(files[kind], import.meta.url), options)
    worker.once('error', onError)
    worker.once('exit', onExit)
    return worker
  },
  prepareOffload(directory) {
    makeDirectory(directory)
    return join(directory, `.offload-${randomUUID()}`)
  },
  cacheFile,
  readEntries,
  writeEntry,
}

/** Node's own recursion never ends where the system says ENOENT for a folder that can never be: in /proc (Node 24). */
function makeDirectory(path: string): void {
  try {
    mkdirSync(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return
    if (code !== 'ENOENT' || dirname(path) === path) throw error
    makeDirectory(dirname(path))
    mkdirSync(path)
  }
}
