/** The command line: flags of `gta run`, with llama.cpp's names; what they are and may be is in the table of the build. */
import { FLAG_CHOICE, FLAG_SWITCH, FLAG_TEXT, FLAG_WHOLE, Flag, FlagRange, Options, OptionTable } from './abi'
import { OPTIONS, RESULT } from './addresses'
import { isText, lengthOf } from './bytes'
import { reserve } from './memory'
import { parseNumber } from './number'
import { optionTable } from './option-table'
import { beginError, byte, bytes, endUsageError, flush, quoted, STDOUT, text, writeTo } from './output'
import { args_get, args_sizes_get } from './wasi_snapshot_preview1'

const FLAGS: u32 = (offsetof<Options>() >> 3) as u32

export function options(): Options {
  return changetype<Options>(OPTIONS)
}

/** Numbers are finite. */
export function isGiven(option: f64): bool {
  return option - option == 0
}

/** A text that was given; its length with lengthOf(). */
export function textOf(option: f64): usize {
  return option as usize
}

/** What an option is if nobody says; its field by offsetof. */
export function fallbackOf(field: usize): f64 {
  return rangeAt((field >> 3) as u32).fallback
}

function flagAt(index: u32): Flag {
  return changetype<Flag>(optionTable() + offsetof<OptionTable>() + index * offsetof<Flag>())
}

function rangeAt(index: u32): FlagRange {
  const ranges = optionTable() + offsetof<OptionTable>() + FLAGS * offsetof<Flag>()
  return changetype<FlagRange>(ranges + index * offsetof<FlagRange>())
}

export function printHelp(): void {
  const table = changetype<OptionTable>(optionTable())
  print(table.help, table.helpLength)
}

export function printVersion(): void {
  const table = changetype<OptionTable>(optionTable())
  print(table.version, table.versionLength)
}

function print(at: usize, length: u32): void {
  writeTo(STDOUT)
  bytes(optionTable() + at, length, false)
  flush()
}

/** A walk through the arguments; in memory, as everything that changes. */
@unmanaged
class Walk {
  pointers: usize
  count: u32
  next: u32
}

/** The next argument; 0 if there is none. */
function nextArgument(walk: Walk): usize {
  return walk.next < walk.count ? load<u32>(walk.pointers + (walk.next++ << 2)) : 0
}

/** Reads the arguments into `options()`, or ends the command with exit code 2. */
export function readOptions(): void {
  for (let i: u32 = 0; i < FLAGS; i++) setOption(i, NaN)
  args_sizes_get(RESULT, RESULT + 4)
  const walk = changetype<Walk>(reserve(offsetof<Walk>()))
  walk.count = load<u32>(RESULT)
  walk.pointers = reserve(((walk.count as u64) << 2) + 4)
  args_get(walk.pointers, reserve((load<u32>(RESULT, 4) as u64) + 1))
  walk.next = 1 // the first one is the command's own name
  let areFlags = true
  for (let at = nextArgument(walk); at; at = nextArgument(walk)) {
    const length = lengthOf(at)
    if (areFlags && isText(at, length, '--')) areFlags = false
    else if (areFlags && length > 1 && load<u8>(at) == 45) readFlag(walk, at, length)
    else readModel(at)
  }
}

function setOption(index: u32, value: f64): void {
  store<f64>(OPTIONS + (index << 3), value)
}

function readModel(at: usize): void {
  if (isGiven(options().model)) {
    beginError()
    text('there is an argument too many: ')
    quoted(at, lengthOf(at))
    text('. The first one is the model; a prompt is given with -p "…"')
    endUsageError()
  }
  options().model = at as f64
}

/** `--name`, `--name=value`, `--name value`, `-x`, `-xvalue`, `-x value`. */
function readFlag(walk: Walk, at: usize, length: usize): void {
  const isLong = load<u8>(at, 1) == 45
  let nameLength: usize = 2
  if (isLong) while (nameLength < length && load<u8>(at + nameLength) != 61) nameLength++
  const hasValue = nameLength < length
  const index = indexOf(at, nameLength, isLong)
  if (index == FLAGS) failAtFlag('Unknown option ', at, nameLength, '')
  if (flagAt(index).kind == FLAG_SWITCH) {
    if (hasValue) failAtFlag('Option ', at, nameLength, ' does not take an argument')
    setOption(index, 1)
    return
  }
  const value = hasValue ? at + nameLength + (isLong ? 1 : 0) : nextArgument(walk)
  // A flag is no value, a negative number is.
  const isFlag = value && load<u8>(value) == 45 && load<u8>(value, 1) && !isGiven(parseNumber(value, lengthOf(value)))
  if (!hasValue && !value) failAtFlag('Option ', at, nameLength, ' must have a value, found none')
  if (!hasValue && isFlag)
    failAtFlag('Option ', at, nameLength, ' must have a value, found another flag; give it as one word with =')
  readValue(index, value)
}

/** The flag of this name, with its dashes; FLAGS if there is none. */
function indexOf(at: usize, length: usize, isLong: bool): u32 {
  for (let i: u32 = 0; i < FLAGS; i++) {
    const flag = flagAt(i)
    if (!isLong) {
      if (load<u8>(at, 1) == flag.letter) return i
    } else if (flag.nameLength == length - 2 && memory.compare(optionTable() + flag.name, at + 2, length - 2) == 0)
      return i
  }
  return FLAGS
}

function failAtFlag(before: string, at: usize, length: usize, after: string): void {
  beginError()
  text(before)
  byte(39)
  bytes(at, length, true)
  byte(39)
  text(after)
  endUsageError()
}

function readValue(index: u32, at: usize): void {
  const kind = flagAt(index).kind
  if (index == offsetof<Options>('model') >> 3) readModel(at)
  else if (kind == FLAG_TEXT) setOption(index, at as f64)
  else if (kind == FLAG_CHOICE) setOption(index, choiceOf(index, at) as f64)
  else setOption(index, numberOf(index, at, kind == FLAG_WHOLE))
}

function choiceOf(index: u32, value: usize): u32 {
  const flag = flagAt(index)
  const length = lengthOf(value)
  let at = optionTable() + flag.choices
  const end = at + flag.choicesLength
  for (let choice: u32 = 0; at < end; choice++) {
    let next = at
    while (next < end && load<u8>(next) != 124) next++
    if (next - at == length && memory.compare(at, value, length) == 0) return choice
    at = next + 1
  }
  failAtValue(index, value, true)
  return 0
}

function numberOf(index: u32, at: usize, isWhole: bool): f64 {
  const range = rangeAt(index)
  const value = parseNumber(at, lengthOf(at))
  if (!isGiven(value)) failAtValue(index, at, false)
  if (value == range.none) return NaN
  if (!(value >= range.min && value <= range.max) || (isWhole && value != nearest(value))) failAtValue(index, at, true)
  return value
}

function failAtValue(index: u32, value: usize, isNumber: bool): void {
  const flag = flagAt(index)
  beginError()
  text('--')
  bytes(optionTable() + flag.name, flag.nameLength, true)
  text(' must be ')
  if (isNumber) bytes(optionTable() + flag.expected, flag.expectedLength, true)
  else text('a number')
  text(', found ')
  quoted(value, lengthOf(value))
  endUsageError()
}
