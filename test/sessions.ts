/**
 * Synthetic sessions: a conversation of `n` tokens, four to a page. Full pages never change, the last one fills up, as in
 * a KV cache, and all bytes follow from `n`, so what is read tells which session it is and whether it is one at all.
 */
import * as assert from 'uvu/assert'
import type { Disk } from '../host/sessions/disk.ts'
import { openSession, type SessionImage } from '../host/sessions/read.ts'
import { type PageToSave, type SavedSession, saveSession } from '../host/sessions/save.ts'

export const TOKENS_PER_PAGE = 4

export interface Session {
  state: Record<string, unknown>
  pages: Uint8Array[]
}

/** Page `i` with its first `rows` rows filled. */
function page(i: number, rows: number, pageBytes: number): Uint8Array {
  const bytes = new Uint8Array(pageBytes)
  const end = Math.floor((rows * pageBytes) / TOKENS_PER_PAGE)
  let x = (i + 1) * 0x9e3779b1
  for (let at = 0; at < end; at++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    bytes[at] = x
  }
  return bytes
}

export function session(n: number, pageBytes = 1000): Session {
  const count = Math.ceil(n / TOKENS_PER_PAGE)
  const rows = (i: number) => Math.min(TOKENS_PER_PAGE, n - i * TOKENS_PER_PAGE)
  return {
    state: { length: n, tokens: Array.from({ length: n }, (_, i) => i * 7), text: 'ü"\u2028' },
    pages: Array.from({ length: count }, (_, i) => page(i, rows(i), pageBytes)),
  }
}

/** What a save leaves for the next one. */
export interface Saved {
  n: number
  image: SessionImage
}

/** Saves the session of `n` tokens; full pages of the session before are not written again. */
export async function save(
  path: string,
  n: number,
  before?: Saved,
  options: { disk?: Disk; signal?: AbortSignal; pageBytes?: number } = {},
): Promise<Saved & { image: SavedSession }> {
  const { state, pages } = session(n, options.pageBytes)
  const full = Math.floor(Math.min(before?.n ?? 0, n) / TOKENS_PER_PAGE)
  const toSave: PageToSave[] = pages.map((bytes, i) => {
    const record = i < full ? before?.image.records[i] : undefined
    return record ? { bytes, record } : { bytes }
  })
  return { n, image: await saveSession(path, state, toSave, before?.image, options) }
}

/** Reads everything, as a restore does: all pages are verified, then read one by one. */
export async function read(
  path: string,
  options: { disk?: Disk } = {},
): Promise<Session & Saved & { damage?: string }> {
  await using reader = await openSession(path, options)
  await reader.verify()
  const pages: Uint8Array[] = []
  for (let i = 0; i < reader.pageCount; i++) {
    const target = new Uint8Array(reader.pageBytes)
    await reader.readPage(i, target)
    pages.push(target)
  }
  const { state, image, damage } = reader
  return { state, pages, n: state.length as number, image, ...(damage === undefined ? {} : { damage }) }
}

/** Fails unless what was read is the session of `n` tokens, bit for bit. */
export function checkSession(found: Session, n: number, what = '', pageBytes?: number): void {
  const expected = session(n, pageBytes)
  assert.equal(found.state, expected.state, what)
  assert.is(found.pages.length, expected.pages.length, what)
  for (const [i, bytes] of expected.pages.entries())
    assert.ok(Buffer.compare(bytes, found.pages[i] as Uint8Array) === 0, `${what}: page ${i}`)
}
