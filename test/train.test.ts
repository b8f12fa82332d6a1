/**
 * The training recipe (models/train) on a CPU: every attention kind agrees with its float64 reference; a small run learns,
 * goes on after a kill with the same curve, and what it exports is what the runtime computes. Needs Debian's python3-torch,
 * python3-numpy and python3-regex, or PYTHON=… with the same; without them these tests are skipped with a loud line.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { load } from '../host/index.ts'
import { Tokenizer } from '../host/text/tokenizer.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { golden, kinds, readGolden, worst } from './fixtures/goldens.ts'
import { findTool, toolTest } from './harness/tools.ts'

const recipe = fileURLToPath(new URL('../models/train/', import.meta.url))
const python = findTool('python')
const slice = golden('stories/valid_slice.txt')

const pythonTest = (name: string, run: () => Promise<void>): void => toolTest('python', name, run)

/** One thread: the files of the tests share the cores, and the curve is the same to the last digit. */
const environment = { ...process.env, OMP_NUM_THREADS: '1', PYTHONDONTWRITEBYTECODE: '1' }

function runPython(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(python as string, args, { cwd: recipe, env: environment, encoding: 'utf8', maxBuffer: 2 ** 28 })
}

/** Its stdout; the whole of stderr where it fails. */
function python3(...args: string[]): string {
  const { status, stdout, stderr } = runPython(...args)
  assert.is(status, 0, stderr)
  return stdout
}

const parseLines = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

pythonTest('the logits of every kind are those of its float64 reference, within 1e-5', async () => {
  const cases = kinds.flatMap((kind) => readGolden(kind).cases.map((one) => ({ kind, one })))
  const found = parseLines(
    python3('logits.py', ...cases.flatMap(({ kind, one }) => [golden(kind), one.prompt_ids.join(',')])),
  )
  assert.is(found.length, cases.length)
  for (const [i, { kind, one }] of cases.entries()) {
    const difference = worst(found[i], one.prefill_logits_last)
    assert.ok(difference < 1e-5, `${kind} differs by ${difference}`)
  }
})

const config = {
  architectures: ['GTAForCausalLM'],
  model_type: 'llama',
  attention_kind: 'gta',
  num_query_heads: 2,
  query_dim: 16,
  num_key_heads: 1,
  key_dim: 16,
  num_value_heads: 1,
  value_dim: 32,
  bos_token_id: 0,
  eos_token_id: 0,
  hidden_act: 'silu',
  tie_word_embeddings: true,
  hidden_size: 64,
  intermediate_size: 160,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  head_dim: 16,
  vocab_size: 400,
  rms_norm_eps: 1e-5,
  max_position_embeddings: 64,
}
const preset = {
  steps: 120,
  batch: 8,
  length: 64,
  warmup: 10,
  decay: 0.5,
  rates: { matrix: 0.02, other: 0.006, weight_decay: 0.02 },
  mix: [{ until: 1, valid_slice: 1 }],
}

const folder = temporary()
const path = (name: string) => `${folder}/${name}`
const trainArguments = (out: string, configFile = 'config.json') => [
  'train.py',
  ...['--config', path(configFile), '--preset', path('preset.json'), '--data', path('data')],
  ...['--valid', path('data/valid_slice.bin'), '--tokenizer', path('data/tokenizer.json'), '--out', path(out)],
  ...['--device', 'cpu', '--dtype', 'float32', '--export-type', 'F32', '--threads', '1', '--save-seconds', '0'],
]

test.before(() => {
  mkdirSync(folder, { recursive: true })
  writeFileSync(path('config.json'), JSON.stringify(config))
  writeFileSync(path('preset.json'), JSON.stringify(preset))
})
test.after(() => rmSync(folder, { recursive: true, force: true }))

pythonTest('a tokenizer that is learned here encodes as the runtime does', async () => {
  python3('prepare.py', '--learn', '400', '--rename', '1', '--out', path('data'), slice)
  python3('prepare.py', '--tokenizer', path('data/tokenizer.json'), '--out', path('plain'), slice)
  const packed = readFileSync(path('plain/valid_slice.bin'))
  const ids = [...new Uint16Array(packed.buffer, packed.byteOffset, packed.length / 2)]
  const tokenizer = await Tokenizer.open('learned', readFileSync(path('data/tokenizer.json')), {})
  // A document is its begin token and its text; what the runtime makes of the decoded text are the same ids.
  const documents = ids
    .join(' ')
    .split(/(?:^| )0 /)
    .filter(Boolean)
    .map((part) => part.split(' ').map(Number))
  assert.ok(documents.length > 5)
  for (const document of documents) assert.equal(tokenizer.encode(tokenizer.decode(document)), document)
  assert.is(Math.max(...ids) < 400, true)
})

/** Rows of loss.csv without the column of seconds. */
const curveOf = (out: string) =>
  readFileSync(path(`${out}/loss.csv`), 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((row) => row.split(',').filter((_, i) => i !== 5))

/** Trains until a few steps are done and kills it in the middle of one. */
async function killedAfter(rows: number, out: string): Promise<void> {
  const child = spawn(python as string, trainArguments(out), { cwd: recipe, env: environment, stdio: 'ignore' })
  const ended = new Promise((resolve) => child.on('close', (_, signal) => resolve(signal)))
  while (!existsSync(path(`${out}/loss.csv`)) || curveOf(out).length < rows)
    await new Promise((resolve) => setTimeout(resolve, 20))
  child.kill('SIGKILL')
  assert.is(await ended, 'SIGKILL')
}

pythonTest('a run learns, and one that is killed goes on with the same curve', async () => {
  python3(...trainArguments('whole'))
  const curve = curveOf('whole')
  assert.is(curve.length, preset.steps)
  const mean = (rows: string[][]) => rows.reduce((sum, row) => sum + Number(row[2]), 0) / rows.length
  const [first, last] = [mean(curve.slice(0, 10)), mean(curve.slice(-10))]
  assert.ok(last < first - 1.5, `loss ${first} → ${last}`)

  await killedAfter(25, 'killed')
  assert.ok(curveOf('killed').length < preset.steps)
  const { status, stdout } = runPython(...trainArguments('killed'))
  assert.is(status, 0)
  assert.match(stdout, /going on at step \d+ of 120/)
  assert.equal(curveOf('killed'), curve)
})

pythonTest('what is exported is what the runtime computes, and a grown model computes the same', async () => {
  const ids = [0, 17, 300, 42, 5, 399, 260, 77]
  // Four layers grown from two, exported before the first step.
  writeFileSync(path('deeper.json'), JSON.stringify({ ...config, num_hidden_layers: 4 }))
  python3(
    '-c',
    `import json; from pathlib import Path; from config import Config; from checkpoint import *
c = Config.read(Path(${JSON.stringify(path('deeper.json'))}))
export(Path(${JSON.stringify(path('grown'))}), c, read_start(Path(${JSON.stringify(path('whole/model'))}), c), Path(${JSON.stringify(path('data/tokenizer.json'))}), "F32")`,
  )
  const folders = [path('whole/model'), path('grown')]
  const expected = parseLines(python3('logits.py', ...folders.flatMap((one) => [one, ids.join(',')])))
  for (const [i, one] of folders.entries()) {
    const model = await load(one, { type: 'f32', cache: 'f32' })
    const difference = worst(await model.logits(ids), expected[i])
    await model.close()
    assert.ok(difference < 1e-3, `${one} differs by ${difference}`)
  }
  assert.ok(worst(expected[0], expected[1]) < 1e-4, 'growing changes nothing')
})

pythonTest('a checkpoint of another config, broken text and wrong ids are refused', async () => {
  const failure = (...args: string[]) => {
    const { status, stderr } = runPython(...args)
    assert.is(status, 1, stderr)
    assert.not.match(stderr, /Traceback/)
    return stderr
  }
  writeFileSync(path('other.json'), JSON.stringify({ ...config, intermediate_size: 96 }))
  assert.match(failure(...trainArguments('whole', 'other.json')), /another config \(intermediate_size differ\)/)
  writeFileSync(path('odd.json'), JSON.stringify({ ...config, num_query_heads: 3 }))
  assert.match(failure(...trainArguments('odd', 'odd.json')), /hidden_size: 64 must be a multiple of 96/)
  writeFileSync(path('small.json'), JSON.stringify({ ...config, vocab_size: 300 }))
  assert.match(failure(...trainArguments('small', 'small.json')), /must be below vocab_size 300, found/)

  writeFileSync(path('broken.txt'), Buffer.concat([Buffer.from('one line\nand '), Buffer.from([0xff, 0xfe])]))
  const prepare = ['prepare.py', '--tokenizer', path('data/tokenizer.json'), '--out', path('broken')]
  assert.match(failure(...prepare, path('broken.txt')), /expected UTF-8, found byte 0xff in line 2/)
  assert.not(existsSync(path('broken/broken.bin')))
})

test.run()
