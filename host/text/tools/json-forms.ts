/**
 * Calls as JSON: Hermes and Qwen (also the tags of Qwen 3.5 and Qwen3-Coder), Granite and Phi-4, Llama 3, Mistral. From the
 * chat templates of these models and the parsers of vLLM (entrypoints/openai/tool_parsers).
 */
import {
  type CallForm,
  type CallSink,
  copyJson,
  readArguments,
  readCallList,
  readCallObject,
  readMore,
  takeBehindBlanks,
} from './calls.ts'
import { readPythonCall } from './python-form.ts'
import type { Reader, Reading } from './reader.ts'
import { readTaggedCall } from './tagged-call.ts'

const jsonCall = (key: string) => (name: string) => `{"name": "${name}", "${key}": `

/** <tool_call>{"name": …, "arguments": {…}}</tool_call>, or <tool_call><function=…>…</function></tool_call>. */
export const hermes: CallForm = {
  name: 'hermes',
  openers: ['<tool_call>'],
  marks: ['</tool_call>'],
  open: '',
  call: (name) => `<tool_call>\n${jsonCall('arguments')(name)}`,
  close: '}\n</tool_call>',
  next: '\n',
  end: '',
  *read(reader, sink) {
    yield* reader.skipBlanks()
    const isTagged = yield* reader.take('<function=')
    const isCall = isTagged ? yield* readTaggedCall(reader, sink) : yield* readCallList(reader, sink)
    if (isCall) yield* takeBehindBlanks(reader, '</tool_call>')
    return isCall
  },
}

/** <|tool_call|>[{"name": …, "arguments": {…}}, …]; Phi-4 has a <|/tool_call|> behind it. */
export const granite: CallForm = {
  name: 'granite',
  openers: ['<|tool_call|>'],
  marks: ['<|/tool_call|>'],
  open: '<|tool_call|>[',
  call: jsonCall('arguments'),
  close: '}',
  next: ', ',
  end: ']',
  *read(reader, sink) {
    const isCall = yield* readCallList(reader, sink)
    if (isCall) yield* takeBehindBlanks(reader, '<|/tool_call|>')
    return isCall
  },
}

/**
 * {"name": …, "parameters": {…}} alone, with "; " between several; behind <|python_tag|> too, where built-in tools are
 * name.call(key="value").
 */
export const llama3: CallForm = {
  name: 'llama3',
  openers: ['<|python_tag|>'],
  isBare: true,
  marks: [],
  open: '',
  call: jsonCall('parameters'),
  close: '}',
  next: '; ',
  end: '',
  *read(reader, sink) {
    yield* reader.skipBlanks()
    const read = (yield* reader.peek()) === '{' ? readCallObject : readPythonCall
    if (!(yield* read(reader, sink))) return false
    return yield* readMore(reader, [';', ',', '<|python_tag|>'], '', (at) => read(at, sink))
  },
}

/** [TOOL_CALLS][{"name": …, "arguments": {…}}, …], up to Mistral's tokenizer v7. */
export const mistral: CallForm = {
  name: 'mistral',
  openers: ['[TOOL_CALLS]'],
  marks: ['[ARGS]', '[CALL_ID]'],
  open: '[TOOL_CALLS][',
  call: jsonCall('arguments'),
  close: '}',
  next: ', ',
  end: ']',
  read: readMistral,
}

/** [TOOL_CALLS]name[ARGS]{…} for each call, from tokenizer v11 on. */
export const mistralNew: CallForm = {
  ...mistral,
  name: 'mistral-args',
  open: '',
  call: (name) => `[TOOL_CALLS]${name}[ARGS]`,
  close: '',
  next: '',
  end: '',
}

function* readMistral(reader: Reader, sink: CallSink): Reading<boolean> {
  yield* reader.skipBlanks()
  const first = yield* reader.peek()
  if (first === '[' || first === '{') return yield* readCallList(reader, sink)
  const name = yield* reader.word(/[\w.-]/, 64)
  const id = (yield* reader.take('[CALL_ID]')) ? yield* reader.word(/\w/, 64) : undefined
  const isCall = (yield* reader.take('[ARGS]')) || (yield* reader.peek()) === '{'
  if (!isCall || !sink.knows(name)) return false
  yield* reader.skipBlanks()
  if ((yield* reader.peek()) === '{') {
    sink.begin(name, id)
    const isWhole = yield* copyJson(reader, (text) => {
      sink.arguments(text)
      return true
    })
    if (!isWhole) sink.breakOff()
    return true
  }
  const text = yield* readArguments(reader, undefined)
  if (text === undefined && !reader.isBroken) return false
  sink.begin(name, id)
  if (text === undefined) sink.breakOff()
  else sink.arguments(text)
  return true
}
