/** Tensor "tokenizer.tables": a tokenizer.json as gta.wasm reads it. Its layout is in assembly/wasi/abi.ts. */
import { BYTE_LEVEL, NOT_IN_VOCABULARY, SPLIT_NONE, TokenizerTables, UNKNOWN_WAY } from '../../assembly/wasi/abi.ts'
import { byteLevelTable } from '../text/bytes.ts'
import { Tokenizer } from '../text/tokenizer.ts'
import { characterClasses, nfcTable } from './characters.ts'
import { type AddedToken, type TokenizerJson, UnknownWay, type Way, wayOf } from './tokenizer-way.ts'
import { Writer } from './writer.ts'

const MAX_LENGTH = 0x7fff
/** Bytes of a message about a way that is unknown. */
const MAX_REASON = 1000

/** The tables of a tokenizer.json; for one that works in a way that the command does not know, what that is. */
export async function tokenizerTables(json: Uint8Array, config: unknown): Promise<Uint8Array> {
  try {
    const tokenizer = await Tokenizer.open('tokenizer.json', json, config)
    const { before, behind } = tokenizer.ends
    if (before.length > 1 || behind.length > 0) throw new UnknownWay('more around a text than one begin token')
    const parsed: TokenizerJson = JSON.parse(new TextDecoder().decode(json))
    return writeTables(parsed, wayOf(parsed, (config ?? {}) as Record<string, unknown>), tokenizer)
  } catch (error) {
    // A tokenizer that cannot be used at all says so when the model is loaded.
    return writeReason(error instanceof UnknownWay ? error.message : 'one that cannot be used at all')
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

function writeTables(json: TokenizerJson, way: Way, tokenizer: Tokenizer): Uint8Array {
  const { vocab = {} } = json.model ?? {}
  const added = json.added_tokens ?? []
  const ids = new Map(Object.entries(vocab))
  const texts = tokenTexts(way, ids, added)
  const isControl = new Map(added.map(({ id, special }) => [id, special === true]))
  for (const [id, text] of texts.entries())
    if (!isEqual(shownBytes(way, text.bytes, isControl.get(id)), tokenizer.bytesOf(id)))
      throw new UnknownWay(`a decoder that shows token ${id} otherwise`)
  const merges = mergePairs(json, ids)
  const classes = way.split === SPLIT_NONE && !way.isolatesDigits ? [] : characterClasses(way.areMarksLetters)
  const nfc = way.isNfc ? nfcTable() : { entries: [], characters: [] }
  const lengths = new DataView(new ArrayBuffer(2 * texts.length))
  for (const [id, { bytes, isInVocabulary }] of texts.entries())
    lengths.setUint16(2 * id, bytes.length | (isInVocabulary ? 0 : NOT_IN_VOCABULARY), true)

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
    tokens: texts.length,
    textBytes: texts.reduce((sum, { bytes }) => sum + bytes.length, 0),
  })
  writer.words(nfc.entries)
  writer.words(nfc.characters)
  writer.words(classes)
  writer.words(merges)
  writer.words(added.map(({ id, special }) => id * 2 + (special ? 1 : 0)))
  writer.bytes(new Uint8Array(lengths.buffer))
  for (const { bytes } of texts) writer.bytes(bytes)
  return writer.end()
}

function mergePairs({ model }: TokenizerJson, ids: ReadonlyMap<string, number>): number[] {
  const pairs: number[] = []
  for (const merge of model?.merges ?? []) {
    const [left = '', right = ''] = typeof merge === 'string' ? merge.split(' ', 2) : merge
    const [a, b] = [ids.get(left), ids.get(right)]
    // It would need text where the command has ids.
    if (a === undefined || b === undefined || !ids.has(left + right))
      throw new UnknownWay('a merge of what is no token')
    pairs.push(a, b)
  }
  return pairs
}

interface TokenText {
  bytes: Uint8Array
  isInVocabulary: boolean
}

/** The text of every id as the command looks for it. */
function tokenTexts({ kind }: Way, ids: ReadonlyMap<string, number>, added: readonly AddedToken[]): TokenText[] {
  const encoder = new TextEncoder()
  const bytesOf = byteLevelTable()
  // Not max(...): a vocabulary has more ids than a call may have arguments.
  const last = [...ids.values(), ...added.map(({ id }) => id)].reduce((a, b) => Math.max(a, b), 0)
  if (last >= 2 ** 24) throw new UnknownWay(`the token id ${last}`)
  const texts: TokenText[] = Array.from({ length: last + 1 }, () => ({
    bytes: new Uint8Array(),
    isInVocabulary: false,
  }))
  for (const [token, id] of ids) {
    const values = kind === BYTE_LEVEL ? Array.from(token, (char) => bytesOf.get(char)) : undefined
    // Characters outside of the table are plain text, which no text becomes.
    texts[id] = values?.includes(undefined)
      ? { bytes: encoder.encode(token), isInVocabulary: false }
      : { bytes: values ? Uint8Array.from(values as number[]) : encoder.encode(token), isInVocabulary: true }
  }
  // An added token that is text is cut out before anything else, a control token is never shown: both by their content.
  for (const { id, content, special } of added) {
    const { bytes, isInVocabulary } = texts[id] as TokenText
    const text = encoder.encode(content)
    if (!isInVocabulary || !(special || isEqual(bytes, text))) texts[id] = { bytes: text, isInVocabulary: false }
  }
  const names = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
  const singles = kind === BYTE_LEVEL ? [...bytesOf.keys()] : names
  if (!singles.every((name) => ids.has(name))) throw new UnknownWay('a byte without a token')
  if (!texts.every(({ bytes }) => bytes.length <= MAX_LENGTH)) throw new UnknownWay('a token of more than 32767 bytes')
  return texts
}

/** What the command shows of a token, an added one if `isControl` is given: see pushToken() in assembly/wasi/decode.ts. */
function shownBytes({ kind }: Way, text: Uint8Array, isControl: boolean | undefined): Uint8Array {
  if (isControl) return new Uint8Array()
  if (isControl === false || kind === BYTE_LEVEL) return text
  const string = new TextDecoder('utf-8', { ignoreBOM: true }).decode(text)
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(string)
  if (byte) return Uint8Array.of(Number.parseInt(byte[1] as string, 16))
  return new TextEncoder().encode(string.replaceAll('▁', ' '))
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
