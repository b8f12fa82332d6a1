/**
 * tokenizer.model: SentencePiece's ModelProto (google/sentencepiece, src/sentencepiece_model.proto), checked as its own
 * loader checks it (ModelInterface::InitializePieces), and what it cannot do here is refused by name.
 */
import { errors } from '../../errors.ts'
import {
  BYTE,
  CONTROL,
  MAX_PIECE,
  NORMAL,
  type PieceType,
  type SentencePieceSettings,
  UNKNOWN,
  UNUSED,
  USER_DEFINED,
} from '../../text/sentencepiece/settings.ts'
import { bytesOf, type Field, fieldsOf, floatOf, numberOf, textOf } from './protobuf.ts'

export interface Piece {
  text: string
  score: number
  type: PieceType
}

export interface SentencePieceModel extends SentencePieceSettings {
  pieces: Piece[]
  precompiledCharsmap: Uint8Array
  /** Pieces that begin and end a text, if the model has them. */
  bos: string | undefined
  eos: string | undefined
}

const [UNIGRAM, BPE] = [1, 2]
const MODEL_TYPES = ['UNIGRAM', 'BPE', 'WORD', 'CHAR']
/** Four times the largest vocabulary that there is. */
const MAX_PIECES = 2 ** 20

interface Trainer {
  modelType: number
  suffix: boolean
  byteFallback: boolean
  bosId: number
  eosId: number
}

interface Normalizer {
  charsmap: Uint8Array
  dummyPrefix: boolean
  extraWhitespaces: boolean
  escape: boolean
}

/** Throws BAD_FILE; `path` is for its message. */
export function readSentencePiece(path: string, file: Uint8Array): SentencePieceModel {
  refuseTiktoken(path, file)
  try {
    return readModel(file)
  } catch (cause) {
    throw errors.badFile(path, 'the content', 'a SentencePiece model', `that ${(cause as Error).message}`)
  }
}

/** Llama 3 and others name a list of base64 texts and ranks so. */
function refuseTiktoken(path: string, file: Uint8Array): void {
  const begin = new TextDecoder('latin1').decode(file.subarray(0, 100))
  if (/^[A-Za-z0-9+/]+=* \d+\r?\n/.test(begin))
    throw errors.badFile(path, 'the content', 'a SentencePiece model', 'a tiktoken vocabulary, which is not supported')
}

function readModel(file: Uint8Array): SentencePieceModel {
  const pieces: Piece[] = []
  // Defaults are those of the .proto file. A message that comes twice is merged.
  const trainer: Trainer = { modelType: UNIGRAM, suffix: false, byteFallback: false, bosId: 1, eosId: 2 }
  const normalizer: Normalizer = {
    charsmap: new Uint8Array(),
    dummyPrefix: true,
    extraWhitespaces: true,
    escape: true,
  }
  for (const field of fieldsOf(file)) {
    if (field.number === 1) pieces.push(pieceOf(field, pieces.length))
    if (field.number === 2) readTrainer(field, trainer)
    if (field.number === 3) readNormalizer(field, normalizer)
    if (field.number === 5) refuseDenormalizer(field)
  }
  if (trainer.modelType !== UNIGRAM && trainer.modelType !== BPE)
    throw new Error(`it is of the type ${MODEL_TYPES[trainer.modelType - 1] ?? trainer.modelType}, not BPE or UNIGRAM`)
  checkPieces(pieces, trainer.byteFallback)
  return {
    pieces,
    algorithm: trainer.modelType === BPE ? 'BPE' : 'Unigram',
    byteFallback: trainer.byteFallback,
    precompiledCharsmap: normalizer.charsmap,
    addDummyPrefix: normalizer.dummyPrefix,
    removeExtraWhitespaces: normalizer.extraWhitespaces,
    escapeWhitespaces: normalizer.escape,
    treatWhitespaceAsSuffix: trainer.suffix,
    bos: pieces[trainer.bosId]?.text,
    eos: pieces[trainer.eosId]?.text,
  }
}

function pieceOf(field: Field, id: number): Piece {
  if (id >= MAX_PIECES) throw new Error(`it holds more than ${MAX_PIECES} pieces`)
  const piece: Piece = { text: '', score: 0, type: NORMAL }
  for (const inner of fieldsOf(bytesOf(field))) {
    if (inner.number === 1) piece.text = textOf(inner)
    if (inner.number === 2) piece.score = floatOf(inner)
    if (inner.number === 3) piece.type = typeOf(numberOf(inner), id)
  }
  if (piece.text === '' || piece.text.length > MAX_PIECE)
    throw new Error(`piece ${id} has ${piece.text.length} characters, not 1 to ${MAX_PIECE}`)
  if (!Number.isFinite(piece.score)) throw new Error(`the score of piece ${id} is ${piece.score}`)
  return piece
}

function typeOf(value: number, id: number): PieceType {
  if (![NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE].includes(value as PieceType))
    throw new Error(`piece ${id} is of the unknown type ${value}`)
  return value as PieceType
}

function readTrainer(field: Field, trainer: Trainer): void {
  for (const inner of fieldsOf(bytesOf(field))) {
    if (inner.number === 3) trainer.modelType = numberOf(inner)
    if (inner.number === 24) trainer.suffix = numberOf(inner) !== 0
    if (inner.number === 35) trainer.byteFallback = numberOf(inner) !== 0
    if (inner.number === 41) trainer.bosId = numberOf(inner)
    if (inner.number === 42) trainer.eosId = numberOf(inner)
  }
}

function readNormalizer(field: Field, normalizer: Normalizer): void {
  for (const inner of fieldsOf(bytesOf(field))) {
    if (inner.number === 2) normalizer.charsmap = bytesOf(inner)
    if (inner.number === 3) normalizer.dummyPrefix = numberOf(inner) !== 0
    if (inner.number === 4) normalizer.extraWhitespaces = numberOf(inner) !== 0
    if (inner.number === 5) normalizer.escape = numberOf(inner) !== 0
  }
}

/** It would change the text that tokens become. */
function refuseDenormalizer(field: Field): void {
  for (const inner of fieldsOf(bytesOf(field)))
    if (inner.number === 2 && bytesOf(inner).length > 0)
      throw new Error('it has a denormalizer, which is not supported')
}

function checkPieces(pieces: readonly Piece[], byteFallback: boolean): void {
  // What text becomes, and what it does not, are two lists of names.
  const [texts, reserved] = [new Set<string>(), new Set<string>()]
  let bytes = 0
  let unknown = 0
  for (const [id, { text, type }] of pieces.entries()) {
    const names = type === NORMAL || type === USER_DEFINED || type === UNUSED ? texts : reserved
    if (names.has(text)) throw new Error(`piece ${id}, ${JSON.stringify(text)}, is there twice`)
    names.add(text)
    if (type === UNKNOWN) unknown++
    if (type !== BYTE) continue
    if (!/^<0x[0-9A-F]{2}>$/.test(text)) throw new Error(`piece ${id}, ${JSON.stringify(text)}, is no byte`)
    bytes++
  }
  if (unknown !== 1) throw new Error(`it has ${unknown} pieces for what is unknown, not one`)
  const expected = byteFallback ? 256 : 0
  if (bytes !== expected) throw new Error(`it has ${bytes} pieces for single bytes, not ${expected}`)
}
