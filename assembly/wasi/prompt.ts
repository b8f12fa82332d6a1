/** The prompt of the command line: text, a file's text, or token ids; and its ids. */
import { Plan } from '../abi'
import { Options, TokenizerTables, UNKNOWN_WAY } from './abi'
import { lengthOf } from './bytes'
import { encode, reserveIds } from './encode'
import { openFile, readAll } from './files'
import { reserve } from './memory'
import { file, header, read, unitBytes } from './model-file'
import { fallbackOf, isGiven, options, textOf } from './options'
import {
  beginError,
  byte,
  bytes,
  count,
  EXIT_FAILED,
  EXIT_USAGE,
  endError,
  endUsageError,
  fail,
  quoted,
  text,
} from './output'
import { addId, openTables, refuseTables, tokenizer } from './tables'
import { isUtf8 } from './utf8'
import { prepareEncoding } from './vocabulary'

const NO_PROMPT: string = 'the prompt must hold at least one token, found none: give some text or --tokens'

@unmanaged
export class Prompt {
  /** Bytes of UTF-8; 0 if the prompt is ids. */
  text: usize
  length: usize
  /** u32 (count): ids. */
  ids: usize
  count: u32
  /** Can tokens be shown as text? */
  hasText: u32
}

/** What the command line gives; ends the command if that is nothing, or more than one thing. */
export function readPrompt(): Prompt {
  const o = options()
  const prompt = changetype<Prompt>(reserve(offsetof<Prompt>()))
  const given = (isGiven(o.prompt) ? 1 : 0) + (isGiven(o.file) ? 1 : 0) + (isGiven(o.tokens) ? 1 : 0)
  if (given > 1) {
    beginError()
    text('only one of --prompt, --file, --tokens must be given, found ')
    count(given)
    endUsageError()
  }
  if (isGiven(o.tokens)) readIds(prompt, textOf(o.tokens))
  else if (isGiven(o.file)) readText(prompt, textOf(o.file))
  else if (isGiven(o.prompt)) {
    prompt.text = textOf(o.prompt)
    prompt.length = lengthOf(prompt.text)
    if (!isUtf8(prompt.text, prompt.length)) {
      beginError()
      text('the prompt must be UTF-8 text, found other bytes')
      endUsageError()
    }
  }
  if (!prompt.ids && !prompt.length) fail(NO_PROMPT)
  return prompt
}

/** Whole numbers with commas between. */
function readIds(prompt: Prompt, at: usize): void {
  const length = lengthOf(at)
  prompt.ids = reserve(4 * ((length as u64) + 1))
  const end = at + length
  for (let from = at; from < end; ) {
    let to = from
    while (to < end && load<u8>(to) != 44) to++
    const id = idOf(from, to)
    if (id < 0 || to + 1 == end) {
      beginError()
      text('--tokens must be whole numbers with commas between, found ')
      // A comma at the end stands before nothing.
      quoted(id < 0 ? from : end, id < 0 ? to - from : 0)
      endUsageError()
    }
    store<u32>(prompt.ids + ((prompt.count++ as usize) << 2), id as u32)
    from = to + 1
  }
  if (!prompt.count) fail(NO_PROMPT)
}

/** The number, with blanks around it; −1 if there is none. */
function idOf(from: usize, to: usize): i64 {
  while (from < to && load<u8>(from) == 32) from++
  while (from < to && load<u8>(to - 1) == 32) to--
  if (from == to) return -1
  let id: u64 = 0
  for (; from < to; from++) {
    const digit: u32 = load<u8>(from) - 48
    if (digit > 9) return -1
    // An id that is far too large is refused with the others that no vocabulary has.
    id = min<u64>(id * 10 + digit, 0xffff_fffe)
  }
  return id as i64
}

/** A file's text, without the newline that editors put at its end. */
function readText(prompt: Prompt, path: usize): void {
  const length = lengthOf(path)
  const isStdin = length == 1 && load<u8>(path) == 45
  let bytesRead = readAll(isStdin ? 0 : openFile(path, length), path, length)
  let at = reserve(bytesRead)
  if (!isUtf8(at, bytesRead)) {
    beginError()
    text('the content of ')
    quoted(path, length)
    text(' must be UTF-8 text, found other bytes: the file is damaged or not what its name says, get it again')
    endError(EXIT_FAILED)
  }
  // A byte order mark is no part of the text.
  if (bytesRead >= 3 && load<u8>(at) == 0xef && load<u8>(at, 1) == 0xbb && load<u8>(at, 2) == 0xbf) {
    at += 3
    bytesRead -= 3
  }
  if (bytesRead && load<u8>(at + bytesRead - 1) == 10) bytesRead--
  else {
    prompt.text = at
    prompt.length = bytesRead
    return
  }
  if (bytesRead && load<u8>(at + bytesRead - 1) == 13) bytesRead--
  prompt.text = at
  prompt.length = bytesRead
}

/** Encodes the text of a prompt, and checks the ids: each is a token, and all fit in the context. */
export function encodePrompt(prompt: Prompt, plan: Plan, context: u32): void {
  prompt.hasText = readTables(prompt.ids == 0) ? 1 : 0
  if (!prompt.ids) {
    prepareEncoding()
    reserveIds(prompt.length)
    if (header().hasBos) addId(header().bos)
    encode(prompt.text, prompt.length)
    prompt.ids = tokenizer().ids
    prompt.count = tokenizer().count
  }
  for (let i: u32 = 0; i < prompt.count; i++) checkId(load<u32>(prompt.ids + ((i as usize) << 2)), plan.vocabSize)
  if (prompt.count > context) failAsFull(prompt.count, context, plan.maxContext)
}

/** Reads what text needs; false if the command cannot have it, which is an error where it `isNeeded`. */
function readTables(isNeeded: bool): bool {
  const h = header()
  const length = unitBytes(h.tablesEnd - h.tablesBegin)
  if (length == 0) {
    if (isNeeded)
      failWithoutText(' is missing (no tokenizer.json): get the model again, or use --tokens with ids', 0, 0)
    return false
  }
  const at = reserve(length)
  read(at, length, file().dataStart + unitBytes(h.tablesBegin))
  const tables = changetype<TokenizerTables>(at)
  if (tables.kind != UNKNOWN_WAY) {
    openTables(at, length)
    return true
  }
  const name = at + offsetof<TokenizerTables>()
  if ((tables.textBytes as u64) + offsetof<TokenizerTables>() > length || !isUtf8(name, tables.textBytes))
    refuseTables()
  if (isNeeded) failWithoutText(' must be of a kind that this command knows, found ', name, tables.textBytes)
  return false
}

function failWithoutText(what: string, name: usize, length: usize): void {
  beginError()
  text('the tokenizer of ')
  quoted(file().path, file().pathLength)
  text(what)
  if (name) {
    bytes(name, length, true)
    text(': use --tokens with ids')
  }
  endError(EXIT_FAILED)
}

function checkId(id: u32, vocabSize: u32): void {
  if (id < vocabSize) return
  beginError()
  text('a token id must be a whole number from 0 to ')
  count(vocabSize - 1)
  text(', found ')
  count(id)
  text(": check the ids against this model's vocabulary")
  endError(EXIT_FAILED)
}

function failAsFull(tokens: u32, context: u32, maxContext: u32): void {
  beginError()
  text('the prompt must leave room in a context of ')
  count(context)
  text(' tokens, found ')
  count(tokens)
  text(' tokens: ')
  if (context < maxContext) {
    text('raise -c (the model allows ')
    count(maxContext)
    byte(41)
  } else text('shorten it, nothing was cut off')
  endError(EXIT_FAILED)
}

/** Positions of the conversation: what was asked for, else what the model was made for, at most 4096. */
export function contextOf(plan: Plan): u32 {
  const wanted = options().context
  if (!isGiven(wanted)) return min(plan.maxContext, fallbackOf(offsetof<Options>('context')) as u32)
  if (wanted <= (plan.maxContext as f64)) return wanted as u32
  beginError()
  text('context (-c) must be a whole number from 1 to ')
  count(plan.maxContext)
  text(', found ')
  count(wanted as u64)
  endError(EXIT_USAGE)
  return 0
}
