/**
 * Which pages of the KV cache belong to which conversation, and how long each conversation is. The engine trusts the
 * tables and the positions of its rows, so every row passes here first: a conversation grows by one position at a time,
 * and a row at an earlier position cuts off what lay behind it.
 */
import { PAGE_TOKENS } from '../../models/index.ts'

export class PageTables {
  /** u32 (conversations, tablePages) in the engine's memory. */
  private readonly tables: Uint32Array
  private readonly tablePages: number
  private readonly lengths: number[]
  private readonly free: number[]

  constructor(tables: Uint32Array, conversations: number, tablePages: number) {
    this.tables = tables
    this.tablePages = tablePages
    this.lengths = Array.from({ length: conversations }, () => 0)
    this.free = Array.from({ length: conversations * tablePages }, (_, page) => page).reverse()
  }

  /** Throws unless the rows, in their order, continue their conversations. Changes nothing. */
  check(rows: { conversation: number; position: number }[], context: number): void {
    const lengths = new Map<number, number>()
    for (const { conversation, position } of rows) {
      const length = lengths.get(conversation) ?? this.lengthOf(conversation)
      if (!Number.isInteger(position) || position < 0 || position >= context)
        throw new RangeError(`a position must be below the context ${context}, found ${position}`)
      if (position > length)
        throw new RangeError(`position ${position} leaves a hole: conversation ${conversation} has ${length} positions`)
      lengths.set(conversation, position + 1)
    }
  }

  /** Makes room for a row that was checked. */
  extend(conversation: number, position: number): void {
    if (position < this.lengthOf(conversation)) this.rewind(conversation, position)
    if (position % PAGE_TOKENS === 0) {
      const page = this.free.pop()
      if (page === undefined) throw new RangeError('the cache has no free page')
      this.tables[conversation * this.tablePages + position / PAGE_TOKENS] = page
    }
    this.lengths[conversation] = position + 1
  }

  /** Forgets all positions from `length` on. */
  rewind(conversation: number, length: number): void {
    const before = this.lengthOf(conversation)
    if (!Number.isInteger(length) || length < 0)
      throw new RangeError(`a length must be a whole number, found ${length}`)
    if (length >= before) return
    const base = conversation * this.tablePages
    for (let page = pagesFor(before); page > pagesFor(length); page--)
      this.free.push(this.tables[base + page - 1] as number)
    this.lengths[conversation] = length
  }

  private lengthOf(conversation: number): number {
    const length = Number.isInteger(conversation) ? this.lengths[conversation] : undefined
    if (length === undefined) throw new RangeError(`there is no conversation ${conversation}`)
    return length
  }
}

const pagesFor = (length: number) => Math.ceil(length / PAGE_TOKENS)
