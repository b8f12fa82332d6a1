/**
 * Names of models that lie on a hub: OWNER/NAME, with @REVISION and :FILE behind it if need be; and which names of files a
 * server may have us write.
 */

export interface Repository {
  /** OWNER/NAME. */
  id: string
  /** A branch, a tag or a commit. */
  revision: string
  /** One file of it, or what its name says of its type: Q4_K_M. */
  file: string | undefined
}

const MAIN = 'main'
/** What file systems allow. */
const MAX_SEGMENT = 255
const MAX_PATH = 1000

/** Undefined for what is no such name. */
export function parseRepository(text: string): Repository | undefined {
  const [, id, revision = MAIN, file] =
    /^([A-Za-z0-9][\w.-]{0,95}\/\w[\w.-]{0,95})(?:@([\w.+/-]{1,200}))?(?::(.+))?$/s.exec(text) ?? []
  if (id === undefined || /\.\.|\.$|\.\//.test(id) || !isSafePath(revision)) return undefined
  return file === undefined || isSafePath(file) ? { id, revision, file } : undefined
}

/** OWNER/NAME@REVISION:FILE, without what goes without saying. */
export function repositoryName({ id, revision }: Omit<Repository, 'file'>, file?: string | null): string {
  return `${id}${revision === MAIN ? '' : `@${revision}`}${file ? `:${file}` : ''}`
}

/** Its folder in that of all models. A revision may have slashes in it. */
export function folderOf({ id, revision }: Repository): string {
  return revision === MAIN ? id : `${id}@${encodeURIComponent(revision)}`
}

/** A path that stays in the folder that it is joined to, on every system, and that a terminal shows as it is. */
export function isSafePath(path: string): boolean {
  const isSafe = (part: string) =>
    part !== '' && part !== '.' && part !== '..' && new TextEncoder().encode(part).length <= MAX_SEGMENT
  return path.length <= MAX_PATH && !/[\\:]|\p{Cc}|\p{Cf}|\p{Cs}/u.test(path) && path.split('/').every(isSafe)
}

/** What the name of a GGUF file says of its type: 'Q4_K_M'; '' if it says nothing. */
export function typeInName(path: string): string {
  const [, type = ''] = /(?:^|[-._/])((?:I?Q\d|TQ\d|MXFP4|BF16|FP?16|FP?32)(?:_[A-Z0-9]+)*)\.gguf$/i.exec(path) ?? []
  return type.toUpperCase()
}

/** Where the bytes of a file lie until all of them are there, and what they are. */
export const partOf = (path: string) => `${path}.part`
export const noteOf = (path: string) => `${path}.part.json`
