/**
 * The thread that reads and writes pages which have no room in memory. It reads layer after layer into the engine's two
 * buffers while the ranks compute (assembly/stream.ts), and goes on with the first layers of the next step before that has
 * begun. It blocks, so that nobody else does.
 *
 *     file   (nLayers, pages, stride): a layer's pages lie together, so that most are one read
 */
import { constants, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import { workerData } from 'node:worker_threads'
import * as protocol from './reader-protocol.ts'

const { control, file, pages, stream } = workerData as protocol.ReaderInput
const { nLayers, layerBytes, stride, ready, swept: sweptAt } = stream
const words = new Int32Array(control, 0, protocol.LIST + pages)
const counters = new Float64Array(control, protocol.countersAt(pages), protocol.COUNTERS)
/** The engine's memory: its workers send it. */
let buffer: ArrayBufferLike
let shared: Int32Array
/** For layers in memory, which are not where a disk wants them: memory of the engine's kind begins at a page. */
const bounce = new Uint8Array(new WebAssembly.Memory({ initial: Math.ceil(stride / 65536) }).buffer, 0, stride)
/** Waits for the ranks end now and then, to see whether there is another request. */
const PATIENCE = 20

const { descriptor, isDirect } = open()
Atomics.store(words, protocol.IS_DIRECT, isDirect ? 1 : 0)
stream.port.onmessage = ({ data }: MessageEvent<{ memory: WebAssembly.Memory }>) => {
  buffer = data.memory.buffer
  shared = new Int32Array(buffer)
  serve()
}

/** Past the system's own cache where that is possible: what it held would be memory that was promised to others. */
function open(): { descriptor: number; isDirect: boolean } {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL
  for (const direct of [constants.O_DIRECT ?? 0, 0]) {
    try {
      const descriptor = openSync(file, flags | direct, 0o600)
      // It needs no name, and whatever happens nothing is left behind.
      unlinkSync(file)
      if (direct) writeSync(descriptor, bounce, 0, stride, 0)
      return { descriptor, isDirect: direct !== 0 }
    } catch (error) {
      if (direct === 0) throw error
    }
  }
  throw new Error('unreachable')
}

function serve(): void {
  for (let seen = 0; ; seen = (seen + 1) | 0) {
    while (Atomics.load(words, protocol.REQUEST) === seen) Atomics.wait(words, protocol.REQUEST, seen)
    execute(Atomics.load(words, protocol.COMMAND), (seen + 1) | 0)
  }
}

function execute(command: number, request: number): void {
  const address = Atomics.load(words, protocol.ADDRESS) >>> 0
  const place = Atomics.load(words, protocol.PLACE)
  if (command === protocol.WRITE) eachLayer((layer) => writeLayer(layer, place, address + layer * layerBytes))
  if (command === protocol.READ) eachLayer((layer) => readLayer(layer, place, address + layer * layerBytes))
  if (command === protocol.MEASURE) counters[protocol.RATE] = measure()
  if (command === protocol.STREAM) Atomics.store(shared, ready, Atomics.load(words, protocol.START))
  Atomics.store(words, protocol.DONE, request)
  Atomics.notify(words, protocol.DONE)
  if (command === protocol.STREAM) run(request)
}

function eachLayer(work: (layer: number) => void): void {
  for (let layer = 0; layer < nLayers; layer++) work(layer)
}

function offsetOf(layer: number, place: number): number {
  return (layer * pages + place) * stride
}

function writeLayer(layer: number, place: number, address: number): void {
  bounce.set(new Uint8Array(buffer, address, layerBytes))
  let done = 0
  while (done < stride) {
    const count = writeSync(descriptor, bounce, done, stride - done, offsetOf(layer, place) + done)
    if (count === 0) throw new Error('the disk takes no more')
    done += count
  }
  counters[protocol.BYTES_WRITTEN] = (counters[protocol.BYTES_WRITTEN] as number) + stride
}

function readLayer(layer: number, place: number, address: number): void {
  readFully(bounce, offsetOf(layer, place))
  new Uint8Array(buffer, address, layerBytes).set(bounce.subarray(0, layerBytes))
}

function readFully(target: Uint8Array, offset: number): void {
  const started = performance.now()
  let done = 0
  while (done < target.length) {
    const count = readSync(descriptor, target, done, target.length - done, offset + done)
    if (count === 0) throw new Error('the file has ended')
    done += count
  }
  counters[protocol.BYTES_READ] = (counters[protocol.BYTES_READ] as number) + target.length
  counters[protocol.READ_SECONDS] = (counters[protocol.READ_SECONDS] as number) + (performance.now() - started) / 1000
}

/** Reads the listed pages of one layer after the other, for ever, less than two layers ahead of the ranks. */
function run(request: number): void {
  const start = Atomics.load(words, protocol.START)
  const count = Atomics.load(words, protocol.COUNT)
  const runs = runsOf(words.subarray(protocol.LIST, protocol.LIST + count))
  for (let n = start; ; n = (n + 1) | 0) {
    for (;;) {
      const swept = Atomics.load(shared, sweptAt)
      if (Atomics.load(words, protocol.REQUEST) !== request) return
      if (((n - swept) | 0) < 2) break
      Atomics.wait(shared, sweptAt, swept, PATIENCE)
    }
    const layer = ((n % nLayers) + nLayers) % nLayers
    const half = stream.at + (n & 1) * stream.pages * stride
    for (const { slot, place, length } of runs)
      readFully(new Uint8Array(buffer, half + slot * stride, length * stride), offsetOf(layer, place))
    Atomics.store(shared, ready, (n + 1) | 0)
    Atomics.notify(shared, ready)
  }
}

interface Run {
  slot: number
  place: number
  length: number
}

/** Places that follow each other are one read. */
function runsOf(places: Int32Array): Run[] {
  const runs: Run[] = []
  for (const [slot, place] of places.entries()) {
    const last = runs.at(-1)
    if (last && last.place + last.length === place) last.length++
    else runs.push({ slot, place, length: 1 })
  }
  return runs
}

/** Bytes per second of reading the listed pages, all layers, with nothing else to do. */
function measure(): number {
  const count = Atomics.load(words, protocol.COUNT)
  const runs = runsOf(words.subarray(protocol.LIST, protocol.LIST + count))
  const before = counters.slice()
  const started = performance.now()
  let bytes = 0
  do {
    eachLayer((layer) => {
      for (const { slot, place, length } of runs) {
        readFully(new Uint8Array(buffer, stream.at + slot * stride, length * stride), offsetOf(layer, place))
        bytes += length * stride
      }
    })
  } while (bytes > 0 && performance.now() - started < 500)
  const seconds = (performance.now() - started) / 1000
  counters.set(before)
  return bytes / seconds
}
