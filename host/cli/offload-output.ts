/** What `gta bench --offload` prints. */
import { basename } from 'node:path'
import { megabytes } from '../errors.ts'
import { version } from '../platform/version.ts'
import type { OffloadResult } from '../tools/bench/offload.ts'
import { csvLine, headLine, type Column as Layout, tableLine } from './table.ts'

interface Column extends Layout {
  value(result: OffloadResult): string
}

const rate = (n: number) => n.toFixed(n < 10 ? 2 : 1)

const columns: readonly Column[] = [
  { name: 'model', width: 10, isText: true, value: ({ config }) => basename(config, '.json') },
  { name: 'tokens', width: 6, value: ({ depth }) => String(depth) },
  { name: 'cache', width: 8, value: ({ cacheBytes }) => megabytes(cacheBytes) },
  { name: 'in memory', width: 9, value: ({ memoryBytes }) => megabytes(memoryBytes) },
  { name: 'read per token', width: 14, value: ({ bytesPerToken }) => megabytes(bytesPerToken) },
  { name: 'disk', width: 9, value: ({ diskBytesPerSecond: n }) => (n ? `${(n / 1e9).toFixed(2)} GB/s` : '–') },
  { name: 'tok/s', width: 5, value: ({ tokensPerSecond }) => rate(tokensPerSecond.median) },
  {
    name: 'min … max',
    width: 11,
    value: ({ tokensPerSecond: { min, max } }) => `${rate(min)} … ${rate(max)}`,
  },
  {
    name: 'at best',
    width: 7,
    // What the disk alone would allow, with nothing to compute.
    value: ({ diskBytesPerSecond: disk, bytesPerToken }) => (bytesPerToken ? rate(disk / bytesPerToken) : '–'),
  },
  { name: 'waiting', width: 7, value: ({ stallShare }) => `${(100 * stallShare).toFixed(0)} %` },
  { name: 'all in memory', width: 13, value: ({ inMemory }) => (inMemory ? rate(inMemory.median) : '–') },
]

const head = { schema: 'gta-offload/1', version: version ?? null }

export const offloadFormats: Record<'md' | 'csv' | 'json' | 'jsonl', (results: OffloadResult[]) => string> = {
  md: (results) =>
    headLine(columns) +
    results
      .map((result) =>
        tableLine(
          columns,
          columns.map(({ value }) => value(result)),
        ),
      )
      .join('') +
    (results.every(({ isDirect, bytesPerToken }) => isDirect || bytesPerToken === 0)
      ? '\nThe disk is read past the system’s own cache.\n'
      : '\nThe system may have read from its own cache: the folder’s file system has no direct reads.\n'),
  csv: (results) => {
    const records = results.map(({ tokensPerSecond, inMemory, ...rest }) => ({
      ...rest,
      tokensPerSecond: tokensPerSecond.median,
      tokensPerSecondMin: tokensPerSecond.min,
      tokensPerSecondMax: tokensPerSecond.max,
      tokensPerSecondInMemory: inMemory?.median,
    }))
    return csvLine(Object.keys(records[0] ?? {})) + records.map((record) => csvLine(Object.values(record))).join('')
  },
  json: (results) => `${JSON.stringify({ ...head, results })}\n`,
  jsonl: (results) => results.map((result) => `${JSON.stringify({ ...head, ...result })}\n`).join(''),
}
