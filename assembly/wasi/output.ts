/**
 * Text for people: collected in a buffer, written with `flush` to where `writeTo` says. Constant texts are strings of the language, UTF-16; all
 * else is bytes of UTF-8.
 */
import { OUTPUT, OUTPUT_BYTES, PENDING, RESULT, TARGET, VECTOR } from './addresses'
import { storeChar } from './bytes'
import { CHARACTER_DEVICE, fd_fdstat_get, fd_write, PIPE, proc_exit, SUCCESS } from './wasi_snapshot_preview1'

export const STDOUT: u32 = 1
export const STDERR: u32 = 2

export const EXIT_FAILED: u32 = 1
export const EXIT_USAGE: u32 = 2

/** Ends the process; does not return. */
export function exit(code: u32): void {
  proc_exit(code)
  unreachable()
}

/** Writes what was collected. A reader that has enough ends the command in good order; any other failure is one. */
export function flush(): void {
  const fd = load<u32>(TARGET)
  let at = OUTPUT
  const end = OUTPUT + load<u32>(PENDING)
  store<u32>(PENDING, 0)
  while (at < end) {
    store<u32>(VECTOR, at as u32)
    store<u32>(VECTOR, (end - at) as u32, 4)
    const error = fd_write(fd, VECTOR, 1, RESULT)
    if (error != SUCCESS) {
      if (fd == STDOUT && error == PIPE) exit(0)
      if (fd == STDOUT) {
        beginError()
        text('the output cannot be written: error ')
        count(error)
        endError(EXIT_FAILED)
      }
      exit(EXIT_FAILED)
    }
    at += load<u32>(RESULT)
  }
}

/** Is this a terminal? It would obey control characters. */
export function isTerminal(fd: u32): bool {
  return fd_fdstat_get(fd, RESULT) == SUCCESS && load<u8>(RESULT) == CHARACTER_DEVICE
}

/** What is collected from here on goes to `fd`, also when the buffer is full before it is flushed. */
export function writeTo(fd: u32): void {
  store<u32>(TARGET, fd)
}

export function byte(value: u32): void {
  if (load<u32>(PENDING) == OUTPUT_BYTES) flush()
  const pending = load<u32>(PENDING)
  store<u8>(OUTPUT + pending, value)
  store<u32>(PENDING, pending + 1)
}

/** A constant text; characters of the basic plane. */
export function text(value: string): void {
  const at = changetype<usize>(value)
  for (let i = 0; i < value.length; i++) codePoint(load<u16>(at + (i << 1)))
}

/** One character in UTF-8. */
export function codePoint(c: u32): void {
  if (load<u32>(PENDING) + 4 > OUTPUT_BYTES) flush()
  const from = OUTPUT + load<u32>(PENDING)
  store<u32>(PENDING, load<u32>(PENDING) + ((storeChar(from, c) - from) as u32))
}

/** Bytes as they are, or, `isShown`, with control characters made visible as the command of Node does. */
export function bytes(at: usize, length: usize, isShown: bool): void {
  for (let i: usize = 0; i < length; i++) {
    const c: u32 = load<u8>(at + i)
    if (!isShown) byte(c)
    else if ((c < 0x20 && c != 9 && c != 10) || c == 0x7f) codePoint(0xfffd)
    else if (c == 0xc2 && i + 1 < length && load<u8>(at + i + 1) < 0xa0) {
      codePoint(0xfffd)
      i++
    } else byte(c)
  }
}

export function quoted(at: usize, length: usize): void {
  byte(34)
  bytes(at, length, true)
  byte(34)
}

/** A whole number. */
export function count(value: u64): void {
  if (value > 9) count(value / 10)
  byte(48 + ((value % 10) as u32))
}

/** A number from 0 on with so many decimals, 0 to 3, the nearest. */
export function fixed(value: f64, decimals: u32): void {
  let unit: u64 = 1
  for (let i: u32 = 0; i < decimals; i++) unit *= 10
  // Not finite, or too large to be a time or a rate.
  if (!(value * (unit as f64) < 1e18)) {
    text('∞')
    return
  }
  const whole = nearest(value * (unit as f64)) as u64
  count(whole / unit)
  if (decimals == 0) return
  byte(46)
  for (let place = unit / 10; place > 0; place /= 10) byte(48 + (((whole / place) % 10) as u32))
}

/** 22.1 MB, 1.13 GB: decimal units. */
export function megabytes(value: f64): void {
  if (value < 1e9) {
    fixed(value / 1e6, 1)
    text(' MB')
  } else {
    fixed(value / 1e9, 2)
    text(' GB')
  }
}

/** A message of the command; `endError` ends it and the process. */
export function beginError(): void {
  // What was collected for stdout and not written has no reader any more.
  store<u32>(PENDING, 0)
  writeTo(STDERR)
  text('gta: ')
}

/** Ends the message and the process. */
export function endError(code: u32): void {
  byte(10)
  flush()
  exit(code)
}

/** Ends the message with where help is, and the process. */
export function endUsageError(): void {
  text('. See "gta.wasm --help"')
  endError(EXIT_USAGE)
}

/** A whole message. */
export function fail(message: string): void {
  beginError()
  text(message)
  endError(EXIT_FAILED)
}
