/** Callers in JavaScript have no types: whatever a public function is given, it works or throws an error that says what was wrong. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { convert, defaultModel, GtaError, load, type Model, SessionStore } from '../host/index.ts'
import { findHardware, fit } from '../host/tools/analyze/index.ts'
import { compare, evaluateTasks, findTasks } from '../host/tools/evaluate/index.ts'

const folder = mkdtempSync(join(tmpdir(), 'gta-edge-api-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

// biome-ignore lint/suspicious/noExplicitAny: wrong types are what is tested
type Any = any

const strange: unknown[] = [
  ...[undefined, null, true, 5, -1, 1.5, Number.NaN, 2n, '', 'x', Symbol('s'), Object.create(null), {}, [], () => 1],
  ...[[Symbol('s')], [Object.create(null)], [null], [[]], [-1], new Map(), new Date(Number.NaN), new URL('http://x/y')],
  { signal: 1 },
] // biome-ignore format: kinds in rows

const isTyped = (error: unknown) => error instanceof GtaError || (error as Error)?.name === 'ModelError'

/** What went wrong in a way that nobody can act on. Streams are read to their end, what was opened is closed. */
async function faultOf(call: () => Any): Promise<string | undefined> {
  try {
    const value = await call()
    if (typeof value?.[Symbol.asyncIterator] === 'function') for await (const _ of value);
    else if (typeof value?.close === 'function') await value.close()
    return undefined
  } catch (error) {
    const { name, message, stack } = error as Error
    return isTyped(error)
      ? undefined
      : `${name}: ${String(message).slice(0, 100)} ${String(stack).split('\n')[1]?.trim()}`
  }
}

/** Each argument, and each of the options that stand in the last one, in turn by every strange value. */
async function faults(name: string, call: (...given: Any[]) => Any, good: unknown[], options: string[] = []) {
  const found: string[] = []
  for (const [k, value] of strange.entries()) {
    const calls: [string, unknown[]][] = good.map((_, i) => [
      `argument ${i}`,
      good.map((one, at) => (at === i ? value : one)),
    ])
    for (const option of options)
      calls.push([option, [...good.slice(0, -1), { ...(good.at(-1) as object), [option]: value }]])
    for (const [what, given] of calls) {
      const fault = await faultOf(() => call(...given))
      if (fault) found.push(`${name}, ${what}, value ${k}: ${fault}`)
    }
  }
  return found
}

const short = { maxTokens: 1, temperature: 0 }
const methods = (model: Model): Parameters<typeof faults>[] => {
  const conversation = () => model.open({ busy: 'throw' })
  const begun = async () => {
    const one = conversation()
    await one.logits([1, 2])
    return one
  }
  const using = <T>(use: (one: Any, ...given: Any[]) => T, open: () => Any = begun) => async (...given: Any[]) => {
    const one = await open()
    try {
      const value: Any = await use(one, ...given)
      if (typeof value?.[Symbol.asyncIterator] === 'function') for await (const _ of value);
      return undefined
    } finally {
      one.close()
    }
  } // biome-ignore format: one function
  const chat = () => model.chat({ template: 'chatml' })
  const context = ['contextPolicy', 'keep', 'busy']
  const sampling = ['temperature', 'topK', 'topP', 'minP', 'repeatPenalty', 'seed', 'presencePenalty', 'logitBias']
  const writing = [
    ...sampling,
    'stop',
    'stopAtEos',
    'stopTokens',
    'speculate',
    'logprobs',
    'signal',
    'schema',
    'pattern',
    'json',
  ]
  const heard = ['onToken', 'onPrefill', 'maxTokens', 'shownTokens', 'promptLogprobs']
  const tokenizer = model.tokenizer as Any
  return [
    ['promptIds', model.promptIds.bind(model), ['a']],
    ['corpusIds', model.corpusIds.bind(model), ['a']],
    ['open', model.open.bind(model), [{}], context],
    ['restore', model.restore.bind(model), [join(folder, 'none'), {}], [...context, 'signal']],
    ['generate', model.generate.bind(model), ['a', short], [...writing, ...heard, ...context]],
    ['chat', model.chat.bind(model), [{ template: 'chatml' }], ['template', 'system', 'signal', ...context]],
    ['applyChatTemplate', model.applyChatTemplate.bind(model), [[{ role: 'user', content: 'a' }], { template: 'chatml' }], ['template', 'tools', 'toolChoice', 'parallelToolCalls', 'reasoningEffort', 'variables']],
    ['logits', model.logits.bind(model), ['a']],
    ['embed', model.embed.bind(model), [['a'], {}], ['signal']],
    ['evaluate', model.evaluate.bind(model), [[1, 2, 3], {}], ['signal', 'onProgress']],
    ['predict', model.predict.bind(model), [[1, 2, 3], {}], ['window', 'batch', 'signal']],
    ['conversation.generate', using((one, ...given) => one.generate(...given)), ['a', short], ['signal']],
    ['conversation.logits', using((one, given) => one.logits(given)), ['a']],
    ['conversation.rewind', using((one, given) => one.rewind(given)), [1]],
    ['conversation.save', using((one, ...given) => one.save(...given)), [join(folder, 's'), {}], ['signal', 'notes']],
    ['chat.send', using((one, ...given) => one.send(...given), chat), ['a', short], ['signal']],
    ['chat.save', using((one, ...given) => one.save(...given), chat), [join(folder, 'c'), {}], ['signal']],
    ['tokenizer.encode', tokenizer.encode.bind(tokenizer), ['a']],
    ['tokenizer.encodeCorpus', tokenizer.encodeCorpus.bind(tokenizer), ['a']],
    ['tokenizer.decode', tokenizer.decode.bind(tokenizer), [[1]]],
    ['evaluateTasks', evaluateTasks, [model, [], {}], ['limit', 'signal', 'shots']],
    ['compare', compare, [{ label: 'a', model }, [], [1, 2, 3], {}], ['signal', 'onProgress']],
  ] // biome-ignore format: a table
}

test('methods of a model, a conversation, a chat and a tokenizer', async () => {
  await using model = await load(defaultModel, { threads: 1, context: 64 })
  const found: string[] = []
  for (const [...given] of methods(model)) found.push(...(await faults(...given)))
  assert.equal(found, [])
})

test('functions that stand alone', async () => {
  const fields = [
    'type',
    'cache',
    'context',
    'threads',
    'memory',
    'cacheMemory',
    'offload',
    'verify',
    'signal',
    'onProgress',
    'gpu',
  ]
  const found = [
    ...(await faults('load', load as Any, [join(folder, 'none.gta'), {}], fields)),
    ...(await faults(
      'convert',
      convert as Any,
      [join(folder, 'none'), join(folder, 'out.gta'), {}],
      ['type', 'signal', 'force'],
    )),
    ...(await faults('fit', fit as Any, [undefined, undefined])),
    ...(await faults('findHardware', findHardware as Any, ['pi5'])),
    ...(await faults('findTasks', findTasks as Any, [['piqa']])),
    ...(await faults('SessionStore', (path) => new SessionStore(path), [folder])),
    ...(await faults('SessionStore.pathOf', (name) => new SessionStore(folder).pathOf(name), ['a'])),
    ...(await faults('SessionStore.remove', (name) => new SessionStore(folder).remove(name), ['a'])),
  ]
  assert.equal(found, [])
})

test.run()
