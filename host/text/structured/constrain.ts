/** A grammar and a tokenizer become a constraint: see constraint.ts, masks.ts. */
import type { Constraint } from './constraint.ts'
import { LeafMasks } from './leaf-masks.ts'
import { Machine, type MachineState } from './machine.ts'
import { Masks } from './masks.ts'
import type { Grammar } from './rule.ts'
import { setBit, TokenTrie, type Vocabulary } from './vocabulary.ts'

/** Of a model: what its tokens are, how many logits it has, and which tokens end a text. */
export interface Tokens {
  readonly tokenizer: Vocabulary
  readonly vocabSize: number
  readonly ends: Iterable<number>
}

/** What a grammar may write with this vocabulary. The trie of a vocabulary is built with the first one, and kept. */
export function constraintOf(grammar: Grammar, tokens: Tokens): Constraint {
  return new MaskConstraint(partsOf(tokens), grammar, tokens)
}

/** All that is kept for a vocabulary. */
interface Parts {
  readonly leaves: LeafMasks
  readonly masks: WeakMap<Grammar, Masks>
}

const kept = new WeakMap<Vocabulary, Map<number, Parts>>()

function partsOf({ tokenizer, vocabSize }: Tokens): Parts {
  const bySize = kept.get(tokenizer) ?? new Map<number, Parts>()
  kept.set(tokenizer, bySize)
  let parts = bySize.get(vocabSize)
  if (!parts) {
    parts = { leaves: new LeafMasks(new TokenTrie(tokenizer, vocabSize)), masks: new WeakMap() }
    bySize.set(vocabSize, parts)
  }
  return parts
}

class MaskConstraint implements Constraint {
  private readonly masks: Masks
  private readonly tokens: TokenTrie
  private readonly ends: ReadonlySet<number>
  private state: MachineState
  /** A mask with end tokens. */
  private own: Uint32Array | undefined

  constructor({ leaves, masks }: Parts, grammar: Grammar, { ends }: Tokens) {
    let known = masks.get(grammar)
    if (!known) {
      known = new Masks(new Machine(grammar), leaves)
      masks.set(grammar, known)
    }
    this.masks = known
    this.tokens = leaves.tokens
    this.ends = new Set(ends)
    this.state = known.machine.start
  }

  get isComplete(): boolean {
    return this.state.isEnd && this.state.frames.length === 0
  }

  allowed(): Uint32Array {
    const mask = this.masks.maskOf(this.state)
    if (!this.state.isEnd) return mask
    this.own ??= new Uint32Array(mask.length)
    this.own.set(mask)
    for (const id of this.ends) setBit(this.own, id)
    return this.own
  }

  push(token: number): void {
    let state: MachineState | null = this.masks.machine.renew(this.state)
    const bytes = this.tokens.bytesOf(token)
    for (const byte of bytes) state = state && this.masks.machine.step(state, byte)
    if (!state || bytes.length === 0) throw new Error(`token ${token} is not among those that may come`)
    this.state = state
  }
}
