/**
 * What each token is in bytes, so that text can be streamed: a character may be spread over several tokens, and only
 * bytes can be put together again. Read from tokenizer.json's own decoder section:
 *
 *     ByteLevel                              each character of a token stands for one byte (GPT-2's table)
 *     Replace ▁ → space, ByteFallback, …     SentencePiece: text, or <0x41> for a single byte
 *     Metaspace                              text with ▁ for a space
 */

export interface DecoderConfig {
  type?: string
  decoders?: DecoderConfig[]
  pattern?: { String?: string }
  content?: string
  replacement?: string
}

export type TokenBytes = (token: string) => Uint8Array

/** A function from token text to bytes; undefined if the decoder is of a kind not known here. */
export function tokenBytes(decoder: DecoderConfig | null | undefined): TokenBytes | undefined {
  const steps = decoder?.type === 'Sequence' ? (decoder.decoders ?? []) : [decoder ?? {}]
  const types = steps.map((step) => step?.type)
  // A pattern that is no plain text would be applied to tokens in a way that this file does not know.
  if (steps.some((step) => step?.type === 'Replace' && typeof step.pattern?.String !== 'string')) return undefined
  const encoder = new TextEncoder()
  if (types.length === 1 && types[0] === 'ByteLevel') {
    const table = byteLevelTable()
    const byCode: number[] = []
    for (const [character, byte] of table) byCode[character.charCodeAt(0)] = byte
    // Tokens added by hand may hold characters outside the table; they are plain text.
    return (token) => {
      const bytes = new Uint8Array(token.length)
      for (let i = 0; i < token.length; i++) {
        const byte = byCode[token.charCodeAt(i)]
        if (byte === undefined) return encoder.encode(token)
        bytes[i] = byte
      }
      return bytes
    }
  }
  if (!types.every((type) => type && ['Replace', 'ByteFallback', 'Fuse', 'Strip', 'Metaspace'].includes(type)))
    return undefined
  const hasBytes = types.includes('ByteFallback')
  return (token) => {
    const byte = hasBytes && /^<0x([0-9A-Fa-f]{2})>$/.exec(token)
    if (byte) return Uint8Array.of(Number.parseInt(byte[1] as string, 16))
    return encoder.encode(steps.reduce(replaceStep, token))
  }
}

function replaceStep(token: string, step: DecoderConfig): string {
  if (step.type === 'Replace' && step.pattern?.String) return token.replaceAll(step.pattern.String, step.content ?? '')
  if (step.type === 'Metaspace') return token.replaceAll(step.replacement ?? '▁', ' ')
  return token
}

/** GPT-2's bytes_to_unicode (openai/gpt-2, src/encoder.py): printable bytes are themselves, the others follow at 256. */
export function byteLevelTable(): Map<string, number> {
  const table = new Map<string, number>()
  let next = 256
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
    table.set(String.fromCharCode(isPrintable ? byte : next++), byte)
  }
  return table
}
