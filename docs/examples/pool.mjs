/**
 * A pool of conversations that works off a queue: as many prompts are computed together as there are workers, so the weights
 * are read once for all of them.
 *
 *     node pool.mjs [MODEL.gta] < prompts.jsonl > answers.jsonl          WORKERS=4 unless the environment says otherwise
 *
 * A line {"id":1,"prompt":"…","seed":1} becomes a line {"id":1,"text":"…"}, or {"id":1,"error":{"code","message"}}, in the order
 * in which they are done. What each prompt gets does not depend on the others. Exit code 1: some had an error.
 */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { defaultModel, GtaError, load, OutOfMemoryError } from 'gta-edge'

const workers = Number(process.env.WORKERS ?? 4)
const model = await load(process.argv[2] ?? defaultModel, { cacheMemory: 64e6 })
const stop = new AbortController()
process.once('SIGINT', () => {
  stop.abort()
  process.stdin.destroy()
})

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
let failures = 0

/** Takes one line after the other, as long as there are any. */
async function work() {
  for (let line = await lines.next(); !line.done && !stop.signal.aborted; line = await lines.next()) {
    if (line.value.trim() === '') continue
    const told = await answer(line.value)
    if (told.error) failures++
    // Whoever reads slowly is waited for.
    if (!process.stdout.write(`${JSON.stringify(told)}\n`)) await once(process.stdout, 'drain')
  }
}

async function answer(line) {
  let job
  try {
    job = JSON.parse(line)
  } catch {}
  if (typeof job !== 'object' || job === null)
    return { error: { code: 'BAD_LINE', message: `a line must be a JSON object, found ${line.slice(0, 80)}` } }
  try {
    return { id: job.id, text: await generate(job) }
  } catch (error) {
    const code = error instanceof GtaError ? error.code : 'INTERNAL'
    return { id: job.id, error: { code, message: error.message } }
  }
}

/** Tries again while others hold the memory that it wants. */
async function generate({ prompt, seed, maxTokens = 50 }) {
  for (let attempt = 1; ; attempt++) {
    try {
      let text = ''
      for await (const piece of model.generate(prompt, { seed, maxTokens, signal: stop.signal })) text += piece
      return text
    } catch (error) {
      if (!(error instanceof OutOfMemoryError) || attempt === 10) throw error
      await sleep(100 * attempt)
    }
  }
}

await Promise.all(Array.from({ length: workers }, work))
await model.close()
process.exitCode = failures > 0 || stop.signal.aborted ? 1 : 0
