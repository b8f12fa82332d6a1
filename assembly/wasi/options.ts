/** The command line: the flags of `gta run` that make sense here, with llama.cpp's names, and the same messages. */
import { OPTIONS, RESULT } from './addresses'
import { isText, lengthOf } from './bytes'
import { reserve } from './memory'
import { isSpelt, parseNumber } from './number'
import { beginError, byte, bytes, count, EXIT_USAGE, endError, endUsageError, quoted, text } from './output'
import { args_get, args_sizes_get } from './wasi_snapshot_preview1'

/** Bits of `given`: which settings the command line has. */
export const HAS_TEMPERATURE: u32 = 1
export const HAS_TOP_K: u32 = 2
export const HAS_TOP_P: u32 = 4
export const HAS_MIN_P: u32 = 8
export const HAS_REPEAT_PENALTY: u32 = 16
export const HAS_SEED: u32 = 32

export const CACHE_DEFAULT: u32 = 0
export const CACHE_F32: u32 = 1
export const CACHE_INT8: u32 = 2

/** Addresses of texts are 0 where the flag is not given; lengths in bytes. */
@unmanaged
export class Options {
  model: usize
  modelLength: usize
  prompt: usize
  promptLength: usize
  file: usize
  fileLength: usize
  tokens: usize
  tokensLength: usize
  given: u32
  /** 0: no limit. */
  maxTokens: f64
  /** 0: the model's own. */
  context: f64
  seed: f64
  temperature: f64
  topK: f64
  topP: f64
  minP: f64
  repeatPenalty: f64
  repeatLastN: f64
  cache: u32
  stopAtEos: u32
  ignoreEos: u32
  wantsHelp: u32
  wantsVersion: u32
}

export function options(): Options {
  return changetype<Options>(OPTIONS)
}

const MAX_SAFE: f64 = 9007199254740991

/** A walk through the arguments; in memory, as everything that changes. */
@unmanaged
class Walk {
  pointers: usize
  count: u32
  next: u32
}

/** Reads the arguments into `options()`, or ends the command with exit code 2. */
export function readOptions(): void {
  args_sizes_get(RESULT, RESULT + 4)
  const walk = changetype<Walk>(reserve(offsetof<Walk>()))
  walk.count = load<u32>(RESULT)
  walk.pointers = reserve(((walk.count as u64) << 2) + 4)
  args_get(walk.pointers, reserve((load<u32>(RESULT, 4) as u64) + 1))
  walk.next = 1 // the first one is the command's own name
  options().repeatLastN = 64
  let areFlags = true
  while (walk.next < walk.count) {
    const at: usize = load<u32>(walk.pointers + (walk.next++ << 2))
    const length = lengthOf(at)
    if (areFlags && isText(at, length, '--')) areFlags = false
    else if (areFlags && length > 1 && load<u8>(at) == 45) readFlag(walk, at, length)
    else readModel(at, length)
  }
}

function readModel(at: usize, length: usize): void {
  const o = options()
  if (o.model) {
    beginError()
    text('there is an argument too many: ')
    quoted(at, length)
    text('. The first one is the model; a prompt is given with -p "…"')
    endUsageError()
  }
  o.model = at
  o.modelLength = length
}

/** `--name`, `--name=value`, `--name value`, `-x`, `-xvalue`, `-x value`. */
function readFlag(walk: Walk, at: usize, length: usize): void {
  const isLong = load<u8>(at, 1) == 45
  let nameLength = isLong ? length : 2
  if (isLong)
    for (let i: usize = 2; i < length; i++)
      if (load<u8>(at + i) == 61) {
        nameLength = i
        break
      }
  const hasValue = nameLength < length
  if (readSwitch(at, nameLength)) {
    if (!hasValue) return
    beginError()
    text("Option '")
    bytes(at, nameLength, true)
    text("' does not take an argument")
    endUsageError()
  }
  if (!isKnown(at, nameLength)) {
    beginError()
    text("Unknown option '")
    bytes(at, nameLength, true)
    byte(39)
    endUsageError()
  }
  let value = at + nameLength + (isLong ? 1 : 0)
  if (!hasValue) {
    value = walk.next < walk.count ? load<u32>(walk.pointers + (walk.next++ << 2)) : 0
    // A flag is no value, a negative number is.
    if (!value || (load<u8>(value) == 45 && load<u8>(value, 1) && !isNumber(value))) {
      beginError()
      text("Option '")
      bytes(at, nameLength, true)
      text(
        value
          ? "' must have a value, found another flag; give it as one word with ="
          : "' must have a value, found none",
      )
      endUsageError()
    }
  }
  readValue(at, nameLength, value, lengthOf(value))
}

function isNumber(at: usize): bool {
  const value = parseNumber(at, lengthOf(at))
  return isSpelt(value)
}

/** Sets a flag without a value; false if there is none of this name. */
function readSwitch(at: usize, length: usize): bool {
  const o = options()
  if (isText(at, length, '--help') || isText(at, length, '-h')) o.wantsHelp = 1
  else if (isText(at, length, '--version')) o.wantsVersion = 1
  else if (isText(at, length, '--stop-eos')) o.stopAtEos = 1
  else if (isText(at, length, '--ignore-eos')) o.ignoreEos = 1
  else return false
  return true
}

function isKnown(at: usize, length: usize): bool {
  return (
    isText(at, length, '--model') || isText(at, length, '-m') ||
    isText(at, length, '--prompt') || isText(at, length, '-p') ||
    isText(at, length, '--file') || isText(at, length, '-f') ||
    isText(at, length, '--tokens') ||
    isText(at, length, '--n-predict') || isText(at, length, '-n') ||
    isText(at, length, '--ctx-size') || isText(at, length, '-c') ||
    isText(at, length, '--seed') || isText(at, length, '-s') ||
    isText(at, length, '--temp') ||
    isText(at, length, '--top-k') ||
    isText(at, length, '--top-p') ||
    isText(at, length, '--min-p') ||
    isText(at, length, '--repeat-penalty') ||
    isText(at, length, '--repeat-last-n') ||
    isText(at, length, '--cache')
  )
} // biome-ignore format: a table

function readValue(name: usize, nameLength: usize, at: usize, length: usize): void {
  const o = options()
  if (isText(name, nameLength, '--model') || isText(name, nameLength, '-m')) readModel(at, length)
  else if (isText(name, nameLength, '--prompt') || isText(name, nameLength, '-p')) {
    o.prompt = at
    o.promptLength = length
  } else if (isText(name, nameLength, '--file') || isText(name, nameLength, '-f')) {
    o.file = at
    o.fileLength = length
  } else if (isText(name, nameLength, '--tokens')) {
    o.tokens = at
    o.tokensLength = length
  } else if (isText(name, nameLength, '--cache')) {
    o.cache = isText(at, length, 'f32') ? CACHE_F32 : isText(at, length, 'int8') ? CACHE_INT8 : CACHE_DEFAULT
    if (o.cache == CACHE_DEFAULT) {
      beginError()
      text('--cache must be one of f32, int8, found ')
      quoted(at, length)
      endUsageError()
    }
  } else readNumber(name, nameLength, at, length)
}

function readNumber(name: usize, nameLength: usize, at: usize, length: usize): void {
  const o = options()
  const value = parseNumber(at, length)
  if (isText(name, nameLength, '--n-predict') || isText(name, nameLength, '-n'))
    o.maxTokens = whole('n-predict', value, at, length, 1, -1, 0)
  else if (isText(name, nameLength, '--ctx-size') || isText(name, nameLength, '-c'))
    o.context = whole('ctx-size', value, at, length, 1, 0, 0)
  else if (isText(name, nameLength, '--seed') || isText(name, nameLength, '-s')) {
    o.seed = whole('seed', value, at, length, 0, -1, -1)
    o.given = o.seed < 0 ? o.given & ~HAS_SEED : o.given | HAS_SEED
  } else if (isText(name, nameLength, '--top-k')) {
    o.topK = whole('top-k', value, at, length, 0, NaN, 0)
    within('topK (--top-k)', o.topK, at, length, 0, 2147483648, true)
    o.given |= HAS_TOP_K
  } else if (isText(name, nameLength, '--repeat-last-n')) {
    o.repeatLastN = whole('repeat-last-n', value, at, length, 0, NaN, 0)
    within('repeatLastN (--repeat-last-n)', o.repeatLastN, at, length, 0, 2147483648, true)
  } else {
    if (!isSpelt(value)) {
      beginError()
      bytes(name, nameLength, true)
      text(' must be a number, found ')
      quoted(at, length)
      endUsageError()
    }
    readSampling(name, nameLength, value, at, length)
  }
}

function readSampling(name: usize, nameLength: usize, value: f64, at: usize, length: usize): void {
  const o = options()
  if (isText(name, nameLength, '--temp')) {
    o.temperature = within('temperature (--temp)', value, at, length, 0, 100, false)
    o.given |= HAS_TEMPERATURE
  } else if (isText(name, nameLength, '--top-p')) {
    o.topP = within('topP (--top-p)', value, at, length, 0, 1, false)
    o.given |= HAS_TOP_P
  } else if (isText(name, nameLength, '--min-p')) {
    o.minP = within('minP (--min-p)', value, at, length, 0, 1, false)
    o.given |= HAS_MIN_P
  } else {
    o.repeatPenalty = within('repeatPenalty (--repeat-penalty)', value, at, length, 0.01, 100, false)
    o.given |= HAS_REPEAT_PENALTY
  }
}

/** A whole number from `min` on; `none` is llama.cpp's way to say that there is no limit, or no choice. */
function whole(name: string, value: f64, at: usize, length: usize, min: f64, none: f64, instead: f64): f64 {
  if (value == none) return instead
  if (isSpelt(value) && value == nearest(value) && value >= min && value <= MAX_SAFE) return value
  beginError()
  text('--')
  text(name)
  if (!isSpelt(value)) text(' must be a number, found ')
  else {
    text(' must be a whole number from ')
    count(min as u64)
    text(' to 9007199254740991, found ')
  }
  quoted(at, length)
  endUsageError()
  return 0
}

function within(name: string, value: f64, at: usize, length: usize, min: f64, max: f64, isWhole: bool): f64 {
  if (value >= min && value <= max) return value
  beginError()
  text(name)
  text(isWhole ? ' must be a whole number from ' : ' must be a number from ')
  if (min == 0.01) text('0.01')
  else count(min as u64)
  text(' to ')
  count(max as u64)
  text(', found ')
  bytes(at, length, true)
  endError(EXIT_USAGE)
  return 0
}
