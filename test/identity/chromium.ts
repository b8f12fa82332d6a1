/** Computes a job in a page of Debian's chromium, which is isolated or not. */
import { readFileSync } from 'node:fs'
import type * as library from '../../host/browser/index.ts'
import { openLocalServer } from '../../host/server/local-server.ts'
import { isolation } from '../../host/web/server.ts'
import { launchBrowser } from '../harness/browsers.ts'
import { limit } from '../harness/limits.ts'
import type { Answer, Job } from './job.ts'

const dist = new URL('../../dist/', import.meta.url)
const read = (name: string) => readFileSync(new URL(name, dist))

/** The worker, which refuses the relaxed builds by their sizes if the strict one is wanted. */
function workerOf({ build }: Job): string {
  const worker = read('browser-worker.mjs').toString()
  if (build === 'relaxed') return worker
  const sizes = ['relaxed', 'relaxed-single'].map((name) => read(`engine-${name}.wasm`).length)
  return `const validate = WebAssembly.validate
WebAssembly.validate = (bytes) => ![${sizes}].includes(bytes.length) && validate(bytes)\n${worker}`
}

/** In the page: only what it is given is there. */
async function compute(job: Job): Promise<Answer> {
  const path = '/browser.mjs'
  const { load } = (await import(path)) as typeof library
  const answer: Answer = []
  for (const threads of job.threads) {
    const model = await load('/model.gta', { threads })
    const { name } = model.engine
    if (!name.includes(`${job.build}-simd`) || !name.includes(`${threads} thread`))
      throw new Error(`it runs on ${name}, not on ${threads} threads of the ${job.build} build`)
    const found = []
    for (const { prompt, temperature, seed } of job.cases) {
      const settings = { maxTokens: job.tokens, seed, temperature, stopAtEos: false }
      const pieces = model.generate(prompt, settings)
      let step = await pieces.next()
      while (!step.done) step = await pieces.next()
      found.push({ tokens: step.value.tokens, logitsHash: step.value.logitsHash })
    }
    answer.push(found)
    await model.close()
  }
  return answer
}

const job = JSON.parse(process.argv[2] as string) as Job
const script = (body: string | Uint8Array) => ({ type: 'text/javascript', body })
const server = await openLocalServer({
  documents: {
    '/': { type: 'text/html', body: '<!doctype html><html lang="en"><title>identity</title>' },
    '/browser.mjs': script(read('browser.mjs')),
    '/browser-worker.mjs': script(workerOf(job)),
    '/model.gta': { type: 'application/octet-stream', body: readFileSync(job.model) },
  },
  headers: { 'cross-origin-resource-policy': 'same-origin', ...(job.engine === 'chromium, isolated' ? isolation : {}) },
  scripts: "'self' 'wasm-unsafe-eval'",
})
const browser = await launchBrowser()
try {
  const page = await browser?.newPage()
  await page?.goto(server.url, { timeout: limit(120) })
  console.log(JSON.stringify(await page?.evaluate(compute, job)))
} finally {
  await browser?.close()
  await server.close()
}
