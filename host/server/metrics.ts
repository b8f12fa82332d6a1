/** What a server counts, as Prometheus reads it. Names of llama-server where they mean the same. */
import type { Generation } from '../runtime/api.ts'
import { runtimeOf } from '../runtime/model.ts'
import type { ModelPool } from './model-pool.ts'

/** Upper ends of the classes of a histogram, in seconds. */
const BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]

class Histogram {
  private readonly counts = BUCKETS.map(() => 0)
  private count = 0
  private sum = 0

  add(value: number): void {
    this.count++
    this.sum += value
    for (const [i, end] of BUCKETS.entries()) if (value <= end) this.counts[i] = (this.counts[i] as number) + 1
  }

  lines(name: string, help: string): string[] {
    const classes = BUCKETS.map((end, i) => `${name}_bucket{le="${end}"} ${this.counts[i]}`)
    return [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} histogram`,
      ...classes,
      `${name}_bucket{le="+Inf"} ${this.count}`,
      `${name}_sum ${this.sum}`,
      `${name}_count ${this.count}`,
    ]
  }
}

export class Metrics {
  /** Tokens that were generated, of texts under way too. */
  tokens = 0
  private promptTokens = 0
  private cachedTokens = 0
  private promptSeconds = 0
  private decodeSeconds = 0
  private decoded = 0
  private aborted = 0
  private readonly first = new Histogram()
  private readonly whole = new Histogram()
  /** By route and status: both are from lists of ours, never from a request. */
  private readonly requests = new Map<string, number>()

  firstToken(seconds: number): void {
    this.first.add(seconds)
  }

  wrote(generations: readonly Generation[]): void {
    for (const { promptTokens, cachedTokens, prefillSeconds, decodeSeconds, tokens } of generations) {
      this.promptTokens += promptTokens - cachedTokens
      this.cachedTokens += cachedTokens
      this.promptSeconds += prefillSeconds
      this.decodeSeconds += decodeSeconds
      this.decoded += Math.max(0, tokens.length - 1)
    }
  }

  /** A request has ended; without a status its client had gone. */
  answered(route: string, status: number | undefined, seconds: number): void {
    if (status === undefined) this.aborted++
    const key = `route="${route}",status="${status ?? 'gone'}"`
    this.requests.set(key, (this.requests.get(key) ?? 0) + 1)
    this.whole.add(seconds)
  }

  async text(pool: ModelPool): Promise<string> {
    const counter = (name: string, help: string, value: number) => [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} counter`,
      `${name} ${value}`,
    ]
    const gauge = (name: string, help: string, value: number) => [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} gauge`,
      `${name} ${value}`,
    ]
    const loaded = await pool.loaded()
    const uses = loaded.map(({ model }) => runtimeOf(model).cache.use)
    const used = uses.reduce((sum, { usedBytes }) => sum + usedBytes, 0)
    const total = uses.reduce((sum, { totalBytes }) => sum + totalBytes, 0)
    const rate = (count: number, seconds: number) => (seconds > 0 ? count / seconds : 0)
    return [
      counter('llamacpp:prompt_tokens_total', 'Prompt tokens computed.', this.promptTokens),
      counter('llamacpp:prompt_seconds_total', 'Seconds of reading prompts.', this.promptSeconds),
      counter('llamacpp:tokens_predicted_total', 'Tokens generated.', this.tokens),
      counter('llamacpp:tokens_predicted_seconds_total', 'Seconds of generating.', this.decodeSeconds),
      gauge(
        'llamacpp:prompt_tokens_seconds',
        'Prompt tokens a second, on average.',
        rate(this.promptTokens, this.promptSeconds),
      ),
      gauge(
        'llamacpp:predicted_tokens_seconds',
        'Tokens a second of one text, on average.',
        rate(this.decoded, this.decodeSeconds),
      ),
      gauge('llamacpp:requests_processing', 'Slots that are taken.', pool.running),
      gauge('llamacpp:requests_deferred', 'Requests that wait for a slot.', pool.deferred),
      gauge('llamacpp:kv_cache_usage_ratio', 'Share of the cache that is used.', total > 0 ? used / total : 0),
      counter('gta:prompt_tokens_cached_total', 'Prompt tokens that lay in the cache.', this.cachedTokens),
      counter('gta:requests_aborted_total', 'Requests whose client had gone.', this.aborted),
      gauge('gta:models_loaded', 'Models in memory.', loaded.length),
      this.first.lines('gta:time_to_first_token_seconds', 'From the slot to the first token.'),
      this.whole.lines('gta:request_seconds', 'From the request to the end of its answer.'),
      ['# HELP gta:requests_total Requests by route and status.', '# TYPE gta:requests_total counter'],
      Array.from(this.requests, ([labels, count]) => `gta:requests_total{${labels}} ${count}`),
      gauge('process_resident_memory_bytes', 'Memory of the process.', process.memoryUsage.rss()),
      gauge('process_uptime_seconds', 'Seconds since it began.', process.uptime()),
      [''],
    ]
      .flat()
      .join('\n')
  }
}
