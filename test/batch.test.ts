/** gta batch: every request has one result, whatever is wrong with it, wherever the run was cut off, in whatever order. */
import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { BatchLine } from '../host/cli/batch-line.ts'
import { type BatchCounts, type BatchOptions, runBatch } from '../host/fleet/batch.ts'
import { batchErrors } from '../host/fleet/errors.ts'
import { IdSet } from '../host/fleet/id-set.ts'
import { type Line, readLines } from '../host/fleet/lines.ts'
import { OutputFile, type OutputFileOptions } from '../host/fleet/output.ts'
import { MAX_LINE } from '../host/fleet/requests.ts'
import { failure, temporary } from './fixtures/checkpoints.ts'
import { runHere } from './harness/command.ts'

const folder = temporary()
let files = 0
const newPath = () => join(folder, `out-${files++}.jsonl`)

/** An answer after some turns of the event loop, so that answers overtake each other. */
const echo: BatchOptions['answer'] = async ({ customId, body }) => {
  for (let turns = Number(body.turns ?? 0); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve))
  return { status: 200, body: { of: customId } }
}

const lineOf = (customId: string, body: object = {}) => JSON.stringify({ custom_id: customId, body })

interface Ran extends Partial<Omit<BatchOptions, 'input' | 'output'>>, OutputFileOptions {}

/** Runs a batch with answers that no model gives. */
async function runWith(text: string | Uint8Array, path: string, options: Ran = {}): Promise<BatchCounts> {
  const output = await OutputFile.open(path, options)
  try {
    await output.begin()
    return await runBatch({
      input: Readable.from([Buffer.from(text)]),
      output,
      concurrency: 4,
      answer: echo,
      signal: new AbortController().signal,
      otherOrder: () => batchErrors.otherOrder(path),
      ...options,
    })
  } finally {
    await output.close()
  }
}

// biome-ignore lint/suspicious/noExplicitAny: the shapes are what is tested
const resultsIn = (path: string): any[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
const idsIn = (path: string) => resultsIn(path).map(({ custom_id: id }) => id)

const ids = Array.from({ length: 30 }, (_, i) => `log ${i}`)
/** The first of every eight is slow. */
const many = ids.map((id, i) => lineOf(id, { turns: i % 8 === 0 ? 40 : i % 3 })).join('\n')

test('endpoints answer as in gta serve, and what they refuse has their status; exit code 3', async () => {
  const asked = [
    ['a', '/v1/completions', { prompt: 'Once upon', max_tokens: 4, temperature: 0 }],
    ['b', '/v1/chat/completions', { messages: [{ role: 'user', content: 'Once' }], max_tokens: 2 }],
    ['c', '/v1/embeddings', { input: 'Once' }],
    ['d', '/v1/responses', { input: 'Once', max_output_tokens: 2 }],
    ['long', '/v1/completions', { prompt: 'once '.repeat(600), max_tokens: 2 }],
    ['no model', '/v1/completions', { prompt: 'Once', model: 'gpt-4o' }],
    ['stream', '/v1/completions', { prompt: 'Once', stream: true, max_tokens: 1 }],
    ['n', '/v1/completions', { prompt: 'Once', n: 5, max_tokens: 1 }],
  ] as const
  const text = asked.map(([id, url, body]) => JSON.stringify({ custom_id: id, method: 'POST', url, body })).join('\n')
  writeFileSync(join(folder, 'in.jsonl'), text)
  const args = ['batch', 'in.jsonl', 'api.jsonl', '-t', '1', '--chat-template', 'chatml', '--ordered', '--json']
  const { code, stdout, stderr } = await runHere(folder, ...args)
  assert.is(code, 3, stderr)
  const { requests, kept, answered, failed, tokens } = JSON.parse(stdout)
  assert.equal(
    { requests, kept, answered, failed, tokens },
    { requests: 8, kept: 0, answered: 4, failed: 4, tokens: 8 },
  )
  const results = resultsIn(join(folder, 'api.jsonl'))
  assert.equal(
    results.map(({ custom_id: id }) => id),
    asked.map(([id]) => id),
  )
  const [a, b, c, d] = results.map(({ response }) => response.body)
  assert.is(a.object, 'text_completion')
  assert.is(a.choices[0].text, ' a time, there')
  assert.is(b.object, 'chat.completion')
  assert.is(c.data[0].object, 'embedding')
  assert.is(d.object, 'response')
  const refused = results.slice(4).map(({ response }) => [response.status_code, response.body.error.code])
  assert.equal(refused, [
    [400, 'context_length_exceeded'],
    [404, 'model_not_found'],
    [400, 'unsupported_parameter'],
    [400, 'invalid_value'],
  ])
  for (const { id, response, error } of results) {
    assert.match(id, /^batch_req_[\da-f]{32}$/)
    assert.match(response.request_id, /^req_[\da-f]{32}$/)
    assert.is(error, null)
  }
  const again = await runHere(folder, ...args.slice(0, -2), '--resume')
  assert.is(again.code, 3, 'the output still has errors')
  assert.match(again.stderr, /0 answered, 0 failed, 8 were there/)
})

test('what is wrong with a line is told in its place, and ends nothing', async () => {
  const good = lineOf('good')
  const wrong: [string | Uint8Array, string, string | null][] = [
    ['not json', 'invalid_json', null],
    ['[]', 'invalid_json', null],
    ['"text"', 'invalid_json', null],
    [Buffer.from([34, 0xff, 34]), 'invalid_json', null],
    ['{"body":{}}', 'missing_custom_id', null],
    ['{"custom_id":null,"body":{}}', 'missing_custom_id', null],
    ['{"custom_id":7,"body":{}}', 'invalid_value', null],
    ['{"custom_id":"","body":{}}', 'invalid_value', null],
    ['{"custom_id":"good","body":{"second":true}}', 'duplicate_custom_id', null],
    ['{"custom_id":"url","url":"/v1/files","body":{}}', 'invalid_value', 'url'],
    ['{"custom_id":"proto","url":"__proto__","body":{}}', 'invalid_value', 'proto'],
    ['{"custom_id":"get","method":"GET","body":{}}', 'invalid_value', 'get'],
    ['{"custom_id":"none"}', 'invalid_value', 'none'],
    ['{"custom_id":"list","body":[]}', 'invalid_value', 'list'],
    ['{"custom_id":"more","body":{},"priority":1}', 'unknown_field', 'more'],
    [`{"custom_id":"long","body":{"x":"${'x'.repeat(MAX_LINE)}"}}`, 'line_too_long', null],
  ]
  const newline = Buffer.from('\r\n')
  const lines = [Buffer.from(`\ufeff${good}`), ...wrong.map(([line]) => Buffer.from(line)), Buffer.from(' '), Buffer.from(lineOf('last'))] // biome-ignore format: one line
  const path = newPath()
  const text = Buffer.concat(lines.flatMap((line) => [line, newline]))
  const counts = await runWith(text, path, { isOrdered: true })
  assert.is(counts.answered, 2)
  assert.is(counts.failed, wrong.length)
  const results = resultsIn(path)
  assert.equal([results[0].custom_id, results.at(-1).custom_id], ['good', 'last'])
  const told = results.slice(1, -1).map(({ custom_id: id, response, error }) => ({ id, response, code: error.code, line: error.line })) // biome-ignore format: one line
  assert.equal(
    told,
    wrong.map(([, code, id], i) => ({ id, response: null, code, line: i + 2 })),
  )
  // All of them have a result: nothing is told again.
  const before = readFileSync(path)
  assert.is((await runWith(text, path, { isResumed: true })).kept, lines.length - 1)
  assert.equal(readFileSync(path), before)
})

test('results come as soon as they are there; with isOrdered as the requests stand, and few of them wait', async () => {
  const free = newPath()
  await runWith(many, free)
  assert.not.equal(idsIn(free), ids)
  assert.equal(idsIn(free).sort(), [...ids].sort())
  const ordered = newPath()
  await runWith(many, ordered, { isOrdered: true })
  assert.equal(idsIn(ordered), ids)
  // The first one is answered when no other can be begun: those behind it are bounded.
  let begun = 0
  let release = () => {}
  const first = new Promise<void>((resolve) => {
    release = resolve
  })
  const answer: BatchOptions['answer'] = async (request, signal) => {
    begun++
    if (begun === 1) await first
    if (begun === 32) setImmediate(() => setImmediate(release))
    return await echo({ ...request, body: {} }, signal)
  }
  const lines = Array.from({ length: 100 }, (_, i) => lineOf(`${i}`)).join('\n')
  let atRelease = 0
  void first.then(() => {
    atRelease = begun
  })
  await runWith(lines, newPath(), { isOrdered: true, concurrency: 2, answer })
  assert.is(atRelease, 32)
})

test('no more are answered at a time than may be, and no more are read than the limit', async () => {
  let running = 0
  let most = 0
  const answer: BatchOptions['answer'] = async (request, signal) => {
    most = Math.max(most, ++running)
    const answered = await echo(request, signal)
    running--
    return answered
  }
  const path = newPath()
  const counts = await runWith(many, path, { concurrency: 3, limit: 10, answer })
  assert.is(most, 3)
  assert.equal([counts.requests, counts.answered], [10, 10])
  assert.equal(idsIn(path).sort(), ids.slice(0, 10).sort())
})

test('a run that was cut off anywhere goes on: every id once, and what is whole is not asked again', async () => {
  for (const isOrdered of [false, true]) {
    const whole = newPath()
    await runWith(many, whole, { isOrdered })
    const bytes = readFileSync(whole)
    const second = bytes.indexOf(10) + 1
    const lengths = [0, 1, 40, second - 1, second, second + 1, second + 18, 1500, 3001, bytes.length - 1, bytes.length]
    for (const length of lengths) {
      const path = newPath()
      writeFileSync(path, bytes.subarray(0, length))
      const left = bytes.subarray(0, length).toString().split('\n').length - 1
      let cut = 0
      const onCut = (count: number) => {
        cut = count
      }
      const counts = await runWith(many, path, { isResumed: true, isOrdered, onCut })
      assert.equal([counts.kept, counts.answered], [left, 30 - left], `${length} bytes`)
      assert.is(cut, length - (bytes.subarray(0, length).lastIndexOf(10) + 1))
      assert.equal(isOrdered ? idsIn(path) : idsIn(path).sort(), isOrdered ? ids : [...ids].sort())
      assert.equal(readFileSync(path).subarray(0, length - cut), bytes.subarray(0, length - cut))
    }
  }
})

test('what a power cut leaves, bytes of zero, is cut off too', async () => {
  const path = newPath()
  await runWith(many, path)
  const bytes = readFileSync(path)
  bytes.fill(0, 1000, 1100)
  writeFileSync(path, bytes)
  await runWith(many, path, { isResumed: true })
  assert.equal(idsIn(path).sort(), [...ids].sort())
})

test('a file that is no output of a batch, or a damaged one, is refused and stays as it is', async () => {
  const [a, b] = [lineOf('a'), lineOf('b')]
  const good = newPath()
  await runWith(`${a}\n${b}`, good, { isOrdered: true })
  const [first, second] = readFileSync(good, 'utf8').split('\n') as [string, string]
  const cases: [string | Uint8Array, number][] = [
    ['dear diary', 1],
    ['dear diary\n', 1],
    [`${many}\n`, 1],
    [Buffer.alloc(5000), 1],
    [`${first}\n{"id":1}\n${second}\n`, 2],
    [`${first}\n${second}\n${first}\n`, 3],
  ]
  for (const [content, line] of cases) {
    const path = newPath()
    writeFileSync(path, content)
    const error = await failure(runWith(`${a}\n${b}`, path, { isResumed: true }))
    assert.is(error.code, 'BAD_FILE')
    assert.match(error.message, new RegExp(`^line ${line} of ".*${path}`))
    assert.equal(readFileSync(path), Buffer.from(content))
  }
})

test('--ordered goes on only with results that stand in order', async () => {
  const lines = ['a', 'b', 'c'].map((id) => lineOf(id))
  const path = newPath()
  for (const kept of [['b', 'a'], ['b'], ['a', 'x']]) {
    await runWith(kept.map((id) => lineOf(id)).join('\n'), path, { isOrdered: true, isForced: true })
    const before = readFileSync(path)
    const error = await failure(runWith(lines.join('\n'), path, { isOrdered: true, isResumed: true }))
    assert.match(error.message, /^--ordered with --resume/)
    assert.equal(readFileSync(path), before)
  }
})

test('what is there is written over by --force only, and no more is lost before the model is loaded', async () => {
  const path = newPath()
  writeFileSync(path, '')
  await runWith(lineOf('a'), path)
  assert.equal(idsIn(path), ['a'])
  assert.is((await failure(runWith(lineOf('b'), path))).code, 'BAD_OPTION')
  assert.equal(idsIn(path), ['a'])
  await (await OutputFile.open(path, { isForced: true })).close()
  assert.equal(idsIn(path), ['a'])
  await runWith(lineOf('b'), path, { isForced: true })
  assert.equal(idsIn(path), ['b'])
})

test('a signal ends it, and what was answered is kept', async () => {
  const path = newPath()
  const controller = new AbortController()
  const onProgress = ({ answered }: BatchCounts) => answered === 9 && controller.abort(new Error('enough'))
  const error = await failure(runWith(many, path, { signal: controller.signal, onProgress }))
  assert.is(error.message, 'enough')
  const kept = idsIn(path)
  assert.ok(kept.length >= 9 && kept.length < 30, `${kept.length} results`)
  const counts = await runWith(many, path, { isResumed: true })
  assert.equal([counts.kept, counts.answered], [kept.length, 30 - kept.length])
})

test('an output that cannot be written ends the run at once, even while the input says nothing', async () => {
  const input = new Readable({ read() {} })
  input.push(`${lineOf('a')}\n`)
  const output = await OutputFile.open('/dev/full')
  const options = { input, output, concurrency: 1, answer: echo, signal: new AbortController().signal }
  const error = await failure(runBatch({ ...options, otherOrder: () => new Error('order') }))
  assert.is(error.code, 'WRITE_FAILED')
  assert.match(error.message, '/dev/full')
  await output.close()
})

test('a second program that writes to the output is noticed', async () => {
  const path = newPath()
  const onProgress = ({ answered }: BatchCounts) => answered === 3 && appendFileSync(path, 'mine')
  const error = await failure(runWith(many, path, { onProgress }))
  assert.match(error.message, 'one program at a time')
})

/** The built command with streams of its own. */
function spawnBatch(args: string[], input: string): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const command = fileURLToPath(new URL('../dist/gta.mjs', import.meta.url))
  const child = spawn(process.execPath, [command, 'batch', ...args, '-t', '1'], { cwd: folder })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name].on('data', (part) => {
      output[name] += part
    })
  child.stdin.end(input)
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, ...output })))
}

test('from stdin to stdout: results alone, and what was done on stderr', async () => {
  const asked = ['a', 'b'].map((id) => JSON.stringify({ custom_id: id, url: '/v1/completions', body: { prompt: 'Once', max_tokens: 2 } })) // biome-ignore format: one line
  const { code, stdout, stderr } = await spawnBatch(['-', '-', '--ordered'], asked.join('\n'))
  assert.is(code, 0, stderr)
  const results = stdout.trimEnd().split('\n').map((line) => JSON.parse(line)) // biome-ignore format: one line
  assert.equal(
    results.map(({ custom_id: id, response }) => [id, response.status_code, response.body.usage.completion_tokens]),
    [
      ['a', 200, 2],
      ['b', 200, 2],
    ],
  )
  assert.match(stderr, /^gta: batch: 2 answered, 0 failed, \d+ s, 4 tokens, [\d.]+ tok\/s\n$/)
})

test('wrong usage is exit code 2 and begins nothing', async () => {
  writeFileSync(join(folder, 'one.jsonl'), `${lineOf('a')}\n`)
  for (const [args, words] of [
    [['one.jsonl'], 'IN.jsonl and OUT.jsonl'],
    [['one.jsonl', 'x.jsonl', '--resume', '--force'], 'only one of'],
    [['one.jsonl', '-', '--resume'], '--resume must be left out'],
    [['one.jsonl', '-', '--json'], '--json must be left out'],
    [['one.jsonl', 'x.jsonl', '-np', '33'], '--concurrency must be'],
    [['one.jsonl', 'one.jsonl'], 'a new file'],
    [['one.jsonl', 'one.jsonl', '--force'], 'two files'],
  ] as const) {
    const { code, stderr } = await runHere(folder, 'batch', ...args)
    assert.equal([code, stderr.includes(words)], [2, true], stderr)
  }
  assert.is(readFileSync(join(folder, 'one.jsonl'), 'utf8'), `${lineOf('a')}\n`)
  assert.not.ok(existsSync(join(folder, 'x.jsonl')))
  const { code, stderr } = await runHere(folder, 'batch', 'nothing.jsonl', 'x.jsonl')
  assert.equal([code, stderr.includes('nothing there')], [1, true], stderr)
})

test('progress: how many, how fast, how long still', () => {
  const line = new BatchLine({ tokens: 0 }, 1000)
  const counts = { requests: 30, kept: 10, answered: 0, failed: 0, bytes: 400 }
  line.update(counts)
  line.update({ ...counts, answered: 1, bytes: 400 })
  const text = line.text({ ...counts, answered: 11, failed: 1, bytes: 500 }, performance.now() + 20_000)
  assert.match(text, /^batch: 11 answered, 1 failed, 10 were there, [\d.]+ tok\/s, 50 %, (100|101) s left|2 min left$/)
  assert.not.match(new BatchLine({ tokens: 0 }, undefined).text(counts, performance.now()), /%|left/)
})

test('lines are the same however the stream is cut, and an endless one is not held', async () => {
  const text = Buffer.from('one\n\ntwo\nlonger than that\nthree')
  for (let size = 1; size <= text.length; size++) {
    const parts = Array.from({ length: Math.ceil(text.length / size) }, (_, i) => text.subarray(i * size, (i + 1) * size)) // biome-ignore format: one line
    const lines: Line[] = []
    for await (const line of readLines(Readable.from(parts), 10)) lines.push(line)
    assert.equal(
      lines.map(({ number, bytes, end, isWhole }) => [number, bytes && String(bytes), end, isWhole]),
      [
        [1, 'one', 4, true],
        [2, '', 5, true],
        [3, 'two', 9, true],
        [4, undefined, 26, true],
        [5, 'three', 31, false],
      ],
    )
  }
})

test('a hundred thousand ids: each is known, no other is', () => {
  const set = new IdSet()
  for (let i = 0; i < 100_000; i++) assert.ok(set.add(`id ${i}`))
  assert.is(set.size, 100_000)
  for (let i = 0; i < 100_000; i += 7) assert.equal([set.add(`id ${i}`), set.has(`id ${i}`), set.has(`no ${i}`)], [false, true, false]) // biome-ignore format: one line
  assert.ok(set.add('half a pair \ud800') && set.add('half a pair \ud801'))
})

test.run()
