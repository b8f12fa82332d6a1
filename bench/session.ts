/**
 * How long a session takes to save, to save again after 64 more tokens, and to restore, and how many bytes it writes: 1B
 * shapes with synthetic weights, the cache filled with copies of a computed page. Files go to the folder that is given,
 * or to the system's temporary one; what is read may come from the system's cache.
 *
 *     npm run bench:session [-- FOLDER]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KvCache } from '../host/cache/cache.ts'
import { headLine, tableLine } from '../host/cli/table.ts'
import { greedy } from '../host/engine/engine.ts'
import { openWasmEngine } from '../host/engine/wasm/engine.ts'
import { paperConfig } from '../host/load.ts'
import { findSession, saveConversation } from '../host/sessions/conversation.ts'
import { fill } from '../host/tools/bench/offload.ts'
import { checkBench } from '../host/tools/bench/settings.ts'
import { openSubject } from '../host/tools/bench/subject.ts'
import { readArguments } from './arguments.ts'

const REPETITIONS = 5
const { positionals } = readArguments({
  command: 'npm run bench:session --',
  about:
    "How long a session takes to save, to save again, and to restore, in a folder (default: the system's temporary one).",
  operands: { value: '[FOLDER]', least: 0, most: 1 },
})
const folder = await mkdtemp(join(positionals[0] ?? tmpdir(), 'gta-session-'))
const columns = [
  { name: 'model', width: 6, isText: true },
  ...['tokens', 'file', 'save', '64 more', 'written', 'restore'].map((name) => ({ name, width: 9 })),
]
process.stdout.write(headLine(columns))
try {
  for (const name of ['gta-1b', 'gqa-1b']) for (const tokens of [2048, 16384]) await measure(name, tokens)
} finally {
  await rm(folder, { recursive: true })
}

async function measure(name: string, tokens: number): Promise<void> {
  const context = tokens + 64
  const subject = await openSubject(checkBench({ config: paperConfig(name) }), context)
  const { model, plan } = subject
  const { spec } = model
  const options = { context, cache: 'int8', maxRows: 64, maxLogits: 1, conversations: 2, threads: 1 } as const
  const cache = new KvCache(await openWasmEngine({ spec, plan, options, load: subject.load }))
  const runs: Run[] = []
  for (let i = 0; i < REPETITIONS; i++) runs.push(await run(cache, tokens, spec.vocabSize, join(folder, `${i}`)))
  await cache.close()
  const median = (key: keyof Run) => runs.map((one) => one[key]).sort((a, b) => a - b)[REPETITIONS >> 1] as number
  const seconds = (key: keyof Run) => `${(median(key) * 1000).toFixed(0)} ms`
  const bytes = (key: keyof Run) => `${(median(key) / 1e6).toFixed(1)} MB`
  const cells = [seconds('save'), seconds('again'), bytes('written'), seconds('restore')]
  process.stdout.write(tableLine(columns, [name, String(tokens), bytes('bytes'), ...cells]))
}

interface Run {
  save: number
  bytes: number
  again: number
  written: number
  restore: number
}

async function run(cache: KvCache, tokens: number, vocabSize: number, path: string): Promise<Run> {
  const between = <T>(work: () => Promise<T>) => work()
  const progress = { next: 1, sampling: greedy }
  const timed = async <T>(work: () => Promise<T>) => {
    const started = performance.now()
    const result = await work()
    return { result, seconds: (performance.now() - started) / 1000 }
  }
  await fill(cache, tokens)
  await cache.fingerprint()
  const first = await timed(() => saveConversation(cache, 0, path, progress, undefined, between))
  const rows = Array.from({ length: 64 }, (_, i) => ({ conversation: 0, position: tokens + i, token: i }))
  await cache.step(rows)
  const again = await timed(() => saveConversation(cache, 0, path, progress, first.result.pages, between))
  const restored = await timed(async () => {
    const found = await findSession(cache, path, vocabSize, tokens + 64)
    await found.restore(1, between)
    await found.close()
  })
  cache.rewind(1, 0)
  return {
    save: first.seconds,
    bytes: first.result.saved.end,
    again: again.seconds,
    written: again.result.saved.bytesWritten,
    restore: restored.seconds,
  }
}
