/**
 * Tools for a template that does not know them, or not all of them: their list goes into the instructions, calls and
 * results become texts. The model was not trained with it, so how well it calls them is another question.
 */
import { type CallForm, writeCalls } from './calls.ts'

/** A message of any shape, as a template sees it; control tokens that somebody wrote in it are marked. */
export interface PlainMessage {
  role: string
  content: string
  tool_calls?: { function: { name: string; arguments: unknown } }[]
  [name: string]: unknown
}

/** What tells a model of its tools; `tools` are JSON, one each. */
export function toolInstructions(form: CallForm, tools: readonly string[]): string {
  const example = writeCalls(form, [{ name: 'NAME', arguments: '{"ARGUMENT": VALUE}' }])
  return `# Tools
You can call these functions:
<tools>
${tools.join('\n')}
</tools>
To call one, answer like this:
${example}`
}

/** Behind the instructions that are there, or as new ones before all messages. */
export function addInstructions(messages: readonly PlainMessage[], text: string): PlainMessage[] {
  const [first, ...rest] = messages
  if (first?.role !== 'system') return [{ role: 'system', content: text }, ...messages]
  return [{ ...first, content: `${first.content}\n\n${text}` }, ...rest]
}

/** Before what the user says first, for templates without instructions. */
export function addToQuestion(messages: readonly PlainMessage[], text: string): PlainMessage[] {
  const at = messages.findIndex(({ role }) => role === 'user')
  return messages.map((message, i) => (i === at ? { ...message, content: `${text}\n\n${message.content}` } : message))
}

/** Calls become part of what was said with them. */
export function callsToText(
  form: CallForm,
  messages: readonly PlainMessage[],
  toJson: (value: unknown) => string,
): PlainMessage[] {
  return messages.map(({ tool_calls: calls, ...message }) => {
    if (!calls) return message as PlainMessage
    const text = writeCalls(
      form,
      calls.map((call) => ({ name: call.function.name, arguments: toJson(call.function.arguments) })),
    )
    return { ...message, content: message.content === '' ? text : `${message.content}\n${text}` } as PlainMessage
  })
}

/** Results become what a user says: those of one answer together, as roles have to alternate in many templates. */
export function resultsToText(messages: readonly PlainMessage[]): PlainMessage[] {
  const plain: PlainMessage[] = []
  let isOpen = false
  for (const message of messages) {
    if (message.role !== 'tool') {
      plain.push(message)
      isOpen = false
      continue
    }
    const text = `<tool_response>\n${message.content}\n</tool_response>`
    const last = plain.at(-1)
    if (isOpen && last) last.content += `\n${text}`
    else plain.push({ role: 'user', content: text })
    isOpen = true
  }
  return plain
}
