/** Answers taken apart: every form of calls, thoughts, what is no call, and every way to cut an answer into pieces. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { CallForm } from '../host/text/tools/calls.ts'
import { writeCalls } from '../host/text/tools/calls.ts'
import { functionGemma, gemma4 } from '../host/text/tools/gemma-form.ts'
import { granite, hermes, llama3, mistral, mistralNew } from '../host/text/tools/json-forms.ts'
import { type AnswerEvent, AnswerParser, type ParserOptions } from '../host/text/tools/parser.ts'
import { lfm2 } from '../host/text/tools/python-form.ts'
import { random as randoms } from './fixtures/checkpoints.ts'

const forms = [hermes, granite, llama3, mistral, mistralNew, lfm2, functionGemma, gemma4]
const think = { open: '<think>', close: '</think>' }

const tools = new Map<string, unknown>([
  ['get', { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' }, tags: {} } }],
  ['now', { type: 'object', properties: {} }],
])

interface Answer {
  content: string
  reasoning: string
  calls: { id: string; name: string; arguments: string; isBroken: boolean }[]
}

/** What an answer is, cut where `pieces` says so. */
function take(options: ParserOptions, pieces: readonly string[], isCut = false): Answer {
  let ids = 0
  const parser = new AnswerParser({ tools, newId: () => `id${ids++}`, ...options })
  const answer: Answer = { content: '', reasoning: '', calls: [] }
  for (const event of [...pieces.flatMap((piece) => parser.push(piece)), ...parser.end(isCut)]) add(answer, event)
  return answer
}

function add(answer: Answer, event: AnswerEvent): void {
  switch (event.type) {
    case 'content':
    case 'reasoning':
      answer[event.type] += event.text
      return
    case 'call':
      assert.is(event.index, answer.calls.length)
      answer.calls.push({ id: event.id, name: event.name, arguments: '', isBroken: false })
      return
    default: {
      assert.is(event.index, answer.calls.length - 1)
      const call = answer.calls.at(-1) as Answer['calls'][number]
      if (event.type === 'broken') call.isBroken = true
      else call.arguments += event.text
    }
  }
}

const whole = (calls: CallForm, text: string, more: ParserOptions = {}) => take({ calls, ...more }, [text])

/** Names and arguments of the calls, which must be whole. */
function callsIn(form: CallForm, text: string): [string, unknown][] {
  return whole(form, text).calls.map(({ name, arguments: json, isBroken }) => {
    assert.is(isBroken, false, text)
    return [name, JSON.parse(json)]
  })
}

const weather: [string, unknown] = ['get', { city: 'Bern', days: 2 }]

test('each form reads what it writes, one call and two', () => {
  const args = '{"city": "a \\"b\\" {}]<>\\n✓", "days": -1.5e3, "tags": [[], {"x": null}, true]}'
  for (const form of forms) {
    const one = { name: 'get', arguments: args }
    assert.equal(callsIn(form, writeCalls(form, [one])), [['get', JSON.parse(args)]], form.name)
    const two = writeCalls(form, [one, { name: 'now', arguments: '{}' }])
    assert.equal(callsIn(form, two), [['get', JSON.parse(args)], ['now', {}]], form.name) // biome-ignore format: one line
    const { content } = whole(form, two)
    assert.is(content, '', form.name)
  }
})

test('Hermes and Qwen: words around calls, arguments before the name, arguments as a string', () => {
  const call = '<tool_call>\n{"name": "get", "arguments": {"city": "Bern", "days": 2}}\n</tool_call>'
  const said = whole(hermes, `I look.\n\n${call}\n${call}\n Done. `)
  assert.is(said.content, 'I look.Done. ')
  assert.equal(said.calls.map(({ id }) => id), ['id0', 'id1']) // biome-ignore format: one line
  assert.equal(callsIn(hermes, call), [weather])
  assert.equal(callsIn(hermes, '<tool_call>{"arguments":{"city":"Bern","days":2},"name":"get"}'), [weather])
  assert.equal(callsIn(hermes, '<tool_call>{"name":"get","arguments":"{\\"city\\":\\"Bern\\",\\"days\\":2}"}'), [
    weather,
  ])
  assert.equal(callsIn(hermes, '<tool_call>{"name":"now"}</tool_call>'), [['now', {}]])
  assert.equal(callsIn(hermes, '<tool_call>{"name":"now","arguments":null}</tool_call>'), [['now', {}]])
  assert.equal(callsIn(hermes, '<tool_call>[{"name":"now"},{"name":"now"}]</tool_call>'), [['now', {}], ['now', {}]]) // biome-ignore format: one line
  // A line break within a string is no JSON, but what is meant is clear.
  assert.equal(callsIn(hermes, '<tool_call>{"name":"get","arguments":{"city":"a\nb"}}'), [['get', { city: 'a\nb' }]])
})

test('Qwen 3.5: tags, with values as the schema wants them', () => {
  const text =
    '<tool_call>\n<function=get>\n<parameter=city>\n42\n</parameter>\n<parameter=days>\n2\n</parameter>\n<parameter=tags>\n["a"]\n</parameter>\n</function>\n</tool_call>'
  assert.equal(callsIn(hermes, text), [['get', { city: '42', days: 2, tags: ['a'] }]])
  assert.equal(callsIn(hermes, '<tool_call><function=now>\n</function></tool_call>'), [['now', {}]])
  assert.equal(callsIn(hermes, '<tool_call><function=get><parameter=tags>True</parameter></function>'), [['get', { tags: true }]]) // biome-ignore format: one line
})

test('Llama 3: bare JSON, the tag, built-in tools', () => {
  const call = '{"name": "get", "parameters": {"city": "Bern", "days": 2}}'
  assert.equal(callsIn(llama3, ` ${call}`), [weather])
  assert.equal(callsIn(llama3, `${call}; ${call}`), [weather, weather])
  assert.equal(callsIn(llama3, `${call}\n${call}`), [weather, weather])
  assert.equal(callsIn(llama3, `<|python_tag|>${call}`), [weather])
  assert.equal(callsIn(llama3, `{"type": "function", "name": "now", "parameters": {}}`), [['now', {}]])
  assert.equal(callsIn(llama3, '<|python_tag|>get.call(city="Bern", days=2)'), [weather])
  // JSON that is an answer, and JSON behind words.
  for (const text of [
    '{"city": "Bern"}',
    `So: ${call}`,
    '{"name": "nobody", "parameters": {}}',
    '<|python_tag|>x = 1',
  ]) {
    assert.is(whole(llama3, text).content, text)
    assert.is(whole(llama3, text).calls.length, 0)
  }
})

test('Mistral: lists, and names before arguments', () => {
  const list = '[TOOL_CALLS] [{"name": "get", "arguments": {"city": "Bern", "days": 2}, "id": "abcdefghi"}]'
  assert.equal(callsIn(mistral, list), [weather])
  assert.equal(callsIn(mistral, '[TOOL_CALLS]get[ARGS]{"city": "Bern", "days": 2}[TOOL_CALLS]now[ARGS]{}'), [weather, ['now', {}]]) // biome-ignore format: one line
  assert.equal(callsIn(mistral, '[TOOL_CALLS]now{}'), [['now', {}]])
  assert.equal(callsIn(mistral, '[TOOL_CALLS]now[ARGS]null'), [['now', {}]])
  const { calls } = whole(mistral, '[TOOL_CALLS]now[CALL_ID]abcdefghi[ARGS]{}')
  assert.equal(calls, [{ id: 'abcdefghi', name: 'now', arguments: '{}', isBroken: false }])
})

test('Granite and Phi-4', () => {
  assert.equal(callsIn(granite, '<|tool_call|>[{"name": "get", "arguments": {"city": "Bern", "days": 2}}]'), [weather])
  assert.equal(callsIn(granite, '<|tool_call|>{"name":"now","arguments":{}}<|/tool_call|>'), [['now', {}]])
})

test('LFM2: Python, whose strings hold quotes as they are', () => {
  const read = (args: string) => callsIn(lfm2, `<|tool_call_start|>[get(${args})]<|tool_call_end|>`)[0]?.[1]
  assert.equal(read("city='Bern', days=2"), { city: 'Bern', days: 2 })
  assert.equal(read(`city='it's', tags=["a, b", ('c',), {'d': None, "e": True}, -1.5]`), {
    city: "it's",
    tags: ['a, b', ['c'], { d: null, e: true }, -1.5],
  })
  assert.equal(read('city="a\\n\\"b\\" \\u00e9\\x41 C:\\dir"'), { city: 'a\n"b" éA C:\\dir' })
  assert.equal(read(''), {})
  const two = whole(lfm2, '<|tool_call_start|>[now(), get(days=1)]<|tool_call_end|>Wait.')
  assert.equal(two.calls.map(({ name }) => name), ['now', 'get']) // biome-ignore format: one line
  assert.is(two.content, 'Wait.')
})

test('FunctionGemma and Gemma 4', () => {
  const text = '<start_function_call>call:get{city:<escape>a, {b}<escape>,days:2,tags:[<escape>x<escape>,{y:true}]}'
  assert.equal(callsIn(functionGemma, `${text}<end_function_call>`), [['get', { city: 'a, {b}', days: 2, tags: ['x', { y: true }] }]]) // biome-ignore format: one line
  assert.equal(callsIn(functionGemma, '<start_function_call>call:get{city:Bern}'), [['get', { city: 'Bern' }]])
  assert.equal(callsIn(gemma4, '<|tool_call>call:get{city:<|"|>x<|"|>}<tool_call|><|tool_call>call:now{}<tool_call|>'), [['get', { city: 'x' }], ['now', {}]]) // biome-ignore format: one line
})

test('thoughts: written by the model, opened by the prompt, never closed, none', () => {
  const read = (text: string, isReasoningOpen = false) => {
    const { content, reasoning } = take({ reasoning: think, isReasoningOpen }, [text])
    return [reasoning, content]
  }
  assert.equal(read('<think>\nhm <b>\n</think>\n\nHi <think>'), ['hm <b>', 'Hi <think>'])
  assert.equal(read('hm</think>Hi', true), ['hm', 'Hi'])
  assert.equal(read('<think>hm</think>Hi', true), ['hm', 'Hi'])
  assert.equal(read('hm', true), ['hm', ''])
  assert.equal(read(' Hi </think> '), ['', ' Hi </think> '])
  assert.equal(read('<think></think>Hi'), ['', 'Hi'])
  const both = whole(hermes, '<think>\nhm\n</think>\n\n<tool_call>{"name":"now"}</tool_call>', { reasoning: think })
  assert.equal([both.reasoning, both.content, both.calls.length], ['hm', '', 1])
  assert.is(whole(llama3, '<think>a</think>\n{"name":"now"}', { reasoning: think }).calls.length, 1)
})

test('what begins like a call and is none is said as it is', () => {
  const texts: [CallForm, string][] = [
    [hermes, 'a <tool_call> b'],
    [hermes, 'a <tool_call>{"name": "nobody", "arguments": {}}</tool_call> b'],
    [hermes, '<tool_call>{"name": "get", "arguments": [1]}</tool_call>'],
    [hermes, '<tool_call>{"foo": 1}'],
    [hermes, '<tool_call>{"arguments": {"a": 1'],
    [hermes, '<tool_call><function=nobody></function>'],
    [hermes, 'x<tool_c'],
    [granite, '<|tool_call|>no'],
    [mistral, '[TOOL_CALLS] [1, 2]'],
    [mistral, '[TOOL_CALLS]get this'],
    [lfm2, '<|tool_call_start|>[nobody(a=1)]<|tool_call_end|>'],
    [functionGemma, '<start_function_call>call:nobody{}<end_function_call>'],
  ]
  for (const [form, text] of texts) assert.equal(whole(form, text), { content: text, reasoning: '', calls: [] }, text)
  // One that is none does not hide the next.
  const after = whole(hermes, 'a <tool_call> <tool_call>{"name":"now"}</tool_call>')
  assert.equal([after.content, after.calls.length], ['a <tool_call>', 1])
})

test('a call that stops being one is broken, and the rest is said', () => {
  const texts: [CallForm, string, string, string][] = [
    [hermes, '<tool_call>{"name": "get", "arguments": {"a": 1, oops}} x', '{"a": 1, ', 'oops}} x'],
    [hermes, '<tool_call>{"name": "get", "arguments": {"a": 1', '{"a": 1', ''],
    [hermes, '<tool_call>{"name": "get", "arguments": {}, "more": 1}', '{}', ', "more": 1}'],
    [hermes, '<tool_call><function=get><parameter=city>x', '', '<parameter=city>x'],
    [lfm2, '<|tool_call_start|>[get(days=1, city=@x)]', '{"days": 1', ', city=@x)]'],
    [functionGemma, '<start_function_call>call:get{days:1,city}', '{"days": 1', ',city}'],
  ]
  for (const [form, text, json, rest] of texts) {
    const { calls, content } = whole(form, text)
    assert.equal(calls, [{ id: 'id0', name: 'get', arguments: json, isBroken: true }], text)
    assert.is(content, rest, text)
  }
})

/** Pieces of every form, whole and broken, in any order. */
const scraps = [
  '<think>', '</think>', '<tool_call>', '</tool_call>', '{"name": "get", "arguments": ', '{"city": "B\\u00e9", "days": 2}', '}',
  '<function=get>', '<parameter=city>', 'x', '</parameter>', '</function>', ' ', '\n', 'Hello', '[TOOL_CALLS]', '[', ']', ',', 'get[ARGS]',
  '<|tool_call_start|>[', 'get(', "city='it's'", ', ', 'days=2', ')', ']<|tool_call_end|>', '<start_function_call>call:get{', 'days:1',
  'city:<escape>a<escape>', '<end_function_call>', '<|python_tag|>', '{"name": "now"}', ';', '<|tool_call|>', '"', '\\', '😀', '<', '{', '<|tool_call>call:now{}', '<tool_call|>',
] // biome-ignore format: a list of scraps

test('an answer is the same however it is cut: 3,000 random ones, in random pieces and one by one', () => {
  const random = randoms(1)
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T
  let [withCalls, broken] = [0, 0]
  for (let round = 0; round < 3000; round++) {
    const calls = pick(forms)
    let text = Array.from({ length: 1 + Math.floor(random() * 12) }, () => pick(scraps)).join('')
    if (random() < 0.5) text = pick(['', 'Hi ', '<think>a</think>']) + writeCalls(calls, [{ name: 'get', arguments: '{"days": 1}' }]) + text // biome-ignore format: one line
    const options = { calls, reasoning: random() < 0.5 ? think : undefined, isReasoningOpen: random() < 0.2 }
    const pieces: string[] = []
    for (let at = 0; at < text.length; ) {
      const length = 1 + Math.floor(random() * 7)
      pieces.push(text.slice(at, at + length))
      at += length
    }
    const expected = take(options, [text])
    assert.equal(take(options, pieces), expected, `${calls.name}: ${JSON.stringify(pieces)}`)
    assert.equal(take(options, text.split('')), expected, `${calls.name}: ${text}`)
    if (expected.calls.length > 0) withCalls++
    for (const call of expected.calls) {
      if (call.isBroken) broken++
      else assert.type(JSON.parse(call.arguments), 'object', text)
    }
    // Without a call, all but white space and the marks of thoughts is there.
    const bare = (all: string) => all.replace(/\s|<\/?think>/g, '')
    if (expected.calls.length === 0) assert.is(bare(expected.reasoning + expected.content), bare(text), text)
  }
  assert.ok(withCalls > 500 && broken > 50, `${withCalls} with calls, ${broken} broken`)
})

const cutArguments = '{"city": "Bern", "days": 2, "tags": ["a", {"b": null}]}'

for (const form of forms)
  test(`${form.name}: cut off anywhere, a call is a part of one, and its marks are never said`, () => {
    const before = form.isBare ? '' : 'So: '
    const two = ['get', 'now'].map((name) => ({ name, arguments: name === 'get' ? cutArguments : '{}' }))
    const text = before + writeCalls(form, two)
    let [named, whole] = [0, 0]
    for (let length = before.length + 1; length <= text.length; length++) {
      const part = text.slice(0, length)
      const { content, calls } = take({ calls: form }, [part], true)
      assert.ok(content === before || content === before.trimEnd(), `${part}: ${content}`)
      assert.equal(take({ calls: form }, part.split(''), true), { content, reasoning: '', calls }, part)
      for (const [i, { name, arguments: json, isBroken }] of calls.entries()) {
        assert.is(name, two[i]?.name, part)
        const all = JSON.stringify(JSON.parse(two[i]?.arguments as string))
        if (!isBroken) assert.is(JSON.stringify(JSON.parse(json)), all, part)
        else assert.ok(two[i]?.arguments.startsWith(json) && (i === 1 || calls.length === 1), `${part}: ${json}`)
      }
      if (calls.length > 0) named++
      if (calls.filter(({ isBroken }) => !isBroken).length === 2) whole++
    }
    assert.ok(named > 40 && whole > 0, `${named} named, ${whole} whole`)
  })

test('cut off, the values of forms that are no JSON come as far as they are whole', () => {
  for (const [form, text, json] of [
    [lfm2, "<|tool_call_start|>[get(days=2, city='Be", '{"days": 2'],
    [functionGemma, '<start_function_call>call:get{days:2,city:<escape>Be', '{"days": 2'],
    [hermes, '<tool_call><function=get><parameter=days>2</parameter><parameter=ci', '{"days": 2'],
    [mistral, '[TOOL_CALLS]get[ARGS]', ''],
    [hermes, '<tool_call>{"name": "get", "argum', ''],
  ] as const)
    assert.equal(take({ calls: form }, [text], true), {
      ...{ content: '', reasoning: '' },
      calls: [{ id: 'id0', name: 'get', arguments: json, isBroken: true }],
    })
})

test('cut off, what is no call is said, and marks of thoughts are not', () => {
  for (const [form, text, content] of [
    [hermes, 'a <tool_call> b', 'a <tool_call> b'],
    [hermes, '<tool_call>{"name": "nobody"', '<tool_call>{"name": "nobody"'],
    [llama3, '{"city": "Be', '{"city": "Be'],
    [hermes, 'Hi </tool_ca', 'Hi </tool_ca'],
    [hermes, 'Hi \n', 'Hi \n'],
  ] as const)
    assert.is(take({ calls: form }, [text], true).content, content)
  assert.equal(take({ reasoning: think }, ['<think>hm</thi'], true), { content: '', reasoning: 'hm', calls: [] })
  assert.equal(take({ reasoning: think }, ['<thi'], true), { content: '', reasoning: '', calls: [] })
  // One that came to its end says all.
  assert.is(take({ reasoning: think }, ['<thi']).content, '<thi')
})

test('a text that ends the answer does so where it is said: not in a call, not in thoughts', () => {
  const call = '<tool_call>\n{"name": "get", "arguments": {"city": "Bern STOP"}}\n</tool_call>'
  const stop = { content: ['STOP', 'END'], reasoning: ['END'] }
  const cut = (text: string) => take({ calls: hermes, reasoning: think, stop }, text.split(''))
  const said = cut(`<think>a STOP</think>b ${call} c STO d STOP e ${call}`)
  assert.equal([said.reasoning, said.content, said.calls.length], ['a STOP', 'bc STO d ', 1])
  assert.equal(said.calls[0]?.arguments, '{"city": "Bern STOP"}')
  assert.equal(cut('<think>aEND</think>b'), { content: '', reasoning: 'a', calls: [] })
  assert.is(cut('a ST').content, 'a ST')
  // What holds a beginning of one back lets it go before a call.
  assert.is(cut(`a ST${call}OP`).content, 'a STOP')
  const parser = new AnswerParser({ calls: hermes, tools, stop })
  parser.push('Hi ST')
  assert.is(parser.isStopped, false)
  assert.equal(parser.push('OP and more'), [])
  assert.is(parser.isStopped, true)
})

test('ids are nine letters and digits, which Mistral wants', () => {
  const parser = new AnswerParser({ calls: hermes, tools })
  const ids = parser.push('<tool_call>{"name":"now"}</tool_call><tool_call>{"name":"now"}').flatMap((event) => (event.type === 'call' ? [event.id] : [])) // biome-ignore format: one line
  assert.is(ids.length, 2)
  for (const id of ids) assert.match(id, /^[a-zA-Z0-9]{9}$/)
  assert.is.not(ids[0], ids[1])
})

test('a call is told as it comes: its name first, then what is there of its arguments', () => {
  const parser = new AnswerParser({ calls: hermes, tools, newId: () => 'x' })
  assert.equal(parser.push('Hi <tool_'), [{ type: 'content', text: 'Hi' }])
  assert.equal(parser.push('call>{"name": "get", "arg'), [])
  assert.equal(parser.push('uments": {"ci'), [
    { type: 'call', index: 0, id: 'x', name: 'get' },
    { type: 'arguments', index: 0, text: '{"ci' },
  ])
  assert.equal(parser.push('ty": "B'), [{ type: 'arguments', index: 0, text: 'ty": "B' }])
})

test.run()
