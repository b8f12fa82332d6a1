/** The WebAssembly engine behind the Engine interface: a team of workers that have its memory, and the mailbox to them. */

import { platform } from '#platform'
import * as abi from '../../../assembly/abi.ts'
import { type ModelSpec, nLayers, PAGE_TOKENS, type Plan } from '../../../models/index.ts'
import { errors } from '../../errors.ts'
import {
  type Engine,
  type EngineFacts,
  type EngineOptions,
  type Logits,
  type PageStore,
  type PageStream,
  type Row,
  stepParts,
  type ThreadCounts,
  type Weights,
} from '../engine.ts'
import { fingerprint, type WeightRange } from '../fingerprint.ts'
import { type Build, type CompiledBuild, chooseBuild } from './builds.ts'
import * as mail from './mailbox.ts'
import { layoutOf, maxThreads, type PageCounts, tablePages } from './memory.ts'
import { type Probed, WasmProbe } from './probe.ts'
import * as protocol from './protocol.ts'
import { ROW_WORDS, writeRow } from './rows.ts'
import { startRanks } from './team.ts'
import { Transfer } from './transfer.ts'

export interface WasmEngineInput {
  spec: ModelSpec
  plan: Plan
  options: EngineOptions
  /** Default: the best that runs here. */
  build?: Build
  /** A build that is compiled already. */
  compiled?: CompiledBuild
  /** Brings the packed tensors of the plan into the engine. */
  load(weights: Weights): Promise<void>
}

export async function openWasmEngine(input: WasmEngineInput): Promise<Engine> {
  const { spec, plan, options, load } = input
  const compiled = input.compiled ?? (await chooseBuild(input.build))
  const started = await start(compiled, spec, plan, options)
  try {
    const isThere = await started.transfer.request({ command: protocol.OPEN })
    if (!isThere) throw errors.noMemory(started.bytes)
    const engine = new WasmEngine(compiled, spec, plan, options, started)
    await load(started.transfer.weights(abi.WEIGHTS, plan.bytes))
    await engine.checkWeights()
    return engine
  } catch (error) {
    await started.team.close()
    throw error
  }
}

/** The workers that make an engine's memory, and the host's side of it. */
interface Started {
  team: protocol.Ranks
  mailbox: mail.Mailbox
  transfer: Transfer
  pages: PageCounts
  bytes: number
  /** Where a reader of pages in a file gets the memory. */
  reader: MessagePort | undefined
}

async function start(
  { build, module }: CompiledBuild,
  spec: ModelSpec,
  plan: Plan,
  options: EngineOptions,
): Promise<Started> {
  const { isShared } = build
  const { layout, pages } = layoutOf({ build, module }, spec, plan, options)
  const ranks = isShared ? maxThreads(options) : 1
  const sizes = mailboxSizes(spec, options, pages, ranks)
  const mailbox = new mail.Mailbox(sizes, isShared)
  const { places, buffer } = mailbox
  for (let i = 0; i < places.length; i++) places[i] = i % pages.blocks
  const reader = pages.streamPages > 0 ? new MessageChannel() : undefined
  const team = await startRanks(isShared, module, { layout, sizes, buffer }, ranks, reader?.port1)
  const transfer = new Transfer(team, mailbox, ranks)
  return { team, mailbox, transfer, pages, bytes: layout.end, reader: reader?.port2 }
}

export function mailboxSizes(
  { vocabSize, hiddenDim }: ModelSpec,
  options: EngineOptions,
  pages: PageCounts,
  ranks: number,
): mail.MailboxSizes {
  const { maxRows, maxLogits, conversations } = options
  return {
    ...{ maxRows, maxLogits, conversations, rowWords: ROW_WORDS, pageTokens: PAGE_TOKENS },
    ...{ vocabSize, hiddenDim, tablePages: tablePages(options), times: ranks * stepParts.length },
    ...{ blocks: pages.blocks, kinds: pages.kinds.length },
  }
}

class WasmEngine implements Engine, Probed {
  readonly facts: EngineFacts
  readonly pages: PageStore
  readonly probe: WasmProbe
  readonly compiled: CompiledBuild
  readonly weightBytes: number
  readonly mailbox: mail.Mailbox
  readonly transfer: Transfer
  private readonly team: protocol.Ranks
  private counts: ThreadCounts
  private isClosed = false
  /** How the next step streams pages from a file. */
  private streaming = { second: 0, third: 0 }
  private hash: Promise<string> | undefined

  constructor(compiled: CompiledBuild, spec: ModelSpec, plan: Plan, options: EngineOptions, started: Started) {
    const { build } = compiled
    const { maxRows, maxLogits, context, conversations } = options
    const { threads: decode = 1, batchThreads: prefill = decode } = build.isShared ? options : {}
    this.compiled = compiled
    this.weightBytes = plan.bytes
    this.team = started.team
    this.mailbox = started.mailbox
    this.transfer = started.transfer
    this.counts = { decode, prefill }
    this.facts = {
      name: `wasm ${build.name}`,
      build: build.name,
      ...{ maxThreads: Math.max(decode, prefill), maxRows, maxLogits, context, conversations },
      vocabSize: spec.vocabSize,
      memoryBytes: started.bytes,
    }
    this.pages = this.pageStore(started, spec, plan, options)
    this.probe = new WasmProbe(this)
  }

  get threads(): ThreadCounts {
    return this.counts
  }

  set threads({ decode, prefill }: ThreadCounts) {
    for (const count of [decode, prefill]) this.checkThreads(count)
    this.counts = { decode, prefill }
  }

  async step(rows: readonly Row[]): Promise<Uint32Array> {
    const { rows: words, rowFloats, sampled } = this.mailbox
    const { decode, prefill } = this.counts
    const prepare = () => {
      for (const [index, row] of rows.entries()) {
        writeRow(words, rowFloats, index, row)
        if (row.sampling) this.mailbox.steer(row.conversation, row.mask, row.bias)
      }
    }
    const finish = () => sampled.slice(0, rows.filter((row) => row.sampling).length)
    const ranks = rows.length === 1 ? decode : prefill
    const request = { command: protocol.STEP, argument: rows.length, ranks, ...this.streaming }
    const result = await this.transfer.request(request, { prepare, finish })
    // The step may have been done before close() was called, its result is not read any more.
    this.checkOpen()
    return result
  }

  async logits(k: number): Promise<Logits> {
    this.checkOpen()
    const values = this.mailbox.logitsOf(k)
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    return { values, hash: () => platform.createHash().update(bytes).digest('hex').slice(0, 16) }
  }

  async state(k: number): Promise<Float32Array> {
    this.checkOpen()
    return this.mailbox.stateOf(k)
  }

  async turn(from: number, to: number, delta: number): Promise<void> {
    const { history } = this.mailbox
    const finish = () => {
      history.copyWithin(to * PAGE_TOKENS, from * PAGE_TOKENS, (from + 1) * PAGE_TOKENS)
    }
    const ranks = this.counts.prefill
    await this.transfer.request({ command: protocol.TURN, argument: from, second: to, third: delta, ranks }, { finish })
  }

  /** Refuses weights that no conversion wrote. */
  async checkWeights(): Promise<void> {
    const isGood = await this.transfer.request({ command: protocol.CHECK, ranks: this.facts.maxThreads })
    if (!isGood) throw errors.badWeights()
  }

  /** The workers end, and with the last of them the memory. */
  async close(): Promise<void> {
    this.isClosed = true
    await this.team.close()
  }

  private checkOpen(): void {
    if (this.isClosed) throw errors.closed()
  }

  checkThreads(count: number): void {
    const { maxThreads } = this.facts
    if (!Number.isInteger(count) || count < 1 || count > maxThreads)
      throw new RangeError(`this engine has 1 to ${maxThreads} threads, found ${count}`)
  }

  private pageStore(started: Started, spec: ModelSpec, plan: Plan, options: EngineOptions): PageStore {
    const { mailbox, transfer } = this
    const { blocks, streamPages } = started.pages
    const { tables, places, history } = mailbox
    const kinds = started.pages.kinds.map((kind, index) => ({ ...kind, ...mailbox.kindOf(index) }))
    const at = (place: number, kind = 0) => {
      const { address, pageBytes } = mailbox.kindOf(kind)
      return { address: address + place * pageBytes, bytes: pageBytes }
    }
    const stream = started.reader && this.pageStream(started.reader, streamPages, spec)
    return {
      ...{ pages: blocks, residentPages: blocks - streamPages, tablePages: tablePages(options), kinds, stream },
      pageBytes: kinds.reduce((sum, { pageBytes }) => sum + pageBytes, 0),
      ...{ tables, places, history },
      copy: (from, to, kind = 0) => transfer.move(kind, to, from),
      clear: (place, kind = 0) => transfer.move(kind, place),
      read: (place, kind) => transfer.read(at(place, kind)),
      write: (place, bytes, kind, start = 0) => transfer.write(at(place, kind).address + start, bytes),
      fingerprint: () => {
        const read = (ranges: readonly WeightRange[], use: (bytes: Uint8Array) => void) =>
          transfer.readRanges(
            ranges.map(({ offset, bytes }) => ({ address: abi.WEIGHTS + offset, bytes })),
            use,
          )
        this.hash ??= fingerprint(plan, options.cache, { most: mail.PIECE_BYTES, read })
        return this.hash
      },
    }
  }

  private pageStream(port: MessagePort, pages: number, spec: ModelSpec): PageStream {
    const { facts } = this.mailbox
    const fact = (place: number) => facts[place] as number
    return {
      port,
      cache: this.mailbox.kindOf(0).address,
      at: fact(mail.STREAM),
      pages,
      stride: fact(mail.STREAM_BYTES),
      ready: abi.STREAM_READY / 4,
      swept: abi.STREAM_SWEPT / 4,
      nLayers: nLayers(spec),
      layerBytes: fact(mail.LAYER_BYTES),
      begin: (isOn, layers) => {
        this.streaming = { second: isOn ? 1 : 0, third: layers }
      },
      wake: async (word) => {
        await this.transfer.request({ command: protocol.WAKE, argument: word })
      },
      fail: (error) => {
        this.team.fail(error)
      },
    }
  }
}
