/**
 * What lies at fixed addresses above those of the engine (../abi.ts). The command has no globals that change: its
 * few words lie here, everything else is reserved from the end of the constants on (memory.ts).
 *
 *     4096    Options          what the command line asks for
 *     4352    File             the model's file
 *     4608    words of memory.ts, host.ts, output.ts, utf8.ts
 *     5120    Tokenizer
 *     8192    output that is not written yet
 *     16384   constants: texts (asconfig.json, memoryBase)
 *     then    arguments, header, tables, weights, what the engine lays out
 */

export const OPTIONS: usize = 4096
export const FILE: usize = 4352
/** usize: the first address that is not reserved. */
export const TOP: usize = 4608
/** u64 nanoseconds. */
export const CLOCK: usize = 4616
/** Where WASI functions put a result: 64 bytes. */
export const RESULT: usize = 4672
/** (u32 address, u32 length) for WASI functions. */
export const VECTOR: usize = 4736
/** Bytes in OUTPUT, u32. */
export const PENDING: usize = 4864
/** Where it goes, u32. */
export const TARGET: usize = 4868
/** Utf8Stream of utf8.ts. */
export const TEXT_STREAM: usize = 4928
export const TOKENIZER: usize = 5120
export const OUTPUT: usize = 8192
export const OUTPUT_BYTES: usize = 8192
