/**
 * Sizes in bytes, as every command reads and writes them. One rule: K, M, G and T are powers of 1000, as disks, networks and
 * GB/s are counted; Ki, Mi, Gi and Ti are powers of 1024, as memory is sold: a board "of 4 GB" has 4Gi. Outputs are decimal.
 */

/** For help and errors. */
export const sizeForms = 'such as 512M or 1.5G (powers of 1000), or 4Gi (of 1024)'

/** Bytes of '1000000', '64K', '1.5G', '4Gi', '2GB' or '2GiB', in letters of any case; undefined if it is none of these. */
export function parseSize(text: string): number | undefined {
  const [, digits, prefix = '', binary] = /^(\d+(?:\.\d+)?)\s*(?:([KMGT])(i)?)?B?$/i.exec(text.trim()) ?? []
  if (digits === undefined) return undefined
  const power = prefix === '' ? 0 : ' KMGT'.indexOf(prefix.toUpperCase())
  const bytes = Math.floor(Number(digits) * (binary ? 1024 : 1000) ** power)
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

/** 512 B, 4.1 kB, 22.1 MB, 1.13 GB. */
export function megabytes(bytes: number): string {
  if (bytes < 999.5) return `${Math.round(bytes)} B`
  if (bytes < 1e5) return `${(bytes / 1e3).toFixed(1)} kB`
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`
}
