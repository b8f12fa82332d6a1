/**
 * Regular expressions that cut text before BPE, word for word as tokenizer.json files have them: of GPT-4's kind, which most
 * models have taken over with small changes.
 */

/** GPT-2's, which ByteLevel has of its own. */
export const gpt2Pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"

/** cl100k's, of GPT-4. `digits`: how many at a time; `marks`: what else is a letter. */
export function gpt4Pattern(digits: '{1,3}' | '' | '+', marks: '' | '\\p{M}' = ''): string {
  const letter = marks === '' ? '\\p{L}' : `[\\p{L}${marks}]`
  return `${contractions}|[^\\r\\n\\p{L}\\p{N}]?${letter}+|\\p{N}${digits}| ?[^\\s\\p{L}${marks}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`
}

const [upper, lower] = ['[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]', '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]']

/** o200k's, of GPT-4o: a word begins with capitals and goes on in small letters. Mistral's has no contractions. */
export function gpt4oPattern(digits: '{1,3}' | '', hasContractions = true): string {
  const end = hasContractions ? `${contractions}?` : ''
  const before = '[^\\r\\n\\p{L}\\p{N}]?'
  const words = [`${before}${upper}*${lower}+${end}`, `${before}${upper}+${lower}*${end}`]
  return [...words, `\\p{N}${digits}`, ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*', '\\s*[\\r\\n]+', '\\s+(?!\\S)', '\\s+'].join(
    '|',
  )
}
