/**
 * The host's way to an engine's memory: requests one after the other, pages that are copied and cleared with the next of
 * them, and bytes that go in and out through the pieces of the mailbox.
 */

import type { Weights } from '../engine.ts'
import { type Mailbox, MOST_MOVES, MOVE_WORDS, NO_SOURCE, PIECE_BYTES, PIECES } from './mailbox.ts'
import * as protocol from './protocol.ts'

export interface Range {
  address: number
  bytes: number
}

export class Transfer {
  private readonly team: protocol.Ranks
  private readonly mailbox: Mailbox
  /** Ranks that take a piece in. */
  private readonly ranks: number
  /** Ends with the last request that was asked for. */
  private last: Promise<unknown> = Promise.resolve()
  private moves: [kind: number, target: number, source: number][] = []

  constructor(team: protocol.Ranks, mailbox: Mailbox, ranks: number) {
    this.team = team
    this.mailbox = mailbox
    this.ranks = ranks
  }

  /** Runs a command when those before it have ended; `prepare` writes what it needs just before, `finish` reads what it left just behind. */
  request<T = number>(
    { command, argument = 0, second = 0, third = 0, ranks = 1 }: Partial<protocol.Request> & { command: number },
    { prepare, finish }: { prepare?: () => void; finish?: (status: number) => T } = {},
  ): Promise<T> {
    const result = this.last.then(async () => {
      while (this.moves.length > MOST_MOVES) {
        this.sendMoves()
        await this.team.request(protocol.MOVE, 0, 1)
      }
      this.sendMoves()
      prepare?.()
      const status = await this.team.request(command, argument, ranks, second, third)
      return finish ? finish(status) : (status as T)
    })
    this.last = result.catch(() => undefined)
    return result
  }

  /** Makes the page at `target` of a kind a copy of another one, or zeros, before the next request. */
  move(kind: number, target: number, source = NO_SOURCE): void {
    this.moves.push([kind, target, source])
  }

  /** A copy of what lies in memory. */
  async read({ address, bytes }: Range): Promise<Uint8Array> {
    const result = new Uint8Array(bytes)
    for (let at = 0; at < bytes; at += PIECE_BYTES) {
      const length = Math.min(PIECE_BYTES, bytes - at)
      await this.readRanges([{ address: address + at, bytes: length }], (part) => result.set(part, at))
    }
    return result
  }

  /** Reads ranges that fit in a piece, all at once: one behind the other. */
  async readRanges(ranges: readonly Range[], use: (bytes: Uint8Array) => void): Promise<void> {
    const list = this.mailbox.piece(1)
    const words = new Uint32Array(list.buffer, list.byteOffset, 2 * ranges.length)
    const prepare = () => words.set(ranges.flatMap(({ address, bytes }) => [address, bytes]))
    const length = ranges.reduce((sum, { bytes }) => sum + bytes, 0)
    const finish = () => use(this.mailbox.piece(0).subarray(0, length))
    await this.request({ command: protocol.READ, argument: ranges.length }, { prepare, finish })
  }

  async write(address: number, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      const part = bytes.subarray(at, at + PIECE_BYTES)
      await this.writePiece(address + at, 0, part.length, () => this.mailbox.piece(0).set(part))
    }
  }

  /** What is loaded into `bytes` of memory from `start` on. */
  weights(start: number, size: number): Weights {
    const free = Array.from({ length: PIECES }, (_, piece) => piece)
    const waiting: ((piece: number) => void)[] = []
    const take = () => free.pop() ?? new Promise<number>((resolve) => waiting.push(resolve))
    const giveBack = (piece: number) => {
      const next = waiting.shift()
      if (next) next(piece)
      else free.push(piece)
    }
    const fill = async (offset: number, length: number, read: (target: Uint8Array) => Promise<void> | void) => {
      if (offset < 0 || length < 0 || length > PIECE_BYTES || offset + length > size)
        throw new RangeError(`a piece of weights must lie within ${size} bytes, found ${length} at ${offset}`)
      const piece = await take()
      try {
        await read(this.mailbox.piece(piece).subarray(0, length))
        await this.writePiece(start + offset, piece, length)
      } finally {
        giveBack(piece)
      }
    }
    const write = async (offset: number, bytes: Uint8Array) => {
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        const part = bytes.subarray(at, at + PIECE_BYTES)
        await fill(offset + at, part.length, (target) => target.set(part))
      }
    }
    return { bytes: size, pieceBytes: PIECE_BYTES, fill, write }
  }

  private async writePiece(address: number, piece: number, bytes: number, prepare?: () => void): Promise<void> {
    const request = { command: protocol.WRITE, argument: address, second: piece, third: bytes, ranks: this.ranks }
    await this.request(request, prepare ? { prepare } : {})
  }

  private sendMoves(): void {
    const sent = this.moves.splice(0, MOST_MOVES)
    const { moves } = this.mailbox
    for (const [i, move] of sent.entries()) moves.set(move, 1 + i * MOVE_WORDS)
    moves[0] = sent.length
  }
}
