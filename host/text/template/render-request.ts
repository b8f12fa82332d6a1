/** Renders a template, for what it was asked: messages, or the names that stand in it. */
import { renderTokens } from './interpreter.ts'
import { templateValue } from './json-values.ts'
import { readTokens, type Token } from './lexer.ts'
import type { TemplateNames, TemplateRequest } from './requests.ts'
import { TemplateError, type Value } from './values.ts'

/** What a process is asked for; everything that the template gets is JSON. */
export interface RenderRequest {
  template: string
  /** JSON of an object: messages, tools, and all other names that the template finds. Absent: its names are asked for. */
  variables?: string
}

export function renderRequest({ template, messages, addGenerationPrompt, variables }: TemplateRequest): RenderRequest {
  if (!messages) return { template }
  const given = { ...variables, messages, add_generation_prompt: addGenerationPrompt }
  return { template, variables: JSON.stringify(given) }
}

/** Names that lead out of a value into the language; Jinja's values are no JavaScript objects, so nothing is there. */
const FORBIDDEN = /^(?:constructor|prototype|__\w+__)$/

/** The text that a template makes of its messages, or JSON of its names (TemplateNames). Throws Error. */
export function renderText({ template, variables }: RenderRequest): string {
  const tokens = readTokens(template)
  const forbidden = tokens.find(
    ({ type, value }) => (type === 'Identifier' || type === 'StringLiteral') && FORBIDDEN.test(value),
  )
  if (forbidden) throw new Error(`"${forbidden.value}" in it, which no chat template needs`)
  if (variables === undefined) return JSON.stringify(namesIn(tokens))
  const values = templateValue(variables) as Map<string, Value>
  const messages = (values.get('messages') as Map<string, Value>[]).map((message) => new Message(message))
  // transformers gives templates no tools and no documents by these names.
  const none = { tools: null, documents: null }
  const text = renderTokens(tokens, { ...none, ...Object.fromEntries(values), messages })
  for (const [i, message] of messages.entries()) message.checkRead(i)
  return text
}

function namesIn(tokens: readonly Token[]): TemplateNames {
  const isName = ({ type }: Token, at: number) => type === 'Identifier' && tokens[at - 1]?.type !== 'Dot'
  const isWord = ({ type }: Token, at: number) => type === 'StringLiteral' || tokens[at - 1]?.type === 'Dot'
  const of = (isWanted: (token: Token, at: number) => boolean) =>
    [...new Set(tokens.filter(isWanted).map(({ value }) => value))].slice(0, 2000)
  return { variables: of(isName), words: of(isWord) }
}

/** A message that knows whether a template has looked at what was called and what came of it. */
class Message extends Map<Value, Value> {
  private readonly read = new Set<Value>()

  override get(key: Value): Value | undefined {
    this.read?.add(key)
    return super.get(key)
  }

  override [Symbol.iterator](): MapIterator<[Value, Value]> {
    for (const key of this.keys()) this.read?.add(key)
    return super[Symbol.iterator]()
  }

  checkRead(index: number): void {
    const left = (key: string) => super.has(key) && !this.read.has(key)
    if (left('tool_calls')) throw new TemplateError(`that it leaves out the tool calls of message ${index}`)
    if (super.get('role') === 'tool' && left('content'))
      throw new TemplateError(`that it leaves out message ${index}, a tool's result`)
  }
}
