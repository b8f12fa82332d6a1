/**
 * A web worker: threads are further workers from the same script, memory is shared if the page is isolated, and there are
 * no files: nothing is remembered, and a closed tab leaves nothing behind.
 */

import { errors } from '../errors.ts'
import { advice } from './advice.ts'
import { readKernel } from './kernels.ts'
import type { Platform, ThreadStart } from './platform.ts'
import { Sha256 } from './sha256.ts'

export const platform: Platform = {
  unshared: whyUnshared(),
  advice,
  createHash: () => new Sha256(),
  machineMemory: () => Number.POSITIVE_INFINITY,
  availableParallelism: () => navigator.hardwareConcurrency || 1,
  processorName: () => '',
  isRelaxedRight: () => true,
  within: (_, work) => work(),
  readKernel,
  startThread({ name, data, transfer = [], onError }: ThreadStart) {
    const worker = new Worker(location.href, { type: 'module', name })
    worker.onerror = (event) => onError(new Error(event.message || 'its script cannot be loaded'))
    worker.postMessage({ rank: data }, transfer as Transferable[])
    return {
      ref: () => undefined,
      unref: () => undefined,
      terminate: async () => worker.terminate(),
    }
  },
  async openGpu() {
    const { gpu } = navigator as { gpu?: GPU }
    if (gpu) return gpu
    throw errors.noGpu(
      'no WebGPU in this browser, or a page that is not secure',
      'serve it by https or from localhost, and use Chrome or Edge 113, Safari 26, or a later one',
    )
  },
  prepareOffload() {
    throw errors.needsFiles('offload')
  },
  cacheFile: () => '',
  readEntries: async () => ({}),
  writeEntry: async () => undefined,
  removeEntries: async () => undefined,
  watchLoad: () => () => ({}),
}

function whyUnshared(): string | undefined {
  if (!globalThis.crossOriginIsolated)
    return 'the page is not isolated: serve it, and this script, with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp'
  // WebKitGTK 2.50 isolates a page, and has none.
  if (typeof SharedArrayBuffer !== 'function') return 'this browser has no SharedArrayBuffer: use another one'
  if (typeof Atomics.waitAsync !== 'function') return 'this browser has no Atomics.waitAsync: use a newer one'
  return undefined
}
