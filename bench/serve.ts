/**
 * What gta serve holds: one trial after the other, each on a fresh process with the embedded model.
 *
 *     node bench/serve.ts [soak flood disconnects sockets prompts throughput overhead] [--short] [--config FILE]
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { choiceOf, readArguments } from './arguments.ts'
import { overhead } from './serve/overhead.ts'
import { disconnects, type Figures, flood, prompts, soak, sockets, throughput } from './serve/trials.ts'
import { writeSynthetic } from './synthetic-file.ts'

const names = ['soak', 'flood', 'disconnects', 'sockets', 'prompts', 'throughput', 'overhead'] as const

const { values, positionals } = readArguments({
  command: 'node bench/serve.ts',
  about: `What gta serve holds: ${names.join(', ')}; without a name all of them.`,
  flags: {
    short: { type: 'boolean', default: false, help: 'a tenth of it: seconds instead of minutes' },
    config: {
      type: 'string',
      value: 'FILE',
      help: 'throughput and overhead with synthetic weights of this config.json’s shape, and the embedded model’s words',
    },
    threads: { type: 'string', short: 't', value: 'N', help: 'threads of the server (default: what it chooses)' },
  },
  operands: { value: '[TRIAL…]', least: 0, most: names.length },
})

const { short: isShort = false } = values
const model = values.config === undefined ? [] : [await synthetic(values.config)]
const threads = values.threads === undefined ? [] : ['-t', values.threads]
const trials: Record<(typeof names)[number], () => Promise<Figures[]>> = {
  soak: async () => [await soak(isShort ? 1000 : 10_000)],
  flood: async () => {
    const found: Figures[] = []
    for (const clients of isShort ? [64, 512] : [64, 128, 256, 512]) found.push(await flood(clients))
    return found
  },
  disconnects: async () => [await disconnects(isShort ? 100 : 1000)],
  sockets: async () => [await sockets(500)],
  prompts: async () => [await prompts()],
  throughput: async () => [await throughput(isShort ? 3 : 15, model, threads)],
  overhead: async () => [await overhead(isShort ? 2 : 7, model, threads)],
}

const wanted = positionals.length > 0 ? positionals.map((name) => choiceOf('TRIAL', name, names)) : names
const results: object[] = []
for (const name of wanted)
  for (const figures of await trials[name]()) {
    const { good, ...rest } = figures
    console.log(`${good ? 'good' : 'BAD '} ${name}: ${Object.entries(rest).map(([key, value]) => `${key} ${value}`).join(', ')}`) // biome-ignore format: one line
    results.push({ trial: name, ...figures })
  }
console.log(JSON.stringify({ schema: 'gta-serve-trials/1', isShort, node: process.version, results }))
process.exit(results.every((result) => (result as Figures).good) ? 0 : 1)

/** A file that goes with this process. */
async function synthetic(config: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'gta-edge-serve-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const words = fileURLToPath(new URL('../test/golden/stories/tokenizer.json', import.meta.url))
  const shape = { ...JSON.parse(readFileSync(config, 'utf8')), vocab_size: 4096, bos_token_id: 0, eos_token_id: 0 }
  const path = join(folder, 'synthetic.gta')
  await writeSynthetic(path, shape, 'q8', words)
  return path
}
