/** What HTTP adds to a token and to the first one: `gta bench` beside one client of `gta serve`, in turns. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { serve } from './child.ts'
import { median, post } from './client.ts'
import { type Figures, round } from './trials.ts'

const command = fileURLToPath(new URL('../../dist/gta.mjs', import.meta.url))
const TOKENS = 256
const PROMPT = 16

/** Milliseconds of a token behind the prompt, and of the prompt with the first one, as the engine alone takes them. */
async function engineAlone(options: string[]): Promise<{ token: number; first: number }> {
  const args = ['bench', '-p', `${PROMPT}`, '-n', `${TOKENS}`, '-r', '3', ...options, '--json']
  const { stdout } = await promisify(execFile)(process.execPath, [command, ...args], { maxBuffer: 1e8 })
  const { results } = JSON.parse(stdout.trim().split('\n').at(-1) as string) as { results: BenchResult[] }
  const msOf = (phase: 'pp' | 'tg') =>
    1000 / (results.find((one) => one.phase === phase)?.tokensPerSecond.median ?? Number.NaN)
  return { token: msOf('tg'), first: msOf('pp') * PROMPT }
}

interface BenchResult {
  phase: 'pp' | 'tg'
  tokensPerSecond: { median: number }
}

export async function overhead(rounds: number, model: string[], threads: string[]): Promise<Figures> {
  const server = await serve(...model, ...threads)
  const engine: { token: number; first: number }[] = []
  const http: { token: number; first: number }[] = []
  for (let i = 0; i < rounds; i++) {
    engine.push(await engineAlone([...model, ...threads]))
    for (let k = 0; k < 3; k++) {
      // Ids that no earlier prompt begins with: nothing lies in the cache.
      const prompt = Array.from({ length: PROMPT }, (_, at) => 300 + ((i * 31 + k * 7 + at * 13) % 2000))
      const asked = { prompt, max_tokens: TOKENS, temperature: 0, stream: true, ignore_eos: true }
      const { firstMs, times } = await post(server.url, '/v1/completions', asked)
      http.push({ token: ((times.at(-1) ?? 0) - (times[0] ?? 0)) / (TOKENS - 1), first: firstMs })
    }
  }
  await server.end()
  const of = (list: { token: number; first: number }[], name: 'token' | 'first') => median(list.map((one) => one[name]))
  const added = of(http, 'token') / of(engine, 'token') - 1
  const addedFirst = of(http, 'first') - of(engine, 'first')
  return {
    benchMsPerToken: round(of(engine, 'token'), 4),
    serveMsPerToken: round(of(http, 'token'), 4),
    addedPercent: round(100 * added, 2),
    benchFirstMs: round(of(engine, 'first'), 2),
    serveFirstMs: round(of(http, 'first'), 2),
    addedFirstMs: round(addedFirst, 2),
    good: added < 0.03 && addedFirst < 2,
  }
}
