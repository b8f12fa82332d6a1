/**
 * The engine's memory, and what rank 0 does with it for the host, which has no view of it (mailbox.ts). Whatever a request
 * of the host comes to, it begins and ends here.
 */
import * as abi from '../../../assembly/abi.ts'
import { createMemory, type EngineExports, instantiate, WASM_PAGE } from './instance.ts'
import * as mail from './mailbox.ts'
import * as protocol from './protocol.ts'
import { countWanted, steered } from './rows.ts'

/** Memory with the plan in place and everything laid out; the weights are still to be loaded at `WEIGHTS`. */
export function placeEngine(
  module: WebAssembly.Module,
  { planWords, request, end }: protocol.MemoryLayout,
  isShared: boolean,
): { memory: WebAssembly.Memory; exports: EngineExports } {
  const memory = createMemory(Math.ceil(end / WASM_PAGE), isShared)
  new Uint32Array(memory.buffer, abi.WEIGHTS, planWords.length).set(planWords)
  const exports = instantiate(module, memory)
  new Uint32Array(memory.buffer, abi.LAYOUT_REQUEST).set(request)
  const found = exports.layout(abi.LAYOUT_REQUEST)
  if (found !== end) throw new Error(`it ends at ${found}, not at ${end}`)
  return { memory, exports }
}

/** What a rank works with. */
export interface RankMemory {
  memory: WebAssembly.Memory
  exports: EngineExports
  mailbox: mail.Mailbox | undefined
  rank: number
}

/** Rank 0's. */
export function holdMemory(module: WebAssembly.Module, input: protocol.MemoryInput, isShared: boolean): RankMemory {
  if ('bytes' in input) {
    const memory = createMemory(Math.ceil((abi.WEIGHTS + input.bytes) / WASM_PAGE), isShared)
    new Uint8Array(memory.buffer).fill(1, abi.WEIGHTS)
    return { memory, exports: instantiate(module, memory), mailbox: undefined, rank: 0 }
  }
  const { memory, exports } = placeEngine(module, input.layout, isShared)
  const mailbox = new mail.Mailbox(input.sizes, isShared, input.buffer)
  const { facts } = mailbox
  facts[mail.LAYER_BYTES] = exports.layerBytes() >>> 0
  facts[mail.STREAM] = exports.stream() >>> 0
  facts[mail.STREAM_BYTES] = exports.streamBytes() >>> 0
  for (let kind = 0; kind < input.sizes.kinds; kind++)
    facts.set([exports.cache(kind) >>> 0, exports.pageBytes(kind) >>> 0], mail.KINDS + 2 * kind)
  return { memory, exports, mailbox, rank: 0 }
}

/** Before the ranks run a request. */
export function begin(held: RankMemory, { command, argument: count, second, third, ranks }: protocol.Request): void {
  const { exports, mailbox, memory } = held
  exports.setTeam(ranks)
  if (!mailbox) return
  moveAll(held, mailbox)
  if (command !== protocol.STEP && command !== protocol.TURN) return
  const { rows, tables, places, history } = mailbox
  const to = (address: number, words: Uint32Array) =>
    new Uint32Array(memory.buffer, address >>> 0, words.length).set(words)
  to(exports.tables(), tables)
  to(exports.places(), places)
  to(exports.history(), history)
  if (command === protocol.TURN) return
  to(exports.rows(), rows)
  for (const { conversation, isMasked, biases } of steered(rows, count)) {
    const mask = mailbox.maskOf(conversation)
    if (isMasked) to(exports.masks() + conversation * mask.byteLength, mask)
    if (biases > 0) to(exports.biases() + conversation * mail.BIAS_WORDS * 4, mailbox.biasesOf(conversation, biases))
  }
  exports.setStream(second, third)
}

/** Pages to copy or to clear: the host asks for them while it hands out pages, in this order. */
function moveAll({ memory }: RankMemory, mailbox: mail.Mailbox): void {
  const { moves } = mailbox
  const count = moves[0] as number
  for (let i = 0; i < count; i++) {
    const [kind = 0, target = 0, source = 0] = moves.subarray(1 + i * mail.MOVE_WORDS)
    const { address, pageBytes } = mailbox.kindOf(kind)
    const page = (place: number) => new Uint8Array(memory.buffer, address + place * pageBytes, pageBytes)
    if (source === mail.NO_SOURCE) page(target).fill(0)
    else page(target).set(page(source))
  }
  moves[0] = 0
}

/** Behind a request that all ranks have run. */
export function end({ memory, exports, mailbox }: RankMemory, { command, argument: count }: protocol.Request): void {
  if (!mailbox || command !== protocol.STEP) return
  const { rows, sampled } = mailbox
  sampled.set(new Uint32Array(memory.buffer, exports.sampled() >>> 0, sampled.length))
  const wanted = countWanted(rows, count)
  const copy = (from: number, target: Float32Array) =>
    target.set(new Float32Array(memory.buffer, from >>> 0, target.length))
  for (let k = 0; k < wanted.logits; k++) copy(exports.logits(k), mailbox.logitsOf(k))
  for (let k = 0; k < wanted.states; k++) copy(exports.state(wanted.logits + k), mailbox.stateOf(k))
}
