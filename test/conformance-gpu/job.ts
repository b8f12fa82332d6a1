/** What the table's program asks of the process that has a GPU, and what it answers, a line for each case. */

export const adapterNames = ['swiftshader', 'lavapipe', 'chromium'] as const
export type AdapterName = (typeof adapterNames)[number]

export const caseTypes = ['f32', 'q8'] as const
export type CaseType = (typeof caseTypes)[number]

/** A model with one type of weights; the cache is f32 with f32 weights, else int8. */
export interface Case {
  model: string
  type: CaseType
}

export interface Job {
  adapter: AdapterName
  /** Where packed models may lie. */
  folder: string
  cases: Case[]
}

/** Tokens, and what the reference, in float64, says of them. */
export interface Text {
  prompt: number[]
  /** What the model writes at temperature 0. */
  next: number[]
  /** Logits behind the prompt, and behind `next` where the reference has them. */
  logits: number[]
  after: number[] | undefined
  /** The most likely token behind each of the prompt; empty where the reference has none. */
  best: number[]
}

export interface Figures {
  /** As the engine calls itself, and in parentheses what it runs in. */
  engine: string
  /** Places at which logits were compared. */
  places: number
  /**
   * Largest difference of logits. f32: from the reference, absolute. q8: from the CPU's engine, in relation to the largest
   * of a place.
   */
  difference: number
  /** Places beyond the bound, and those where not a bit differs. */
  beyond: number
  equal: number
  /** Tokens at temperature 0 that are not the reference's; q8: not the CPU's, where its margin is more than 1e-2. */
  otherTokens: number
  /** Largest difference, measured in the same way, between a text at once, token by token and in threes. */
  slices: number
  /** Logits that are other bits when all is computed again, from buffers full of NaN. */
  changed: number
}

export type Answer = Case & { seconds: number } & (Figures | { failed: string })

/** What must hold. */
export const bounds = { f32: 2e-3, q8: 1e-3, slices: 1e-3, margin: 1e-2 } as const
