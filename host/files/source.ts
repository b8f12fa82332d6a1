/** What a model is read from. */
import type { About } from './about.ts'

/** What a model brings besides weights, as it was found; all of it goes into the packed file. */
export interface ModelFiles {
  config: unknown
  generation?: unknown
  tokenizerConfig?: unknown
  /** tokenizer.json, byte for byte. */
  tokenizer?: Uint8Array
  /** Of a packed file, the same as tables: assembly/wasi/abi.ts. */
  tokenizerTables?: Uint8Array
  about?: About | undefined
}

export interface ReadOptions {
  signal?: AbortSignal
  /** In bytes of weights. */
  onProgress?: (progress: { done: number; total: number }) => void
}

/** Where the bytes of a model come from: a file, or what a server sends. */
export interface ByteSource {
  /** Bytes in all; infinity while nobody has told. */
  readonly size: number
  /** Reads that are worth having under way at a time. */
  readonly readers: number
  /** Bytes of one of them. */
  readonly readBytes: number
  /** Fills `target` from `position` on, or throws that there are fewer bytes than that. */
  read(target: Uint8Array, position: number): Promise<void>
  /** What was read so far is not read again, but for the bytes from `position` on. */
  forgetUpTo?(position: number): void
  close(): Promise<void>
}
