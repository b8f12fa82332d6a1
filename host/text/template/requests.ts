/** What templates are asked for, wherever they run. */

/** What a process renders: one text for a list of messages. */
export interface TemplateRequest {
  template: string
  /** JSON: what the template finds by these names. */
  variables?: Record<string, unknown>
  /** Absent: the text is JSON of the template's names (TemplateNames). */
  messages?: readonly object[]
  addGenerationPrompt?: boolean
  signal?: AbortSignal | undefined
  /** Milliseconds that the template may take; default 10 s. */
  deadline?: number | undefined
}

/** Runs a template where it can do no harm; `path` is for its errors. Throws BAD_TEMPLATE. */
export type TemplateRenderer = (path: string, request: TemplateRequest) => Promise<string>

/** Names that stand in a template: of variables, and all others, in texts and behind dots. */
export interface TemplateNames {
  variables: string[]
  words: string[]
}
