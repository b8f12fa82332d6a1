/** gta analyze, fit, view and bench --explain as built: what programs read, what people get, and what is refused with exit code 2. */
import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { analyzeFormats } from '../host/cli/analyze-output.ts'
import { convert } from '../host/files/convert.ts'
import { measurementsFile } from '../host/runtime/measurements.ts'
import { Analysis } from '../host/tools/analyze/analyze.ts'
import { findHardware } from '../host/tools/analyze/hardware.ts'
import { stages } from '../host/tools/analyze/walk.ts'
import { describe } from '../models/index.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { golden, readJson } from './fixtures/goldens.ts'
import { type Ended, runHere } from './harness/command.ts'
import { limit, limitNote } from './harness/limits.ts'

// What the user's own machine was measured to do is neither seen nor changed.
process.env.XDG_CACHE_HOME = temporary()
const root = fileURLToPath(new URL('../', import.meta.url))
const config = (name: string) => join(root, 'models', 'configs', `${name}.json`)
const [gta, gqa] = [config('gta-1b'), config('gqa-1b')]

function run(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const command = [join(root, 'dist', 'gta.mjs'), ...args]
    execFile(process.execPath, command, { timeout: limit(300), maxBuffer: 2 ** 26 }, (error, stdout, stderr) =>
      resolve({ args, code: error ? Number(error.code ?? -1) : 0, stdout, stderr: stderr + limitNote(error, 300) }),
    )
  })
}

/** Fails from the sources, in this process. */
const fails = async (args: string[], ...words: string[]) =>
  checkFailure(args, await runHere(process.cwd(), ...args), words)

function checkFailure(args: string[], { code, stdout, stderr }: Ended, words: string[]): void {
  assert.is(code, 2, `${args.join(' ')}: ${stderr}`)
  assert.is(stdout, '')
  if (args.includes('--json')) assert.is(JSON.parse(stderr).schema, 'gta-error/1')
  else assert.match(stderr, /^gta: [^\n]+\n$/)
  for (const word of words) assert.ok(stderr.includes(word), `"${word}" is not in: ${stderr}`)
}

const h100 = ['--mode', 'llm-viewer', '--hardware', 'nvidia_H100', '--w-bit', '16', '--a-bit', '16', '--kv-bit', '16']

test('the rows of the reference mode: these keys in this order, for every model, batch, length and stage', async () => {
  const { code, stdout, stderr } = await run(
    'analyze',
    gta,
    gqa,
    ...h100,
    '--batch',
    '1,8',
    '--seqlen',
    '128,2048',
    '--json',
  )
  assert.is(code, 0, stderr)
  const { schema, version, rows } = JSON.parse(stdout)
  assert.equal([schema, typeof version], ['gta-analysis/1', 'string'])
  assert.is(rows.length, 2 * 2 * 2 * 2)
  const keys =
    'model hardware w_bit a_bit kv_bit flash batch seqlen stage OPs memory_access load_weight load_act store_act load_kv_cache store_kv_cache inference_time memory_consumption memory_consumption_weight memory_consumption_kv_cache memory_consumption_tmp_act'
  for (const row of rows) assert.is(Object.keys(row).join(' '), keys)
  const { cases } = readJson(golden('llm-viewer/golden.json'))
  let compared = 0
  for (const { ops: _, ...expected } of cases) {
    const same = ['model', 'hardware', 'w_bit', 'a_bit', 'kv_bit', 'flash', 'batch', 'seqlen', 'stage']
    const found = rows.find((row: Record<string, unknown>) => same.every((key) => row[key] === expected[key]))
    if (!found) continue
    assert.equal(found, expected)
    compared++
  }
  assert.is(compared, 8)
})

test('a row for every operation, with the names of the reference', async () => {
  const { stdout } = await run('analyze', gqa, ...h100, '--stage', 'decode', '--flash', '--per-op', '--json')
  const [total, ...operations] = JSON.parse(stdout).rows
  assert.is(total.op, undefined)
  assert.is(
    operations.map(({ op }: { op: string }) => op).join(' '),
    'q_proj k_proj v_proj out_proj gate_proj up_proj down_proj fused_attention attn_norm mlp_norm attn_add mlp_add mlp_act lm_head',
  )
  assert.ok(operations.every(({ bound }: { bound: string }) => bound === 'memory' || bound === 'compute'))
})

test('exact mode: tables, CSV, a generation, models side by side', async () => {
  const common = ['analyze', gta, gqa, '--hardware', 'bcm2712', '--seqlen', '128', '--prompt', '16', '--gen', '4']
  const [md, csv, json] = await Promise.all([run(...common), run(...common, '-o', 'csv'), run(...common, '--json')])
  assert.match(md.stdout, 'exact mode: q8 weights, int8 cache')
  assert.match(md.stdout, /gta-1b decodes faster than gqa-1b: .*1\.5 × from 28 k tokens on/)
  assert.match(md.stdout, 'conversations of 128 tokens that fit in 8.59 GB: gta-1b ')
  const lines = csv.stdout.trimEnd().split('\n')
  assert.is(lines.length, 1 + 2 * 3)
  assert.ok(lines.every((line) => line.split(',').length === lines[0]?.split(',').length))
  const generations = JSON.parse(json.stdout).rows.filter(({ stage }: { stage: string }) => stage === 'generate')
  assert.is(generations.length, 2)
  for (const { prompt, gen, inference_time, prefill_time, tokens_per_second } of generations) {
    assert.equal([prompt, gen], [16, 4])
    assert.ok(inference_time > prefill_time && tokens_per_second > 0)
  }
})

test('tables have at most 100 columns on a terminal', () => {
  const of = (model: string) => describe(readJson(config(model)))
  const entries = ['gta-1b', '160m-gqa'].map((name) => ({
    name,
    analysis: new Analysis(of(name), findHardware('bcm2712')),
  }))
  const input = { entries, batches: [1, 1024], seqlens: [128, 1_000_000], stages, isPerOperation: true }
  const widest = () => {
    const rows = analyzeFormats.md(input).split('\n')
    return Math.max(...rows.filter((line) => line.startsWith('|')).map((line) => line.length))
  }
  const before = process.stdout.isTTY
  try {
    process.stdout.isTTY = true
    assert.ok(widest() <= 100, String(widest()))
    process.stdout.isTTY = false
    assert.ok(widest() > 100, 'files have all of it')
  } finally {
    process.stdout.isTTY = before
  }
})

test('a page without scripts and network, and a picture', async () => {
  const common = ['analyze', gta, gqa, '--hardware', 'bcm2712,nvidia_H100', '--seqlen', '2048']
  const [html, svg] = await Promise.all([run(...common, '-o', 'html'), run(...common, '-o', 'svg')])
  assert.match(html.stdout, /^<!doctype html>/)
  assert.not.match(html.stdout, /<script|<link|<img|<iframe|src=|@import|url\(/)
  assert.match(html.stdout, '<meta name="viewport"')
  assert.match(html.stdout, '@media print')
  assert.is(html.stdout.match(/<section>/g)?.length, 2)
  assert.match(svg.stdout, /^<svg /)
  assert.is(svg.stdout.match(/<svg /g)?.length, 1 + 2 * 2)
  assert.not.match(html.stdout + svg.stdout, /NaN|undefined|Infinity/)
})

test('a name from a file is text in the page, never markup', async () => {
  const folder = join(temporary(), '<img src=x onerror=alert(1)>')
  mkdirSync(folder)
  writeFileSync(join(folder, 'config.json'), JSON.stringify(readJson(gta)))
  const { code, stdout } = await run('analyze', join(folder, 'config.json'), '--hardware', 'bcm2712', '-o', 'html')
  assert.is(code, 0)
  assert.not.match(stdout, '<img')
  assert.match(stdout, '&#60;img')
})

test('the hardware table, with a source for every value', async () => {
  const { stdout } = await run('analyze', '--list')
  for (const name of [
    'nvidia_H100',
    'nvidia_A800_80G_SXM',
    'nvidia_H200',
    'bcm2712',
    'bcm2711',
    'rk3588',
    'jetson_orin_nano',
    'apple_M2',
    'nvidia_RTX3060',
    'intel_13900k',
    'this',
  ])
    assert.match(stdout, new RegExp(`^${name}: `, 'm'))
  assert.match(stdout, 'bandwidth, sustained  13.23 GB/s')
})

test('this machine is measured once and remembered', async () => {
  const first = await run('analyze', gta, '--hardware', 'this', '--seqlen', '64', '--json')
  assert.is(first.code, 0, first.stderr)
  const [[key, entry]] = Object.entries(readJson(measurementsFile())) as [
    [string, { value: { threads: number; bandwidth: number }[]; date: string; foreignShare: number }],
  ]
  assert.match(key, /^roofline [0-9a-f]{16}$/)
  assert.ok(entry.value.length > 0 && entry.value.every(({ bandwidth }) => bandwidth > 1e6))
  assert.ok(Date.now() - Date.parse(entry.date) < 600_000 && entry.foreignShare >= 0)
  // Whatever else runs here now: this one was taken in quiet.
  writeFileSync(measurementsFile(), JSON.stringify({ [key]: { ...entry, foreignShare: 0 } }))
  const again = await run('analyze', gta, '--hardware', 'this', '--seqlen', '64', '--json')
  assert.is(again.stdout, first.stdout, 'the same figures: nothing was measured')
  const threads = entry.value.map((rates) => rates.threads).join()
  const wrong = ['analyze', gta, '--hardware', 'this', '-t', '63']
  checkFailure(wrong, await run(...wrong), ['63', threads.split(',')[0] as string])
})

test('a roofline of a busy machine: told, or taken again where it is quiet now; doctor tells and renews it', async () => {
  const [[key, entry]] = Object.entries(readJson(measurementsFile())) as [[string, Record<string, unknown>]]
  const busy = { ...entry, date: '2026-11-01T00:00:00.000Z', foreignShare: 0.62 }
  writeFileSync(measurementsFile(), JSON.stringify({ [key]: busy, 'threads 1': { ...busy, value: 1 } }))
  const told = await run('doctor')
  assert.match(told.stdout, /^roofline +2026-11-01 00:00, load .*, other programs took 62 % of the processors$/m)
  assert.match(told.stdout, /^threads +of 1 model measured, 1 of them while the machine was busy$/m)
  const { stderr } = await run('analyze', gta, '--hardware', 'this', '--seqlen', '64', '--json')
  const isAgain = readJson(measurementsFile())[key].date !== busy.date
  assert.ok(isAgain || stderr.includes('while other programs took 62 % of its processors'), stderr)
  const renewed = await run('doctor', '--measure', '--json')
  const { measurements } = JSON.parse(renewed.stdout)
  assert.equal([measurements.length, measurements[0].kind], [1, 'roofline'])
  assert.ok(measurements[0].date > '2026-11-02', renewed.stdout)
  // The tests behind this one want no warning.
  writeFileSync(measurementsFile(), JSON.stringify({ [key]: { ...entry, foreignShare: 0 } }))
})

test('bad input: exit code 2, one line that says what to do', async () => {
  const on = ['--hardware', 'bcm2712']
  await Promise.all([
    fails(['analyze'], 'gta analyze models/configs'),
    fails(['analyze', gta, '--hardware', 'H1000'], 'nvidia_H100', '--list'),
    fails(['analyze', gta, '--hardware', 'bcm2712,bcm2712'], 'once'),
    fails(['analyze', gta, ...on, '--batch', '0'], '--batch', '"0"'),
    fails(['analyze', gta, ...on, '--seqlen', '-5'], '--seqlen'),
    fails(['analyze', gta, ...on, '--seqlen', '1e3'], '--seqlen'),
    fails(['analyze', gta, ...on, '--w-bit', '0'], '--w-bit'),
    fails(['analyze', gta, ...on, '--kv-bit', '-8'], '--kv-bit'),
    fails(['analyze', gta, ...on, '--w-bit', '16', '--type', 'q8'], '--w-bit', '--type'),
    fails(['analyze', gta, ...on, '--mode', 'llm-viewer', '--type', 'q8'], 'llm-viewer'),
    fails(['analyze', gta, ...on, '--flash'], '--flash'),
    fails(['analyze', gta, ...on, '--threads', '2'], '--threads'),
    fails(['analyze', gta, ...on, '--measure'], '--measure'),
    fails(['analyze', gta, ...on, '--gen', '0'], '--gen'),
    fails(['analyze', gta, ...on, '--json', '-o', 'md'], '--json'),
    fails(['analyze', gta, '--hardware', 'nvidia_A100', '--w-bit', '32', '--a-bit', '32'], 'FP32', 'FP16, INT8'),
    fails(
      ['analyze', gta, '--mode', 'llm-viewer', '--hardware', 'intel_13900k', '--w-bit', '8', '--a-bit', '8'],
      'INT8',
    ),
    fails(['analyze', config('160m-mla'), '--mode', 'llm-viewer', '--hardware', 'nvidia_H100'], 'mla'),
    fails(['analyze', gta, ...on, '--seqlen', '16777216'], '4.3 GB', '--w-bit'),
    fails(['analyze', gta, '--list'], '--list'),
    fails(['fit'], 'gta fit'),
    fails(['fit', gta, '--memory', '0'], '--memory'),
    fails(['fit', gta, '--memory', '-4G'], '--memory'),
    fails(['fit', gta, '--memory', 'lots'], '--memory', '"lots"'),
    fails(['fit', gta, '--memory', '999999'], 'at least 1.0 MB'),
    fails(['fit', gta, '-c', '-1'], '--ctx-size'),
    fails(['view', '--host', '0.0.0.0'], '--public'),
    fails(['view', '--port', '70000'], '--port'),
    fails(['view', gta, gta], '"gta-1b"', 'twice'),
    fails(['bench', '--explain', '-o', 'csv'], '--explain'),
  ])
})

test('a config beyond all bounds, a missing file', async () => {
  const path = join(temporary(), 'huge.json')
  writeFileSync(
    path,
    JSON.stringify({
      ...readJson(gqa),
      num_hidden_layers: 1024,
      hidden_size: 131072,
      num_attention_heads: 1024,
      head_dim: 128,
      intermediate_size: 131072,
      num_key_value_heads: 1024,
    }),
  )
  await fails(['analyze', path, '--hardware', 'bcm2712'], 'huge', '4.3 GB')
  const other = await run('analyze', path, '--hardware', 'nvidia_H100', '--w-bit', '16', '--json')
  assert.is(other.code, 0, other.stderr)
  assert.ok(
    JSON.parse(other.stdout).rows.every((row: { inference_time: number }) => Number.isFinite(row.inference_time)),
  )
  const fit = await run('fit', path, '--memory', '64G')
  assert.is(fit.code, 1)
  assert.match(fit.stdout, /^no: [\s\S]*what one engine can address; not even the weights fit/)
  assert.is((await run('analyze', 'nothing.json', '--hardware', 'bcm2712')).code, 1)
})

test('a packed file is analyzed in its own type, and no other', async () => {
  const path = join(temporary(), 'packed.gta')
  await convert(golden('gta'), path, { type: 'q4' })
  const { stdout, stderr } = await run('analyze', path, '--hardware', 'bcm2712', '--json')
  assert.is(JSON.parse(stdout).rows[0]?.type, 'q4', stderr)
  await fails(['analyze', path, '--hardware', 'bcm2712', '--type', 'q8'], '--type', 'q4')
})

test('fit: yes or no, as exit code and as JSON', async () => {
  const [yes, no, json] = await Promise.all([
    run('fit', gta, '--memory', '4Gi'),
    run('fit', gta, '--memory', '1GB'),
    run('fit', gta, '--memory', '2GiB', '-c', '8192', '-np', '4', '--json'),
  ])
  assert.is(yes.code, 0)
  assert.match(yes.stdout, /^yes: .* in 4\.29 GB\n/)
  assert.match(yes.stdout, /^yes {2}q8 weights 1\.13 GB.*\nyes {2}q4 weights /m)
  assert.is(no.code, 1)
  assert.match(no.stdout, /^no: /)
  const { fits, types, memoryBytes } = JSON.parse(json.stdout)
  assert.is(fits, true)
  assert.is(memoryBytes, 2 ** 31)
  assert.equal(
    types.map(({ type }: { type: string }) => type),
    ['q8', 'q4'],
  )
})

test('bench explains itself: a table, JSON, a page', async () => {
  const small = ['bench', '--config', golden('gta/config.json'), '-p', '16', '-n', '4', '-r', '1', '-t', '1']
  const md = await run(...small, '--explain')
  assert.is(md.code, 0, md.stderr)
  assert.match(md.stdout, /q8 tg4, 1 thread, predicted and measured:/)
  assert.match(md.stdout, /\| together +\|/)
  const json = JSON.parse((await run(...small, '--explain', '--json')).stdout)
  assert.is(json.explanations.length, json.results.length)
  const html = await run(...small, '-o', 'html')
  assert.match(html.stdout, 'Prediction against measurement')
  // What was measured stands before it: machine, speed, spread, hash, parts.
  const [measured = ''] = html.stdout.split('Prediction against measurement')
  assert.match(measured, `<li>machine: `)
  assert.match(measured, /<th scope="row">tg4<\/th><td>1<\/td><td>[\d.,]+<\/td><td>0<\/td><td>[\d.,]+ … [\d.,]+<\/td>/)
  for (const { hash } of json.results) assert.match(measured, `<td>${hash}</td>`)
  assert.match(measured, 'Where the time of a thread went')
  assert.not.match(html.stdout, /<script|NaN|undefined/)
})

test.run()
