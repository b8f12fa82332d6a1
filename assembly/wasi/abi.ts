/**
 * What a packed file and the build give to the command without JavaScript, said once for who writes it (host/files/ and
 * host/wasi/) and who reads it (this folder). Constants and records as in ../abi.ts, which tells how they are read.
 */

/** Offsets count in units of so many bytes. */
export const UNIT: u32 = 64
/** "gtaw": the first word of the data of a packed file. */
export const COMMAND_MAGIC: u32 = 0x77617467

/**
 * Tensor "command", the first of a packed file, so that it is found without reading the JSON before it: where everything
 * is, and what the command needs of config.json and generation_config.json. Then u32[eosCount]: tokens that end a text.
 */
export class CommandHeader {
  magic: u32 = 0
  /** Of the file's format. */
  version: u32 = 0
  /** Offsets from the first byte of this record, in units; each part ends where the next one begins or before it. */
  planBegin: u32 = 0
  planEnd: u32 = 0
  /** All that the plan names; it begins with the plan. */
  weightsEnd: u32 = 0
  /** TokenizerTables; nothing if there is no tokenizer. */
  tablesBegin: u32 = 0
  tablesEnd: u32 = 0
  /** The whole file. */
  dataEnd: u32 = 0
  /** 1: `bos` goes before every text. */
  hasBos: u32 = 0
  bos: u32 = 0
  eosCount: u32 = 0
  /** Sampling that the model recommends; NaN: it says nothing. A whole number of tokens is one here too. */
  temperature: f32 = NaN
  topK: f32 = NaN
  topP: f32 = NaN
  minP: f32 = NaN
  repeatPenalty: f32 = NaN
}

/** How text becomes tokens. */
export const BYTE_LEVEL: u32 = 1
export const SENTENCE_PIECE: u32 = 2
/** In a way that the command does not know: `textBytes` bytes of text follow that name it, and nothing else. */
export const UNKNOWN_WAY: u32 = 3

/** How byte-level text is cut first: split.ts has the expressions. */
export const SPLIT_NONE: u32 = 0
export const SPLIT_GPT2: u32 = 1
export const SPLIT_LLAMA3: u32 = 2
export const SPLIT_QWEN2: u32 = 3

/** A blank before every part of the text; before a part that begins with none; before the first part that … */
export const PREFIX_NONE: u32 = 0
export const PREFIX_ALWAYS: u32 = 1
export const PREFIX_MISSING: u32 = 2
export const PREFIX_FIRST: u32 = 3

/** Classes of characters. White space is that of JavaScript's \s and of Unicode, of the former only, of the latter only. */
export const CLASS_OTHER: u32 = 0
export const CLASS_LETTER: u32 = 1
export const CLASS_NUMBER: u32 = 2
export const CLASS_SPACE: u32 = 3
export const CLASS_SPACE_OF_JS: u32 = 4
export const CLASS_SPACE_OF_UNICODE: u32 = 5

/** Bit of a token's length: it is none of the vocabulary, text never becomes it. */
export const NOT_IN_VOCABULARY: u32 = 0x8000

/** Bit of a value of the table for NFC: a decomposition. */
export const DECOMPOSITION: u32 = 0x80000000
/** Most characters of a decomposition (Unicode, UAX #15). */
export const MAX_DECOMPOSITION: u32 = 4

/** Tensor "tokenizer.tables": this record, then the tables in the order of their counts, text last. */
export class TokenizerTables {
  kind: u32 = 0
  split: u32 = 0
  prefix: u32 = 0
  /** 1: a piece of text that is a token is taken as it is. */
  ignoresMerges: u32 = 0
  /** 1: each digit from 0 to 9 is a part of its own before text is cut. */
  isolatesDigits: u32 = 0
  /** (u32 right or lone character, u32 left or 0, u32 value), rising as u64: see nfc.ts; 0: text is not normalised. */
  nfcEntries: u32 = 0
  /** u32: the characters of all decompositions. */
  nfcCharacters: u32 = 0
  /** u32: first character << 8 | class, rising. */
  classes: u32 = 0
  /** (u32 left, u32 right): pairs of tokens, earlier ones go first. */
  merges: u32 = 0
  /** u32: id << 1 | is a control token. */
  added: u32 = 0
  /** u16: the length of each token's text. */
  tokens: u32 = 0
  /** Bytes of all tokens: byte level as they are, else characters with ▁ for a blank. */
  textBytes: u32 = 0
}

/** Kinds of flags. */
export const FLAG_TEXT: u32 = 0
export const FLAG_SWITCH: u32 = 1
export const FLAG_CHOICE: u32 = 2
export const FLAG_WHOLE: u32 = 3
export const FLAG_NUMBER: u32 = 4

/**
 * What the command line asks for, by the names of host/settings.ts; the n-th field has the n-th Flag. All fields are f64:
 * a number, the address of a text that ends with 0, the index of a choice, or 1; NaN: not given.
 */
export class Options {
  model: f64 = NaN
  prompt: f64 = NaN
  file: f64 = NaN
  tokens: f64 = NaN
  maxTokens: f64 = NaN
  context: f64 = NaN
  cache: f64 = NaN
  seed: f64 = NaN
  temperature: f64 = NaN
  topK: f64 = NaN
  topP: f64 = NaN
  minP: f64 = NaN
  repeatPenalty: f64 = NaN
  repeatLastN: f64 = NaN
  presencePenalty: f64 = NaN
  frequencyPenalty: f64 = NaN
  stopEos: f64 = NaN
  ignoreEos: f64 = NaN
  version: f64 = NaN
  help: f64 = NaN
}

/**
 * What the build makes of host/settings.ts for the command (host/wasi/option-table.ts), in UTF-8; texts are (offset from
 * this record, length):
 *
 *     OptionTable ┃ Flag per field of Options ┃ FlagRange per field ┃ texts
 */
export class OptionTable {
  help: u32 = 0
  helpLength: u32 = 0
  version: u32 = 0
  versionLength: u32 = 0
}

export class Flag {
  /** Without dashes. */
  name: u32 = 0
  nameLength: u32 = 0
  /** Behind one dash; 0: none. */
  letter: u32 = 0
  kind: u32 = 0
  /** What its value must be, in words. */
  expected: u32 = 0
  expectedLength: u32 = 0
  /** Choices with "|" between them. */
  choices: u32 = 0
  choicesLength: u32 = 0
}

/** All f64; both ends of a range are included. */
export class FlagRange {
  min: f64 = NaN
  max: f64 = NaN
  /** As if the flag were not there. */
  none: f64 = NaN
  /** What it is if nobody says. */
  fallback: f64 = NaN
}
