/**
 * Where pages lie when memory has no room for all of them: some in memory, the others in a file. What is written is in
 * memory, what is only read may be in the file; a step streams what it needs of that, layer by layer (reader.ts). Pages
 * that no step has used for longest go first, and of those that every step uses the newest: each token reads them all, so
 * there is no better choice than to leave the rest where they are.
 */
import { platform } from '#platform'
import * as abi from '../../../assembly/abi.ts'
import { errors } from '../../errors.ts'
import type { Thread } from '../../platform/platform.ts'
import type { OffloadUse } from '../engine.ts'
import type { EngineExports } from './instance.ts'

// Words that host and reader share; the reader writes DONE and IS_DIRECT, the host the others.
export const REQUEST = 0
export const DONE = 1
export const COMMAND = 2
export const ADDRESS = 3
export const PLACE = 4
export const START = 5
export const COUNT = 6
export const IS_DIRECT = 7
/** u32[pages]: where in the file the streamed pages lie, in the order of the engine's buffer. */
export const LIST = 8

export const WRITE = 1
export const READ = 2
export const STREAM = 3
export const MEASURE = 4

/** f64 behind the words, written by the reader. */
export const BYTES_READ = 0
export const BYTES_WRITTEN = 1
export const READ_SECONDS = 2
export const RATE = 3
export const COUNTERS = 4
export const countersAt = (pages: number) => Math.ceil(((LIST + pages) * 4) / 8) * 8

export interface ReaderInput {
  memory: WebAssembly.Memory
  control: SharedArrayBuffer
  file: string
  /** Address of the engine's two buffers. */
  stream: number
  nLayers: number
  pages: number
  streamPages: number
  layerBytes: number
  streamBytes: number
}

/** Indices of the words that the reader shares with the engine. */
export const READY = abi.STREAM_READY / 4
export const SWEPT = abi.STREAM_SWEPT / 4

export interface PagerInput {
  memory: WebAssembly.Memory
  exports: EngineExports
  nLayers: number
  pages: number
  residentPages: number
  streamPages: number
  directory: string
  /** The reader is gone: the engine must not wait for it. */
  onFailure(error: Error): void
}

export class Pager {
  private readonly input: PagerInput
  private readonly places: Uint32Array
  private readonly words: Int32Array
  private readonly counters: Float64Array
  private readonly reader: Thread
  private readonly pageBytes: number
  private readonly streamBytes: number
  private readonly cache: number
  /** The slot in memory, or −1; the place in the file, or −1. */
  private readonly slots: Int32Array
  private readonly files: Int32Array
  private readonly freeSlots: number[]
  private readonly freeFiles: number[]
  /** The step that last used a page, and when it came into being. */
  private readonly used: Float64Array
  private readonly born: Float64Array
  private clock = 0
  /** Layers that were streamed so far, and whether the step that runs streams any. */
  private streamed = 0
  private isStreaming = false
  /** Places in the file that the reader reads, again and again. */
  private list: number[] = []
  private failure: Error | undefined
  private giveUp: (() => void) | undefined

  constructor(input: PagerInput) {
    const { memory, exports, nLayers, pages, residentPages, streamPages, directory } = input
    this.input = input
    this.places = new Uint32Array(memory.buffer, exports.places() >>> 0, pages)
    this.pageBytes = exports.pageBytes() >>> 0
    this.streamBytes = exports.streamBytes() >>> 0
    this.cache = exports.cache() >>> 0
    this.slots = new Int32Array(pages).fill(-1)
    this.files = new Int32Array(pages).fill(-1)
    this.freeSlots = Array.from({ length: residentPages }, (_, slot) => slot).reverse()
    this.freeFiles = Array.from({ length: pages }, (_, place) => place).reverse()
    this.used = new Float64Array(pages)
    this.born = new Float64Array(pages)
    const control = new SharedArrayBuffer(countersAt(pages) + 8 * COUNTERS)
    this.words = new Int32Array(control, 0, LIST + pages)
    this.counters = new Float64Array(control, countersAt(pages), COUNTERS)
    const data: ReaderInput = {
      memory,
      control,
      file: prepareOffload(directory),
      stream: exports.stream() >>> 0,
      nLayers,
      pages,
      streamPages,
      layerBytes: exports.layerBytes() >>> 0,
      streamBytes: this.streamBytes,
    }
    this.reader = platform.startThread({
      kind: 'reader',
      name: 'gta-edge reader',
      data,
      onError: (error) => this.fail(errors.offloadFailed(directory, error)),
      onExit: () => this.fail(errors.engineFailed('the reader ended')),
    })
    this.reader.unref()
  }

  get use(): OffloadUse {
    const { residentPages, streamPages } = this.input
    return {
      memoryBytes: residentPages * this.pageBytes + 2 * streamPages * this.streamBytes,
      bytesRead: this.counters[BYTES_READ] as number,
      bytesWritten: this.counters[BYTES_WRITTEN] as number,
      readSeconds: this.counters[READ_SECONDS] as number,
      isDirect: Atomics.load(this.words, IS_DIRECT) === 1,
    }
  }

  /** Is the page in memory? Its address then. */
  addressOf(page: number): number | undefined {
    const slot = this.slots[page] as number
    return slot < 0 ? undefined : this.cache + slot * this.pageBytes
  }

  /** A page that was free: in memory if there is room, which `makeRoom` sees to, else in the file. */
  admit(page: number): void {
    this.born[page] = ++this.clock
    this.used[page] = this.clock
    const slot = this.freeSlots.pop()
    if (slot !== undefined) this.settle(page, slot)
    else this.files[page] = this.freeFiles.pop() as number
  }

  release(page: number): void {
    const slot = this.slots[page] as number
    const file = this.files[page] as number
    if (slot >= 0) this.freeSlots.push(slot)
    if (file >= 0) this.freeFiles.push(file)
    this.slots[page] = -1
    this.files[page] = -1
  }

  /** Is there what `makeRoom` makes? Others may have taken it before who waited for it goes on. */
  hasRoom(written: readonly number[], count: number): boolean {
    return this.freeSlots.length >= count && written.every((page) => (this.slots[page] as number) >= 0)
  }

  /**
   * Before a step: the pages that it writes are brought into memory, and there is room for `count` new ones. Throws
   * OutOfMemoryError if memory cannot hold as many at a time.
   */
  async makeRoom(written: readonly number[], count: number): Promise<void> {
    const { residentPages } = this.input
    const pinned = new Set(written)
    const needed = pinned.size + count
    if (needed > residentPages) throw errors.outOfMemory(needed * this.pageBytes, residentPages * this.pageBytes)
    for (const page of pinned) {
      this.used[page] = ++this.clock
      await this.settleIn(page, true, pinned)
    }
    await this.evict(count, pinned)
  }

  /** Sets the engine up for a step that reads these pages. */
  async begin(pages: Iterable<number>): Promise<void> {
    const outside: number[] = []
    this.clock++
    for (const page of new Set(pages)) {
      this.used[page] = this.clock
      if ((this.slots[page] as number) < 0) outside.push(page)
    }
    // Room that was made and not taken is room for what the buffers do not hold.
    while (outside.length > this.input.streamPages) await this.settleIn(outside.pop() as number, true)
    outside.sort((a, b) => (this.files[a] as number) - (this.files[b] as number))
    const places = outside.map((page) => this.files[page] as number)
    for (const [i, page] of outside.entries()) this.places[page] = abi.IN_FILE + i
    if (places.length > 0 && !isSame(places, this.list)) {
      this.words.set(places, LIST)
      Atomics.store(this.words, COUNT, places.length)
      Atomics.store(this.words, START, this.streamed)
      await this.request(STREAM)
      this.list = places
    }
    this.isStreaming = places.length > 0
    this.input.exports.setStream(this.isStreaming ? 1 : 0, this.streamed)
  }

  /** After a step. */
  end(): void {
    if (this.isStreaming) this.streamed = (this.streamed + this.input.nLayers) | 0
    this.isStreaming = false
  }

  /** Writes a page's bytes; not while a step runs. */
  async store(page: number, bytes: Uint8Array): Promise<void> {
    await this.settleIn(page, false)
    this.view(page).set(bytes)
  }

  /** A copy of a page's bytes; not while a step runs. */
  async fetch(page: number): Promise<Uint8Array> {
    await this.settleIn(page, true)
    return this.view(page).slice()
  }

  /** How fast the disk gives what is listed, in bytes per second; 0 if all is in memory. */
  async measure(): Promise<number> {
    if (this.list.length === 0) return 0
    await this.request(MEASURE)
    this.list = []
    return this.counters[RATE] as number
  }

  async close(): Promise<void> {
    this.failure ??= errors.closed()
    await this.reader.terminate()
  }

  private view(page: number): Uint8Array {
    return new Uint8Array(this.input.memory.buffer, this.addressOf(page), this.pageBytes)
  }

  /** Brings a page into memory, with what the file has of it or without. */
  private async settleIn(page: number, isRead: boolean, pinned: ReadonlySet<number> = new Set()): Promise<void> {
    if ((this.slots[page] as number) >= 0) return
    await this.evict(1, pinned)
    const slot = this.freeSlots.pop() as number
    const file = this.files[page] as number
    if (isRead) await this.request(READ, this.cache + slot * this.pageBytes, file)
    this.freeFiles.push(file)
    this.files[page] = -1
    this.settle(page, slot)
  }

  private settle(page: number, slot: number): void {
    this.slots[page] = slot
    this.places[page] = slot
  }

  /** Writes pages out until `count` slots are free. */
  private async evict(count: number, pinned: ReadonlySet<number>): Promise<void> {
    while (this.freeSlots.length < count) {
      let victim = -1
      for (let page = 0; page < this.slots.length; page++) {
        if ((this.slots[page] as number) < 0 || pinned.has(page)) continue
        if (victim < 0 || this.isBetter(page, victim)) victim = page
      }
      const slot = this.slots[victim] as number
      const file = this.freeFiles.pop() as number
      await this.request(WRITE, this.cache + slot * this.pageBytes, file)
      // A conversation that was closed meanwhile has given the page back, and its slot with it.
      if (this.slots[victim] !== slot) {
        this.freeFiles.push(file)
        continue
      }
      this.files[victim] = file
      this.slots[victim] = -1
      this.freeSlots.push(slot)
    }
  }

  private isBetter(page: number, victim: number): boolean {
    const [a, b] = [this.used[page] as number, this.used[victim] as number]
    return a < b || (a === b && (this.born[page] as number) > (this.born[victim] as number))
  }

  private async request(command: number, address = 0, place = 0): Promise<void> {
    if (this.failure) throw this.failure
    const { words } = this
    Atomics.store(words, COMMAND, command)
    Atomics.store(words, ADDRESS, address)
    Atomics.store(words, PLACE, place)
    const request = Atomics.add(words, REQUEST, 1) + 1
    Atomics.notify(words, REQUEST)
    // Streaming, the reader waits for the ranks instead.
    Atomics.notify(new Int32Array(this.input.memory.buffer), SWEPT)
    // Another command stops it: the next step lists its pages again.
    if (command !== STREAM) this.list = []
    this.reader.ref()
    try {
      for (let done = Atomics.load(words, DONE); done !== request; done = Atomics.load(words, DONE)) {
        const wait = Atomics.waitAsync(words, DONE, done)
        if (wait.async)
          await new Promise<void>((resolve) => {
            this.giveUp = resolve
            wait.value.then(() => resolve())
          })
        if (this.failure) throw this.failure
      }
    } finally {
      this.reader.unref()
    }
  }

  private fail(error: Error): void {
    if (this.failure) return
    this.failure = error
    this.giveUp?.()
    this.input.onFailure(error)
  }
}

function prepareOffload(directory: string): string {
  try {
    return platform.prepareOffload(directory)
  } catch (cause) {
    throw errors.offloadFailed(directory, cause)
  }
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i])
}
