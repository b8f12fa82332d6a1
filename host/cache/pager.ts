/**
 * Where pages lie when memory has no room for all of them: some in memory, the others in a file. What is written is in
 * memory, what is only read may be in the file; a step streams what it needs of that, layer by layer (reader.ts). Pages
 * that no step has used for longest go first, and of those that every step uses the newest: each token reads them all, so
 * there is no better choice than to leave the rest where they are.
 */
import { platform } from '#platform'
import * as abi from '../../assembly/abi.ts'
import type { PageStore, PageStream } from '../engine/engine.ts'
import { errors } from '../errors.ts'
import type { Thread } from '../platform/platform.ts'
import * as protocol from './reader-protocol.ts'

/** What offload has cost so far. */
export interface OffloadUse {
  /** Bytes of the cache that may be in memory, buffers included. */
  memoryBytes: number
  bytesRead: number
  bytesWritten: number
  readSeconds: number
  /** Does it read past the system's own cache? Then what it reads comes from the disk. */
  isDirect: boolean
}

export class Pager {
  private readonly stream: PageStream
  private readonly pages: PageStore
  private readonly words: Int32Array
  private readonly counters: Float64Array
  private readonly reader: Thread
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

  constructor(store: PageStore, stream: PageStream, directory: string) {
    const { pages, residentPages } = store
    this.pages = store
    this.stream = stream
    this.slots = new Int32Array(pages).fill(-1)
    this.files = new Int32Array(pages).fill(-1)
    this.freeSlots = Array.from({ length: residentPages }, (_, slot) => slot).reverse()
    this.freeFiles = Array.from({ length: pages }, (_, place) => place).reverse()
    this.used = new Float64Array(pages)
    this.born = new Float64Array(pages)
    const control = new SharedArrayBuffer(protocol.countersAt(pages) + 8 * protocol.COUNTERS)
    this.words = new Int32Array(control, 0, protocol.LIST + pages)
    this.counters = new Float64Array(control, protocol.countersAt(pages), protocol.COUNTERS)
    const { begin, fail, wake, ...buffers } = stream
    const data: protocol.ReaderInput = { control, file: prepareOffload(directory), pages, stream: buffers }
    this.reader = platform.startThread({
      kind: 'reader',
      name: 'gta-edge reader',
      data,
      transfer: [stream.port],
      onError: (error) => this.fail(errors.offloadFailed(directory, error)),
      onExit: () => this.fail(errors.engineFailed('the reader ended')),
    })
    this.reader.unref()
  }

  get use(): OffloadUse {
    const { residentPages, pageBytes } = this.pages
    return {
      memoryBytes: residentPages * pageBytes + 2 * this.stream.pages * this.stream.stride,
      bytesRead: this.counters[protocol.BYTES_READ] as number,
      bytesWritten: this.counters[protocol.BYTES_WRITTEN] as number,
      readSeconds: this.counters[protocol.READ_SECONDS] as number,
      isDirect: Atomics.load(this.words, protocol.IS_DIRECT) === 1,
    }
  }

  /** Is the page in memory? Its place then. */
  placeOf(page: number): number | undefined {
    const slot = this.slots[page] as number
    return slot < 0 ? undefined : slot
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

  /** Is the room that `makeRoom` made still there? Others may have taken it meanwhile. */
  hasRoom(written: readonly number[], count: number): boolean {
    return this.freeSlots.length >= count && written.every((page) => (this.slots[page] as number) >= 0)
  }

  /**
   * Before a step: the pages that it writes are brought into memory, and there is room for `count` new ones. Throws
   * OutOfMemoryError if memory cannot hold as many at a time.
   */
  async makeRoom(written: readonly number[], count: number): Promise<void> {
    const { residentPages, pageBytes } = this.pages
    const pinned = new Set(written)
    const needed = pinned.size + count
    if (needed > residentPages) throw errors.outOfMemory(needed * pageBytes, residentPages * pageBytes)
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
    // Room that was made and not taken can hold pages that the buffers cannot.
    while (outside.length > this.stream.pages) await this.settleIn(outside.pop() as number, true)
    outside.sort((a, b) => (this.files[a] as number) - (this.files[b] as number))
    const places = outside.map((page) => this.files[page] as number)
    for (const [i, page] of outside.entries()) this.pages.places[page] = abi.IN_FILE + i
    if (places.length > 0 && !isSame(places, this.list)) {
      this.words.set(places, protocol.LIST)
      Atomics.store(this.words, protocol.COUNT, places.length)
      Atomics.store(this.words, protocol.START, this.streamed)
      await this.request(protocol.STREAM)
      this.list = places
    }
    this.isStreaming = places.length > 0
    this.stream.begin(this.isStreaming, this.streamed)
  }

  /** After a step. */
  end(): void {
    if (this.isStreaming) this.streamed = (this.streamed + this.stream.nLayers) | 0
    this.isStreaming = false
  }

  /** Writes a page's bytes; not while a step runs. */
  async store(page: number, bytes: Uint8Array): Promise<void> {
    await this.pages.write(await this.settleIn(page, false), bytes)
  }

  /** A copy of a page's bytes; not while a step runs. */
  async fetch(page: number): Promise<Uint8Array> {
    return (await this.pages.read(await this.settleIn(page, true))).slice()
  }

  /** How fast the disk gives what is listed, in bytes per second; 0 if all is in memory. */
  async measure(): Promise<number> {
    if (this.list.length === 0) return 0
    await this.request(protocol.MEASURE)
    this.list = []
    return this.counters[protocol.RATE] as number
  }

  async close(): Promise<void> {
    this.failure ??= errors.closed()
    await this.reader.terminate()
  }

  /** Brings a page into memory, with what the file has of it or without; returns where it is then. */
  private async settleIn(page: number, isRead: boolean, pinned: ReadonlySet<number> = new Set()): Promise<number> {
    const found = this.placeOf(page)
    if (found !== undefined) return found
    await this.evict(1, pinned)
    const slot = this.freeSlots.pop() as number
    const file = this.files[page] as number
    if (isRead) await this.request(protocol.READ, this.addressOf(slot), file)
    this.freeFiles.push(file)
    this.files[page] = -1
    this.settle(page, slot)
    return slot
  }

  private addressOf(slot: number): number {
    return this.stream.cache + slot * this.pages.pageBytes
  }

  private settle(page: number, slot: number): void {
    this.slots[page] = slot
    this.pages.places[page] = slot
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
      await this.request(protocol.WRITE, this.addressOf(slot), file)
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
    Atomics.store(words, protocol.COMMAND, command)
    Atomics.store(words, protocol.ADDRESS, address)
    Atomics.store(words, protocol.PLACE, place)
    const request = Atomics.add(words, protocol.REQUEST, 1) + 1
    Atomics.notify(words, protocol.REQUEST)
    // Streaming, the reader waits for the ranks instead.
    await this.stream.wake(this.stream.swept)
    // Another command stops it: the next step lists its pages again.
    if (command !== protocol.STREAM) this.list = []
    this.reader.ref()
    try {
      for (let done = Atomics.load(words, protocol.DONE); done !== request; done = Atomics.load(words, protocol.DONE)) {
        const wait = Atomics.waitAsync(words, protocol.DONE, done)
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
    this.stream.fail(error)
  }
}

/** The path of a file for pages. Throws OFFLOAD_FAILED if its folder cannot be. */
export function prepareOffload(directory: string): string {
  try {
    return platform.prepareOffload(directory)
  } catch (cause) {
    throw errors.offloadFailed(directory, cause)
  }
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i])
}
