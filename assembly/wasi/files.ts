/** Files of the directories that the engine was told to give (preopened ones); nothing else can be read. */
import { RESULT, VECTOR } from './addresses'
import { growTo, reserve, top } from './memory'
import { beginError, EXIT_FAILED, endError, count as number, quoted, text } from './output'
import {
  ACCES,
  DIRECTORY,
  fd_filestat_get,
  fd_pread,
  fd_prestat_dir_name,
  fd_prestat_get,
  fd_read,
  ISDIR,
  NOENT,
  NOTCAPABLE,
  NOTDIR,
  PERM,
  path_open,
  READ_RIGHTS,
  REGULAR_FILE,
  SUCCESS,
  SYMLINK_FOLLOW,
} from './wasi_snapshot_preview1'

/** Descriptors below are stdin, stdout and stderr. */
const FIRST_DIRECTORY: u32 = 3
/** Bytes of one read. */
const CHUNK: u64 = 16777216

/** Opens a file for reading, and returns its descriptor; ends the command if there is none. */
export function openFile(path: usize, length: usize): u32 {
  const start = relative(path, length)
  let directory: u32 = 0
  let best: usize = 0
  let rest: usize = 0
  let fd = FIRST_DIRECTORY
  for (; fd_prestat_get(fd, RESULT) == SUCCESS; fd++) {
    if (load<u8>(RESULT) != 0) continue
    const nameLength = load<u32>(RESULT, 4) as usize
    const name = reserve(nameLength)
    if (fd_prestat_dir_name(fd, name, nameLength) != SUCCESS) continue
    const from = relative(name, nameLength)
    let prefix = nameLength - from
    while (prefix > 0 && load<u8>(name + from + prefix - 1) == 47) prefix--
    if (!isInside(name + from, prefix, path + start, length - start)) continue
    // The longest name that the path begins with: of two directories the inner one.
    if (directory && prefix < best) continue
    directory = fd
    best = prefix
    rest = start + prefix
    while (rest < length && load<u8>(path + rest) == 47) rest++
  }
  if (!directory) failWithoutDirectory(path, length, fd > FIRST_DIRECTORY)
  let error: u32 = ISDIR
  if (rest < length)
    error = path_open(directory, SYMLINK_FOLLOW, path + rest, length - rest, 0, READ_RIGHTS, 0, 0, RESULT)
  if (error != SUCCESS) failToOpen(path, length, error)
  return load<u32>(RESULT)
}

/** Where a path goes on behind what says "from here" or "from the root". */
function relative(path: usize, length: usize): usize {
  let i: usize = 0
  while (i < length) {
    const isDot = load<u8>(path + i) == 46 && (i + 1 == length || load<u8>(path + i + 1) == 47)
    if (!isDot && load<u8>(path + i) != 47) break
    i++
  }
  return i
}

function isInside(name: usize, prefix: usize, path: usize, length: usize): bool {
  if (prefix > length || memory.compare(name, path, prefix) != 0) return false
  return prefix == 0 || prefix == length || load<u8>(path + prefix) == 47
}

function failWithoutDirectory(path: usize, length: usize, hasOthers: bool): void {
  beginError()
  quoted(path, length)
  if (hasOthers) text(' must lie in a directory that the engine was told to give, found others only')
  else text(' must lie in a directory that the engine was told to give, found none')
  text(': name it, such as wasmedge --dir .:. gta.wasm MODEL.gta')
  endError(EXIT_FAILED)
}

function failToOpen(path: usize, length: usize, error: u32): void {
  beginError()
  quoted(path, length)
  if (error == NOENT || error == NOTDIR) text(' must be a .gta file, found nothing there: check the path')
  else if (error == ISDIR) failAsDirectory()
  else {
    text(' cannot be read: ')
    if (error == ACCES || error == PERM) text('permission denied')
    else if (error == NOTCAPABLE) text('it lies outside of the directories that the engine was told to give')
    else {
      text('error ')
      number(error)
    }
  }
  endError(EXIT_FAILED)
}

function failAsDirectory(): void {
  text(' must be a .gta file, found a directory: pack it first, with gta convert')
}

/** Bytes of an open file; ends the command if it is none. */
export function sizeOf(fd: u32, path: usize, length: usize): u64 {
  const error = fd_filestat_get(fd, RESULT)
  if (error != SUCCESS) failToOpen(path, length, error)
  const type = load<u8>(RESULT, 16)
  if (type != REGULAR_FILE) {
    beginError()
    quoted(path, length)
    if (type == DIRECTORY) failAsDirectory()
    else text(' must be a regular file, found something else')
    endError(EXIT_FAILED)
  }
  return load<u64>(RESULT, 32)
}

/** Reads `bytes` at `position` to `target`, and returns how many there were: fewer only where the file ends. */
export function readAt(fd: u32, path: usize, length: usize, target: usize, bytes: u64, position: u64): u64 {
  let done: u64 = 0
  while (done < bytes) {
    store<u32>(VECTOR, (target + (done as usize)) as u32)
    store<u32>(VECTOR, min(CHUNK, bytes - done) as u32, 4)
    const error = fd_pread(fd, VECTOR, 1, position + done, RESULT)
    if (error != SUCCESS) failToOpen(path, length, error)
    const read = load<u32>(RESULT)
    if (read == 0) break
    done += read
  }
  return done
}

/** Reads all that is left of `fd` to the first address that is free, and returns how many bytes; `reserve` them. */
export function readAll(fd: u32, path: usize, length: usize): usize {
  const from = top()
  let end = from
  let count: u32 = 1
  while (count) {
    growTo((end as u64) + 65536)
    store<u32>(VECTOR, end as u32)
    store<u32>(VECTOR, 65536, 4)
    const error = fd_read(fd, VECTOR, 1, RESULT)
    if (error != SUCCESS) failToOpen(path, length, error)
    count = load<u32>(RESULT)
    end += count
  }
  return end - from
}
