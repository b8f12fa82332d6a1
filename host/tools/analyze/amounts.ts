/** Numbers as people read them. */

const scales: readonly [number, string][] = [
  [1e15, 'P'],
  [1e12, 'T'],
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
]

/** '13.23 GB/s': at most so many digits, a prefix and the unit. */
export function amount(n: number, unit: string, digits = 4): string {
  const [scale, prefix] = scales.find(([size]) => n >= size) ?? [1, '']
  return `${Number((n / scale).toPrecision(digits))} ${prefix}${unit}`
}

/** '88.3 ms' */
export function duration(seconds: number): string {
  if (seconds >= 100) return `${seconds.toFixed(0)} s`
  if (seconds >= 1) return `${seconds.toFixed(2)} s`
  const [scale, unit] = seconds >= 1e-3 ? [1e3, 'ms'] : seconds >= 1e-6 ? [1e6, 'µs'] : [1e9, 'ns']
  return `${Number((seconds * scale).toPrecision(3))} ${unit}`
}

/** '2,048': a number of tokens that somebody chose. */
export const exactly = (tokens: number) => tokens.toLocaleString('en')

/** '30 k', '1.2 M', '812': one that was found, where the first digits are what counts. */
export function tokensInWords(tokens: number): string {
  if (tokens < 1000) return String(tokens)
  const digits = (n: number) => (n < 10 ? n.toFixed(1).replace('.0', '') : n.toFixed(0))
  return tokens < 999_500 ? `${digits(tokens / 1000)} k` : `${digits(tokens / 1e6)} M`
}

export const percent = (share: number) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`
