/**
 * Which tokens may come next: a state of the machine, held against the trie of the vocabulary. Masks are kept by state, so
 * that a string costs one look-up a token. A new one is put together of
 *   - what each leaf (string, number) allows within itself, kept for all texts and all grammars that share the leaf;
 *   - walks over the rest: tokens that begin outside of a leaf, and the ends of those that leave one, such as `", "`.
 */
import type { Frame, Machine, MachineState } from './machine.ts'
import type { Rule } from './rule.ts'
import { LONGEST_TOKEN } from './rule.ts'
import { setBit, type TokenTrie, type Trie } from './trie.ts'

/** What a leaf allows by itself. */
interface LeafMask {
  /** Tokens of at most so many plain characters; 0: none. */
  readonly plainRoom: number
  /** Other tokens, in a mask, or listed if they are few. */
  readonly mask: Uint32Array | undefined
  readonly ids: Uint32Array
  readonly trie: Trie
  /** Nodes with others below them, where the leaf may be over. */
  readonly exits: Uint32Array
}

/** Masks of leaves that one tokenizer keeps, and masks that a grammar keeps for it; each has at most a bit for each token. */
const MOST_LEAF_MASKS = 1024
const MOST_MASKS = 256

/** Masks of leaves, for all grammars of a tokenizer. */
export class LeafMasks {
  readonly tokens: TokenTrie
  private masks = new WeakMap<Rule, Map<number, LeafMask>>()
  private count = 0
  private readonly path = new Float64Array(LONGEST_TOKEN + 1)

  constructor(tokens: TokenTrie) {
    this.tokens = tokens
  }

  maskOf(rule: Rule, state: number): LeafMask {
    let byKey = this.masks.get(rule)
    if (!byKey || this.count > MOST_LEAF_MASKS) {
      if (byKey) this.masks = new WeakMap()
      if (byKey) this.count = 0
      byKey = new Map()
      this.masks.set(rule, byKey)
    }
    const key = rule.maskKey?.(state) ?? state
    let mask = byKey.get(key)
    if (!mask) {
      mask = this.walk(rule, state)
      byKey.set(key, mask)
      this.count++
    }
    return mask
  }

  private walk(rule: Rule, start: number): LeafMask {
    const plainRoom = rule.plainRoom?.(start) ?? 0
    const trie = plainRoom > 0 ? this.tokens.special : this.tokens.all
    const { bytes, depths, ends, firsts, ids } = trie
    const { path } = this
    const found: number[] = []
    const exits: number[] = []
    path[0] = start
    for (let node = 0; node < bytes.length; ) {
      const depth = depths[node] as number
      const state = rule.next(path[depth] as number, bytes[node] as number)
      if (state < 0) {
        node = ends[node] as number
        continue
      }
      path[depth + 1] = state
      for (let i = firsts[node] as number; i < (firsts[node + 1] as number); i++) found.push(ids[i] as number)
      if ((ends[node] as number) > node + 1 && rule.isEnd(state)) exits.push(node)
      node++
    }
    const isFew = found.length < this.tokens.words
    const mask = isFew ? undefined : new Uint32Array(this.tokens.words)
    if (mask) for (const id of found) setBit(mask, id)
    return { plainRoom, mask, ids: Uint32Array.from(isFew ? found : []), trie, exits: Uint32Array.from(exits) }
  }
}

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
    const { tokens } = this.leaves
    const mask = new Uint32Array(tokens.words)
    for (const frame of state.frames)
      if (frame.rule.calls) this.walk(this.machine.alone(frame), tokens.all, 0, tokens.all.bytes.length, 0, mask)
      else this.addLeaf(frame, mask)
    return mask
  }

  private addLeaf(frame: Frame, mask: Uint32Array): void {
    const leaf = this.leaves.maskOf(frame.rule, frame.state)
    if (leaf.plainRoom > 0) addMask(mask, this.leaves.tokens.plainMask(leaf.plainRoom))
    if (leaf.mask) addMask(mask, leaf.mask)
    else for (const id of leaf.ids) setBit(mask, id)
    if (leaf.exits.length === 0) return
    const behind = this.machine.behind(frame)
    if (behind.frames.length === 0) return
    const { ends, depths } = leaf.trie
    for (const node of leaf.exits)
      this.walk(behind, leaf.trie, node + 1, ends[node] as number, (depths[node] as number) + 1, mask)
  }

  /** Adds the tokens of a part of a trie that can follow `start`, which is the state at a depth. */
  private walk(start: MachineState, trie: Trie, from: number, to: number, depth: number, mask: Uint32Array): void {
    const { bytes, depths, ends, firsts, ids } = trie
    const { machine, path } = this
    path[depth] = start
    for (let node = from; node < to; ) {
      const at = depths[node] as number
      const state = machine.step(path[at] as MachineState, bytes[node] as number)
      if (!state) {
        node = ends[node] as number
        continue
      }
      path[at + 1] = state
      for (let i = firsts[node] as number; i < (firsts[node + 1] as number); i++) setBit(mask, ids[i] as number)
      node++
    }
  }
}

function addMask(mask: Uint32Array, other: Uint32Array): void {
  for (let i = 0; i < mask.length; i++) mask[i] = (mask[i] as number) | (other[i] as number)
}
