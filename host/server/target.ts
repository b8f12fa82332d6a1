/** What a request asks for: a path, and, as requests to proxies have it, an origin before that (RFC 9112, 3.2). */
import type { IncomingMessage } from 'node:http'

export interface Target {
  /** Without its query. */
  path: string
  /** Of the absolute form; it stands above the header host. */
  authority: string | undefined
}

export function targetOf({ url = '' }: Pick<IncomingMessage, 'url'>): Target {
  const [, authority, rest = url] = /^https?:\/\/([^/?#]*)(.*)$/i.exec(url) ?? []
  return { path: rest.split('?')[0] || '/', authority }
}
