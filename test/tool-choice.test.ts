/**
 * Calls held to the schemas of their tools: forced from the first token on, or from where a model that is free begins one.
 * The model here is chance: any token that may come comes, so that what is held is held by the mask alone.
 */
import { Ajv2020 } from 'ajv/dist/2020.js'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { defaultModel, load } from '../host/index.ts'
import { grammarOf } from '../host/text/structured/compile.ts'
import type { Constraint } from '../host/text/structured/constraint.ts'
import { TextStream } from '../host/text/text-stream.ts'
import { Tokenizer } from '../host/text/tokenizer.ts'
import { AnswerForm, type AnswerOptions } from '../host/text/tools/answer.ts'
import type { CallForm } from '../host/text/tools/calls.ts'
import { functionGemma, gemma4 } from '../host/text/tools/gemma-form.ts'
import { granite, hermes, llama3, mistral, mistralNew } from '../host/text/tools/json-forms.ts'
import type { AnswerEvent } from '../host/text/tools/parser.ts'
import { lfm2 } from '../host/text/tools/python-form.ts'
import { checkTools, type Tool } from '../host/text/tools/tool-list.ts'
import { tokenizerJson } from './fixtures/chats.ts'
import { failure, random as randoms } from './fixtures/checkpoints.ts'

const forms = [hermes, granite, llama3, mistral, mistralNew, lfm2, functionGemma, gemma4]
const think = { open: '<think>', close: '</think>' }

/** Bytes, and the control tokens of all forms: silent ones, as most models have them, but for Hermes' and thoughts. */
const names = [...new Set(forms.flatMap(({ openers, marks }) => [...openers, ...marks])), '</think>']
const json = {
  ...tokenizerJson,
  added_tokens: [
    ...tokenizerJson.added_tokens,
    ...names.map((content, i) => ({ id: 262 + i, content, special: !/^<\/?t/.test(content) })),
  ],
}
const tokenizer = await Tokenizer.open('t', new TextEncoder().encode(JSON.stringify(json)), {})
const END = 259
const vocabSize = 262 + names.length
const parts = { tokenizer, vocabSize, ends: new Set([END]) }

const tools = checkTools([
  {
    type: 'function',
    function: {
      name: 'get',
      parameters: {
        properties: {
          city: { type: 'string', maxLength: 3 },
          days: { type: 'integer', minimum: 1, maximum: 400 },
          unit: { enum: ['C', 'F'] },
          at: { type: 'array', items: { $ref: '#/$defs/point' }, maxItems: 2 },
        },
        required: ['city', 'unit'],
        $defs: { point: { type: 'object', properties: { x: { type: 'boolean' } }, required: ['x'] } },
      },
    },
  },
  { type: 'function', function: { name: 'now' } },
])
const ajv = new Ajv2020()
const checks = new Map(tools.map(({ function: { name, parameters } }) => [name, ajv.compile(parameters as object)]))

const formOf = (calls: CallForm, more: Partial<AnswerOptions> = {}) =>
  new AnswerForm({
    ...{ tokenizer, calls, reasoning: undefined, isReasoningOpen: false },
    ...{ tools, choice: 'required', isParallel: false, ...more },
  })

interface Written {
  text: string
  events: AnswerEvent[]
  isComplete: boolean
  tokens: number[]
}

/** Writes `script`, which must be allowed, and then whatever may come, up to an end. */
function write(form: AnswerForm, random: () => number, script: readonly number[] = [], most = 600): Written {
  const constraint = form.constraint(parts) as Constraint
  const shown = new TextStream(tokenizer, new Set(form.shownTokens))
  const parser = form.parser()
  const written: Written = { text: '', events: [], isComplete: false, tokens: [] }
  while (!constraint.isComplete && written.tokens.length < most) {
    const mask = constraint.allowed()
    const all = Array.from({ length: vocabSize }, (_, id) => id)
    const allowed = mask ? all.filter((id) => ((mask[id >> 5] ?? 0) >> (id & 31)) & 1) : all
    assert.ok(allowed.length > 0)
    const next = script[written.tokens.length]
    if (next !== undefined) assert.ok(allowed.includes(next), `${next} behind ${JSON.stringify(written.text)}`)
    const token = next ?? (allowed[Math.floor(random() * allowed.length)] as number)
    written.tokens.push(token)
    if (token === END) break
    constraint.push(token)
    const text = shown.push(token)
    written.text += text
    written.events.push(...parser.push(text))
  }
  written.isComplete = constraint.isComplete || written.tokens.at(-1) === END
  written.events.push(...parser.end())
  return written
}

/** The calls of an answer, which must all be whole and valid. */
function callsOf({ events, text }: Written): string[] {
  const calls: { name: string; json: string }[] = []
  for (const event of events) {
    if (event.type === 'call') calls.push({ name: event.name, json: '' })
    if (event.type === 'arguments') (calls.at(-1) as { json: string }).json += event.text
    assert.is.not(event.type, 'broken', text)
  }
  for (const { name, json } of calls) {
    const check = checks.get(name)
    assert.ok(check?.(JSON.parse(json)), `${text}: ${ajv.errorsText(check?.errors)}`)
  }
  return calls.map(({ name }) => name)
}

const contentOf = ({ events }: Written, type: 'content' | 'reasoning' = 'content') =>
  events.map((event) => (event.type === type ? event.text : '')).join('')

for (const form of forms)
  test(`${form.name}: a forced call is a call with valid arguments, and nothing else`, () => {
    const random = randoms(7)
    const called = new Set<string>()
    for (let round = 0; round < 20; round++) {
      const written = write(formOf(form), random)
      assert.is(written.isComplete, true, written.text)
      const calls = callsOf(written)
      assert.is(calls.length, 1, written.text)
      assert.is(contentOf(written), '', written.text)
      called.add(calls[0] as string)
      const named = write(formOf(form, { choice: { type: 'function', function: { name: 'get' } } }), random)
      assert.equal(callsOf(named), ['get'])
    }
    assert.is(called.size, 2)
  })

test('several calls, if they may be parallel', () => {
  const random = randoms(3)
  for (const form of forms) {
    const counts = Array.from({ length: 12 }, () => {
      const written = write(formOf(form, { isParallel: true }), random, [], 6000)
      assert.is(written.isComplete, true, written.text)
      return callsOf(written).length
    })
    assert.ok(Math.min(...counts) >= 1 && Math.max(...counts) > 1, `${form.name}: ${counts}`)
  }
})

const ids = (text: string) => tokenizer.encodeChat(text, '\ufdd0')

for (const form of forms)
  test(`${form.name}: a free answer is free until it begins a call, whose arguments are valid then`, () => {
    const random = randoms(11)
    const auto = formOf(form, { choice: 'auto' })
    const opener = form.isBare ? '{"name"' : (form.openers[0] as string)
    const before = form.isBare ? '' : 'So <b>: '
    for (let round = 0; round < 12; round++) {
      const written = write(auto, random, ids(before + opener))
      assert.is(callsOf(written).length, 1, written.text)
      assert.is(contentOf(written), before.trimEnd(), written.text)
      assert.is(written.isComplete, true, written.text)
    }
    // Words alone are not held.
    const constraint = auto.constraint(parts) as Constraint
    for (const id of ids('Hello {"name": 1}')) {
      assert.is(constraint.allowed(), undefined)
      constraint.push(id)
    }
    assert.is(constraint.isComplete, false)
  })

test('a free answer goes on behind a call, and may call again', () => {
  const constraint = formOf(hermes, { choice: 'auto', isParallel: true }).constraint(parts) as Constraint
  for (const id of ids('<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>')) constraint.push(id)
  assert.is(constraint.allowed(), undefined)
  assert.is(constraint.isComplete, false)
  for (const id of ids('\n<tool_call>')) constraint.push(id)
  assert.ok(constraint.allowed())
})

test('white space that a model likes better, and other tags of Llama, are held too', () => {
  const begins: [CallForm, string][] = [
    [hermes, '<tool_call>{"name": "ge'],
    [hermes, '<tool_call> \n'],
    [llama3, '<|python_tag|>{"name": "n'],
    [llama3, '\n{"name": "get", "param'],
    [mistral, '[TOOL_CALLS][{"na'],
  ]
  const random = randoms(5)
  for (const [form, begin] of begins) {
    const auto = formOf(form, { choice: 'auto' })
    // The mask comes with the opener; what was in one token with it counts as well.
    const grammar = (auto as unknown as { grammars: { rest(text: string): unknown } }).grammars.rest(begin.trimStart())
    assert.ok(grammar, begin)
    assert.is(callsOf(write(auto, random, ids(form.isBare ? '{"name"' : (form.openers[0] as string)))).length, 1)
  }
})

test('a call begins behind thoughts: those that the prompt has opened, those that the model opens, or none', () => {
  const random = randoms(9)
  const thoughtful = (isReasoningOpen: boolean) => formOf(hermes, { reasoning: think, isReasoningOpen })
  const open = write(thoughtful(true), random, ids('hm <tool_call> x</think>'))
  assert.equal([contentOf(open, 'reasoning'), callsOf(open).length, contentOf(open)], ['hm <tool_call> x', 1, ''])
  const own = write(thoughtful(false), random, ids('<think>hm</think>\n\n'))
  assert.equal([contentOf(own, 'reasoning'), callsOf(own).length, contentOf(own)], ['hm', 1, ''])
  const none = write(thoughtful(false), random, ids('<tool_call>'))
  assert.equal([contentOf(none, 'reasoning'), callsOf(none).length, contentOf(none)], ['', 1, ''])
})

test('an answer of a form of its own, behind thoughts, and beside calls', () => {
  const response = grammarOf({ type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] })
  const random = randoms(13)
  const alone = formOf(hermes, { tools: [], choice: 'none', response, reasoning: think, isReasoningOpen: true })
  const written = write(alone, random, ids('hm</think>'))
  assert.type(JSON.parse(contentOf(written)).ok, 'boolean')
  const both = formOf(hermes, { choice: 'auto', response })
  const seen = new Set(
    Array.from({ length: 30 }, () => {
      const either = write(both, random)
      assert.is(either.isComplete, true)
      if (callsOf(either).length === 1) return 'call'
      assert.type(JSON.parse(contentOf(either)).ok, 'boolean')
      return 'response'
    }),
  )
  assert.is(seen.size, 2)
})

test('what calls nothing is not held, and shows no control tokens', () => {
  for (const more of [{ tools: [] as Tool[], choice: 'none' as const }, { choice: 'none' as const }]) {
    const form = formOf(lfm2, more)
    assert.is(form.isHeld, false)
    assert.equal(form.shownTokens, [])
  }
  assert.ok(formOf(lfm2).shownTokens.includes(tokenizer.controlAt('<|tool_call_end|>') as number))
})

test('a schema that cannot be enforced is refused by name', () => {
  const bad = checkTools([
    { type: 'function', function: { name: 'f', parameters: { type: 'object', unevaluatedProperties: false } } },
  ])
  assert.throws(() => formOf(hermes, { tools: bad }), /unevaluatedProperties/)
})

test('the stories model, which never learnt to call, calls when it is forced to, and is read as it writes', async () => {
  const model = await load(defaultModel)
  try {
    const prompt = await model.applyChatTemplate([{ role: 'user', content: 'Is it warm in Bern?' }], {
      ...{ template: 'chatml', tools: tools.slice(1), toolChoice: 'required', parallelToolCalls: false },
    })
    assert.match(prompt.text, '"name": "now"')
    const parser = prompt.parser()
    const events: AnswerEvent[] = []
    const stream = model.generate(prompt.tokens, { ...prompt.options, seed: 1, maxTokens: 300 })
    for await (const piece of stream) events.push(...parser.push(piece))
    const { finish, text } = await stream.result
    assert.is(finish, 'stop', text)
    assert.is(callsOf({ text, events: [...events, ...parser.end()], isComplete: true, tokens: [] }).length, 1)
    // Where nothing is asked for, nothing is held.
    const free = await model.applyChatTemplate([{ role: 'user', content: 'Hi' }], { template: 'chatml' })
    assert.is(free.options.constraint, undefined)
    const error = await failure(
      model.applyChatTemplate([{ role: 'user', content: 'Hi' }], { template: 'chatml', tool: [] } as never),
    )
    assert.is(error.code, 'BAD_OPTION')
  } finally {
    await model.close()
  }
})

test.run()
