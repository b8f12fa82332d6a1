/**
 * A conversation as a session: its pages as they lie in the cache, each behind its 64 tokens, and what else the next
 * token depends on. Restoring it computes nothing, and the next token is, bit for bit, that of the conversation which
 * never stopped.
 *
 *     page of the file   64 × u32 tokens ┃ a piece of the page of the cache      pages of the conversation, then kept originals
 *
 * A page of the cache has a part for each kind of layers; what a window does not see any more is not there. All pieces are as
 * long as the shortest of these parts, and of the longer ones each last piece is filled with zeros. A page of which nothing
 * is there but its tokens is a piece of zeros. Where all layers are of one kind, a page is one piece.
 */
import { PAGE_TOKENS, show } from '../../models/index.ts'
import type { CachedPage, CachedPages, KvCache } from '../cache/cache.ts'
import type { Sampling, StoredKind } from '../engine/engine.ts'
import { checkSampling, samplingNames } from '../engine/sampling.ts'
import { errors } from '../errors.ts'
import type { Between, Continuation, FoundSession, SavedPages } from '../runtime/extensions.ts'
import type { SavedSession } from './body.ts'
import { sessionErrors } from './errors.ts'
import type { SessionRecord } from './format.ts'
import { openSession, type SessionImage, type SessionReader } from './read.ts'
import { saveSession } from './save.ts'

const TOKEN_BYTES = 4 * PAGE_TOKENS

/** A part of what a kind of layers keeps of a page. */
interface Piece {
  page: CachedPage
  kind: number
  /** Its first byte, and bytes of all pieces. */
  start: number
  bytes: number
}

/** Of a page of which only the tokens are left, there is one piece of zeros. */
const NO_KIND = -1

/** All pieces of a conversation, in the order of the file. */
function piecesOf({ kinds }: KvCache, { pages, originals, from }: CachedPages): Piece[] {
  const bytes = Math.min(...kinds.map(({ pageBytes }) => pageBytes))
  const pieces = (page: CachedPage, isThere: (first: number) => boolean) => {
    const found = kinds.flatMap(({ pageBytes }, kind) => {
      const count = isThere(from[kind] as number) ? Math.ceil(pageBytes / bytes) : 0
      return Array.from({ length: count }, (_, i) => ({ page, kind, start: i * bytes, bytes }))
    })
    return found.length > 0 ? found : [{ page, kind: NO_KIND, start: 0, bytes }]
  }
  return [
    ...pages.flatMap((page, i) => pieces(page, (first) => i >= first)),
    ...originals.flatMap((page) => pieces(page, (first) => first === 0)),
  ]
}

const keyOf = ({ page, kind, start }: Piece) => `${page.stamp} ${kind} ${start}`

/** Where the pages of a conversation lie in a file, by their stamps: the next save writes only what is new. */
class PagesInFile implements SavedPages {
  readonly image: SessionImage
  readonly records: ReadonlyMap<string, SessionRecord>

  constructor(pieces: Piece[], image: SessionImage) {
    this.image = image
    this.records = new Map(pieces.map((piece, i) => [keyOf(piece), image.records[i] as SessionRecord]))
  }
}

const FORMAT = 'gta-edge conversation'
const VERSION = 2

/** Saves a conversation that nobody changes meanwhile. Throws WRITE_FAILED. */
export async function saveConversation(
  cache: KvCache,
  id: number,
  path: string,
  continuation: Continuation,
  before: SavedPages | undefined,
  between: Between,
  signal?: AbortSignal,
): Promise<{ saved: SavedSession; pages: SavedPages }> {
  const known = before instanceof PagesInFile ? before : undefined
  const cached = cache.cached(id)
  const { length, dropped, originals, from } = cached
  const state = {
    format: FORMAT,
    version: VERSION,
    fingerprint: await cache.fingerprint(),
    length,
    dropped,
    originals: originals.map((original) => original.dropped),
    from,
    ...continuation,
  }
  const all = piecesOf(cache, cached)
  const toSave = all.map((piece) => ({
    bytes: { length: TOKEN_BYTES + piece.bytes, read: () => readPiece(cache, piece, between) },
    record: known?.records.get(keyOf(piece)),
  }))
  const saved = await saveSession(path, state, toSave, known?.image, { signal })
  return { saved, pages: new PagesInFile(all, saved) }
}

async function readPiece(cache: KvCache, { page, kind, start, bytes: size }: Piece, between: Between) {
  const { id, tokens } = page
  const bytes = new Uint8Array(TOKEN_BYTES + size)
  bytes.set(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength))
  if (kind === NO_KIND) return bytes
  // Copied before the next step: what lies in memory now may then lie in the file.
  const copy = async () => bytes.set((await cache.fetchPage(id, kind)).subarray(start, start + size), TOKEN_BYTES)
  await (cache.offloadUse ? between(copy) : copy())
  return bytes
}

/** A session that was looked at and found to be one of this engine's. */
interface FoundState {
  length: number
  dropped: number
  originals: number[]
  from: number[]
  continuation: Continuation
}

/**
 * Opens a session and checks all of it: nothing of the engine is touched. Throws BAD_SESSION, OTHER_MODEL, OTHER_VERSION,
 * NOT_FOUND or CONTEXT_FULL. The caller closes the reader.
 */
export async function findSession(
  cache: KvCache,
  path: string,
  vocabSize: number,
  maxContext: number,
  signal?: AbortSignal,
): Promise<FoundSession> {
  const reader = await openSession(path)
  try {
    const found = await checkState(cache, reader, vocabSize, maxContext)
    const page = new Uint8Array(reader.pageBytes)
    for (let i = 0; i < reader.pageCount; i++) {
      signal?.throwIfAborted()
      await reader.readPage(i, page)
      checkTokens(path, i, page, vocabSize)
    }
    return {
      continuation: found.continuation,
      restore: (id, between) => restoreConversation(cache, id, reader, found, between),
      close: () => reader.close(),
    }
  } catch (error) {
    await reader.close()
    throw error
  }
}

async function checkState(
  cache: KvCache,
  reader: SessionReader,
  vocabSize: number,
  maxContext: number,
): Promise<FoundState> {
  const { path, state, pageCount, pageBytes } = reader
  const { format, version, fingerprint, length, dropped, originals, from, next, sampling, notes } = state
  const expect = (isGood: boolean, what: string, expected: string, found: unknown) => {
    if (!isGood) throw errors.badSession(path, what, expected, show(found))
  }
  const isWhole = (value: unknown, most: number): value is number =>
    Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most
  expect(format === FORMAT, 'the format', `"${FORMAT}"`, format)
  if (version !== VERSION) throw sessionErrors.otherSessionVersion(path, show(version), VERSION)
  const expected = await cache.fingerprint()
  if (fingerprint !== expected)
    throw sessionErrors.otherModel(
      path,
      'the model (its weights, their type, RoPE and the type of the cache)',
      show(expected.slice(0, 16)),
      typeof fingerprint === 'string' ? show(fingerprint.slice(0, 16)) : show(fingerprint),
    )
  expect(isWhole(length, 2 ** 31), 'the length', 'a whole number of tokens', length)
  if ((length as number) > cache.facts.context)
    throw errors.contextFull(length as number, cache.facts.context, maxContext)
  const isPages = (value: unknown, most: number) => isWhole(value, most) && value % PAGE_TOKENS === 0
  expect(isPages(dropped, 2 ** 31), 'the number of forgotten tokens', 'that of whole pages', dropped)
  expect(dropped === 0 || !cache.hasStates, 'the number of forgotten tokens', '0 where layers keep a state', dropped)
  const pages = Math.ceil((length as number) / PAGE_TOKENS)
  // A page is kept as it was computed once something was forgotten behind it, and only a full one.
  const isOriginals =
    Array.isArray(originals) &&
    originals.length * PAGE_TOKENS <= (length as number) &&
    originals.every((n) => isPages(n, (dropped as number) - PAGE_TOKENS))
  expect(isOriginals, 'the kept pages', 'a list of numbers of tokens forgotten before', originals)
  // More may be there than the next row sees, but nothing that it sees is missing.
  const isFrom =
    Array.isArray(from) &&
    from.length === cache.kinds.length &&
    from.every((first, kind) => isWhole(first, cache.firstSeen(length as number, kind)))
  expect(isFrom, 'the first pages', `a list of ${cache.kinds.length} numbers`, from)
  const sizes = cache.kinds.map(({ pageBytes }) => pageBytes)
  const piece = Math.min(...sizes)
  const least = Math.min(...(from as number[]))
  const bare = least > 0 ? least + (originals as number[]).length : 0
  const count = sizes.reduce((sum, bytes, kind) => {
    const first = (from as number[])[kind] as number
    const kept = pages - first + (first === 0 ? (originals as number[]).length : 0)
    return sum + kept * Math.ceil(bytes / piece)
  }, bare)
  expect(pageCount === count, 'the number of pages', `${count} for ${length} tokens`, pageCount)
  const size = TOKEN_BYTES + piece
  expect(count === 0 || pageBytes === size, 'the size of a page', `${size} bytes`, pageBytes)
  expect(next === undefined || isWhole(next, vocabSize - 1), 'the next token', `from 0 to ${vocabSize - 1}`, next)
  expect((length as number) > 0 || next !== undefined, 'the session', 'of at least one token', length)
  return {
    length: length as number,
    dropped: dropped as number,
    originals: originals as number[],
    from: from as number[],
    continuation: { next: next as number | undefined, sampling: checkSaved(path, sampling), notes },
  }
}

function checkSaved(path: string, sampling: unknown): Sampling | undefined {
  if (sampling === undefined) return undefined
  try {
    // Sessions of before there were these.
    const given = { presencePenalty: 0, frequencyPenalty: 0, ...(sampling as Partial<Sampling>) }
    return checkSampling(Object.fromEntries(samplingNames.map((name) => [name, given[name]])) as unknown as Sampling)
  } catch (cause) {
    throw errors.badSession(path, 'the settings of sampling', 'usable', show(sampling), cause)
  }
}

/** Padding behind the last token is zero, so all must be ids. */
function checkTokens(path: string, index: number, page: Uint8Array, vocabSize: number): void {
  const tokens = new Uint32Array(page.buffer, page.byteOffset, PAGE_TOKENS)
  const wrong = tokens.find((token) => token >= vocabSize)
  if (wrong !== undefined) throw errors.badSession(path, `a token of page ${index}`, `below ${vocabSize}`, wrong)
}

async function restoreConversation(
  cache: KvCache,
  id: number,
  reader: SessionReader,
  { length, dropped, originals, from }: FoundState,
  between: Between,
): Promise<SavedPages> {
  const adopted = await between(async () => cache.adopt(id, length, dropped, originals, from))
  const all = piecesOf(cache, adopted)
  try {
    const bytes = new Uint8Array(reader.pageBytes)
    for (const [i, { page, kind, start }] of all.entries()) {
      await reader.readPage(i, bytes)
      page.tokens.set(new Uint32Array(bytes.buffer, 0, PAGE_TOKENS))
      if (kind === NO_KIND) continue
      const { pageBytes } = cache.kinds[kind] as StoredKind
      const piece = bytes.subarray(TOKEN_BYTES, TOKEN_BYTES + pageBytes - start)
      await between(() => cache.storePage(page.id, piece, { kind, start }))
    }
    return new PagesInFile(all, reader.image)
  } catch (error) {
    cache.rewind(id, 0)
    throw error
  }
}
