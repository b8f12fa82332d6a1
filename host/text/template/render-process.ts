/**
 * The process in which a template runs: a request as JSON in `templateRequest`, a reply on stdout. It ends itself when the
 * time is over, even if nobody waits for it any more.
 */
import { runInThisContext } from 'node:vm'
import { renderTokens } from './interpreter.ts'
import { readTokens } from './lexer.ts'
import type { ChatMessage } from './template.ts'

export interface ProcessRequest {
  template: string
  variables: Record<string, string>
  messages: ChatMessage[]
  addGenerationPrompt: boolean
  /** In milliseconds. */
  deadline: number
  maxText: number
}

/** A text, or what was found instead. */
export interface TemplateReply {
  text?: string
  found?: string
}

/** Names that lead out of a value into the language; Jinja's values are no JavaScript objects, so nothing is there. */
const FORBIDDEN = /^(?:constructor|prototype|__\w+__)$/

function render({ template, variables, messages, addGenerationPrompt }: ProcessRequest): string {
  const tokens = readTokens(template)
  const forbidden = tokens.find(
    ({ type, value }) => (type === 'Identifier' || type === 'StringLiteral') && FORBIDDEN.test(value),
  )
  if (forbidden) throw new Error(`"${forbidden.value}" in it, which no chat template needs`)
  const talk = messages.map((message) => new Map(Object.entries(message)))
  // transformers gives templates no tools and no documents by these names.
  const none = { tools: null, documents: null }
  return renderTokens(tokens, { ...variables, ...none, messages: talk, add_generation_prompt: addGenerationPrompt })
}

function reply(request: ProcessRequest): TemplateReply {
  const { deadline, maxText } = request
  // Only code that is run like this ends at a deadline.
  Object.assign(globalThis, { renderRequest: () => render(request) })
  try {
    const text = runInThisContext('renderRequest()', { timeout: deadline }) as string
    return text.length > maxText ? { found: `more than ${maxText} characters` } : { text }
  } catch (error) {
    if (error instanceof RangeError) return { found: `that it nests or grows without end (${error.message})` }
    if ((error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT')
      return { found: `that it takes longer than ${deadline / 1000} s` }
    return { found: String((error as Error).message).slice(0, 500) }
  }
}

const { templateRequest } = globalThis as unknown as { templateRequest: string }
process.stdout.write(JSON.stringify(reply(JSON.parse(templateRequest))))
