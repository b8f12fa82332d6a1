/** Results as flat records for JSON and CSV, under the names that LLM-Viewer uses. */
import type { Analysis } from './analyze.ts'
import { widthsOf } from './exact.ts'
import type { PassResult, Traffic } from './walk.ts'

export type Flat = Record<string, string | number | boolean | undefined>

/** The total of a pass, and with `perOperation` a record for each operation, of one layer, after it. */
export function recordsOf(model: string, analysis: Analysis, pass: PassResult, perOperation = false): Flat[] {
  const head = { ...settingsOf(model, analysis), batch: pass.batch, seqlen: pass.seqlen, stage: pass.stage }
  const memory = analysis.memory(pass)
  const total = {
    ...head,
    ...bytesOf(pass.total, pass.total.bytes),
    inference_time: pass.total.seconds,
    memory_consumption: memory.total,
    memory_consumption_weight: memory.weights,
    memory_consumption_kv_cache: memory.cache,
    memory_consumption_tmp_act: memory.activations,
    ...(analysis.mode === 'exact' ? { macs: pass.total.macs } : {}),
  }
  if (!perOperation) return [total]
  const operations = pass.operations.map((operation) => ({
    ...head,
    op: operation.name,
    layers: operation.count,
    ...bytesOf(operation, operation.bytes),
    arithmetic_intensity: operation.intensity,
    performance: operation.performance,
    bound: operation.bound,
    inference_time: operation.seconds,
    ...(analysis.mode === 'exact' ? { macs: operation.macs } : {}),
  }))
  return [total, ...operations]
}

/** What a generation takes: a record of its own. */
export function generationRecord(model: string, analysis: Analysis, batch: number, prompt: number, gen: number): Flat {
  const { seconds, prefillSeconds } = analysis.generation(batch, prompt, gen)
  return {
    ...settingsOf(model, analysis),
    batch,
    seqlen: prompt,
    stage: 'generate',
    prompt,
    gen,
    inference_time: seconds,
    prefill_time: prefillSeconds,
    tokens_per_second: (gen * batch) / seconds,
  }
}

function settingsOf(model: string, { hardware, formats, isFlash, mode }: Analysis): Flat {
  const { weights, activations, cache } = widthsOf(formats)
  return {
    model,
    hardware: hardware.name,
    w_bit: weights,
    a_bit: activations,
    kv_bit: cache,
    flash: isFlash,
    ...(mode === 'exact' ? { mode } : {}),
    ...(formats.is === 'engine' ? { type: formats.type, cache: formats.cache } : {}),
  }
}

function bytesOf({ operations, weights, loads, stores, cacheReads, cacheWrites }: Traffic, bytes: number): Flat {
  return {
    OPs: operations,
    memory_access: bytes,
    load_weight: weights,
    load_act: loads,
    store_act: stores,
    load_kv_cache: cacheReads,
    store_kv_cache: cacheWrites,
  }
}
