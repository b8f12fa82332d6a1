/**
 * The tokenizer of gta.wasm as an encoder: a small module (assembly/wasi/tokenizer.ts) over the tables of a tokenizer, tensor
 * "tokenizer.tables". It takes a tenth of the library's time, and of its memory.
 *
 *     memory of an instance:  tables ┃ what prepare() makes of them ┃ text ┃ ids ┃ what encoding needs
 */
import { platform } from '#platform'
import { BYTE_LEVEL, NOT_IN_VOCABULARY, TokenizerTables, UNKNOWN_WAY } from '../../assembly/wasi/abi.ts'
import { fieldsOf } from '../../models/records.ts'
import type { Encoder } from './encoder.ts'

interface Exports {
  memory: WebAssembly.Memory
  room(bytes: number): number
  release(at: number): void
  prepare(at: number, bytes: number): void
  encodeSection(at: number, length: number, ids: number, isFirst: number): number
}

interface Instance {
  exports: Exports
  /** Where texts begin. */
  free: number
  /** Bytes of its memory before the first text. */
  bytes: number
}

/** An instance that grew by more for a text is not kept: memory of a module never shrinks. */
const KEPT = 16e6

const MAX_MEMORY = 2 ** 32

let compiled: WebAssembly.Module | undefined

/** Compiled once. */
export async function tokenizerModule(): Promise<WebAssembly.Module> {
  // Not WebAssembly.compile(): Node does not stay alive for one that takes long.
  compiled ??= new WebAssembly.Module(await platform.readKernel('tokenizer.wasm'))
  return compiled
}

const encoder = new TextEncoder()

export class TableEncoder implements Encoder {
  /** How many tokens there are. */
  readonly tokens: number
  private readonly module: WebAssembly.Module
  private readonly tables: Uint8Array
  private readonly header: TokenizerTables
  /** Where each token's text begins in the tables, and where the last one ends. */
  private readonly offsets: Uint32Array
  private instance: Instance | undefined

  /**
   * `module`: tokenizerModule()'s. `tables` are hostile until they are checked here. Throws Error for any that gta convert
   * does not write.
   */
  constructor(module: WebAssembly.Module, tables: Uint8Array) {
    this.module = module
    this.tables = tables
    this.instance = start(module, tables)
    this.header = headerOf(tables)
    this.tokens = this.header.tokens
    this.offsets = offsetsOf(tables, this.header)
  }

  encode(text: string, isFirst: boolean): number[] {
    this.instance ??= start(this.module, this.tables)
    const { exports, free, bytes } = this.instance
    try {
      return encodeIn(exports, free, text, isFirst)
    } finally {
      if (exports.memory.buffer.byteLength > bytes + KEPT) this.instance = undefined
    }
  }

  bytesOf(id: number): Uint8Array {
    const text = this.textOf(id)
    return this.header.kind === BYTE_LEVEL ? text.slice() : shownPiece(text)
  }

  /** UTF-16 units of text that become one token at most: a byte of a byte-level token is none or one. */
  get longest(): number {
    let longest = 1
    for (let id = 0; id < this.tokens; id++) {
      const length = (this.offsets[id + 1] as number) - (this.offsets[id] as number)
      if (length <= longest) continue
      longest = Math.max(longest, this.header.kind === BYTE_LEVEL ? length : unitsOf(this.textOf(id)))
    }
    // Of alpha and its three marks, the normal form C makes one character.
    return this.header.nfcEntries > 0 ? 4 * longest : longest
  }

  /** Ids of added tokens, and which are control tokens. */
  get added(): { id: number; special: boolean }[] {
    const { added } = this.header
    const end = lengthsAt(this.header)
    const view = viewOf(this.tables)
    return Array.from({ length: added }, (_, i) => {
      const word = view.getUint32(end - 4 * (added - i), true)
      return { id: word >>> 1, special: (word & 1) === 1 }
    })
  }

  private textOf(id: number): Uint8Array {
    if (!(id >= 0 && id < this.tokens)) return new Uint8Array()
    return this.tables.subarray(this.offsets[id], this.offsets[id + 1])
  }
}

/** Are these tables of a tokenizer, or only the name of one that works in another way? */
export function hasTables(tables: Uint8Array): boolean {
  return tables.length >= 4 * fieldsOf(new TokenizerTables()).length && headerOf(tables).kind !== UNKNOWN_WAY
}

/** The module looks at every number in the tables, and refuses by an error of the command. */
function start(module: WebAssembly.Module, tables: Uint8Array): Instance {
  let what = 'there is no memory for its tables'
  const refuse = () => {
    throw new Error(`its tables are not what gta convert writes, or ${what}`)
  }
  const instance = new WebAssembly.Instance(module, {
    wasi_snapshot_preview1: { fd_write: refuse, proc_exit: refuse },
  })
  const exports = instance.exports as unknown as Exports
  const at = exports.room(tables.length) >>> 0
  new Uint8Array(exports.memory.buffer).set(tables, at)
  exports.prepare(at, tables.length)
  what = 'the text is too long'
  return { exports, free: exports.room(0) >>> 0, bytes: exports.memory.buffer.byteLength }
}

function encodeIn(exports: Exports, free: number, text: string, isFirst: boolean): number[] {
  exports.release(free)
  const { memory } = exports
  const at = reserve(exports, 3 * text.length)
  // What stands alone of a pair becomes U+FFFD.
  const { written } = encoder.encodeInto(text, new Uint8Array(memory.buffer, at, 3 * text.length))
  const ids = reserve(exports, 16 * written + 32)
  const count = exports.encodeSection(at, written, ids, isFirst ? 1 : 0)
  return Array.from(new Uint32Array(memory.buffer, ids, count))
}

function reserve({ room }: Exports, bytes: number): number {
  if (bytes >= MAX_MEMORY) throw new Error('the text is too long')
  return room(bytes) >>> 0
}

function viewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length)
}

function headerOf(tables: Uint8Array): TokenizerTables {
  const header = new TokenizerTables()
  const view = viewOf(tables)
  for (const [i, name] of fieldsOf(header).entries()) header[name] = view.getUint32(4 * i, true)
  return header
}

/** Where the lengths of the tokens begin. */
function lengthsAt(header: TokenizerTables): number {
  const { nfcEntries, nfcCharacters, classes, merges, added } = header
  return 4 * (fieldsOf(header).length + 3 * nfcEntries + nfcCharacters + classes + 2 * merges + added)
}

function offsetsOf(tables: Uint8Array, header: TokenizerTables): Uint32Array {
  const view = viewOf(tables)
  const lengths = lengthsAt(header)
  const offsets = new Uint32Array(header.tokens + 1)
  let at = lengths + 2 * header.tokens
  for (let id = 0; id < header.tokens; id++) {
    offsets[id] = at
    at += view.getUint16(lengths + 2 * id, true) & ~NOT_IN_VOCABULARY
  }
  offsets[header.tokens] = at
  return offsets
}

/** What SentencePiece's token says: one byte, <0x41>, or text with ▁ (e2 96 81) for a blank. As in assembly/wasi/decode.ts. */
export function shownPiece(text: Uint8Array): Uint8Array {
  const isByte = text.length === 6 && text[0] === 60 && text[5] === 62
  const [, digits] = (isByte && /^<0x([0-9A-Fa-f]{2})>$/.exec(String.fromCharCode(...text))) || []
  if (digits) return Uint8Array.of(Number.parseInt(digits, 16))
  const shown = new Uint8Array(text.length)
  let end = 0
  for (let i = 0; i < text.length; i++) {
    const isMark = text[i] === 0xe2 && text[i + 1] === 0x96 && text[i + 2] === 0x81
    shown[end++] = isMark ? 32 : (text[i] as number)
    if (isMark) i += 2
  }
  return shown.slice(0, end)
}

/** UTF-16 units of UTF-8 text. */
function unitsOf(text: Uint8Array): number {
  let units = 0
  for (const byte of text) if ((byte & 0xc0) !== 0x80) units += byte >= 0xf0 ? 2 : 1
  return units
}
