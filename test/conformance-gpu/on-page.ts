/** In the page: cases through `gta-edge/browser`. */
import type * as library from '../../host/browser/index.ts'
import { compute } from './compute.ts'
import type { CaseType, Figures, Text } from './job.ts'

const channel = new BroadcastChannel('poison')

function poison(): Promise<number> {
  return new Promise((resolve) => {
    channel.addEventListener('message', ({ data }) => resolve(data as number), { once: true })
    channel.postMessage('now')
  })
}

export async function run(url: string, type: CaseType, texts: readonly Text[]): Promise<Figures> {
  // Beside it on the server, and no part of the bundle.
  const path = '/browser.mjs'
  const { load } = (await import(path)) as typeof library
  return await compute(url, type, texts, { load, poison })
}
