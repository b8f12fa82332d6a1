/** How products are computed: the forms for few and for many vectors, the shaders of each, and bands of a matrix's rows. */
import { type Matrix, Q4_COLS, Q4_ROWS, TYPE_F32, TYPE_Q4, TYPE_Q8K } from '../../../assembly/abi.ts'
import { gpuErrors } from './errors.ts'
import type { Shader } from './gpu.ts'
import * as texts from './products-texts.ts'
import { blocksText, preciseText, stepText } from './texts.ts'

/** Rows of W that are bound at once: of so many matrices, `rows` of each. */
export interface Band {
  firstMatrix: number
  matrices: number
  /** The first row of the band among all of W. */
  firstRow: number
  rows: number
}

/** A way to compute a product of more than `above` vectors, up to `upTo`. */
export interface Form {
  name: 'vector' | 'tile'
  constants: Record<string, number>
  above: number
  upTo: number
  workgroups(band: Band, vectors: number): [x: number, y: number, z?: number]
}

/** Vectors up to which a weight is read once for all by the form for a few of them. */
const FEW = 8
/** Invocations of a workgroup of that form, and rows that some of them read side by side where they lie one by one. */
const VECTOR_SIZE = 64
const VECTOR_ROWS = 4
/** Rows, and vectors, of a workgroup of the form for many. */
const TILE = 64

const isInBlocks = (type: number) => type >= TYPE_Q4 && type <= TYPE_Q8K

/** Bytes of `rows` rows of a matrix. */
export function bytesOf({ type, stride }: Matrix, rows: number): number {
  return (isInBlocks(type) ? Math.ceil(rows / Q4_ROWS) : rows) * stride
}

/** Workgroups in two dimensions, each with no more than every device takes; the last ones may be too many. */
export function gridOf(total: number): [x: number, y: number] {
  const y = Math.ceil(total / 65535)
  return [y && Math.ceil(total / y), y]
}

/** A matrix, or `blocks` of them one below the other, in bands of at most `mostBytes`. Throws TOO_LARGE if one cannot be cut. */
export function bandsOf(matrix: Matrix, blocks: number, mostBytes: number): Band[] {
  const rows = matrix.rows / blocks
  if (!Number.isInteger(rows) || (blocks > 1 && isInBlocks(matrix.type)))
    throw new RangeError(`${blocks} matrices of ${matrix.rows} rows must have whole rows of a type without blocks`)
  // One matrix is cut anywhere, at eight rows where they lie in blocks; several between two of them.
  const unit = blocks > 1 ? rows : Q4_ROWS
  const bytes = bytesOf(matrix, unit)
  const units = Math.floor(mostBytes / bytes)
  if (units === 0) throw gpuErrors.limit(`${unit} rows of weights`, bytes, 'maxStorageBufferBindingSize', mostBytes)
  const bands: Band[] = []
  for (let first = 0; first < matrix.rows; first += units * unit) {
    const own = Math.min(units * unit, matrix.rows - first)
    const matrices = blocks > 1 ? own / rows : 1
    bands.push({ firstMatrix: blocks > 1 ? first / rows : 0, matrices, firstRow: first, rows: own / matrices })
  }
  return bands
}

/** The forms that a product of up to `most` vectors needs. */
export function formsOf(matrix: Matrix, most: number): Form[] {
  const constants: Record<string, number> = isInBlocks(matrix.type) ? { TYPE: matrix.type } : {}
  const groups = VECTOR_SIZE / lanesOf(matrix)
  const vectorForm = (vectors: number, above: number): Form => ({
    ...{ name: 'vector', constants: { ...constants, VECTORS: vectors }, above, upTo: vectors },
    workgroups: ({ matrices, rows }) => gridOf(Math.ceil((matrices * Math.ceil(rows / rowsOf(matrix))) / groups)),
  })
  const tileForm: Form = {
    ...{ name: 'tile', constants, above: FEW, upTo: Infinity },
    workgroups: ({ matrices, rows }, count) => gridOf(matrices * Math.ceil(rows / TILE) * Math.ceil(count / TILE)),
  }
  return [vectorForm(1, 0), vectorForm(FEW, 1), tileForm].filter(({ above }) => above < most)
}

/** Rows that invocations of the form for few vectors read side by side. */
const rowsOf = ({ type }: Matrix) => (isInBlocks(type) ? Q4_ROWS : VECTOR_ROWS)

/** Invocations that share the columns of these rows, a power of two: no more of them than there are pieces. */
export function lanesOf({ type, cols }: Matrix): number {
  // 16 bytes of each row; in blocks four of them share 32 columns.
  const pieces = isInBlocks(type) ? 4 * Math.ceil(cols / Q4_COLS) : Math.ceil(cols / (type === TYPE_F32 ? 4 : 16))
  return Math.min(pieces < 256 ? 32 : VECTOR_SIZE, Math.max(VECTOR_ROWS, 2 ** Math.ceil(Math.log2(pieces))))
}

/** The text of a form for a type of weights. */
export function shaderOf(type: number, form: Form['name'], canDot: boolean): Shader {
  const isTile = form === 'tile'
  const dot = canDot ? texts.dotText : texts.plainText
  const [weights, main] = isInBlocks(type)
    ? [[preciseText, dot, blocksText, texts.packedText], isTile ? texts.packedTileText : texts.packedVectorText]
    : [
        type === TYPE_F32 ? [texts.f32Text] : [preciseText, dot, texts.q8Text],
        isTile ? texts.tileText : texts.vectorText,
      ]
  const name = `product ${isInBlocks(type) ? 'blocks' : type === TYPE_F32 ? 'f32' : 'q8'} ${form}`
  return { name, text: [stepText, texts.productsText, ...weights, main].join('\n') }
}
