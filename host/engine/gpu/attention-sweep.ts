/** The sweep as operations: pipelines for steps of single rows and of more, and the merge of what its chunks found. */
import { averageStride, foursOf, type Group, groupsOf, keySlots, queryFours, slotsOf } from './attention-kind.ts'
import type { AttentionStep } from './attention-step.ts'
import { chunksText, mergeText, pagesF32Text, pagesInt8Text, sweepText } from './attention-texts.ts'
import { TILE_ROWS } from './attention-tiles.ts'
import { gpuErrors } from './errors.ts'
import type { Gpu } from './gpu.ts'
import { functionsText } from './math.ts'
import type { Operation, StepBuffers } from './operations.ts'
import type { GpuLayerKind } from './plan.ts'
import { dotText, plainText } from './products-texts.ts'
import { stepText } from './texts.ts'

/** Threads for each slot, and slots of a workgroup at most. */
const LANES = 16
const MOST_SLOTS = 16
/** Slots that one thread sums values of at most: each takes registers. */
const MOST_VALUES = 4
/** vec4 of the table of groups: attention-sweep.wgsl. */
const GROUP_FOURS = 512

/** The cache of one layer. */
export interface LayerCache {
  buffer: GPUBuffer
  isInt8: boolean
  /** Bytes from one place to the next. */
  layerStride: number
}

export interface SweepOptions {
  shared: AttentionStep
  kind: GpuLayerKind
  cache: LayerCache
  /** Numbers before the places of the layer's page kind. */
  places: number
  /** Pairs of the biases that each view may meet. */
  pairs: [number, number]
  /** Where the turns of tokens and of pages are: attention-sweep.wgsl. */
  turns: { buffer: GPUBuffer; tokens: number; pages: number; pageStride: number; pairs: number }
}

/** How a workgroup is cut. */
interface Form {
  slots: number
  threads: number
  values: number
}

/** The form for `wanted` slots, or as many as fit: they take 9.5 kB of workgroup memory at most. Throws TOO_LARGE for a value too wide. */
function formOf(gpu: Gpu, kind: GpuLayerKind, wanted: number): Form {
  const most = Math.min(256, gpu.device.limits.maxComputeInvocationsPerWorkgroup)
  const columns = foursOf(kind.valueDim)
  if (columns > most) throw gpuErrors.limit('a value in vec4', columns, 'maxComputeInvocationsPerWorkgroup', most)
  const slots = Math.min(wanted, MOST_SLOTS, MOST_VALUES * Math.floor(most / columns))
  const threads = Math.min(most, Math.ceil(Math.max(64, slots * Math.max(LANES, columns)) / 32) * 32)
  return { slots, threads, values: Math.ceil(slots / Math.floor(threads / columns)) }
}

/** Groups, with the end of the last one, then the list of their maps. */
function groupWords(groups: Group[]): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(4 * GROUP_FOURS)
  const maps = groups.flatMap((group) => group.maps)
  if (4 * (groups.length + 1) + maps.length > words.length)
    throw new RangeError(`a layer has ${maps.length} maps in ${groups.length} groups, a GPU takes no more than 400`)
  let first = 0
  for (const [i, { at, maps: own }] of groups.entries()) {
    words.set([...at, first], 4 * i)
    first += own.length
  }
  words[4 * groups.length + 3] = first
  words.set(maps, 4 * (groups.length + 1))
  return words
}

export async function sweepOperations(gpu: Gpu, step: StepBuffers, options: SweepOptions): Promise<Operation[]> {
  const { shared, kind, cache } = options
  const groups = groupsOf(kind, cache.isInt8)
  const largest = groups.reduce((most, { maps }) => Math.max(most, maps.length), 0)
  const single = formOf(gpu, kind, largest)
  const several = formOf(gpu, kind, largest * Math.min(TILE_ROWS, shared.options.maxRows))
  const table = gpu.parameters('attention groups', groupWords(groups))
  const isAlone = (tileRows: number) => tileRows === 1 || single.slots === several.slots
  const make = async (form: Form, takes: (tileRows: number) => boolean): Promise<Operation> => {
    const pipeline = await gpu.pipeline(...sweepShader(gpu, options, form, groups.length))
    const bindings = gpu.bind('attention sweep', pipeline, sweepBindings(gpu, step, options, table))
    const workgroups: Operation['workgroups'] = ({ chunks, tiles, tileRows }) => {
      if (!takes(tileRows)) return [0, 0]
      return [chunks, tiles, groups.length * Math.ceil((tileRows * largest) / form.slots)]
    }
    return { name: 'attention sweep', pipeline, bindings, workgroups }
  }
  const forms = [await make(single, isAlone)]
  if (single.slots !== several.slots) forms.push(await make(several, (tileRows) => !isAlone(tileRows)))
  return [...forms, await mergeOperation(gpu, step, options)]
}

function sweepShader(
  gpu: Gpu,
  { kind, cache, pairs }: SweepOptions,
  { slots, threads, values }: Form,
  groups: number,
): [{ name: string; text: string }, Record<string, number>] {
  const { isInt8, layerStride } = cache
  const { maps, window, softcap, key0Dim, key1Dim, valueSlot, valueDim } = kind
  const rowFours = slotsOf(kind).map(({ dim }) => foursOf(dim)) as [number, number]
  const [first, second] = keySlots(kind)
  const dotOf = gpu.canDot ? dotText : plainText
  const pages = isInt8 ? dotOf + pagesInt8Text : pagesF32Text
  const text = `const VALUES = ${values}u;\n${functionsText}${stepText}${chunksText}${pages}${sweepText}`
  const constants = {
    ...{ SLOTS: slots, THREADS: threads, GROUPS: groups, MAPS: maps, WINDOW: window, SOFTCAP: softcap },
    ...{ HAS_BIAS: Number(pairs.some((count) => count > 0)), LAYER_FOURS: layerStride / 16 },
    ...{ QUERY: queryFours(kind, isInt8, pairs), KEY0: key0Dim, KEY1: key1Dim, COLUMNS: foursOf(valueDim) },
    ...{ HEAD0: rowFours[first], HEAD1: rowFours[second], VALUE: rowFours[valueSlot as 0 | 1] },
    ...(isInt8 ? { HARMONICS0: pairs[0] } : { SCALE: kind.scale }),
  }
  return [{ name: `attention-sweep.wgsl, ${isInt8 ? 'int8' : 'f32'}`, text }, constants]
}

function sweepBindings(
  gpu: Gpu,
  step: StepBuffers,
  { shared, cache, places, turns }: SweepOptions,
  table: GPUBuffer,
): GPUBuffer[] {
  const { tableBlocks } = shared.options
  const words = new Uint32Array([tableBlocks, places, turns.tokens, turns.pages, turns.pageStride, turns.pairs])
  return [
    ...[gpu.parameters('attention sweep', words), table, step.rows, step.tables, step.places],
    ...[shared.tiles, shared.prepared, turns.buffer, cache.buffer, shared.partials],
  ]
}

async function mergeOperation(gpu: Gpu, step: StepBuffers, { shared, kind }: SweepOptions): Promise<Operation> {
  const { maps, window, valueDim } = kind
  const pipeline = await gpu.pipeline(
    { name: 'attention-merge.wgsl', text: functionsText + stepText + chunksText + mergeText },
    { MAPS: maps, WINDOW: window, VALUE: valueDim, COLUMNS: foursOf(valueDim), AVERAGE: averageStride(kind) },
  )
  const layer = gpu.parameters('attention merge', new Uint32Array([shared.strides.averages]))
  const bindings = gpu.bind('attention merge', pipeline, [
    ...[layer, step.rows, shared.tiles, shared.partials, shared.averages],
  ])
  return { name: 'attention merge', pipeline, bindings, workgroups: ({ rows }) => [maps, rows] }
}
