/** Results in a file: a run that was killed goes on, and files that are damaged or another's are left as they are. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type GtaError, load } from '../host/index.ts'
import { evaluateTasks, type TaskResults } from '../host/tools/evaluate/tasks/evaluate-tasks.ts'
import { findTasks, type Task } from '../host/tools/evaluate/tasks/find.ts'
import { failure, temporary } from './fixtures/checkpoints.ts'
import { golden } from './fixtures/goldens.ts'
import { writeUnigram } from './fixtures/unigram.ts'
import { runNode } from './harness/programs.ts'

const folder = temporary()
const directory = writeUnigram()
const model = await load(directory, { type: 'f32' })

const documents = Array.from({ length: 40 }, (_, i) => ({
  ctx: 'ab c'.repeat(1 + (i % 5)),
  choices: ['a'.repeat(1 + (i % 3)), 'b', 'c a'],
  gold: i % 3,
}))

function write(name: string, content: readonly unknown[]): string {
  const path = join(folder, `${name}.jsonl`)
  writeFileSync(path, content.map((document) => `${JSON.stringify(document)}\n`).join(''))
  return path
}

const path = write('letters', documents)
const [letters] = (await findTasks([path])) as [Task]
const whole = await evaluateTasks(model, [letters])

/** A new results file that holds the first items. */
async function begun(name: string, limit = 5): Promise<string> {
  const file = join(folder, name)
  await evaluateTasks(model, [letters], { limit, resume: file })
  return file
}

const results = ({ results, samples, task_hashes }: TaskResults) => ({ results, samples, task_hashes })

/** Every item that the file holds, once. */
function itemsIn(file: string): number[] {
  const [, ...lines] = readFileSync(file, 'utf8').trimEnd().split('\n')
  return lines.map((line) => JSON.parse(line.slice(17)).item).sort((a, b) => a - b)
}

/** Goes on with a file; how many items it computed. */
async function resume(file: string): Promise<number> {
  let computed = 0
  const onProgress = () => computed++
  const report = await evaluateTasks(model, [letters], { resume: file, onProgress })
  assert.equal(results(report), results(whole))
  assert.equal(itemsIn(file), [...documents.keys()])
  return computed
}

test('what is in the file is not computed again, and results are the same', async () => {
  const file = await begun('half', 15)
  assert.is(await resume(file), 25)
  assert.is(await resume(file), 0)
})

test('an abort keeps what was done', async () => {
  const file = join(folder, 'aborted')
  const controller = new AbortController()
  const onProgress = ({ done }: { done: number }) => done === 7 && controller.abort(new Error('enough'))
  await failure(evaluateTasks(model, [letters], { resume: file, signal: controller.signal, onProgress }))
  const kept = itemsIn(file).length
  assert.ok(kept >= 7 && kept < 40, `${kept} items`)
  assert.is(await resume(file), 40 - kept)
})

test('lines with the right digests that no run has written make no score', async () => {
  const [head, ...lines] = readFileSync(await begun('honest'), 'utf8')
    .trimEnd()
    .split('\n') as [string, ...string[]]
  const entry = JSON.parse((lines[0] as string).slice(17))
  const forged = (json: string): string => {
    const digest = (before: string) =>
      createHash('sha256')
        .update(before + json)
        .digest('hex')
        .slice(0, 16)
    return `${head}\n${digest(head.slice(0, 16))} ${json}\n`
  }
  const { logLikelihoods, ...rest } = entry
  const wrong = [['0', '-1', '-2'], [0, null, -1], [1, -1, -2], [-1], [...logLikelihoods, -1], {}, null]
  for (const [i, text] of [
    ...wrong.map((value) => JSON.stringify({ ...rest, logLikelihoods: value })),
    ...['item', 'of', 'task'].map((name) => JSON.stringify({ ...entry, [name]: null })),
    ...['null', '[]', '{', '7'],
  ].entries()) {
    const file = join(folder, `forged-${i}`)
    writeFileSync(file, forged(text))
    const error = (await failure(evaluateTasks(model, [letters], { resume: file }))) as GtaError
    assert.ok(['BAD_FILE', 'OTHER_MODEL'].includes(error.code), `${text}: ${error}`)
    assert.is(readFileSync(file, 'utf8'), forged(text))
  }
})

test('other tasks go into the same file', async () => {
  const file = await begun('two', 40)
  const [more] = (await findTasks([write('more', documents.slice(0, 3))])) as [Task]
  const report = await evaluateTasks(model, [letters, more], { resume: file })
  assert.equal(report.samples.more, whole.samples.letters?.slice(0, 3))
})

test('a line that was being written is cut off, wherever it was cut', async () => {
  const bytes = readFileSync(await begun('torn', 3))
  const last = bytes.lastIndexOf(10, bytes.length - 2) + 1
  for (const length of [last + 1, last + 17, bytes.length - 1, bytes.indexOf(10), 10, 0]) {
    const file = join(folder, `torn-${length}`)
    writeFileSync(file, bytes.subarray(0, length))
    assert.is(await resume(file), length >= last ? 38 : 40, `${length} bytes`)
  }
})

/** The file is refused and stays as it is. */
async function refuses(file: string, code: string, ...words: string[]): Promise<void> {
  const before = readFileSync(file)
  const error = await failure(evaluateTasks(model, [letters], { resume: file }))
  assert.is(error.code, code, error.message)
  for (const word of [file, ...words]) assert.ok(error.message.includes(word), `${word}: ${error.message}`)
  assert.equal(readFileSync(file), before)
}

test('a file in which anything was changed, left out or moved is refused', async () => {
  const lines = readFileSync(await begun('good'), 'utf8').split('\n')
  const file = join(folder, 'bad')
  const change = async (line: number, content: string[]) => {
    writeFileSync(file, content.join('\n'))
    await refuses(file, 'BAD_FILE', `line ${line} of`, 'damage')
  }
  await change(
    3,
    lines.with(
      2,
      (lines[2] as string).replace(/\d]/, (digit) => `${digit === '1]' ? 2 : 1}]`),
    ),
  )
  await change(3, lines.toSpliced(2, 1))
  await change(4, lines.toSpliced(3, 0, lines[2] as string))
  await change(2, lines.with(1, lines[2] as string).with(2, lines[1] as string))
  await change(1, lines.slice(1))
})

test('a file of something else is refused and not written to', async () => {
  for (const content of ['dear diary', 'dear diary\n', '{"format":"gta-edge eval"}\n']) {
    writeFileSync(join(folder, 'diary'), content)
    await refuses(join(folder, 'diary'), 'BAD_FILE', 'line 1')
  }
  const error = await failure(evaluateTasks(model, [letters], { resume: folder }))
  assert.is(error.code, 'WRITE_FAILED')
})

test('results of another model, cache or question are refused', async () => {
  const file = await begun('mine')
  const before = readFileSync(file)
  for (const [path, cache] of [
    [golden('stories'), 'f32'],
    [directory, 'int8'],
  ] as const) {
    const other = await load(path, { type: 'f32', cache })
    assert.is((await failure(evaluateTasks(other, [letters], { resume: file }))).code, 'OTHER_MODEL')
    await other.close()
  }
  const changed = { ...letters, documents: letters.documents.with(2, { ...documents[2], ctx: 'b' } as never) }
  const error = await failure(evaluateTasks(model, [changed], { resume: file }))
  assert.is(error.code, 'OTHER_MODEL')
  assert.match(error.message, 'questions of letters')
  // The same questions, of which less is read.
  const short = await load(directory, { type: 'f32', context: 16 })
  assert.is((await failure(evaluateTasks(short, [letters], { resume: file }))).code, 'OTHER_MODEL')
  await short.close()
  assert.equal(readFileSync(file), before)
})

test('a second program that writes to the file is noticed', async () => {
  const file = join(folder, 'shared')
  const onProgress = ({ done }: { done: number }) => {
    if (done === 3) writeFileSync(file, 'mine', { flag: 'a' })
  }
  const error = await failure(evaluateTasks(model, [letters], { resume: file, onProgress }))
  assert.match(error.message, 'one program at a time')
})

test('a process that is killed while it evaluates goes on with nothing lost and nothing done twice', async () => {
  const command = fileURLToPath(new URL('../dist/gta.mjs', import.meta.url))
  const file = join(folder, 'killed')
  const many = write('many', Array.from({ length: 30 }, () => documents).flat())
  const args = [command, 'eval', directory, '--type', 'f32', '--tasks', many, '--json', '--resume']
  const child = spawn(process.execPath, [...args, file], { stdio: 'ignore' })
  const ended = new Promise((resolve) => child.once('close', (_, signal) => resolve(signal)))
  const count = () => (existsSync(file) ? readFileSync(file, 'latin1').split('\n').length : 0)
  while (count() < 20 && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 2))
  child.kill('SIGKILL')
  assert.is(await ended, 'SIGKILL')
  const kept = count() - 2
  assert.ok(kept >= 18 && kept < 1200, `${kept} items`)
  const [again, fresh] = await Promise.all([runNode(...args, file), runNode(...args, `${file}-fresh`)])
  const [a, b] = [again, fresh].map(({ output }) => JSON.parse(output))
  assert.equal(a.results, b.results)
  assert.equal(a.task_hashes, b.task_hashes)
  assert.equal(
    itemsIn(file),
    Array.from({ length: 1200 }, (_, i) => i),
  )
})

test.after(() => model.close())

test.run()
