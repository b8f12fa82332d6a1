/** How the pager and its thread talk: a few shared words, a list of pages, and what the thread has counted. */
import type { PageStream } from '../engine/engine.ts'

// Words that host and reader share; the reader writes DONE and IS_DIRECT, the host the others.
export const REQUEST = 0
export const DONE = 1
export const COMMAND = 2
export const ADDRESS = 3
export const PLACE = 4
export const START = 5
export const COUNT = 6
export const IS_DIRECT = 7
/** u32[pages]: where in the file the streamed pages lie, in the order of the engine's buffer. */
export const LIST = 8

export const WRITE = 1
export const READ = 2
export const STREAM = 3
export const MEASURE = 4

/** f64 behind the words, written by the reader. */
export const BYTES_READ = 0
export const BYTES_WRITTEN = 1
export const READ_SECONDS = 2
export const RATE = 3
export const COUNTERS = 4
export const countersAt = (pages: number) => Math.ceil(((LIST + pages) * 4) / 8) * 8

export interface ReaderInput {
  control: SharedArrayBuffer
  file: string
  pages: number
  stream: Pick<PageStream, 'port' | 'at' | 'pages' | 'stride' | 'ready' | 'swept' | 'nLayers' | 'layerBytes'>
}
