/** One of some texts, given as bytes: a trie. Also what property names are read with. */
import type { Budget } from './budget.ts'
import type { Rule } from './rule.ts'

/** Steps of a budget for a node of a trie. */
export const WORK_OF_NODE = 12

export class LiteralRule implements Rule {
  readonly start = 0
  /** By state: where bytes lead. */
  private readonly edges: Map<number, number>[] = [new Map()]
  private readonly ends = new Set<number>()

  constructor(texts: Iterable<Uint8Array>, budget?: Budget) {
    for (const text of texts) {
      budget?.spend(WORK_OF_NODE * (1 + text.length))
      let state = 0
      for (const byte of text) {
        const edges = this.edges[state] as Map<number, number>
        let next = edges.get(byte)
        if (next === undefined) {
          next = this.edges.push(new Map()) - 1
          edges.set(byte, next)
        }
        state = next
      }
      this.ends.add(state)
    }
  }

  next(state: number, byte: number): number {
    return this.edges[state]?.get(byte) ?? -1
  }

  bytes(state: number): readonly number[] {
    return [...(this.edges[state]?.keys() ?? [])]
  }

  isEnd(state: number): boolean {
    return this.ends.has(state)
  }

  isFinal(state: number): boolean {
    return this.ends.has(state) && this.edges[state]?.size === 0
  }
}
