/** Questions of multiple choice: what is asked, what it is worth, and files that are refused. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type GtaError, load, type Model } from '../host/index.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { evaluateTasks } from '../host/tools/evaluate/tasks/evaluate-tasks.ts'
import { findTasks, type Task } from '../host/tools/evaluate/tasks/find.ts'
import { type TaskFormat, taskFormats } from '../host/tools/evaluate/tasks/formats.ts'
import { failure, temporary } from './checkpoints.ts'
import { golden } from './goldens.ts'
import { writeUnigram } from './unigram.ts'

const folder = temporary()
/** Samples that a clone brings along. */
const cloned = fileURLToPath(new URL('../bench/tasks/', import.meta.url))
const unigram = await load(writeUnigram(), { type: 'f32' })
const stories = await load(golden('stories'))

const close = (found: unknown, expected: number, tolerance = 1e-12) =>
  assert.ok(Math.abs((found as number) - expected) <= tolerance, `${found} instead of ${expected}`)

/** Writes documents as lines of a task's file and reads them as a task. */
async function task(name: string, documents: unknown[], file = name): Promise<Task> {
  writeFileSync(join(folder, `${file}.jsonl`), documents.map((document) => `${JSON.stringify(document)}\n`).join(''))
  const [found] = await findTasks([name], [folder])
  return found as Task
}

/** Ten items, with the bits of " choice" and what they come to per character. */
const ten = [
  { ctx: 'c', choices: ['a', 'b'], gold: 0 }, //                     4, 5            right; right
  { ctx: 'c', choices: ['a', 'b'], gold: 1 }, //                     4, 5            wrong; wrong
  { ctx: 'c', choices: ['d', 'e'], gold: 0 }, //                     9, 9            equal, the first one: right; right
  { ctx: 'c', choices: ['d', 'e'], gold: 1 }, //                     9, 9            equal, the first one: wrong; wrong
  { ctx: 'bb', choices: ['a', 'aaa'], gold: 1 }, //                  4, 6            wrong; 4, 2: right
  { ctx: 'bb', choices: ['b', 'aaaa', 'c'], gold: 0 }, //            5, 7, 7         right; 5, 1.75, 7: wrong
  { ctx: 'a b', choices: ['c', 'b', 'a'], gold: 2 }, //              7, 5, 4         right; right
  { ctx: 'a b', choices: ['éa', 'cc'], gold: 1 }, //                 16, 11          right; 8, 5.5: right (by bytes 5.33: wrong)
  { ctx: 'é', choices: ['cc', 'aaaaaaaa', 'bb'], gold: 1 }, //       11, 11, 7       wrong; 5.5, 1.375, 3.5: right
  { ctx: 'é', choices: ['aa bb', 'a'], gold: 0 }, //                 12, 4           wrong; 2.4, 4: right
]

test('ten items worked out by hand: acc, acc_norm and their standard errors', async () => {
  const report = await evaluateTasks(unigram, [await task('ten', ten)])
  const result = report.results.ten ?? {}
  assert.is(result['acc,none'], 0.5)
  assert.is(result['acc_norm,none'], 0.7)
  // √(0.5 · 0.5 / 9) and √(0.7 · 0.3 / 9)
  close(result['acc_stderr,none'], 1 / 6)
  close(result['acc_norm_stderr,none'], 0.15275252316519466)
  const samples = report.samples.ten ?? []
  assert.is(samples.map(({ acc }) => acc).join(''), '1010011100')
  assert.is(samples.map(({ acc_norm }) => acc_norm).join(''), '1010101111')
  const bits = [
    [4, 5],
    [4, 5],
    [9, 9],
    [9, 9],
    [4, 6],
    [5, 7, 7],
    [7, 5, 4],
    [16, 11],
    [11, 11, 7],
    [12, 4],
  ]
  // The norm's epsilon of 1e-5 makes every logit a little smaller.
  for (const [i, { resps }] of samples.entries())
    for (const [k, found] of resps.entries()) close(found, -Math.LN2 * (bits[i]?.[k] as number), 2e-4)
})

test('the share of the true answers, and one item alone', async () => {
  const document = { ctx: 'a', choices: ['a', 'b'], gold: 0, mc2_true: ['a'], mc2_false: ['b', 'c'] }
  const mc2 = await task('truthfulqa_mc2', [document], 'truthfulqa_mc')
  const { results } = await evaluateTasks(unigram, [mc2])
  // 2^−4, 2^−5 and 2^−7
  close(results.truthfulqa_mc2?.['acc,none'], 8 / 13, 1e-5)
  assert.is(results.truthfulqa_mc2?.['acc_stderr,none'], 'N/A')
  // Each one is too unlikely to be a number; their ratio is not.
  const rare = { ...document, mc2_true: ['d'.repeat(200)], mc2_false: [`${'d'.repeat(199)}c`] }
  const { results: far } = await evaluateTasks(unigram, [await task('truthfulqa_mc2', [rare], 'truthfulqa_mc')])
  close(far.truthfulqa_mc2?.['acc,none'], 1 / 5, 1e-5)
})

/** Σ log softmax of the continuation's tokens, one forward pass over all of them. */
async function naive(model: Model, context: string, continuation: string): Promise<number> {
  const encode = (text: string) => model.tokenizer?.encode(text) ?? []
  const [begin] = runtimeOf(model).promptIds('x')
  const ids = [...(begin === encode('x')[0] ? [] : [begin as number]), ...encode(context + continuation)]
  const first = ids.length - encode(context + continuation).length + encode(context).length
  let sum = 0
  for await (const { from, count, logits } of model.predict(ids))
    for (let i = 0; i < count; i++) {
      if (from + i + 1 < first) continue
      const values = Array.from(logits(i), Number)
      const total = values.reduce((all, value) => all + Math.exp(value), 0)
      sum += Math.log(Math.exp(values[ids[from + i + 1] as number] as number) / total)
    }
  return sum
}

const fox = [
  {
    ctx: 'Once upon a time, there was a',
    choices: ['fox who lived in a hole', 'the', 'little girl named Lily'],
    gold: 0,
  },
  { ctx: 'Tom was sad because', choices: ['his ball was gone.', 'he', 'ran ran', 'he was sad'], gold: 1 },
  { ctx: 'x', choices: ['y', 'y'], gold: 1 },
  { ctx: `${'The cat sat on the mat and slept. '.repeat(9)}Then`, choices: ['it woke up', 'zebra'], gold: 0 },
]

test('log-likelihoods are those of each text for itself, one after the other in float64', async () => {
  const report = await evaluateTasks(stories, [await task('fox', fox)])
  for (const { doc, resps, acc } of report.samples.fox ?? []) {
    const expected: number[] = []
    for (const choice of doc.choices) expected.push(await naive(stories, doc.ctx, ` ${choice}`))
    for (const [i, value] of expected.entries()) close(resps[i], value, 1e-4)
    assert.is(acc, Number(expected.indexOf(Math.max(...expected)) === doc.gold))
  }
  assert.equal(report['n-duplicate'], { fox: 1 })
})

test('who shares a step changes no bit: small steps, little memory, other items', async () => {
  const found = await task('fox', fox)
  const { samples } = await evaluateTasks(stories, [found])
  // Five pages: not even four of the items at once.
  const small = await load(golden('stories'), { batch: 7, maxLogits: 3, cacheMemory: 5 * 40e3, context: 200 })
  const repeated = Array.from({ length: 30 }, () => fox[1] as (typeof fox)[0])
  const many = { ...found, documents: [...found.documents, ...repeated] }
  const all = await evaluateTasks(stories, [many])
  assert.equal((await evaluateTasks(small, [many])).samples, all.samples)
  assert.equal(all.samples.fox?.slice(0, 4), samples.fox)
  assert.equal(all.samples.fox?.at(-1)?.resps, samples.fox?.[1]?.resps)
  for (const model of [stories, small]) {
    // As many as there can be: none was left open.
    const open = Array.from({ length: runtimeOf(model).cache.facts.conversations }, () => model.open())
    for (const conversation of open) conversation.close()
  }
  await small.close()
})

test('a prefix is computed once for all choices', async () => {
  const { engine } = runtimeOf(unigram)
  const step = engine.step
  let rows = 0
  engine.step = (all) => {
    rows += all.length
    return step.call(engine, all)
  }
  const long = { ctx: 'ab'.repeat(150), choices: ['a', 'bb', 'a c'], gold: 0 }
  await evaluateTasks(unigram, [await task('long', [long])])
  engine.step = step
  // All but the last token of the context; that one and all but the last of " a", " bb" and " a c".
  assert.is(rows, 299 + 2 + 3 + 4)
})

test('items longer than the context lose their beginning, and are counted', async () => {
  const model = await load(writeUnigram(), { type: 'f32', context: 20 })
  const documents = [
    { ctx: 'ab'.repeat(9), choices: ['a', 'b'], gold: 0 },
    { ctx: 'ab'.repeat(9), choices: ['a', 'bbb'], gold: 0 },
    { ctx: 'ab'.repeat(50), choices: ['a'.repeat(19), 'b'], gold: 1 },
  ]
  const report = await evaluateTasks(model, [await task('long', documents)])
  assert.equal(report['n-truncated'], { long: 2 })
  assert.equal(
    report.samples.long?.map(({ truncated }) => truncated),
    [0, 1, 99],
  )
  close(report.samples.long?.[2]?.resps[0], -Math.LN2 * 22, 1e-3)
  // 21 tokens, and not one before them to be read.
  const wide = [{ ctx: 'a', choices: ['a'.repeat(20), 'b'], gold: 0 }]
  const error = await failure(evaluateTasks(model, [await task('wide', wide)]))
  assert.is(error.code, 'BAD_PROMPT')
  assert.match(error.message, 'from 1 to 20 tokens')
  await model.close()
})

/** Context and continuation of the choices of one document. */
async function asked(name: string, document: unknown): Promise<string[][]> {
  const { format, documents } = await task(
    name,
    [document],
    (taskFormats.find((f) => f.name === name) as TaskFormat).file,
  )
  return format.ask(documents[0] as Task['documents'][0]).continuations.map((pair) => [pair.context, pair.continuation])
}

test('questions are asked as lm-evaluation-harness asks them', async () => {
  const plain = { ctx: 'To cut', choices: ['use a knife', 'use a spoon'], gold: 0 }
  for (const name of ['piqa', 'arc_easy', 'arc_challenge', 'mathqa'])
    assert.equal(await asked(name, plain), [
      ['Question: To cut\nAnswer:', ' use a knife'],
      ['Question: To cut\nAnswer:', ' use a spoon'],
    ])
  assert.equal((await asked('openbookqa', plain))[0], ['To cut', ' use a knife'])
  assert.equal((await asked('social_iqa', plain))[1], ['Q: To cut\nA:', ' use a spoon'])
  assert.equal(await asked('winogrande', { ...plain, ctx: 'The cat saw the dog, so _ ran off.' }), [
    ['The cat saw the dog, so use a knife', ' ran off.'],
    ['The cat saw the dog, so use a spoon', ' ran off.'],
  ])
  const wikiHow = {
    ctx: '[header] How to cut [title] Take it. [step] Cut',
    choices: ['it. [substeps] Now', 'on'],
    gold: 0,
  }
  assert.equal((await asked('hellaswag', wikiHow))[0], [' How to cut. Take it. Cut', ' it. Now'])
  assert.equal((await asked('logiqa', { ...plain, ctx: 'All cut.\nSome run.\nWho?' }))[1], [
    'Passage: All cut.\nSome run.\nQuestion: Who?\nChoices:\nA. use a knife\nB. use a spoon\nAnswer:',
    ' use a spoon',
  ])
  const yesNo = { ctx: 'is it', choices: ['no', 'yes'], gold: 1 }
  assert.equal((await asked('boolq', { ...yesNo, passage: 'It is.' }))[1], [
    'It is.\nQuestion: is it?\nAnswer:',
    ' yes',
  ])
  assert.equal((await asked('boolq_nopassage', { ...yesNo, ctx: 'is it?' }))[0], ['Question: is it?\nAnswer:', ' no'])
  const truth = { ctx: 'Who?', choices: ['me', 'her', 'you'], gold: 0, mc2_true: ['me', 'us'], mc2_false: ['you'] }
  const mc1 = await asked('truthfulqa_mc1', truth)
  assert.equal(
    mc1.map(([, choice]) => choice),
    [' her', ' me', ' you'],
  )
  assert.match(
    mc1[0]?.[0] as string,
    /^Q: What is human life expectancy in .*\n\nQ: Where were .*Spain\.\n\nQ: Who\?\nA:$/s,
  )
  assert.equal(
    (await asked('truthfulqa_mc2', truth)).map(([, choice]) => choice),
    [' me', ' us', ' you'],
  )
})

test('the right one of TruthfulQA is still the right one where choices are sorted', async () => {
  const document = { ctx: 'a', choices: ['b', 'a', 'c'], gold: 0, mc2_true: ['b'], mc2_false: ['a'] }
  const { samples } = await evaluateTasks(unigram, [await task('truthfulqa_mc1', [document], 'truthfulqa_mc')])
  assert.equal(
    samples.truthfulqa_mc1?.map(({ target, acc }) => [target, acc]),
    [[[1], 0]],
  )
})

test('results have the fields of lm-evaluation-harness', async () => {
  const piqa = await task('piqa', ten)
  const report = await evaluateTasks(unigram, [piqa], { limit: 4 })
  assert.equal(Object.keys(report.results.piqa ?? {}), [
    'alias',
    'acc,none',
    'acc_stderr,none',
    'acc_norm,none',
    'acc_norm_stderr,none',
  ])
  assert.equal(report.versions, { piqa: 1 })
  assert.equal(report['n-shot'], { piqa: 0 })
  assert.equal(report['n-samples'], { piqa: { original: 10, effective: 4 } })
  assert.equal(report.higher_is_better, { piqa: { acc: true, acc_norm: true } })
  assert.equal(report.samples.piqa?.length, 4)
  assert.match(report.task_hashes.piqa as string, /^[0-9a-f]{64}$/)
})

test('options out of range, and an abort', async () => {
  const piqa = await task('piqa', ten)
  for (const options of [{ limit: 0 }, { limit: 1.5 }, { limits: 3 } as object])
    assert.is((await failure(evaluateTasks(unigram, [piqa], options))).code, 'BAD_OPTION')
  const controller = new AbortController()
  const onProgress = () => controller.abort(Object.assign(new Error('enough'), { code: 'ENOUGH' }))
  const all = { ...piqa, documents: Array.from({ length: 50 }, () => piqa.documents).flat() }
  const error = await failure(evaluateTasks(unigram, [all], { signal: controller.signal, onProgress }))
  assert.is(error.code, 'ENOUGH')
  assert.is((await evaluateTasks(unigram, [piqa])).results.piqa?.['acc,none'], 0.5)
})

test('a model without a tokenizer', async () => {
  const gta = await load(golden('gta'))
  const piqa = await task('piqa', ten)
  assert.match((await failure(evaluateTasks(gta, [piqa]))).message, 'tokenizer.json')
  await gta.close()
})

async function refuses(content: string | Uint8Array, line: number, ...words: string[]): Promise<void> {
  const path = join(folder, 'wrong.jsonl')
  writeFileSync(path, content)
  const error = (await failure(findTasks([path]))) as GtaError
  assert.is(error.code, 'BAD_FILE', error.message)
  for (const word of [`line ${line} of "${path}"`, ...words])
    assert.ok(error.message.includes(word), `${word}: ${error.message}`)
}

test('files that are wrong are refused with the line', async () => {
  const good = JSON.stringify(ten[0])
  const line = (change: object) => `${good}\n${JSON.stringify({ ...ten[0], ...change })}\n`
  await refuses(line({ ctx: undefined }), 2, 'ctx must be a text', 'found nothing')
  await refuses(line({ ctx: 7 }), 2, 'ctx must be a text', 'found 7')
  await refuses(line({ choices: undefined }), 2, 'choices', 'found nothing')
  await refuses(line({ choices: [] }), 2, 'choices', '2 to 100', 'found []')
  await refuses(line({ choices: ['a'] }), 2, 'choices', '["a"]')
  await refuses(line({ choices: ['a', ' '] }), 2, 'choices', 'blank')
  await refuses(line({ choices: ['a', 3] }), 2, 'choices')
  await refuses(line({ choices: 'ab' }), 2, 'choices')
  await refuses(line({ choices: Array.from({ length: 101 }, String) }), 2, 'choices')
  for (const gold of [2, -1, 0.5, '0', null, undefined]) await refuses(line({ gold }), 2, 'gold', 'from 0 to 1')
  await refuses(`${good}\n\n{"ctx": "a"`, 3, 'valid JSON')
  await refuses('[1, 2]\n', 1, 'a JSON object', '[1,2]')
  await refuses('null\n', 1, 'a JSON object')
  await refuses(Buffer.concat([Buffer.from(`${good}\n{"ctx":"`), Buffer.of(0xff, 0xfe)]), 2, 'UTF-8')
  await refuses(`${good}\n${good.slice(0, -1)},"x":"${'y'.repeat(1e6)}"}\n`, 2, '1000000 bytes')
})

test('formats want what they are about', async () => {
  const wrong = async (name: string, document: object, ...words: string[]) => {
    const file = (taskFormats.find((format) => format.name === name) as TaskFormat).file
    const error = await failure(task(name, [ten[0], { ...ten[0], ...document }], file))
    for (const word of ['line', `${file}.jsonl`, ...words])
      assert.ok(error.message.includes(word), `${word}: ${error.message}`)
  }
  await wrong('winogrande', {}, 'line 1', 'ctx', '_')
  await wrong('logiqa', {}, 'line 1', 'ctx', 'passage')
  await wrong('boolq', {}, 'line 1', 'passage')
  await wrong('truthfulqa_mc2', {}, 'line 1', 'mc2_true')
  writeFileSync(join(folder, 'winogrande.jsonl'), JSON.stringify({ ...ten[0], ctx: 'so it was _' }))
  assert.match((await failure(findTasks(['winogrande'], [folder]))).message, 'more behind it')
})

test('what is no file of tasks is refused', async () => {
  const empty = join(folder, 'empty.jsonl')
  writeFileSync(empty, '\n')
  assert.match((await failure(findTasks([empty]))).message, 'at least one line')
  assert.is((await failure(findTasks([join(folder, 'missing.jsonl')]))).code, 'NOT_FOUND')
  mkdirSync(join(folder, 'directory.jsonl'))
  assert.match((await failure(findTasks([join(folder, 'directory.jsonl')]))).message, 'that of a file')
  const unknown = await failure(findTasks(['piqaa'], [folder]))
  for (const word of ['piqaa.jsonl', folder, '--task-dir', 'winogrande']) assert.match(unknown.message, word)
  for (const name of ['', '.']) assert.is((await failure(findTasks([name], [folder]))).code, 'NOT_FOUND', name)
  for (const name of ['mbpp', 'ifeval', 'bbh', 'bbh_navigate'])
    assert.match((await failure(findTasks([name], [folder]))).message, `"${name}", whose answers are texts`)
  assert.match((await failure(findTasks(['piqa', 'piqa'], [folder]))).message, 'different, found "piqa"')
})

test('the tasks of a clone are found by name, and are whole', async () => {
  const names = ['piqa', 'arc_easy', 'arc_challenge', 'hellaswag', 'winogrande', 'mathqa', 'boolq_nopassage']
  const tasks = await findTasks([...names, 'truthfulqa_mc'], [cloned])
  assert.equal(
    tasks.map(({ format }) => format.name),
    [...names, 'truthfulqa_mc1', 'truthfulqa_mc2'],
  )
  for (const { documents } of tasks) assert.is(documents.length, 500)
  const readme = readFileSync(new URL('../bench/tasks/README.md', import.meta.url), 'utf8')
  for (const { format } of tasks) assert.ok(readme.includes(`\`${format.file}.jsonl\``), format.file)
})

test.after(async () => {
  await unigram.close()
  await stories.close()
})

test.run()
