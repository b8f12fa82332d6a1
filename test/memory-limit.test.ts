/** What `memory` counts, beside what a process that loads and writes has of memory at its peak. */
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { defaultModel, type LoadOptions, load, OutOfMemoryError } from '../host/index.ts'
import { distUrl } from '../host/platform/dist.ts'
import { megabytes } from '../host/sizes.ts'
import { failure, gqaConfig } from './fixtures/checkpoints.ts'
import { writeRandomModel } from './fixtures/random-model.ts'

/** Loads, reads a prompt, writes; prints the most bytes that it had. */
const program = `
const [index, path, options] = process.argv.slice(1)
const { load } = await import(index)
const model = await load(path, JSON.parse(options))
const ids = Array.from({ length: Math.min(300, model.context - 20) }, (_, i) => i % 200)
for await (const _ of model.generate(ids, { maxTokens: 15, stopAtEos: false, logprobs: 5 }));
await model.embed([ids.slice(0, 100), ids.slice(0, 50)])
console.log(1024 * process.resourceUsage().maxRSS)
await model.close()
`

function peakOf(path: string, options: LoadOptions): number {
  const args = ['--input-type=module', '-e', program, new URL('index.mjs', distUrl).href, path, JSON.stringify(options)]
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  assert.is(status, 0, stderr)
  return Number(stdout)
}

async function countOf(path: string, options: LoadOptions): Promise<number> {
  const error = await failure(load(path, { ...options, memory: 1 }))
  assert.instance(error, OutOfMemoryError, `${error}`)
  return (error as OutOfMemoryError).needed
}

const wide = {
  ...gqaConfig,
  ...{ hidden_size: 512, intermediate_size: 2048, num_hidden_layers: 12, vocab_size: 16000 },
  ...{ num_attention_heads: 8, num_key_value_heads: 2, head_dim: 64, max_position_embeddings: 4096 },
}

test('a process takes no more than was counted, and not much less', async () => {
  const directory = writeRandomModel(wide)
  const stories = fileURLToPath(defaultModel)
  const cases: [string, LoadOptions][] = [
    [stories, { threads: 1, context: 64 }],
    [stories, { threads: 2 }],
    [stories, { threads: 4, maxLogits: 256, batch: 256 }],
    [directory, { threads: 1, type: 'q8', context: 512 }],
    [directory, { threads: 2, type: 'f32', context: 2048, cache: 'f32' }],
    [directory, { threads: 1, type: 'q4', context: 4096, cacheMemory: 100e6 }],
  ]
  try {
    for (const [path, options] of cases) {
      const counted = await countOf(path, options)
      const peak = peakOf(path, { ...options, memory: Math.ceil(counted) })
      const what = `${JSON.stringify(options)}: ${megabytes(counted)} counted, ${megabytes(peak)} at the peak`
      console.log(what)
      assert.ok(peak <= counted, what)
      // Memory of a cache that nobody fills is reserved, and not there.
      const unfilled = options.cacheMemory ?? 0
      assert.ok(counted - peak < 60e6 + 0.2 * peak + unfilled, what)
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test.run()
