/**
 * What a model can do only where there are files and processes: `load()` of Node brings it along, the browser's does not.
 * The rooms that do it stand above this one, so here is only what they look like from below.
 */
import type { KvCache } from '../cache/cache.ts'
import type { Sampling } from '../engine/engine.ts'
import type { TableMaker } from '../files/tokenizer.ts'
import type { TemplateRenderer } from '../text/template/requests.ts'

export interface Extensions {
  /** Runs a chat template: text/template/render.ts. */
  renderTemplate?: TemplateRenderer
  /** Makes tables of a tokenizer.json that has none: files/tokenizer-tables.ts. */
  makeTables?: TableMaker
  /** Conversations in files: sessions/conversation.ts. */
  sessions?(): Promise<Sessions>
}

export interface Sessions {
  /** Saves a conversation that nobody changes meanwhile; `before`: where its pages were saved last. Throws WRITE_FAILED. */
  saveConversation(
    cache: KvCache,
    id: number,
    path: string,
    continuation: Continuation,
    before: SavedPages | undefined,
    between: Between,
    signal?: AbortSignal,
  ): Promise<{ saved: SavedFile; pages: SavedPages }>
  /** Opens a saved conversation and checks all of it: nothing of the engine is touched. The caller closes it. */
  findSession(
    cache: KvCache,
    path: string,
    vocabSize: number,
    maxContext: number,
    signal?: AbortSignal,
  ): Promise<FoundSession>
}

export interface FoundSession {
  readonly continuation: Continuation
  /** Fills an empty conversation. Throws OutOfMemoryError, or BAD_SESSION if the file changed meanwhile; then it is empty. */
  restore(id: number, between: Between): Promise<SavedPages>
  close(): Promise<void>
}

/** What the next token depends on besides the cache. */
export interface Continuation {
  /** The last generated token, which is not in the cache yet. */
  next: number | undefined
  sampling: Sampling | undefined
  /** What the caller keeps with it, as JSON. */
  notes?: unknown
}

/** Where the pages of a conversation lie in a file; only whoever saved them looks inside. */
export type SavedPages = object

export interface SavedFile {
  /** Through all links. */
  path: string
  /** Of the whole file, and what this save wrote of it. */
  end: number
  bytesWritten: number
  isIncremental: boolean
}

/** Runs something between two steps of the engine. */
export type Between = <T>(work: () => Promise<T>) => Promise<T>
