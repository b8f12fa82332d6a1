/** The chat page: three documents that anyone may read, as they say nothing of models or texts. It talks to this server's API. */
import { readFile } from 'node:fs/promises'
import { distUrl } from '../../platform/dist.ts'
import { pageStyles, pageText } from './texts.ts'

interface PageDocument {
  type: string
  body(): Promise<string | Uint8Array>
}

export const pageDocuments: Readonly<Record<string, PageDocument>> = {
  '/': { type: 'text/html; charset=utf-8', body: async () => pageText },
  '/page.css': { type: 'text/css; charset=utf-8', body: async () => pageStyles },
  '/page.mjs': { type: 'text/javascript; charset=utf-8', body: () => readFile(new URL('chat.mjs', distUrl)) },
}

/** What a model writes is text: nothing of it can run, load or be sent elsewhere. */
export const pageHeaders = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
}
