/** Cases in a page of Debian's chromium, whose `navigator.gpu` is SwiftShader. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { openLocalServer } from '../../host/server/local-server.ts'
import { isolation } from '../../host/web/server.ts'
import { launchBrowser } from '../harness/browsers.ts'
import { limit } from '../harness/limits.ts'
import type { CaseType, Figures, Text } from './job.ts'
import type * as page from './on-page.ts'

const dist = (name: string) => readFileSync(new URL(`../../dist/${name}`, import.meta.url), 'utf8')
const script = (body: string) => ({ type: 'text/javascript', body })

async function bundle(name: string): Promise<string> {
  const entry = fileURLToPath(new URL(name, import.meta.url))
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, write: false, format: 'esm' })
  return outputFiles[0]?.text as string
}

/** In the page: only what it is given is there. */
async function inPage([type, texts]: [CaseType, readonly Text[]]): Promise<Figures> {
  const path = '/page.mjs'
  const { run } = (await import(path)) as typeof page
  return await run(`/model.gta?${Math.random()}`, type, texts)
}

export async function openChromium() {
  const documents = {
    '/': { type: 'text/html', body: '<!doctype html><html lang="en"><title>conformance</title>' },
    '/page.mjs': script(await bundle('on-page.ts')),
    '/browser.mjs': script(dist('browser.mjs')),
    '/browser-worker.mjs': script((await bundle('worker-tap.ts')) + dist('browser-worker.mjs')),
  }
  const browser = await launchBrowser(['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'])
  if (!browser) throw new Error('no chromium here')
  return {
    program: `chromium ${browser.version()}`,
    async run(path: string, type: CaseType, texts: readonly Text[]): Promise<Figures> {
      const server = await openLocalServer({
        documents: { ...documents, '/model.gta': { type: 'application/octet-stream', body: readFileSync(path) } },
        headers: { 'cross-origin-resource-policy': 'same-origin', ...isolation },
        scripts: "'self' 'wasm-unsafe-eval'",
      })
      const tab = await browser.newPage()
      try {
        await tab.goto(server.url, { timeout: limit(120) })
        return await tab.evaluate(inPage, [type, texts] as [CaseType, readonly Text[]])
      } finally {
        await tab.close()
        await server.close()
      }
    },
    close: () => browser.close(),
  }
}
