/**
 * The packed file (host/files/pack.ts has the picture), read as hostile until checked. Its JSON is for the hosts: here only
 * its length is read, and behind it the record that says where everything is.
 */
import { PLAN_VERSION } from '../abi'
import { COMMAND_MAGIC, CommandHeader, UNIT } from './abi'
import { FILE } from './addresses'
import { openFile, readAt, sizeOf } from './files'
import { reserve } from './memory'
import { beginError, count, EXIT_FAILED, endError, quoted, text } from './output'

const MAX_JSON: u64 = 100_000_000
/** Bytes of the record and its tokens that end a text. */
const MAX_HEADER: u64 = 1 << 20

@unmanaged
export class File {
  path: usize
  pathLength: usize
  fd: u32
  size: u64
  /** Position of the first tensor, which is the record. */
  dataStart: u64
  /** The record; then u32[eosCount]. */
  header: usize
  eos: usize
}

export function file(): File {
  return changetype<File>(FILE)
}

export function header(): CommandHeader {
  return changetype<CommandHeader>(file().header)
}

/** Bytes that so many units are. */
export function unitBytes(units: u32): u64 {
  return (units as u64) * UNIT
}

/** The message of the host's errors.badFile, in parts: what, then what was found behind `expected`. */
export function beginBadFile(what: string): void {
  beginError()
  text(what)
  text(' of ')
  quoted(file().path, file().pathLength)
}
export function expected(value: string): void {
  text(' must be ')
  text(value)
}
export function endBadFile(): void {
  text(': the file is damaged or not what its name says, get it again')
  endError(EXIT_FAILED)
}

/** Opens the file, and reads its record. */
export function openModel(path: usize, length: usize): void {
  const f = file()
  f.path = path
  f.pathLength = length
  f.fd = openFile(path, length)
  f.size = sizeOf(f.fd, path, length)
  f.dataStart = 8 + readJsonLength()
  f.header = reserve(offsetof<CommandHeader>())
  if (f.size < f.dataStart + offsetof<CommandHeader>()) failAsNoModel()
  read(f.header, offsetof<CommandHeader>(), f.dataStart)
  const h = header()
  checkFormat(h)
  if (f.size != f.dataStart + unitBytes(h.dataEnd)) {
    beginBadFile('the size')
    expected('')
    count(f.dataStart + unitBytes(h.dataEnd))
    text(' bytes as its header says, found ')
    count(f.size)
    endBadFile()
  }
  checkHeader(h)
  f.eos = reserve(4 * (h.eosCount as u64))
  read(f.eos, 4 * (h.eosCount as u64), f.dataStart + offsetof<CommandHeader>())
}

function readJsonLength(): u64 {
  const f = file()
  if (f.size < 8) {
    beginBadFile('the size')
    expected('at least 8 bytes, found ')
    count(f.size)
    endBadFile()
  }
  const at = reserve(8)
  read(at, 8, 0)
  const length = load<u64>(at)
  if (length > MAX_JSON || length > f.size - 8) {
    beginBadFile('the header length')
    if (length > MAX_JSON) expected('at most 100000000')
    else {
      expected('at most the ')
      count(f.size - 8)
      text(' bytes that follow')
    }
    text(', found ')
    count(length)
    endBadFile()
  }
  return length
}

/** Fills `target` from `position` of the file on, or says that it is shorter than it said. */
export function read(target: usize, length: u64, position: u64): void {
  const f = file()
  const found = readAt(f.fd, f.path, f.pathLength, target, length, position)
  if (found == length) return
  beginBadFile('the size')
  expected('at least ')
  count(position + length)
  text(' bytes, found ')
  count(position + found)
  endBadFile()
}

function failAsNoModel(): void {
  beginError()
  quoted(file().path, file().pathLength)
  text(' must be a packed model, found a file that "gta convert" did not write: give a .gta file')
  endError(EXIT_FAILED)
}

/** Files of earlier versions have no record: they begin with the plan, whose first word is the version. */
function checkFormat(h: CommandHeader): void {
  const isOlder = h.magic != COMMAND_MAGIC
  if (isOlder && (h.magic == 0 || h.magic >= PLAN_VERSION)) failAsNoModel()
  if (!isOlder && h.version == PLAN_VERSION) return
  beginError()
  quoted(file().path, file().pathLength)
  text(' must be a packed model of format version ')
  count(PLAN_VERSION)
  text(', found version ')
  count(isOlder ? h.magic : h.version)
  text(': convert the original model again with this version of gta')
  endError(EXIT_FAILED)
}

/** Every part lies in the file, behind the one before it. */
function checkHeader(h: CommandHeader): void {
  const bytes = unitBytes(h.planBegin)
  if (bytes > MAX_HEADER || bytes < offsetof<CommandHeader>() + 4 * (h.eosCount as u64)) refuseHeader('its own size')
  if (h.planEnd <= h.planBegin || h.weightsEnd < h.planEnd) refuseHeader('where the weights are')
  if (h.tablesBegin < h.weightsEnd || h.tablesEnd < h.tablesBegin || h.dataEnd < h.tablesEnd)
    refuseHeader('where the tokenizer is')
  if (h.hasBos > 1) refuseHeader('the begin token')
  checkAdvice(h.temperature, 0, 100)
  checkAdvice(h.topK, 0, 2147483648)
  checkAdvice(h.topP, 0, 1)
  checkAdvice(h.minP, 0, 1)
  checkAdvice(h.repeatPenalty, 0.01, 100)
}

/** A number that the model recommends, or NaN, which is neither below nor above anything. */
function checkAdvice(value: f32, low: f32, high: f32): void {
  if (value < low || value > high) refuseHeader('a setting of sampling')
}

export function refuseHeader(what: string): void {
  beginBadFile('tensor "command"')
  expected('what gta convert writes, found other values in ')
  text(what)
  endBadFile()
}
