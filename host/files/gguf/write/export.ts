/** A checkpoint as a GGUF file for llama.cpp: header and tensors, some megabytes at a time. */
import { open } from 'node:fs/promises'
import { cost } from '../../../../models/index.ts'
import { writeWhole } from '../../atomic.ts'
import { Checkpoint } from '../../checkpoint.ts'
import { slices } from '../../tensors.ts'
import { blocksOf, type GgufType } from './blocks.ts'
import { ALIGNMENT, align, type Entry, encodeHeader, entries } from './header.ts'
import { type GgufPlan, layOut, type PlannedTensor, planGguf } from './plan.ts'
import { tokenizerEntries } from './tokenizer.ts'

export interface ExportOptions {
  type: GgufType
  signal?: AbortSignal | undefined
  onProgress?: ((progress: { done: number; total: number }) => void) | undefined
}

export interface GgufExport {
  path: string
  type: GgufType
  bytes: number
  parameters: number
  hasTokenizer: boolean
  /** Tensors of the checkpoint that the model does not use. */
  unused: string[]
  /** What the checkpoint says and the file has no word for, the model being the same; what llama.cpp computes otherwise. */
  left: string[]
}

/** Numbers of llama.cpp's file types. */
const fileTypes: Record<GgufType, number> = { f32: 0, f16: 1, q8_0: 7 }

/** Complete or not at all; `check` has the last word before a file of that name would be replaced. */
export async function exportGguf(
  source: string,
  path: string,
  options: ExportOptions,
  check = async () => {},
): Promise<GgufExport> {
  const checkpoint = await Checkpoint.open(source)
  try {
    const { files, model, unused } = checkpoint
    const plan = await planGguf(source, model, files.config)
    const { values, left } = tokenizerEntries(source, files, model.spec)
    const { name, license, source: origin } = files.about ?? {}
    const general = [
      ...Object.entries({ name, license, 'source.url': origin }).flatMap(([key, value]) =>
        value === undefined ? [] : [entries.text(`general.${key}`, value)],
      ),
      entries.integer('general.alignment', ALIGNMENT),
      entries.integer('general.file_type', fileTypes[options.type]),
      entries.integer('general.quantization_version', 2),
    ]
    const write = (temporary: string) => writeFile(temporary, checkpoint, plan, [...general, ...values], options)
    const bytes = await writeWhole(path, write, options.signal, check)
    const { parameters } = cost(model)
    const hasTokenizer = files.tokenizer !== undefined
    return { path, type: options.type, bytes, parameters, hasTokenizer, unused, left: [...plan.warnings, ...left] }
  } finally {
    await checkpoint.close()
  }
}

/** Rows that are no whole blocks are f16. */
const blocksFor = (type: GgufType) => (tensor: PlannedTensor) =>
  (tensor.shape.at(-1) as number) % blocksOf[type].values === 0 ? blocksOf[type] : blocksOf.f16

async function writeFile(
  path: string,
  checkpoint: Checkpoint,
  plan: GgufPlan,
  more: Entry[],
  { type, signal, onProgress }: ExportOptions,
): Promise<number> {
  const tensors = layOut(plan.tensors, blocksOf.f32, blocksFor(type))
  const header = encodeHeader([...plan.values, ...more], tensors)
  const total = tensors.reduce((sum, { bytes }) => sum + align(bytes), header.length)
  const file = await open(path, 'wx')
  try {
    let at = 0
    const write = async (bytes: Uint8Array) => {
      for (let done = 0; done < bytes.length; )
        done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten
      at += bytes.length
    }
    await write(header)
    for (const { planned, block, bytes } of tensors) {
      const begin = at
      for await (const numbers of numbersOf(checkpoint, planned)) {
        signal?.throwIfAborted()
        await write(block.encode(numbers))
      }
      if (at !== begin + bytes) throw new RangeError(`${planned.name} has ${bytes} bytes, its sources ${at - begin}`)
      await write(new Uint8Array(align(at) - at))
      onProgress?.({ done: at, total })
    }
    await file.sync()
    return at
  } finally {
    await file.close()
  }
}

async function* numbersOf(checkpoint: Checkpoint, { shape, content }: PlannedTensor): AsyncGenerator<Float32Array> {
  if (Array.isArray(content)) yield Float32Array.from(content)
  else yield* slices(checkpoint, content, shape.at(-1) as number)
}
