/**
 * Calls of Qwen 3.5 and Qwen3-Coder: <function=name>, <parameter=key> value </parameter> for each argument, </function>.
 * A value is a text where its schema says so, else JSON if it is any (as vLLM's qwen3coder_tool_parser.py decides).
 */
import type { CallSink } from './calls.ts'
import type { Reader, Reading } from './reader.ts'

/** Characters of a value. */
const MAX_VALUE = 1 << 20

/** Behind `<function=`. False: it is no call. */
export function* readTaggedCall(reader: Reader, sink: CallSink): Reading<boolean> {
  const name = yield* reader.until('>', 64)
  if (name === undefined || !sink.knows(name)) return false
  sink.begin(name, undefined)
  const properties = propertiesOf(sink.schemaOf(name))
  let separator = '{'
  for (;;) {
    yield* reader.skipBlanks()
    if (yield* reader.take('</function>')) break
    const key = (yield* reader.take('<parameter=')) ? yield* reader.until('>', 256) : undefined
    const value = key === undefined ? undefined : yield* reader.until('</parameter>', MAX_VALUE)
    if (key === undefined || value === undefined) {
      sink.breakOff()
      return true
    }
    // A line feed at each end belongs to the tags.
    const text = value.replace(/^\n/, '').replace(/\n$/, '')
    sink.arguments(`${separator}${JSON.stringify(key)}: ${jsonOfText(text, properties[key])}`)
    separator = ', '
  }
  sink.arguments(separator === '{' ? '{}' : '}')
  return true
}

function propertiesOf(schema: unknown): Record<string, unknown> {
  const properties = (schema as { properties?: unknown } | undefined)?.properties
  return typeof properties === 'object' && properties !== null ? { ...properties } : {}
}

/** JSON of a value that is written without quotes. Python's words for truth count too, as templates print them. */
export function jsonOfText(text: string, schema: unknown): string {
  const types = [(schema as { type?: unknown } | undefined)?.type].flat()
  const trimmed = text.trim()
  if (types.includes('string') && !(types.includes('null') && trimmed === 'null')) return JSON.stringify(text)
  const json = { True: 'true', False: 'false', None: 'null' }[trimmed] ?? trimmed
  try {
    JSON.parse(json)
    return json
  } catch {
    return JSON.stringify(text)
  }
}
