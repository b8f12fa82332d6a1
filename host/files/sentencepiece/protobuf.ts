/**
 * Fields of a protobuf message, as far as SentencePiece's files need them (protobuf.dev, "Encoding"). Nothing is copied, and
 * no length is believed before it is known to lie in the message: a hostile file costs no more than its own bytes.
 *
 *     tag = number << 3 | wire      0 varint   1 eight bytes   2 length and bytes   5 four bytes
 */

export interface Field {
  number: number
  /** Of a varint, the low 32 bits, signed: what an int32, an enum and a bool are. */
  value?: number
  /** Of all others. */
  bytes?: Uint8Array
}

/** Throws Error where the bytes are no message. */
export function* fieldsOf(message: Uint8Array): Generator<Field> {
  let at = 0
  const varint = () => {
    let low = 0
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = message[at++]
      if (byte === undefined) throw new Error('it ends within a number')
      if (shift < 32) low |= (byte & 0x7f) << shift
      if (byte < 0x80) return low
    }
    throw new Error('it holds a number of more than ten bytes')
  }
  while (at < message.length) {
    const tag = varint() >>> 0
    const number = tag >>> 3
    const wire = tag & 7
    if (number === 0) throw new Error('it holds a field without a number')
    if (wire === 0) {
      yield { number, value: varint() }
      continue
    }
    if (wire !== 1 && wire !== 2 && wire !== 5) throw new Error(`field ${number} is of the unknown wire type ${wire}`)
    const length = wire === 1 ? 8 : wire === 5 ? 4 : varint() >>> 0
    if (length > message.length - at) throw new Error(`field ${number} is longer than what it lies in`)
    yield { number, bytes: message.subarray(at, at + length) }
    at += length
  }
}

/** A field's number; throws Error for bytes. */
export function numberOf({ number, value }: Field): number {
  if (value === undefined) throw new Error(`field ${number} must be a number`)
  return value
}

/** A field's bytes; throws Error for a number. */
export function bytesOf({ number, bytes }: Field): Uint8Array {
  if (bytes === undefined) throw new Error(`field ${number} must be bytes`)
  return bytes
}

/** A field's text; throws Error for what is no UTF-8. */
export function textOf(field: Field): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytesOf(field))
  } catch {
    throw new Error(`field ${field.number} must be UTF-8 text`)
  }
}

/** A field's 32-bit float. */
export function floatOf(field: Field): number {
  const bytes = bytesOf(field)
  if (bytes.length !== 4) throw new Error(`field ${field.number} must be four bytes`)
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true)
}
