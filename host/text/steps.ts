/**
 * The steps of a tokenizer.json that the library takes one after the other, looked at before the first text: what would never
 * end, or make much of little, is refused. Regular expressions that try every way cannot be told from others; they have a time
 * (library.ts).
 */
import { show } from '../../models/index.ts'

interface Step {
  type?: unknown
  pattern?: { String?: unknown; Regex?: unknown }
  content?: unknown
  length?: unknown
}

const MOST_STEPS = 1000
/** How many times as long a text may become: the longest replacements of tokenizers that people use are of four characters. */
const MOST_GROWTH = 1000
/** UTF-16 units of an expression or a replacement. */
const MOST_UNITS = 10_000

/** Throws Error. */
export function checkSteps(json: { normalizer?: unknown; pre_tokenizer?: unknown; decoder?: unknown }): void {
  for (const name of ['normalizer', 'pre_tokenizer', 'decoder'] as const) {
    const steps = stepsOf(json[name])
    if (steps.length > MOST_STEPS) throw new Error(`its ${name} has more than ${MOST_STEPS} steps`)
    const growth = steps.reduce((product, step) => product * growthOf(step), 1)
    if (growth > MOST_GROWTH) throw new Error(`its ${name} can make a text more than ${MOST_GROWTH} times as long`)
  }
}

/** The steps of a sequence, and of those within it. */
function stepsOf(value: unknown): Step[] {
  const found: Step[] = []
  const waiting: unknown[] = [value ?? {}]
  for (let step = waiting.pop(); step !== undefined && found.length <= MOST_STEPS; step = waiting.pop()) {
    if (typeof step !== 'object' || step === null || Array.isArray(step))
      throw new Error(`a step must be an object, found ${show(step)}`)
    found.push(step)
    for (const list of ['normalizers', 'pretokenizers', 'decoders'] as const) {
      const inner = (step as Record<string, unknown>)[list] ?? []
      if (!Array.isArray(inner)) throw new Error(`${list} must be a list, found ${show(inner)}`)
      waiting.push(...inner.slice(0, MOST_STEPS + 1).map((one) => one ?? null))
    }
  }
  return found
}

function growthOf(step: Step): number {
  const { type, length } = step
  if (type === 'FixedLength' && !(Number.isInteger(length) && (length as number) > 0))
    throw new Error(`the length of FixedLength must be a whole number above 0, found ${show(length)}`)
  if (type !== 'Replace') return 1
  const { pattern, content = '' } = step
  const sought = pattern?.String ?? pattern?.Regex
  for (const text of [sought, content])
    if (typeof text !== 'string' || text.length > MOST_UNITS)
      throw new Error(`Replace must have texts of at most ${MOST_UNITS} characters, found ${show(text)}`)
  const added = (content as string).length
  // What can be found between any two characters is added to each.
  const isEmpty = pattern?.String === undefined ? matchesNothing(sought as string) : sought === ''
  return isEmpty ? 1 + added : Math.max(1, added / (pattern?.String === undefined ? 1 : (sought as string).length))
}

function matchesNothing(expression: string): boolean {
  try {
    return new RegExp(expression, 'u').test('')
  } catch {
    // The library knows more forms than JavaScript.
    return true
  }
}
