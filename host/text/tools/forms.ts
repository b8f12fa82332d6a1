/** Which form of calls a model was trained with, told by its chat template. */
import type { CallForm } from './calls.ts'
import { functionGemma, gemma4 } from './gemma-form.ts'
import { granite, hermes, llama3, mistral, mistralNew } from './json-forms.ts'
import { lfm2 } from './python-form.ts'

/** For models whose template knows no tools: what most of those that know some were trained with. */
export const genericForm = hermes

/** The form of the model that a template belongs to; undefined if it has none that is known here. */
export function callFormOf(template: string): CallForm | undefined {
  const has = (...texts: string[]) => texts.some((text) => template.includes(text))
  // GLM writes other tags within the same ones.
  if (has('<tool_call>')) return has('<arg_key>') ? undefined : hermes
  if (has('<|tool_call_start|>', 'List of tools: <|tool_list_start|>')) return lfm2
  if (has('<start_function_call>')) return functionGemma
  if (has('<|tool_call>')) return gemma4
  if (has('<|tool_call|>')) return granite
  if (has('[TOOL_CALLS]')) return has('[ARGS]') ? mistralNew : mistral
  // Llama 3.1 and 3.2 name the tag for built-in tools only; 3.3 and others may leave it out.
  if (has('<|python_tag|>') || (has('<|start_header_id|>') && has('"parameters": '))) return llama3
  return undefined
}
