/** The compute thread: waits for a request, runs it, says so. It blocks, so that the app's event loop never does. */
import { workerData } from 'node:worker_threads'
import { instantiate } from './instance.ts'
import {
  ARGUMENT,
  COMMAND,
  DONE,
  PROBE,
  REQUEST,
  STATUS,
  STATUS_FAILED,
  STEP,
  TEXT,
  TEXT_BYTES,
  TEXT_LENGTH,
  type WorkerInput,
} from './protocol.ts'

const { module, memory, control, probeFrom } = workerData as WorkerInput
const words = new Int32Array(control)
const engine = instantiate(module, memory)

serve()

function serve(): void {
  for (let seen = 0; ; seen++) {
    Atomics.wait(words, REQUEST, seen)
    const command = Atomics.load(words, COMMAND)
    Atomics.store(words, STATUS, execute(command))
    Atomics.add(words, DONE, 1)
    Atomics.notify(words, DONE)
  }
}

/** A trap in the engine is an error of this request, not the death of the process. */
function execute(command: number): number {
  try {
    if (command === STEP) return engine.step(Atomics.load(words, ARGUMENT))
    if (command === PROBE) return measure()
    throw new Error(`unknown command ${command}`)
  } catch (error) {
    const text = new TextEncoder().encode(String(error)).subarray(0, TEXT_BYTES)
    new Uint8Array(control).set(text, TEXT * 4)
    Atomics.store(words, TEXT_LENGTH, text.length)
    return STATUS_FAILED
  }
}

/** Best of four readings, in MB/s: the memory's speed, not that of its first touch. 0 if there is no memory to read. */
function measure(): number {
  const bytes = Atomics.load(words, ARGUMENT)
  const memory = probeFrom ? undefined : scratch(bytes)
  if (!probeFrom && !memory) return 0
  const reader = memory ? instantiate(module, memory) : engine
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < 4; i++) {
    const start = performance.now()
    reader.readMemory(probeFrom, bytes)
    best = Math.min(best, performance.now() - start)
  }
  return Math.floor(bytes / best / 1000)
}

/** Memory of its own for models that are smaller than the caches; freed with this request. */
function scratch(bytes: number): WebAssembly.Memory | undefined {
  const pages = Math.ceil(bytes / 65536)
  try {
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
    new Uint8Array(memory.buffer).fill(1)
    return memory
  } catch {
    return undefined
  }
}
