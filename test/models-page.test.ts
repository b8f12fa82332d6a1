/** docs/models.md: sizes are those of the plans, memory is what an engine reserves, speeds are the analyzer's for a Raspberry Pi 5. */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fit } from '../host/engine/fit.ts'
import { Analysis, findHardware, tokensPerSecond } from '../host/tools/analyze/index.ts'
import { cost, describe, type ModelDescription } from '../models/index.ts'
import { published } from './fixtures/published.ts'

const page = readFileSync(new URL('../docs/models.md', import.meta.url), 'utf8')
const hardware = findHardware('bcm2712')

/** What of its roofline each is expected to reach (docs/raspberry-pi.md). */
const reached = { prefill: { q8: [0.4, 0.6], q4: [0.3, 0.6] }, decode: { q8: [0.7, 0.8], q4: [0.6, 0.8] } } as const

const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(bytes < 1e10 ? 2 : 1)
/** Two digits, as no prediction has more. */
const rounded = (rate: number) => (rate < 10 ? rate.toFixed(1) : `${Number(rate.toPrecision(2))}`)

interface Cells {
  disk: string
  memory: string
  prefill: string
  decode: string
}

async function cellsOf(model: ModelDescription, type: 'q8' | 'q4'): Promise<Cells> {
  const question = { memoryBytes: 8 * 2 ** 30, context: 4096, conversations: 1, cache: 'int8' as const }
  const { weightBytes, neededBytes } = await fit(model, type, question)
  const analysis = new Analysis(model, hardware, { type, cache: 'int8', rowsPerStep: 64 })
  const expected = (stage: 'prefill' | 'decode') => {
    const roofline = tokensPerSecond(analysis.pass(stage, 1, 512))
    return reached[stage][type].map((share) => rounded(share * roofline)).join('–')
  }
  return {
    disk: gigabytes(weightBytes),
    memory: gigabytes(neededBytes),
    prefill: expected('prefill'),
    decode: expected('decode'),
  }
}

async function rowOf(repository: string): Promise<string> {
  const config = published.find((one) => one.repository === repository)?.config
  const model = describe(config)
  const [q8, q4] = [await cellsOf(model, 'q8'), await cellsOf(model, 'q4')]
  const parameters = `${Number((cost(model).parameters / 1e9).toPrecision(2))} B`
  const pair = (name: keyof Cells) => `${q8[name]} · ${q4[name]}`
  return `| ${repository} | ${parameters} | ${(['disk', 'memory', 'prefill', 'decode'] as const).map(pair).join(' | ')} |`
}

test('ten models, with the figures of the analyzer', async () => {
  const rows = page.match(/^\| [\w.-]+\/[\w.-]+ \| [\d.]+ B \|.*$/gm) ?? []
  assert.is(rows.length, 10)
  for (const row of rows) assert.is(row, await rowOf(row.split(' ')[1] ?? ''))
})

test('each of them has a licence and a word on what it is good for', () => {
  const names = page.match(/^\| [\w.-]+\/[\w.-]+ \| [\d.]+ B/gm)?.map((row) => row.split(' ')[1] ?? '') ?? []
  for (const name of names)
    assert.match(page, new RegExp(`^- \\*\\*${name.split('/')[1]}\\*\\* \\([^)]+\\)[^\\n]* .{30}`, 'm'), name)
})

test('the list of checked configs is that of the fixture', () => {
  const [, section = ''] = page.split('## Checked configs')
  for (const { repository } of published) assert.ok(section.split(/[\s,]+|\.$/m).includes(repository), repository)
})

test.run()
