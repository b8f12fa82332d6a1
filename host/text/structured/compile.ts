/** What a generation may be made to write: values of a JSON Schema, texts of a pattern, any JSON object. */
import { Members } from './alternatives.ts'
import { Budget, Recent } from './budget.ts'
import { SchemaBuilder } from './builder.ts'
import { ChoiceRule, SequenceRule } from './combined-rules.ts'
import { PatternError, SchemaError, Words } from './errors.ts'
import type { Schema } from './keywords.ts'
import { LiteralRule } from './literal-rule.ts'
import type { Form } from './parts.ts'
import { automatonOf } from './pattern-automaton.ts'
import { parsePattern } from './pattern-parser.ts'
import { Grammar, type Rule } from './rule.ts'
import { checkSize } from './schema-size.ts'
import { TextRule } from './text-rule.ts'
import { controlBytes } from './vocabulary.ts'

export interface SchemaOptions {
  /** See Form; 'canonical' if it is not said. */
  form?: Form | undefined
}

/**
 * JSON values that satisfy a schema (draft 2020-12): objects with their properties in the order of the schema. Throws
 * SchemaError for a keyword that is not enforced, what is malformed, too large, or satisfied by nothing.
 */
export function compileSchema(
  schema: unknown,
  { form = 'canonical' }: SchemaOptions = {},
  budget = new Budget(),
): Grammar {
  checkSize(schema)
  if (typeof schema !== 'boolean' && (typeof schema !== 'object' || schema === null || Array.isArray(schema)))
    throw new SchemaError('', '', 'an object, true or false', schema)
  const rule = new SchemaBuilder(new Members(schema as Schema, budget), form).build(schema as Schema)
  return new Grammar(new SequenceRule([leadingSpace, rule]))
}

const kept = new Recent<Grammar>(32)

/**
 * The grammar of a schema that says the same as an earlier one is that one: its masks are there already. Several schemas of
 * one request have one budget. Throws SchemaError.
 */
export function grammarOf(schema: unknown, budget = new Budget()): Grammar {
  checkSize(schema)
  return budget.shared(kept, JSON.stringify(schema), () => compileSchema(schema, {}, budget))
}

/** Models of SentencePiece begin a text with a space. */
const leadingSpace: Rule = new LiteralRule([new Uint8Array(), new TextEncoder().encode(' ')])

/** Any JSON object. */
export function jsonObject(): Grammar {
  return grammarOf({ type: 'object' })
}

/** Texts that a regular expression matches from their beginning to their end. Throws SchemaError. */
export function compilePattern(pattern: string): Grammar {
  try {
    const budget = new Budget('pattern')
    const characters = automatonOf(parsePattern(pattern, budget), budget)
    if (!characters) throw new PatternError('matched by some text', 'one that matches none')
    return new Grammar(new TextRule(characters, 'plain', budget))
  } catch (error) {
    if (error instanceof PatternError) throw new SchemaError('', 'pattern', error.expected, new Words(error.found))
    throw error
  }
}

/** A text as it stands; names of control tokens in it are those tokens. */
export function literal(text: string, controls: readonly string[] = []): Grammar {
  const bytes: number[] = []
  const encoder = new TextEncoder()
  for (let at = 0; at < text.length; ) {
    const name = controls.filter((control) => text.startsWith(control, at)).sort((a, b) => b.length - a.length)[0]
    const next = String.fromCodePoint(text.codePointAt(at) as number)
    bytes.push(...(name ? controlBytes(name) : encoder.encode(next)))
    at += name?.length ?? next.length
  }
  return new Grammar(new LiteralRule([Uint8Array.from(bytes)]))
}

/** One after the other. */
export function sequence(grammars: readonly Grammar[]): Grammar {
  return new Grammar(new SequenceRule(grammars.map(({ rule }) => rule)))
}

/** One of several. */
export function choice(grammars: readonly Grammar[]): Grammar {
  const rule = new ChoiceRule()
  rule.rules = grammars.map((grammar) => grammar.rule)
  return new Grammar(rule)
}
