/** Turns the text between control tokens into ids. */
export interface Encoder {
  /** `isFirst`: no token stands before the text. Throws Error. */
  encode(text: string, isFirst: boolean): number[]
  /** What a token of the vocabulary says in a text; nothing for an id without one. */
  bytesOf(id: number): Uint8Array
}
