/** An object of a parsed JSON file, not a list: its fields may be read, and each may be anything. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
