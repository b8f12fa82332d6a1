/** The files of a repository, as a hub lists them page by page; hostile until checked. */

import { parseJson } from '../../json.ts'
import { hubErrors } from './errors.ts'
import type { Hub } from './hub.ts'
import { isSafePath, type Repository } from './repository.ts'

export interface HubFile {
  path: string
  bytes: number
  /** SHA-256 of its bytes, or the SHA-1 that git gives them: 64 or 40 hex digits. */
  hash: string
}

/** A page is a thousand files. */
const MAX_PAGES = 100
const MAX_PAGE_BYTES = 2 ** 24
/** Of those that are looked at further. */
const MAX_FILES = 10_000
/** No model that could be meant is larger. */
const MAX_BYTES = 2 ** 42

/** What a model may be made of, and what tells that it is one that is not read. */
const known = /\.(?:gguf|gta|safetensors|json|jinja|md|txt|model|bin|pt|pth|ckpt|pkl|h5|msgpack|onnx)$/i

/** Those by whose names a model could be told; names that cannot be written here are counted, not returned. */
export async function listFiles(hub: Hub, repository: Repository): Promise<{ files: HubFile[]; unsafe: number }> {
  const { id, revision } = repository
  const [owner, name] = id.split('/') as [string, string]
  const url = hub.url('api', 'models', owner, name, 'tree', revision)
  url.searchParams.set('recursive', 'true')
  const files = new Map<string, HubFile>()
  let unsafe = 0
  for (let page = 0; page < MAX_PAGES; page++) {
    const { headers, bytes } = await hub.read(url, 'the list of files', repository, MAX_PAGE_BYTES)
    for (const entry of parsePage(id, bytes)) {
      const { type, path } = entry
      if (type !== 'file' || typeof path !== 'string' || !known.test(path)) continue
      if (!isSafePath(path)) unsafe++
      else if (files.has(path)) throw hubErrors.badListing(id, `"${path}"`, 'there once', 'it twice')
      else files.set(path, checkFile(id, path, entry))
    }
    if (files.size > MAX_FILES) throw hubErrors.badListing(id, 'the number of files', `at most ${MAX_FILES}`, 'more')
    const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(headers.get('link') ?? '')?.[1]
    if (next === undefined) return { files: [...files.values()], unsafe }
    // Only what it says of the place: mirrors link to the hub that they mirror.
    const cursor = URL.canParse(next, url) ? new URL(next, url).searchParams.get('cursor') : null
    if (cursor === null) throw hubErrors.badListing(id, 'the link to the next page', 'one with a cursor', next)
    url.searchParams.set('cursor', cursor)
  }
  throw hubErrors.badListing(id, 'the number of pages', `at most ${MAX_PAGES}`, 'more')
}

function parsePage(id: string, bytes: Uint8Array): Record<string, unknown>[] {
  let page: unknown
  try {
    page = parseJson(bytes)
  } catch {
    throw hubErrors.badListing(id, 'a page', 'JSON', 'something else')
  }
  const isList = Array.isArray(page) && page.every((entry) => typeof entry === 'object' && entry !== null)
  if (!isList) throw hubErrors.badListing(id, 'a page', 'a list of files', 'something else')
  return page as Record<string, unknown>[]
}

/** Large files are kept beside git (LFS): then the entry's own hash is that of a pointer. */
function checkFile(id: string, path: string, entry: Record<string, unknown>): HubFile {
  const lfs = entry.lfs as Record<string, unknown> | null | undefined
  const hash = lfs ? String(lfs.oid ?? lfs.sha256).replace(/^sha256:/, '') : entry.oid
  const bytes = lfs?.size ?? entry.size
  if (typeof bytes !== 'number' || !Number.isInteger(bytes) || bytes < 0 || bytes > MAX_BYTES)
    throw hubErrors.badListing(id, `the size of "${path}"`, `a whole number up to ${MAX_BYTES}`, bytes)
  if (typeof hash !== 'string' || !(lfs ? /^[0-9a-f]{64}$/ : /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/).test(hash))
    throw hubErrors.badListing(id, `the hash of "${path}"`, lfs ? 'a SHA-256' : 'a SHA-1', hash)
  return { path, bytes, hash }
}
