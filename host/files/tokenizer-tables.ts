/** Tensor "tokenizer.tables": a tokenizer.json as gta.wasm reads it. Its layout is in assembly/wasi/abi.ts. */
import { BYTE_LEVEL, NOT_IN_VOCABULARY, SPLIT_NONE, TokenizerTables, UNKNOWN_WAY } from '../../assembly/wasi/abi.ts'
import { show } from '../../models/index.ts'
import { parseJson } from '../json.ts'
import { byteLevelTable, tokenBytes } from '../text/bytes.ts'
import { shownPiece, TableEncoder, tokenizerModule } from '../text/table-encoder.ts'
import { Tokenizer } from '../text/tokenizer.ts'
import { characterClasses, nfcTable } from './characters.ts'
import { isObject } from './objects.ts'
import { type AddedToken, type TokenizerJson, UnknownWay, type Way, wayOf } from './tokenizer-way.ts'
import { Writer } from './writer.ts'

const NO_TOKEN = 'a merge of what is no token'
const MAX_LENGTH = 0x7fff
/** Bytes of a message about a way that is unknown. */
const MAX_REASON = 1000

/** The tables of a tokenizer.json; for one that works in a way that the command does not know, what that is. */
export async function tokenizerTables(json: Uint8Array, config: unknown): Promise<Uint8Array> {
  const module = await tokenizerModule()
  try {
    const parsed = parseJson(json) as TokenizerJson
    const tables = tablesOf(parsed, config)
    const { ends } = Tokenizer.fromTables('tokenizer.json', parsed, config, encoderOver(module, tables))
    if (ends.before.length > 1 || ends.behind.length > 0)
      throw new UnknownWay('more around a text than one begin token')
    return tables
  } catch (error) {
    // A tokenizer that cannot be used at all says so when the model is loaded.
    return writeReason(error instanceof UnknownWay ? error.message : 'one that cannot be used at all')
  }
}

function encoderOver(module: WebAssembly.Module, tables: Uint8Array): TableEncoder {
  try {
    return new TableEncoder(module, tables)
  } catch {
    // All else is as it must be.
    throw new UnknownWay(NO_TOKEN)
  }
}

function writeReason(reason: string): Uint8Array {
  const bytes = new TextEncoder().encode(reason).subarray(0, MAX_REASON)
  const writer = new Writer()
  const empty = new TokenizerTables()
  writer.record(empty, { ...empty, kind: UNKNOWN_WAY, textBytes: bytes.length })
  writer.bytes(bytes)
  return writer.end()
}

/** What a vocabulary has of an id. */
type Vocabulary = Readonly<Record<string, unknown>>

/**
 * The tables of a tokenizer.json, of which only what is wrong here is refused: who uses them checks the rest. Throws
 * UnknownWay, and Error for what is no tokenizer at all.
 */
export function tablesOf(json: TokenizerJson, config: unknown): Uint8Array {
  if (!isObject(json as unknown)) throw new Error('it is no object')
  const way = wayOf(json, (config ?? {}) as Record<string, unknown>)
  const vocab: Vocabulary = json.model?.vocab ?? {}
  const added = json.added_tokens ?? []
  const { texts, lengths } = tokenTexts(json, way, vocab, added)
  const merges = mergePairs(json.model?.merges ?? [], vocab)
  const classes = way.split === SPLIT_NONE && !way.isolatesDigits ? [] : characterClasses(way.areMarksLetters)
  const nfc = way.isNfc ? nfcTable() : { entries: [], characters: [] }

  const writer = new Writer()
  writer.record(new TokenizerTables(), {
    kind: way.kind,
    split: way.split,
    prefix: way.prefix,
    ignoresMerges: way.ignoresMerges ? 1 : 0,
    isolatesDigits: way.isolatesDigits ? 1 : 0,
    nfcEntries: nfc.entries.length / 3,
    nfcCharacters: nfc.characters.length,
    classes: classes.length,
    merges: merges.length / 2,
    added: added.length,
    tokens: lengths.length,
    textBytes: texts.length,
  })
  writer.words(nfc.entries)
  writer.words(nfc.characters)
  writer.words(classes)
  writer.words(merges)
  writer.words(added.map(({ id, special }) => id * 2 + (special ? 1 : 0)))
  writer.bytes(new Uint8Array(lengths.buffer))
  writer.bytes(texts)
  return writer.end()
}

/** Two ids for each merge: of its left part, and of its right one. That both together are a token is seen where it is used. */
function mergePairs(merges: readonly (string | [string, string])[], vocab: Vocabulary): Uint32Array {
  const pairs = new Uint32Array(2 * merges.length)
  let end = 0
  for (const merge of merges) {
    const blank = typeof merge === 'string' ? merge.indexOf(' ') : 0
    const [left, right] = typeof merge === 'string' ? [merge.slice(0, blank), merge.slice(blank + 1)] : merge
    const [a, b] = [vocab[left], vocab[right]]
    // It would need text where the command has ids. What is no number here is of every object.
    if (blank < 0 || typeof a !== 'number' || typeof b !== 'number') throw new UnknownWay(NO_TOKEN)
    pairs[end++] = a
    pairs[end++] = b
  }
  return pairs
}

/** The texts of all ids as the command looks for them, one behind the other, and how long each one is. */
interface TokenTexts {
  texts: Uint8Array
  lengths: Uint16Array
}

function tokenTexts({ decoder }: TokenizerJson, way: Way, vocab: Vocabulary, added: readonly AddedToken[]): TokenTexts {
  const names = namesOf(way, vocab, added)
  const contents = new Map(added.map((token) => [token.id, token]))
  const lengths = new Uint16Array(names.length)
  const writer = new TextWriter(names, added)
  const shown = tokenBytes(decoder)
  if (!shown) throw new Error('its decoder is not supported')
  for (let id = 0; id < names.length; id++) {
    const name = names[id]
    const token = contents.get(id)
    let isInVocabulary = name !== undefined
    let text = name === undefined ? NOTHING : way.kind === BYTE_LEVEL ? writer.bytes(name) : writer.text(name)
    // Characters outside of the table are plain text, which no text becomes.
    if (text === undefined) {
      isInVocabulary = false
      text = writer.text(name as string)
    }
    // An added token that is text is cut out before anything else, a control token is never shown: both by their content.
    if (token && !isInVocabulary) text = writer.text(token.content)
    else if (token && !token.special && !isEqual(text, encoder.encode(token.content)))
      throw new UnknownWay(`an added token with the id ${id} of another one`)
    else if (!token && name !== undefined && way.kind !== BYTE_LEVEL && !isEqual(shownPiece(text), shown(name)))
      throw new UnknownWay(`a decoder that shows token ${id} otherwise`)
    if (text.length > MAX_LENGTH) throw new UnknownWay('a token of more than 32767 bytes')
    lengths[id] = text.length | (isInVocabulary ? 0 : NOT_IN_VOCABULARY)
    writer.keep(text)
  }
  return { texts: writer.kept, lengths }
}

/** The name of each id in the vocabulary; a byte without a token, and ids far above all others, are refused. */
function namesOf({ kind }: Way, vocab: Vocabulary, added: readonly AddedToken[]): (string | undefined)[] {
  const spelt = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
  const singles = kind === BYTE_LEVEL ? [...byteLevelTable().keys()] : spelt
  if (!singles.every((name) => typeof vocab[name] === 'number')) throw new UnknownWay('a byte without a token')
  const names: (string | undefined)[] = []
  let count = added.length
  for (const name in vocab) {
    const id = idOf(vocab[name])
    // Both would become it.
    if (names[id] !== undefined) throw new UnknownWay(`two tokens with the id ${id}`)
    names[id] = name
    count++
  }
  const last = added.reduce((most, { id }) => Math.max(most, idOf(id)), names.length - 1)
  // Tables are not much longer than what they are made of.
  if (last >= Math.min(2 ** 24, 2 * count + 65536)) throw new UnknownWay(`the token id ${last}`)
  names.length = last + 1
  return names
}

function idOf(value: unknown): number {
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) >= 2 ** 31)
    throw new Error(`the token id ${show(value)}`)
  return value as number
}

const encoder = new TextEncoder()
const NOTHING = new Uint8Array()

/** Texts one behind the other: the last one may be written again until it is kept. */
class TextWriter {
  private readonly target: Uint8Array
  private readonly byteOf = new Int16Array(512).fill(-1)
  private end = 0

  constructor(names: readonly (string | undefined)[], added: readonly AddedToken[]) {
    let units = 0
    for (const name of names) units += name?.length ?? 0
    for (const { content } of added) units += content.length
    this.target = new Uint8Array(3 * units)
    for (const [char, byte] of byteLevelTable()) this.byteOf[char.charCodeAt(0)] = byte
  }

  /** The bytes that the characters of a byte-level token stand for; undefined if one stands for none. */
  bytes(name: string): Uint8Array | undefined {
    for (let i = 0; i < name.length; i++) {
      const byte = this.byteOf[name.charCodeAt(i)] ?? -1
      if (byte < 0) return undefined
      this.target[this.end + i] = byte
    }
    return this.target.subarray(this.end, this.end + name.length)
  }

  text(name: string): Uint8Array {
    const { written } = encoder.encodeInto(name, this.target.subarray(this.end))
    return this.target.subarray(this.end, this.end + written)
  }

  keep({ length }: Uint8Array): void {
    this.end += length
  }

  get kept(): Uint8Array {
    return this.target.subarray(0, this.end)
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
