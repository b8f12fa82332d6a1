/**
 * A model that was first trained for a shorter context (longrope): up to that its short factors hold, as transformers has it; a
 * longer context that is asked for has the long ones from the first token on (docs/decisions/016). Against the golden of Phi 3.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { convert, type GtaError, load, type Model } from '../host/index.ts'
import { openSubject } from '../host/tools/bench/subject.ts'
import { golden, readJson, worst } from './fixtures/goldens.ts'

interface Case {
  name?: string
  prompt: number[]
  logits: number[]
  greedy: number[]
}

const directory = golden('families/phi3_longrope')
const { cases, ...visible } = readJson(`${directory}/golden.json`) as Case & { cases: Case[] }
const short = cases.find(({ name }) => name === 'short') as Case
const [original, asked, longest] = [32, 64, 128]

const failure = (promise: Promise<unknown>): Promise<GtaError> =>
  promise.then(
    () => assert.unreachable('it was accepted'),
    (error) => error,
  ) as Promise<GtaError>

async function withModel<T>(
  context: number | undefined,
  use: (model: Model) => Promise<T>,
  path = directory,
): Promise<T> {
  const model = await load(path, { ...(path === directory ? { type: 'f32' } : {}), context, threads: 1 })
  return await use(model).finally(() => model.close())
}

async function written(model: Model, { prompt, greedy }: Case): Promise<number[]> {
  const ids: number[] = []
  const onToken = (id: number) => ids.push(id)
  const stream = model.generate(prompt, { maxTokens: greedy.length, temperature: 0, onToken })
  while (!(await stream.next()).done);
  return ids
}

test('a context beyond the original one has the logits and the tokens of transformers for a text as long', async () => {
  assert.ok(visible.prompt.length > original)
  await withModel(asked, async (model) => {
    assert.ok(worst(await model.logits(visible.prompt), visible.logits) <= 1e-4)
    assert.equal(await written(model, visible), visible.greedy)
    // Chosen once: a short text has the long factors too.
    assert.ok(worst(await model.logits(short.prompt), short.logits) > 0.1)
  })
})

test('the default is the original context, with its own factors; a longer text is told how to choose', async () => {
  await withModel(undefined, async (model) => {
    assert.ok(worst(await model.logits(short.prompt), short.logits) <= 1e-4)
    assert.equal(await written(model, short), short.greedy)
    const { code, message } = await failure(model.logits(visible.prompt))
    assert.is(code, 'CONTEXT_FULL')
    assert.match(message, `raise -c (the model allows ${longest})`)
  })
  const { code, message } = await failure(load(directory, { context: longest + 1 }))
  assert.is(code, 'BAD_OPTION')
  assert.match(message, `${longest}`)
})

test('a packed file has both', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'gta-long-')), 'phi.gta')
  await convert(directory, path, { type: 'f32' })
  const logits = (context: number, { prompt }: Case) => withModel(context, (model) => model.logits(prompt), path)
  assert.ok(worst(await logits(asked, visible), visible.logits) <= 1e-4)
  assert.ok(worst(await logits(original, short), short.logits) <= 1e-4)
})

test('a conversation that was saved with one set of factors is not continued with the other', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'gta-long-')), 'session')
  await withModel(original, async (model) => {
    const conversation = model.open()
    await conversation.logits(short.prompt)
    await conversation.save(path)
  })
  const { code } = await failure(withModel(asked, (model) => model.restore(path)))
  assert.is(code, 'OTHER_MODEL')
  await withModel(original, async (model) => assert.ok((await model.restore(path)).length > 0))
})

test('fit and inspect say both contexts', () => {
  const run = (...args: string[]) => {
    const command = ['--disable-warning=ExperimentalWarning', 'host/cli/gta.ts', ...args]
    return spawnSync(process.execPath, command, { encoding: 'utf8', cwd: new URL('../', import.meta.url) }).stdout
  }
  assert.match(
    run('fit', directory, '-c', '300'),
    'note: the memory alone; a text of this model has 128 tokens at most',
  )
  assert.match(run('inspect', directory), '32 is what it was first trained for; -c up to 128 chooses other frequencies')
})

test('bench opens a model for the context of its tests', async () => {
  const subject = await openSubject({ model: directory, type: 'f32' } as Parameters<typeof openSubject>[0], asked)
  assert.is(subject.model.spec.maxContext, longest)
  await subject.close()
  const settings = { model: directory, type: 'f32' } as Parameters<typeof openSubject>[0]
  assert.match((await failure(openSubject(settings, longest + 1))).message, `at most ${longest}`)
})

test.run()
