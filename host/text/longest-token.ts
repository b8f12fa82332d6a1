/**
 * How much text one token can be, from tokenizer.json alone: what a text has at least follows from its length. Only for
 * tokenizers of which every step is known to take no text away; others have no bound.
 */
import type { AddedToken } from './added-tokens.ts'

interface Step {
  type?: unknown
  [name: string]: unknown
}

/** UTF-16 units that a normal form makes one of at most: NFC of alpha and its three marks (UAX 15). */
const NORMAL_FORM = 4

/** UTF-16 units of text behind one token at most; infinity: not known. */
export function longestToken(tokenizer: {
  model?: Step
  normalizer?: unknown
  pre_tokenizer?: unknown
  added_tokens?: unknown
}): number {
  const { model = {}, added_tokens: added } = tokenizer
  const before = stepsOf(tokenizer.pre_tokenizer, 'pretokenizers')
  const isByteLevel = before.some(({ type }) => type === 'ByteLevel')
  const vocab = model.vocab as Record<string, number> | [string, number][]
  const names = Array.isArray(vocab) ? vocab.map(([name]) => name) : Object.keys(vocab)
  // Other characters are unknown: fused, any number of them is one token, and without a token for them none.
  const isKnown = isByteLevel
    ? names.filter((name) => name.length === 1).length >= 256
    : model.byte_fallback === true && hasBytes(new Set(names))
  if ((model.type !== 'BPE' && model.type !== 'Unigram') || !isKnown || !before.every(keepsText))
    return Number.POSITIVE_INFINITY
  let shrink = 1
  for (const step of stepsOf(tokenizer.normalizer, 'normalizers')) {
    if (['NFC', 'NFD', 'NFKC', 'NFKD'].includes(step.type as string)) shrink *= NORMAL_FORM
    else if (!growsText(step)) return Number.POSITIVE_INFINITY
  }
  const tokens = (Array.isArray(added) ? added : []) as { content: string; lstrip?: boolean; rstrip?: boolean }[]
  // White space beside such a token belongs to it.
  if (tokens.some(({ lstrip, rstrip }) => lstrip || rstrip)) return Number.POSITIVE_INFINITY
  let longest = 1
  for (const { content } of tokens) longest = Math.max(longest, content.length)
  // A byte is a unit of byte-level tokens, and no character has fewer bytes than UTF-16 units.
  for (const name of names) longest = Math.max(longest, name.length)
  return longest * shrink
}

/**
 * The same for tables, whose tokens are of so many units at most, and all of whose steps take no text away; `added` is not
 * checked yet.
 */
export function longestOfTables(longest: number, added: unknown): number {
  const tokens = (Array.isArray(added) ? added : []) as Partial<AddedToken>[]
  if (tokens.some((token) => token?.lstrip || token?.rstrip)) return Number.POSITIVE_INFINITY
  return tokens.reduce((most, token) => Math.max(most, token?.content?.length ?? 0), longest)
}

function stepsOf(value: unknown, list: string): Step[] {
  const step = value as Step | null | undefined
  if (!step) return []
  return step.type === 'Sequence' && Array.isArray(step[list])
    ? (step[list] as Step[]).flatMap((one) => stepsOf(one, list))
    : [step]
}

function hasBytes(names: ReadonlySet<string>): boolean {
  const nameOf = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`
  return Array.from({ length: 256 }, (_, byte) => byte).every((byte) => names.has(nameOf(byte)))
}

function keepsText({ type, behavior }: Step): boolean {
  return ['ByteLevel', 'Metaspace', 'Digits'].includes(type as string) || (type === 'Split' && behavior !== 'Removed')
}

function growsText({ type, pattern, content }: Step): boolean {
  if (type === 'Prepend') return true
  const replaced = (pattern as { String?: unknown } | undefined)?.String
  return (
    type === 'Replace' &&
    typeof replaced === 'string' &&
    typeof content === 'string' &&
    content.length >= replaced.length
  )
}
