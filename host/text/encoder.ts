/** Turns the text between control tokens into ids. */
export interface Encoder {
  /** `isFirst`: no token stands before the text. Throws Error. */
  encode(text: string, isFirst: boolean): number[]
  /** What the token of an id is in the vocabulary. */
  token(id: number): string | undefined
}
