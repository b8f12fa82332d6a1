/**
 * What a GGUF file of a model has: keys, and tensors with where their numbers come from. The keys are read again as those of any
 * other file, and must give the same model: what GGUF or llama.cpp has no word for is found so, whatever it is.
 */
import { checkpointTensors, describe, type ModelDescription, type Source } from '../../../../models/index.ts'
import { errors } from '../../../errors.ts'
import { configOf, type RopeFactors } from '../config.ts'
import { type GgufTensor, readGguf } from '../file.ts'
import { fileRows, ggufName, isNorm, isTurned, type Layout } from '../layout.ts'
import { align, type Entry, encodeHeader, entries, type TensorInfo } from './header.ts'
import { keysOf, unloadable, writers } from './keys.ts'
import { attentionOf, foldScale, Mismatch, matchTensors, modelDifference, type Place, withScales } from './match.ts'

export interface PlannedTensor {
  name: string
  /** Rows before numbers of a row. */
  shape: number[]
  /** Its numbers, or where they are in the checkpoint. */
  content: number[] | Source
}

export interface GgufPlan {
  values: Entry[]
  /** What llama.cpp computes otherwise. */
  warnings: string[]
  tensors: PlannedTensor[]
}

/** `path` and `config` are the checkpoint's. Throws NOT_A_MODEL for a model that a GGUF file cannot say. */
export async function planGguf(path: string, model: ModelDescription, config: unknown): Promise<GgufPlan> {
  const fields = config as Record<string, unknown>
  const [name = 'a model without a class'] = (fields.architectures as string[] | undefined) ?? []
  const found = Object.entries(writers).find(([, { classes }]) => classes.includes(name))
  if (!found) throw notWritable(path, `a model of a class that llama.cpp has`, `${name}, ${model.spec.kind}`)
  const [architecture, { foldsScale, warns }] = found
  const refused = unloadable(architecture, model)
  if (refused) throw notWritable(path, `one that llama.cpp can load as ${architecture}`, refused)
  const { values, factors } = keysOf(architecture, model, fields)
  const all = [entries.text('general.architecture', architecture), ...values]
  try {
    const { written, layout } = await readBack(path, all, factors, model)
    const sameLayers = model.spec.order.length === written.spec.order.length
    const differs = modelDifference(model.spec, foldsScale && sameLayers ? withScales(written, model) : written.spec)
    if (differs) throw new Mismatch(differs)
    const places = matchTensors(model, written)
    if (foldsScale) foldScale(model, written, places)
    const tensors = Object.entries(factors).map(([tensor, content]) => ({
      name: tensor,
      shape: [content.length],
      content,
    }))
    const warning = warns?.(model)
    const warnings = warning === undefined ? [] : [`llama.cpp computes this model otherwise: ${warning}`]
    return { values: all, warnings, tensors: [...tensors, ...tensorsOf(written, places, layout)] }
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error
    throw notWritable(path, `one that the architecture ${architecture} of llama.cpp can say`, error.message)
  }
}

const notWritable = (path: string, expected: string, found: string) =>
  errors.otherKind(path, expected, found, 'it cannot be written as GGUF, "gta convert DIR FILE.gta" packs it')

/** The model that the keys give. */
async function readBack(path: string, values: Entry[], factors: Record<string, number[]>, { spec }: ModelDescription) {
  const header = encodeHeader(values, [])
  const file = {
    size: header.length,
    readers: 1,
    readBytes: header.length,
    read: async (target: Uint8Array, position: number) =>
      target.set(header.subarray(position, position + target.length)),
    close: async () => undefined,
  }
  const gguf = await readGguf(path, file)
  const [layer] = spec.layers
  const add = (name: string, shape: number[]) => gguf.tensors.set(name, { name, shape } as GgufTensor)
  add('token_embd.weight', [spec.vocabSize, spec.hiddenDim])
  if (!spec.head.isTied) add('output.weight', [spec.vocabSize, spec.hiddenDim])
  // From these it follows which biases there are.
  const { bias } = attentionOf(spec, 0)
  const biases = { attn_q: bias.in, attn_qkv: bias.in, attn_output: bias.out, ffn_down: layer?.ffn.bias }
  for (const [name, isThere] of Object.entries(biases)) if (isThere) add(`blk.0.${name}.bias`, [1])
  const ropeFactors: RopeFactors = {}
  for (const name of ['freqs', 'factors_short', 'factors_long'] as const) {
    const numbers = factors[`rope_${name}.weight`]
    if (numbers) ropeFactors[name] = Float32Array.from(numbers)
  }
  const { config, layout } = configOf(gguf, ropeFactors)
  return { written: describe(config), layout }
}

/** The tensors of a file, from those that it gives again. */
function tensorsOf(written: ModelDescription, places: ReadonlyMap<string, Place>, layout: Layout): PlannedTensor[] {
  return checkpointTensors(written).flatMap(({ tensor, shape }) => {
    const place = places.get(tensor)
    if (!place) throw new Mismatch(`tensor ${tensor}, which the checkpoint does not have`)
    if (layout.isSplit && tensor.endsWith('.kv_b_proj.weight')) return splitHeads(written, tensor, place)
    const name = ggufName(tensor, layout.names)
    if (name === undefined) throw new Mismatch(`tensor ${tensor}, for which it has no name`)
    const turned = isTurned(name, layout)
    const rows = place.rows ?? orderOf(name, shape[0] as number, layout)
    const content: Source = {
      tensor: place.tensor,
      shape: [...place.shape],
      ...(rows ? { rows } : {}),
      ...(turned ? { transposedBlocks: 1 } : {}),
      ...(isNorm(name) && layout.normPlus ? { plus: layout.normPlus } : {}),
      ...(place.factor === undefined ? {} : { times: place.factor }),
    }
    return [{ name, shape: turned ? shape.toReversed() : [...shape], content }]
  })
}

/** Rows of the checkpoint in the order of the file, where it is another one. */
function orderOf(name: string, count: number, layout: Layout): number[] | undefined {
  const rowOf = fileRows(name, count, layout)
  if (!rowOf) return undefined
  const order = new Array<number>(count)
  for (let row = 0; row < count; row++) order[rowOf(row)] = row
  return order
}

/** kv_b: the matrices of keys, each turned round, and those of values, as packing takes them (kinds/mla.ts). */
function splitHeads({ sources, spec }: ModelDescription, tensor: string, { tensor: own }: Place): PlannedTensor[] {
  const layer = Number(/\.layers\.(\d+)\./.exec(tensor)?.[1])
  const { encoder: [keys] = [], decoder: [values] = [] } = sources.layer(layer)
  const { maps: heads, slots, encoder, outDim: width } = attentionOf(spec, 0)
  const [rank = 0, plain = 0] = [slots.c?.dim, encoder?.inDim]
  const part = (name: string, shape: number[], source: Source | undefined): PlannedTensor => ({
    name: `blk.${layer}.attn_${name}_b.weight`,
    shape,
    content: { ...(source as Source), tensor: own },
  })
  return [part('k', [heads, rank, plain], keys), part('v', [heads, width, rank], values)]
}

/** Of a type of tensors: ggml's number, numbers of a block, and its bytes. */
export interface BlockShape {
  id: number
  values: number
  bytes: number
}

/** A tensor's place in the file, and its bytes. */
export interface LaidTensor<B extends BlockShape> extends TensorInfo {
  planned: PlannedTensor
  block: B
  bytes: number
}

/** Vectors and positions are `vector`, matrices what `matrix` says. */
export function layOut<B extends BlockShape>(
  tensors: readonly PlannedTensor[],
  vector: B,
  matrix: (tensor: PlannedTensor) => B,
): LaidTensor<B>[] {
  let offset = 0
  return tensors.map((planned) => {
    const { name, shape } = planned
    const block = shape.length === 1 || name === 'position_embd.weight' ? vector : matrix(planned)
    const bytes = (shape.reduce((product, n) => product * n, 1) / block.values) * block.bytes
    const laid = { name, shape, type: block.id, offset, planned, block, bytes }
    offset += align(bytes)
    return laid
  })
}
