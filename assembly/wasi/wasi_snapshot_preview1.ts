/**
 * What the command asks of its engine: WASI preview 1 (github.com/WebAssembly/WASI, legacy/preview1/docs.md), declared by
 * hand. The file's name is the name of the module that is imported. Every function but proc_exit returns an error number,
 * 0 if it went well; addresses and lengths are bytes.
 */

export const SUCCESS: u32 = 0
export const ACCES: u32 = 2
export const ISDIR: u32 = 31
export const NOENT: u32 = 44
export const NOTDIR: u32 = 54
export const PERM: u32 = 63
export const PIPE: u32 = 64
/** Outside of what the engine was told to give. */
export const NOTCAPABLE: u32 = 76

/** Types of a file. */
export const CHARACTER_DEVICE: u32 = 2
export const DIRECTORY: u32 = 3
export const REGULAR_FILE: u32 = 4

export const CLOCK_MONOTONIC: u32 = 1

/** Rights to read, seek, tell and stat: all that is asked for. */
export const READ_RIGHTS: u64 = (1 << 1) | (1 << 2) | (1 << 5) | (1 << 21)
export const SYMLINK_FOLLOW: u32 = 1

export declare function args_sizes_get(count: usize, bytes: usize): u32
export declare function args_get(pointers: usize, texts: usize): u32
/** Nanoseconds, u64 at `time`. */
export declare function clock_time_get(clock: u32, precision: u64, time: usize): u32
export declare function random_get(target: usize, bytes: usize): u32
/** Kind of a descriptor: u8 at `stat`, which is 24 bytes. */
export declare function fd_fdstat_get(fd: u32, stat: usize): u32
/** 64 bytes: the type is u8 at 16, the size u64 at 32. */
export declare function fd_filestat_get(fd: u32, stat: usize): u32
/** u8 type, 0 for a directory, and at 4 the u32 length of its name. */
export declare function fd_prestat_get(fd: u32, prestat: usize): u32
export declare function fd_prestat_dir_name(fd: u32, name: usize, length: usize): u32
export declare function path_open(
  directory: u32,
  lookup: u32,
  path: usize,
  length: usize,
  create: u32,
  rights: u64,
  inherited: u64,
  flags: u32,
  fd: usize,
): u32
/** Vectors are (u32 address, u32 length). */
export declare function fd_read(fd: u32, vectors: usize, count: u32, done: usize): u32
export declare function fd_pread(fd: u32, vectors: usize, count: u32, offset: u64, done: usize): u32
export declare function fd_write(fd: u32, vectors: usize, count: u32, done: usize): u32
export declare function proc_exit(code: u32): void
