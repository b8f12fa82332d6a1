/** JSON as templates have it: what Python's json.loads makes of it, and json.dumps writes. */
import { jsonOf, type Value } from './values.ts'

/** Of a number JSON.parse tells how it was written, and JSON.stringify writes it like that: V8 11.4, not in TypeScript's types yet. */
export const json = JSON as typeof JSON & { rawJSON(text: string): object; isRawJSON(value: unknown): boolean }
export type Context = { source?: string }

/** The values of a template: whole numbers are ints, others floats, objects dicts. */
export function templateValue(text: string): Value {
  return json.parse(text, (_key: string, value: unknown, ...more: unknown[]) => {
    if (typeof value === 'number') {
      const { source } = more[0] as Context
      return /^-?\d+$/.test(source ?? '') ? BigInt(source as string) : value
    }
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Map)
    return isObject ? new Map(Object.entries(value)) : value
  })
}

/** As json.dumps(value, ensure_ascii=False) writes it: with a space behind commas and colons. */
export function pythonJson(value: unknown): string {
  const options = { isAscii: false, indent: undefined, separators: [', ', ': '] as [string, string], isSorted: false }
  return jsonOf(templateValue(json.stringify(value)), options)
}
