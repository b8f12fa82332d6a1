/** A matrix that is larger than one binding is bound in bands of rows. */
import * as abi from '../../../assembly/abi.ts'

export interface Band {
  /** Rows of the matrix. */
  first: number
  count: number
  /** Where the bytes of the band are in the packed tensors. */
  offset: number
  bytes: number
}

/** Rows that lie together: eight, where they are in blocks. */
const stripeRows = (type: number) => (type === abi.TYPE_F32 || type === abi.TYPE_Q8 ? 1 : abi.Q4_ROWS)

/** Cuts a matrix of which no more than `most` bytes can be bound. Throws RangeError if one row is more. */
export function bandsOf({ type, rows, stride, data }: abi.Matrix, most: number): Band[] {
  const unit = stripeRows(type)
  const each = Math.floor(most / stride) * unit
  if (each === 0) throw new RangeError(`a row of a matrix must have at most ${most} bytes, found ${stride}`)
  return Array.from({ length: Math.ceil(rows / each) }, (_, i) => {
    const first = i * each
    const count = Math.min(each, rows - first)
    return { first, count, offset: data + (first / unit) * stride, bytes: Math.ceil(count / unit) * stride }
  })
}
