/** Pre-tokenizers of kind Digits, mended: a digit is any number (Unicode's N), to the library only 0 to 9. */

interface Step {
  type?: unknown
  pretokenizers?: unknown
  individual_digits?: unknown
}

/** The same with a Split in place of each Digits: "½" and "٣" are tokens of their own, as in Hugging Face's tokenizers. */
export function withAllDigits(preTokenizer: unknown): unknown {
  const step = preTokenizer as Step | null | undefined
  if (step?.type === 'Sequence' && Array.isArray(step.pretokenizers))
    return { ...step, pretokenizers: step.pretokenizers.map(withAllDigits) }
  if (step?.type !== 'Digits') return preTokenizer
  const pattern = { Regex: step.individual_digits === true ? '\\p{N}' : '\\p{N}+' }
  return { type: 'Split', pattern, behavior: 'Isolated', invert: false }
}
