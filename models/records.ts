/** The records of assembly/abi.ts seen from this side: which fields they have, where, and how their words are read. */

/** Field names of a record that was just made, in order. */
export function fieldsOf<T extends object>(record: T): (keyof T & string)[] {
  return Object.keys(record) as (keyof T & string)[]
}

/** Index of each field among the record's 32-bit words. */
export function placesOf<T extends object>(record: T): Record<keyof T & string, number> {
  return Object.fromEntries(fieldsOf(record).map((name, place) => [name, place])) as Record<keyof T & string, number>
}

/** A record's words, from its fields by name: a field that begins with NaN is an f32, any other a u32. */
export function wordsOf<T extends object>(record: T, fields: { [K in keyof T]: number }): Uint32Array {
  const names = fieldsOf(record)
  const words = new Uint32Array(names.length)
  const floats = new Float32Array(words.buffer)
  for (const [i, name] of names.entries()) (isFloat(record, name) ? floats : words)[i] = fields[name]
  return words
}

export function isFloat<T extends object>(record: T, name: keyof T): boolean {
  return Number.isNaN(record[name])
}
