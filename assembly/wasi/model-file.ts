/**
 * The packed file (host/files/pack.ts has the picture), read as hostile until checked: the header is JSON of one form,
 * its tensors lie one behind the other from the first byte to the last, in the order in which they are named.
 */

import { PLAN_VERSION } from '../abi'
import { F32, F64, U8, U32 } from '../plan-tensors'
import { FILE } from './addresses'
import { isText } from './bytes'
import { openFile, readAt, sizeOf } from './files'
import { beginJson, expect, expectEnd, failHere, take, takeCount, takeText, textAt, textLength } from './json'
import { reserve } from './memory'
import { beginError, byte, bytes, count, EXIT_FAILED, endError, quoted, text } from './output'

export const WEIGHTS_F32: u32 = 1
export const WEIGHTS_Q8: u32 = 2
export const WEIGHTS_Q4: u32 = 3

const MAX_HEADER: u64 = 100_000_000

@unmanaged
export class File {
  path: usize
  pathLength: usize
  fd: u32
  size: u64
  /** Position of the first tensor. */
  dataStart: u64
  /** Tensor[count], 64 bytes each. */
  tensors: usize
  count: u32
  weights: u32
  isOurs: u32
  hasVersion: u32
  hasGeneration: u32
}

@unmanaged
export class Tensor {
  name: usize
  nameLength: u32
  dtype: u32
  dims: u32
  rows: u64
  /** 1 if there is one dimension only. */
  cols: u64
  /** From the first tensor. */
  begin: u64
  bytes: u64
}

const TENSOR_BYTES: u64 = 64

export function file(): File {
  return changetype<File>(FILE)
}

export function tensorAt(index: u32): Tensor {
  return changetype<Tensor>(file().tensors + ((index as usize) << 6))
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

/** Opens the file and reads its table of tensors. */
export function openModel(path: usize, length: usize): void {
  const f = file()
  f.path = path
  f.pathLength = length
  f.fd = openFile(path, length)
  f.size = sizeOf(f.fd, path, length)
  const headerLength = readHeaderLength()
  f.dataStart = 8 + headerLength
  const header = reserve(headerLength)
  read(header, headerLength, 8)
  if (load<u8>(header) != 123) {
    beginBadFile('the header')
    expected('JSON that starts with "{", found byte ')
    count(load<u8>(header))
    endBadFile()
  }
  f.tensors = reserve(0)
  beginJson(header, headerLength as usize, path, length)
  readHeader()
  checkMetadata()
}

function readHeaderLength(): u64 {
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
  if (length > MAX_HEADER || length > f.size - 8 || length < 2) {
    beginBadFile('the header length')
    if (length > MAX_HEADER) expected('at most 100000000')
    else if (length < 2) expected('at least 2')
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

function readHeader(): void {
  const f = file()
  expect(123)
  let next: u64 = 0
  if (!take(125)) {
    do {
      takeText()
      if (isText(textAt(), textLength(), '__metadata__')) {
        expect(58)
        readMetadata()
      } else next = readTensor(next)
    } while (take(44))
    expect(125)
  }
  expectEnd()
  if (f.dataStart + next == f.size) return
  beginBadFile('the size')
  expected('')
  count(f.dataStart + next)
  text(' bytes as its header says, found ')
  count(f.size)
  endBadFile()
}

/** Only what decides whether the file can be run; config and the like are for the host. */
function readMetadata(): void {
  const f = file()
  expect(123)
  if (take(125)) return
  do {
    takeText()
    const name = textAt()
    const length = textLength()
    expect(58)
    takeText()
    const value = textAt()
    const valueLength = textLength()
    if (isText(name, length, 'format')) f.isOurs = isText(value, valueLength, 'gta-edge') ? 1 : 0
    else if (isText(name, length, 'generation')) f.hasGeneration = 1
    else if (isText(name, length, 'version')) checkVersion(value, valueLength)
    else if (isText(name, length, 'type'))
      f.weights = isText(value, valueLength, 'f32')
        ? WEIGHTS_F32
        : isText(value, valueLength, 'q8')
          ? WEIGHTS_Q8
          : isText(value, valueLength, 'q4')
            ? WEIGHTS_Q4
            : 0
  } while (take(44))
  expect(125)
}

function checkVersion(value: usize, length: usize): void {
  file().hasVersion = 1
  if (length == 1 && (load<u8>(value) as u32) == 48 + PLAN_VERSION) return
  beginError()
  quoted(file().path, file().pathLength)
  text(' must be a packed model of format version ')
  count(PLAN_VERSION)
  text(', found version ')
  bytes(value, length, true)
  text(': convert the original model again with this version of gta')
  endError(EXIT_FAILED)
}

function checkMetadata(): void {
  const f = file()
  if (!f.isOurs || !f.hasVersion) {
    beginError()
    quoted(f.path, f.pathLength)
    text(' must be a packed model, found a safetensors file that "gta convert" did not write: give a .gta file')
    endError(EXIT_FAILED)
  }
  if (!f.weights) {
    beginBadFile('the weight type')
    expected('one of f32, q8, q4, found another')
    endBadFile()
  }
}

/** Reads one tensor, which must begin at `next`, into the table; returns where it ends. */
function readTensor(next: u64): u64 {
  const f = file()
  // Nothing else is reserved meanwhile, so the tensors are one array.
  const t = changetype<Tensor>(reserve(TENSOR_BYTES))
  f.count++
  t.name = textAt()
  t.nameLength = textLength() as u32
  let end: u64 = 0
  expect(58)
  expect(123)
  do {
    takeText()
    const name = textAt()
    const length = textLength()
    expect(58)
    if (isText(name, length, 'dtype') && !t.dtype) t.dtype = takeType()
    else if (isText(name, length, 'shape') && !t.dims) takeShape(t)
    else if (isText(name, length, 'data_offsets') && !end) {
      expect(91)
      t.begin = takeCount()
      expect(44)
      end = takeCount()
      expect(93)
    } else failHere()
  } while (take(44))
  expect(125)
  t.bytes = end - t.begin
  const width: u64 = t.dtype == U8 ? 1 : t.dtype == F64 ? 8 : 4
  // Each factor is below 2^32, see takeShape, so that only the last product could wrap.
  const numbers = t.rows * t.cols
  if (
    !t.dtype ||
    !t.dims ||
    end < t.begin ||
    numbers > 0xffff_ffff_ffff ||
    t.bytes != numbers * width ||
    t.begin != next
  )
    failAsTensor(t, next)
  return end
}

function failAsTensor(t: Tensor, next: u64): void {
  beginError()
  text('tensor ')
  quoted(t.name, t.nameLength)
  text(' of ')
  quoted(file().path, file().pathLength)
  expected('as long as its shape says and at offset ')
  count(next)
  text(', right behind its predecessor, found ')
  count(t.bytes)
  text(' bytes at ')
  count(t.begin)
  endBadFile()
}

function takeType(): u32 {
  takeText()
  const at = textAt()
  const length = textLength()
  if (isText(at, length, 'U8')) return U8
  if (isText(at, length, 'F32')) return F32
  if (isText(at, length, 'U32')) return U32
  if (isText(at, length, 'F64')) return F64
  failHere()
  return 0
}

/** One or two dimensions: a packed file has no others. */
function takeShape(t: Tensor): void {
  expect(91)
  t.rows = takeCount()
  t.cols = 1
  t.dims = 1
  if (take(44)) {
    t.cols = takeCount()
    t.dims = 2
  }
  expect(93)
  if (t.rows > 0xffff_ffff || t.cols > 0xffff_ffff) failHere()
}

/** The tensor of this name; 0 if there is none. */
export function findTensor(name: string): Tensor | null {
  for (let i: u32 = 0; i < file().count; i++) {
    const t = tensorAt(i)
    if (isText(t.name, t.nameLength, name)) return t
  }
  return null
}

/** The name of a tensor in a message. */
export function namePlace(index: u32): void {
  if (index < file().count) {
    const t = tensorAt(index)
    text('tensor ')
    quoted(t.name, t.nameLength)
    text(' at ')
    count(t.begin)
  } else text('nothing')
}

export { byte }
