/** What the operations of a step read of it, and how the host writes that: rows, tables, places and the angles of RoPE. */
import { NO_PAGE } from '../../../assembly/abi.ts'
import { PAGE_TOKENS } from '../../../models/index.ts'
import type { Row } from '../engine.ts'
import { ROW_WORDS, writeRow } from '../wasm/rows.ts'
import { writeAngles } from './angles.ts'
import type { TileSizes } from './attention-tiles.ts'
import type { GpuDevice } from './gpu.ts'
import { usage } from './gpu.ts'
import type { StepBuffers, StepSizes } from './operations.ts'
import type { GpuPlan } from './plan.ts'

/** Words of the host that a step must see; only what changed is sent. */
class HostWords {
  readonly words: Uint32Array<ArrayBuffer>
  readonly buffer: GPUBuffer
  private readonly sent: Uint32Array

  constructor(gpu: GpuDevice, name: string, length: number) {
    this.words = new Uint32Array(length)
    this.sent = new Uint32Array(length)
    this.buffer = gpu.buffer(name, 4 * length)
  }

  send(queue: GPUQueue): void {
    const { words, sent } = this
    let first = 0
    while (first < words.length && words[first] === sent[first]) first++
    if (first === words.length) return
    let end = words.length
    while (words[end - 1] === sent[end - 1]) end--
    queue.writeBuffer(this.buffer, 4 * first, words, first, end - first)
    sent.set(words.subarray(first, end), first)
  }
}

export interface StepShape {
  maxRows: number
  maxLogits: number
  conversations: number
  tableBlocks: number
  blocks: number
}

export class DeviceStep implements StepBuffers {
  readonly sizes: GPUBuffer
  readonly rows: GPUBuffer
  readonly wanted: GPUBuffer
  readonly angles: GPUBuffer
  readonly anglesStride: number
  /** u32 (conversations, tableBlocks) and (page kinds, blocks); and the host's u32 (blocks, PAGE_TOKENS). */
  readonly hostTables: Uint32Array
  readonly hostPlaces: Uint32Array
  readonly history: Uint32Array
  private readonly device: GPUDevice
  private readonly plan: GpuPlan
  private readonly shape: StepShape
  private readonly tablesOnDevice: HostWords
  private readonly placesOnDevice: HostWords
  private readonly rowWords: Uint32Array<ArrayBuffer>
  private readonly rowFloats: Float32Array
  private readonly hostAngles: Float32Array<ArrayBuffer>
  private readonly hostWanted: Uint32Array<ArrayBuffer>
  /** Of each rotation, f64 (pairs): known when the weights are there. */
  private frequencies: readonly Float64Array[] = []

  constructor(gpu: GpuDevice, plan: GpuPlan, shape: StepShape) {
    const { maxRows, conversations, tableBlocks, blocks } = shape
    this.device = gpu.device
    this.plan = plan
    this.shape = shape
    this.anglesStride = Math.max(4, plan.buffers.angles / 4)
    this.sizes = gpu.make('sizes', 16, usage.UNIFORM | usage.COPY_DST)
    this.rows = gpu.buffer('rows', 4 * ROW_WORDS * maxRows)
    this.wanted = gpu.buffer('wanted', 4 * maxRows)
    this.angles = gpu.buffer('angles', 4 * this.anglesStride * maxRows)
    this.tablesOnDevice = new HostWords(gpu, 'tables', conversations * tableBlocks)
    this.placesOnDevice = new HostWords(gpu, 'places', plan.nPageKinds * blocks)
    this.hostTables = this.tablesOnDevice.words
    this.hostPlaces = this.placesOnDevice.words
    for (let i = 0; i < this.hostPlaces.length; i++) this.hostPlaces[i] = i % blocks
    this.history = new Uint32Array(blocks * PAGE_TOKENS)
    this.rowWords = new Uint32Array(ROW_WORDS * maxRows)
    this.rowFloats = new Float32Array(this.rowWords.buffer)
    this.hostAngles = new Float32Array(this.anglesStride * maxRows)
    this.hostWanted = new Uint32Array(maxRows)
  }

  get tables(): GPUBuffer {
    return this.tablesOnDevice.buffer
  }

  get places(): GPUBuffer {
    return this.placesOnDevice.buffer
  }

  /** Of each rotation, from the packed tensors. */
  setFrequencies(frequencies: readonly Float64Array[]): void {
    this.frequencies = frequencies
  }

  /** Where the pages of a block lie, of each kind. */
  placesOf(block: number): number[] {
    const { blocks } = this.shape
    return Array.from({ length: this.plan.nPageKinds }, (_, kind) => this.hostPlaces[kind * blocks + block] ?? NO_PAGE)
  }

  /** Where the token at `position` of a conversation is in `history`. */
  historyAt(conversation: number, position: number): number {
    const block = this.hostTables[conversation * this.shape.tableBlocks + Math.floor(position / PAGE_TOKENS)]
    return (block ?? NO_PAGE) * PAGE_TOKENS + (position % PAGE_TOKENS)
  }

  /** The token at a position of a row's conversation. */
  tokenAt({ conversation }: Row, position: number): number {
    return this.history[this.historyAt(conversation, position)] as number
  }

  /** Sends rows, and notes their tokens in the history. Throws RangeError if there are too many, or a token is none. */
  write(rows: readonly Row[]): Omit<StepSizes, keyof TileSizes> {
    const { maxRows, maxLogits } = this.shape
    const { queue } = this.device
    const wanted = rows.flatMap((row, index) => (row.sampling ? [index] : []))
    const states = rows.flatMap((row, index) => (row.wantsState && !row.sampling ? [index] : []))
    if (rows.length > maxRows || wanted.length > maxLogits)
      throw new RangeError(
        `a step must have at most ${maxRows} rows, ${maxLogits} with logits, found ${rows.length} and ${wanted.length}`,
      )
    let last = 0
    for (const [index, row] of rows.entries()) {
      if (row.token >= this.plan.vocabSize)
        throw new RangeError(`a token must be below ${this.plan.vocabSize}, found ${row.token}`)
      this.history[this.historyAt(row.conversation, row.position)] = row.token
      writeRow(this.rowWords, this.rowFloats, index, row)
      this.writeAngles(index, (row.dropped ?? 0) + row.position)
      last = Math.max(last, row.position)
    }
    const pages = Math.floor(last / PAGE_TOKENS) + 1
    this.hostWanted.set([...wanted, ...states])
    queue.writeBuffer(this.sizes, 0, Uint32Array.of(rows.length, wanted.length, pages, 0))
    queue.writeBuffer(this.rows, 0, this.rowWords, 0, ROW_WORDS * rows.length)
    queue.writeBuffer(this.wanted, 0, this.hostWanted, 0, wanted.length + states.length)
    if (this.frequencies.length) queue.writeBuffer(this.angles, 0, this.hostAngles, 0, this.anglesStride * rows.length)
    this.tablesOnDevice.send(queue)
    this.placesOnDevice.send(queue)
    return { rows: rows.length, logits: wanted.length, states: states.length, pages }
  }

  private writeAngles(index: number, position: number): void {
    for (const [i, { angles, magnitude }] of this.plan.rotations.entries()) {
      const at = index * this.anglesStride + angles / 4
      writeAngles(this.hostAngles, at, position, this.frequencies[i] as Float64Array, magnitude)
    }
  }
}
