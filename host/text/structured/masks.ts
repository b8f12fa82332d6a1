/**
 * Which tokens may come next: a state of the machine, held against the trie of the vocabulary. Masks are kept by state, so
 * that a string costs one look-up a token. A new one is put together of
 *   - what each leaf (string, number) allows within itself: see leaf-masks.ts;
 *   - walks over the rest: tokens that begin outside of a leaf, and the ends of those that leave one, such as `", "`.
 */
import type { LeafMasks } from './leaf-masks.ts'
import type { Frame, Machine, MachineState } from './machine.ts'
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
    const { trie, words } = this.leaves.tokens
    const mask = new Uint32Array(words)
    for (const frame of state.frames)
      if (frame.rule.calls) this.walk(this.machine.alone(frame), 0, trie.nodes.length / 4 - 1, 0, mask)
      else this.addLeaf(frame, mask)
    return mask
  }

  private addLeaf(frame: Frame, mask: Uint32Array): void {
    const leaf = this.leaves.maskOf(frame.rule, frame.state)
    if (leaf.mask) addMask(mask, leaf.mask)
    setBits(mask, leaf.ids)
    if (leaf.exits.length === 0) return
    const behind = this.machine.behind(frame)
    const { trie, parts } = this.leaves.tokens
    const readable = this.machine.canRead(behind)
    let i = 0
    for (const { to, inner } of parts) {
      // Exits are in the order of their nodes.
      const first = i
      while (i < leaf.exits.length && (leaf.exits[i] as number) < to) i++
      if (i > first && inner.some((isThere, byte) => isThere === 1 && readable[byte] === 1))
        for (const node of leaf.exits.subarray(first, i))
          this.walk(behind, node + 1, trie.nodes[4 * node + 1] as number, depthOf(trie, node) + 1, mask)
    }
  }

  /** Adds the tokens of a part of the trie that can follow `start`, which is the state at a depth. */
  private walk(start: MachineState, from: number, to: number, depth: number, mask: Uint32Array): void {
    const { nodes, ids } = this.leaves.tokens.trie
    const { machine, path } = this
    path[depth] = start
    for (let node = from; node < to; ) {
      const row = nodes[4 * node] as number
      const at = (row >> 8) & 255
      const byte = row & 255
      const before = path[at] as MachineState
      const state = machine.canRead(before)[byte] === 1 ? machine.step(before, byte) : null
      if (!state) {
        node = nodes[4 * node + 1] as number
        continue
      }
      path[at + 1] = state
      const last = nodes[4 * node + 6] as number
      for (let i = nodes[4 * node + 2] as number; i < last; i++) setBit(mask, ids[i] as number)
      node++
    }
  }
}

function depthOf({ nodes }: Trie, node: number): number {
  return ((nodes[4 * node] as number) >> 8) & 255
}
