/**
 * How many conversations fit in a given memory, by filling it: pages are taken and written until there are no more. Prints
 * the resident memory that each token really took beside the bytes that models/cost.ts counts.
 *
 *     npm run bench:capacity [-- MEGABYTES]
 */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { KvCache } from '../host/cache/cache.ts'
import { openWasmEngine } from '../host/engine/wasm/engine.ts'
import { OutOfMemoryError } from '../host/errors.ts'
import { cacheBytes, describe, pageBytes, planModel } from '../models/index.ts'
import { readArguments, wholeOf } from './arguments.ts'

const { positionals } = readArguments({
  command: 'npm run bench:capacity --',
  about: 'How many conversations fit in so many megabytes (default 512), by filling them.',
  operands: { value: '[MEGABYTES]', least: 0, most: 1 },
})
const megabytes = wholeOf('MEGABYTES', positionals[0] ?? '512', 1, 3000)
const names = ['gta-1b', 'gqa-1b', '500m-gta3', '500m-gqa', '500m-mla', '500m-mha']
const lengths = [2048, 8192, 32768]
const MOST = 4096

const rows: string[][] = []
for (const name of names) rows.push(await measure(name))
print(['model, int8 cache', 'bytes per token', 'resident', ...lengths.map((n) => `${n / 1024}k tokens`)], rows)

async function measure(name: string): Promise<string[]> {
  const path = new URL(`../models/configs/${basename(name)}.json`, import.meta.url)
  const model = describe(JSON.parse(readFileSync(path, 'utf8')))
  const spec = { ...model.spec, maxContext: Math.max(...lengths) }
  const plan = planModel({ ...model, spec }, 'q8')
  const { elements, scales } = cacheBytes(spec, 'int8', 1)
  const pages = Math.floor((megabytes * 1e6) / pageBytes(spec, 'int8'))
  const counts: number[] = []
  let resident = 0
  for (const length of lengths) {
    const options = {
      context: length,
      cache: 'int8',
      maxRows: 1,
      maxLogits: 1,
      conversations: MOST,
      pages,
    } as const
    // Weights are of no concern here: their memory is never touched.
    const cache = new KvCache(await openWasmEngine({ spec, plan, options, load: async () => undefined }))
    const before = process.memoryUsage().rss
    let count = 0
    try {
      for (; count < MOST; count++) cache.adopt(count, length, 0, [])
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error
    }
    // Pages are cleared with the next request of any kind.
    if (count > 0) await cache.fetchPage(0)
    if (count > 0) resident = (process.memoryUsage().rss - before) / (count * length)
    counts.push(count)
    await cache.close()
  }
  return [name, String(elements + scales), resident.toFixed(0), ...counts.map(String)]
}

function print(head: string[], body: string[][]): void {
  const widths = head.map((_, i) => Math.max(...[head, ...body].map((row) => (row[i] as string).length)))
  const line = (cells: string[]) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number))).join(' | ')} |`
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  console.log([head, rule, ...body].map(line).join('\n'))
}
