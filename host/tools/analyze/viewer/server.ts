/** The viewer's server: three documents for a browser on this machine. */
import { readFile } from 'node:fs/promises'
import { distUrl } from '../../../platform/dist.ts'
import { type LocalServer, openLocalServer } from '../../../server/local-server.ts'
import { fillPage } from '../fill-page.ts'
import type { Hardware } from '../hardware.ts'
import { styles } from '../texts.ts'
import { viewerPage, viewerStyles } from './texts.ts'

export interface ViewerOptions {
  /** Parsed config.json files by name; the first is shown first. */
  models: Record<string, unknown>
  hardware: readonly Hardware[]
  /** Default 127.0.0.1. */
  host?: string
  /** Default: any that is free. */
  port?: number
  /** Others may connect: hosts that are not loopback are accepted. */
  isPublic?: boolean
}

export type Viewer = LocalServer

/** Throws BAD_OPTION for a host that is not loopback, unless `isPublic`; rejects if the port is taken. */
export async function openViewer({ models, hardware, ...options }: ViewerOptions): Promise<Viewer> {
  const documents = {
    '/': { type: 'text/html; charset=utf-8', body: fillPage(viewerPage, { styles: styles + viewerStyles }) },
    '/viewer.mjs': {
      type: 'text/javascript; charset=utf-8',
      body: await readFile(new URL('viewer.mjs', distUrl)),
    },
    '/data.json': { type: 'application/json', body: JSON.stringify({ models, hardware }) },
  }
  return openLocalServer({ ...options, documents })
}
