/** The page's server: the page, the library for browsers, and the stories model. */
import { readFile } from 'node:fs/promises'
import { defaultModel } from '../load.ts'
import { distUrl } from '../platform/dist.ts'
import { type LocalServer, openLocalServer } from '../server/local-server.ts'
import { fillPage } from '../tools/analyze/fill-page.ts'
import { styles } from '../tools/analyze/texts.ts'
import { webPage, webStyles } from './texts.ts'

export interface WebOptions {
  /** Default: any that is free. */
  port?: number
  /** With it pages may share memory, and so have threads; default true. */
  isIsolated?: boolean
}

export const isolation = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
}

export async function openWeb({ port, isIsolated = true }: WebOptions = {}): Promise<LocalServer> {
  const script = async (name: string) => ({
    type: 'text/javascript; charset=utf-8',
    body: await readFile(new URL(name, distUrl)),
  })
  const documents = {
    '/': { type: 'text/html; charset=utf-8', body: fillPage(webPage, { styles: styles + webStyles }) },
    '/page.mjs': await script('web/page.mjs'),
    '/browser-worker.mjs': await script('browser-worker.mjs'),
    '/stories.gta': { type: 'application/octet-stream', body: await readFile(defaultModel) },
  }
  return openLocalServer({
    documents,
    headers: { 'cross-origin-resource-policy': 'same-origin', ...(isIsolated ? isolation : {}) },
    scripts: "'self' 'wasm-unsafe-eval'",
    ...(port === undefined ? {} : { port }),
  })
}
