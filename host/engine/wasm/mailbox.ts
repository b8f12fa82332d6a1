/**
 * What the host and rank 0 both see of an engine: small, and all that the host ever holds. The engine's memory itself
 * belongs to the workers alone. V8 gives shared memory back when the last isolate lets go of it: a worker that ends does so
 * at once, an app only when its garbage is next collected, which may be never (decision 017).
 *
 *     rows     u32 (maxRows, ROW_WORDS)           ┐
 *     tables   u32 (conversations, tablePages)    │ the host writes them; rank 0 takes them before a step or a turn
 *     places   u32 (page kinds, blocks)           │
 *     history  u32 (blocks, PAGE_TOKENS)          │
 *     masks    u32 (conversations, words of one)  │
 *     biases   u32 (conversations, BIAS_WORDS)    ┘
 *     moves    u32 (1 + 4 · MOST_MOVES)             the host writes them: pages to copy or to clear before anything else
 *     sampled  u32 (maxLogits)                    ┐
 *     logits   f32 (maxLogits, vocabSize)         │ rank 0 writes them behind a step
 *     states   f32 (maxRows, hiddenDim)           ┘
 *     times    f64 (ranks, step parts)              rank 0 writes it when it is asked to
 *     facts    f64 (see below)                      rank 0 writes it once
 *     pieces   u8 (PIECES, PIECE_BYTES)             weights on their way in, pages of the cache on their way in or out
 */
import * as abi from '../../../assembly/abi.ts'
import type { LogitBias } from '../engine.ts'

export interface MailboxSizes {
  rowWords: number
  maxRows: number
  maxLogits: number
  vocabSize: number
  hiddenDim: number
  conversations: number
  tablePages: number
  blocks: number
  kinds: number
  pageTokens: number
  /** Numbers of the account of all ranks. */
  times: number
}

/** Pages that are copied or cleared in one request at most, and the words of one: kind, target, source or NO_SOURCE. */
export const MOST_MOVES = 128
export const MOVE_WORDS = 3
/** The target is cleared. */
export const NO_SOURCE = 0xffffffff

/** Token and value of each bias. */
export const BIAS_WORDS = 2 * abi.MAX_BIASES

/** Pieces under way at a time, as many as there are readers of a file, and bytes of one. */
export const PIECES = 4
export const PIECE_BYTES = 2 ** 19

/** Places among the facts; behind them, for each page kind, its address and bytes of its pages. */
export const LAYER_BYTES = 0
export const STREAM = 1
export const STREAM_BYTES = 2
export const KINDS = 3

export class Mailbox {
  readonly rows: Uint32Array
  readonly rowFloats: Float32Array
  readonly tables: Uint32Array
  readonly places: Uint32Array
  readonly history: Uint32Array
  readonly masks: Uint32Array
  readonly biases: Uint32Array
  readonly moves: Uint32Array
  readonly sampled: Uint32Array
  readonly logits: Float32Array
  private readonly states: Float32Array
  readonly times: Float64Array
  readonly facts: Float64Array
  private readonly sizes: MailboxSizes
  private readonly piecesAt: number
  readonly buffer: ArrayBufferLike

  /** Over a buffer that there is, or a new one. */
  constructor(sizes: MailboxSizes, isShared: boolean, buffer?: ArrayBufferLike) {
    const places = layOut(sizes)
    const whole = buffer ?? (isShared ? new SharedArrayBuffer(places.end) : new ArrayBuffer(places.end))
    this.sizes = sizes
    ;[this.piecesAt] = places.pieces
    this.buffer = whole
    this.rows = new Uint32Array(whole, ...places.rows)
    this.rowFloats = new Float32Array(whole, ...places.rows)
    this.tables = new Uint32Array(whole, ...places.tables)
    this.places = new Uint32Array(whole, ...places.places)
    this.history = new Uint32Array(whole, ...places.history)
    this.masks = new Uint32Array(whole, ...places.masks)
    this.biases = new Uint32Array(whole, ...places.biases)
    this.moves = new Uint32Array(whole, ...places.moves)
    this.sampled = new Uint32Array(whole, ...places.sampled)
    this.logits = new Float32Array(whole, ...places.logits)
    this.states = new Float32Array(whole, ...places.states)
    this.times = new Float64Array(whole, ...places.times)
    this.facts = new Float64Array(whole, ...places.facts)
  }

  /** f32 (vocabSize): the k-th logits of the last step. */
  logitsOf(k: number): Float32Array {
    const { vocabSize } = this.sizes
    return this.logits.subarray(k * vocabSize, (k + 1) * vocabSize)
  }

  /** f32 (hiddenDim): the k-th hidden state of the last step. */
  stateOf(k: number): Float32Array {
    const { hiddenDim } = this.sizes
    return this.states.subarray(k * hiddenDim, (k + 1) * hiddenDim)
  }

  maskOf(conversation: number): Uint32Array {
    const words = maskWords(this.sizes.vocabSize)
    return this.masks.subarray(conversation * words, (conversation + 1) * words)
  }

  biasesOf(conversation: number, count = abi.MAX_BIASES): Uint32Array {
    return this.biases.subarray(conversation * BIAS_WORDS, conversation * BIAS_WORDS + 2 * count)
  }

  /** What is sampled for a conversation in the next step. A mask of another length: what is missing is not allowed. */
  steer(conversation: number, mask: Uint32Array | undefined, bias: LogitBias | undefined): void {
    if (mask) {
      const words = this.maskOf(conversation)
      words.fill(0)
      words.set(mask.subarray(0, words.length))
    }
    if (!bias) return
    const words = this.biasesOf(conversation, bias.tokens.length)
    const floats = new Float32Array(words.buffer, words.byteOffset, words.length)
    for (let i = 0; i < bias.tokens.length; i++) {
      words[2 * i] = bias.tokens[i] as number
      floats[2 * i + 1] = bias.values[i] as number
    }
  }

  /** Where the pages of a kind lie in the engine's memory, and bytes of each. */
  kindOf(kind: number): { address: number; pageBytes: number } {
    const [address = 0, pageBytes = 0] = this.facts.subarray(KINDS + 2 * kind)
    return { address, pageBytes }
  }

  piece(index: number): Uint8Array {
    return new Uint8Array(this.buffer, this.piecesAt + index * PIECE_BYTES, PIECE_BYTES)
  }
}

/** Words of a mask: a bit for each token. */
export const maskWords = (vocabSize: number) => Math.ceil(vocabSize / 32)

/** Where everything lies: offset and length of each part, and its end. */
function layOut(sizes: MailboxSizes) {
  const { rowWords, maxRows, maxLogits, vocabSize, hiddenDim, conversations, tablePages, blocks, kinds, pageTokens } =
    sizes
  let end = 0
  const take = (count: number, bytes: number) => {
    const at = end
    end = Math.ceil((at + count * bytes) / 64) * 64
    return [at, count] as const
  }
  const rows = take(maxRows * rowWords, 4)
  const tables = take(conversations * tablePages, 4)
  const places = take(kinds * blocks, 4)
  const history = take(blocks * pageTokens, 4)
  const masks = take(conversations * maskWords(vocabSize), 4)
  const biases = take(conversations * BIAS_WORDS, 4)
  const moves = take(1 + MOVE_WORDS * MOST_MOVES, 4)
  const sampled = take(maxLogits, 4)
  const logits = take(maxLogits * vocabSize, 4)
  const states = take(maxRows * hiddenDim, 4)
  const times = take(sizes.times, 8)
  const facts = take(KINDS + 2 * kinds, 8)
  const pieces = take(PIECES * PIECE_BYTES, 1)
  return { rows, tables, places, history, masks, biases, moves, sampled, logits, states, times, facts, pieces, end }
}

export const mailboxBytes = (sizes: MailboxSizes): number => layOut(sizes).end
