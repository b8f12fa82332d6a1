/**
 * Which tokens may come next: a state of the machine, held against the trie of the vocabulary. Masks are kept by state, so
 * that a string costs one look-up a token. A new one is put together of
 *   - what each of its rules allows within itself: see leaf-masks.ts;
 *   - walks over the rest: the ends of tokens that go from one rule into another, such as `", "`.
 */
import type { LeafMasks } from './leaf-masks.ts'
import type { Machine, MachineState } from './machine.ts'
import type { Trie } from './trie.ts'
import { addMask, setBit, setBits } from './vocabulary.ts'

/** Masks that a grammar keeps for a tokenizer; each has a bit for each token. */
const MOST_MASKS = 256

/** Masks of a grammar's states. */
export class Masks {
  readonly machine: Machine
  private readonly leaves: LeafMasks
  private masks = new Map<MachineState, Uint32Array>()
  private readonly path: MachineState[] = []

  constructor(machine: Machine, leaves: LeafMasks) {
    this.machine = machine
    this.leaves = leaves
  }

  /** Without tokens that end the text; not to be changed. */
  maskOf(state: MachineState): Uint32Array {
    let mask = this.masks.get(state)
    if (mask) return mask
    if (this.masks.size >= MOST_MASKS) this.masks = new Map()
    mask = this.compute(state)
    this.masks.set(state, mask)
    return mask
  }

  private compute(state: MachineState): Uint32Array {
    const mask = new Uint32Array(this.leaves.tokens.words)
    for (const frame of state.frames) {
      const alone = this.leaves.maskOf(frame.rule, frame.state)
      if (alone.mask) addMask(mask, alone.mask)
      setBits(mask, alone.ids)
      for (const [state, nodes] of alone.calls) this.walkBelow(nodes, this.machine.at(frame, state), mask)
      if (alone.exits.length > 0) this.walkBelow(alone.exits, this.machine.behind(frame), mask)
    }
    return mask
  }

  /** Adds the tokens below some nodes, given in order, that can follow a state. */
  private walkBelow(places: ArrayLike<number>, state: MachineState, mask: Uint32Array): void {
    const { trie, parts } = this.leaves.tokens
    const readable = this.machine.canRead(state)
    let i = 0
    for (const { to, inner } of parts) {
      const first = i
      while (i < places.length && (places[i] as number) < to) i++
      if (i === first || !inner.some((isThere, byte) => isThere === 1 && readable[byte] === 1)) continue
      for (let at = first; at < i; at++) this.walk(state, trie, places[at] as number, mask)
    }
  }

  /** Below one node. */
  private walk(start: MachineState, { nodes, ids }: Trie, above: number, mask: Uint32Array): void {
    const { machine, path } = this
    const end = nodes[4 * above + 1] as number
    path[(((nodes[4 * above] as number) >> 8) & 255) + 1] = start
    for (let node = above + 1; node < end; ) {
      const row = nodes[4 * node] as number
      const depth = (row >> 8) & 255
      const byte = row & 255
      const before = path[depth] as MachineState
      const state = machine.canRead(before)[byte] === 1 ? machine.step(before, byte) : null
      if (!state) {
        node = nodes[4 * node + 1] as number
        continue
      }
      path[depth + 1] = state
      const last = nodes[4 * node + 6] as number
      for (let i = nodes[4 * node + 2] as number; i < last; i++) setBit(mask, ids[i] as number)
      node++
    }
  }
}
