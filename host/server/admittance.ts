/**
 * Who may ask: those with a key, from a name of this machine, and from no page of others. A page of the web can make a browser
 * send requests to any address, and can point a name of its own to ours: so the header host must be a name that is ours, and a
 * page is told nothing unless its origin is on a list.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { apiErrors } from './errors.ts'
import { isLoopback } from './local-server.ts'
import { targetOf } from './target.ts'

export interface AdmittanceOptions {
  /** Where the server listens. */
  host: string
  /** None: everybody is let in. */
  keys: readonly string[]
  /** Origins of pages that may ask; "*": all. */
  origins: readonly string[]
  /** Further names of this machine. */
  hosts: readonly string[]
}

const digest = (text: string) => createHash('sha256').update(text).digest()

export class Admittance {
  private readonly keys: Buffer[]
  private readonly origins: readonly string[]
  private readonly hosts: ReadonlySet<string>
  private readonly isLocal: boolean

  constructor({ host, keys, origins, hosts }: AdmittanceOptions) {
    this.keys = keys.map(digest)
    this.origins = origins
    this.isLocal = isLoopback(host)
    const own = hostname().toLowerCase()
    this.hosts = new Set([...hosts.map((name) => name.toLowerCase()), ...(this.isLocal ? [] : [own, `${own}.local`])])
  }

  /** Throws 403 for a name that is not ours: it may be one that a page of the web points here. 400 for two of them. */
  checkHost(request: IncomingMessage): void {
    const { headers, rawHeaders = [] } = request
    if (rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length > 1)
      throw apiErrors.severalHosts()
    // Only HTTP/1.0 can leave it out, and no browser speaks that.
    for (const host of [headers.host, targetOf(request).authority]) if (host !== undefined) this.checkName(host)
  }

  private checkName(host: string): void {
    const name = host.replace(/:\d+$/, '').replace(/\.$/, '').toLowerCase()
    if (isLoopback(name) || this.hosts.has(name)) return
    if (!this.isLocal && isIP(name.replace(/^\[|\]$/g, '')) !== 0) return
    throw apiErrors.badHost(host)
  }

  /** Headers for the browser of a page that may ask; throws 403 for one that may not. */
  checkOrigin({ headers: { origin, host } }: IncomingMessage): Record<string, string> {
    if (origin === undefined) return {}
    if (this.origins.includes('*') || this.origins.includes(origin))
      return { 'access-control-allow-origin': this.origins.includes('*') ? '*' : origin, vary: 'origin' }
    if (origin === `http://${host}` || origin === `https://${host}`) return {}
    throw apiErrors.badOrigin(origin)
  }

  /** Throws 401. Every key is compared, in a time that does not depend on what is wrong. */
  checkKey({ headers }: IncomingMessage): void {
    if (this.keys.length === 0) return
    const [, bearer] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? []
    const given = digest(bearer ?? String(headers['x-api-key'] ?? ''))
    const found = this.keys.map((key) => timingSafeEqual(key, given))
    if (!found.includes(true)) throw apiErrors.noKey()
  }
}

/** Keys of a file: one a line; what begins with # is none. */
export function parseKeys(text: string): string[] {
  return text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
}
