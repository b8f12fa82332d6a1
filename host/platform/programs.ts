/** What runs in threads: a rank of the team, and the reader of pages in a file. */
import { programText } from './program-text.ts'

export const rank = programText(import.meta.url, '../engine/wasm/worker.ts')
export const reader = programText(import.meta.url, '../cache/reader.ts')
