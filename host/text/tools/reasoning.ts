/** Where models think: between two marks, of which a template may have written the first into the prompt. */

export interface ReasoningForm {
  readonly open: string
  readonly close: string
}

/** From the chat templates of these families; the first whose marks a template holds is its own. */
const forms: readonly ReasoningForm[] = [
  // Gemma 4
  { open: '<|channel>thought', close: '<channel|>' },
  // Magistral, Ministral 3
  { open: '[THINK]', close: '[/THINK]' },
  // Command R
  { open: '<|START_THINKING|>', close: '<|END_THINKING|>' },
  // Seed-OSS
  { open: '<seed:think>', close: '</seed:think>' },
  // Granite 3.2
  { open: 'Here is my thought process:', close: 'Here is my response:' },
  // Qwen 3, DeepSeek R1, LFM2, SmolLM3, Granite 3.3, Youtu, MiniCPM
  { open: '<think>', close: '</think>' },
]

/** That of a model, by its template. */
export function reasoningOf(template: string): ReasoningForm | undefined {
  return forms.find(({ open, close }) => template.includes(open) || template.includes(close))
}

/** Has a prompt opened the block that the answer begins in? */
export function isReasoningOpen({ open, close }: ReasoningForm, prompt: string): boolean {
  const begun = prompt.lastIndexOf(open)
  if (begun < 0 || prompt.lastIndexOf(close) > begun) return false
  // One in the midst of a message is part of that.
  return prompt.slice(begun + open.length).trim() === ''
}
