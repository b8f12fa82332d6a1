/** How products are computed: the forms for few and for many vectors, the shaders of each, and bands of a matrix's rows. */
import { type Matrix, Q4_ROWS, TYPE_F32, TYPE_Q4, TYPE_Q8, TYPE_Q8K } from '../../../assembly/abi.ts'
import { gpuErrors } from './errors.ts'
import type { Shader } from './gpu.ts'
import * as texts from './products-texts.ts'
import { stepText } from './texts.ts'

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
/** Invocations of a workgroup of that form, and rows that some of them read side by side. */
const VECTOR_SIZE = 64
const VECTOR_ROWS = 4

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
  const forms = [vectorForm(matrix, 1, 0, 1), vectorForm(matrix, FEW, 1, Infinity)]
  return forms.filter(({ above }) => above < most)
}

function vectorForm(matrix: Matrix, vectors: number, above: number, upTo: number): Form {
  // 16 bytes of a row for each of the invocations that read it; no more of them than a row has.
  const steps = Math.ceil(matrix.cols / (matrix.type === TYPE_F32 ? 4 : 16))
  const lanes = Math.min(steps < 256 ? 32 : 64, 2 ** Math.ceil(Math.log2(steps)))
  const rows = (VECTOR_SIZE / lanes) * VECTOR_ROWS
  return {
    ...{ name: 'vector', constants: { LANES: lanes, VECTORS: vectors }, above, upTo },
    workgroups: (band, count) => {
      const groups = band.matrices * Math.ceil(band.rows / VECTOR_ROWS)
      return [...gridOf(Math.ceil((groups * VECTOR_ROWS) / rows)), Math.ceil(count / vectors)]
    },
  }
}

/** The text of a form for a type of weights. */
export function shaderOf(type: number, form: Form['name'], canDot: boolean): Shader {
  const dot = type === TYPE_F32 ? '' : canDot ? texts.dotText : texts.plainText
  const weights = type === TYPE_F32 ? texts.f32Text : type === TYPE_Q8 ? texts.q8Text : undefined
  if (weights === undefined) throw new RangeError(`no product of type ${type}`)
  return {
    name: `product ${type === TYPE_F32 ? 'f32' : 'q8'} ${form}`,
    text: [stepText, texts.productsText, dot, weights, texts.vectorText].join('\n'),
  }
}
