/**
 * What a packed file holds for the command without JavaScript (assembly/wasi/), which reads no JSON: the tensor "command"
 * before everything else, "tokenizer.tables" behind it. Hosts read only the latter (tokenizer.ts). Their layout is in
 * assembly/wasi/abi.ts.
 */
import { COMMAND_MAGIC, CommandHeader, UNIT } from '../../assembly/wasi/abi.ts'
import { type ModelSpec, PLAN_VERSION, type Plan, roundUp } from '../../models/index.ts'
import { recommendedSampling } from '../engine/sampling.ts'
import { eosOf, textEndsOf } from '../text/special-tokens.ts'
import { COMMAND_TENSOR, TABLES_TENSOR } from './packed.ts'
import type { ModelFiles } from './source.ts'
import { Writer } from './writer.ts'

/** A tensor of bytes. */
export interface Part {
  name: string
  bytes: Uint8Array
}

/** The tensor that goes before the weights of `plan`; `behind` is what comes behind them. */
export function commandHeader(spec: ModelSpec, files: ModelFiles, plan: Plan, behind: readonly Part[]): Part {
  const bos = beginOf(files)
  const eos = [...eosOf(spec, files.generation)]
  const sampling = recommendedSampling(files.generation)
  const empty = new CommandHeader()
  const length = roundUp(4 * (Object.keys(empty).length + eos.length), UNIT)
  const ends = endsOf(length + plan.bytes, behind)
  const tables = behind.findIndex(({ name }) => name === TABLES_TENSOR)
  const units = (bytes: number) => bytes / UNIT
  const dataEnd = units(ends.at(-1) as number)
  const writer = new Writer()
  writer.record(empty, {
    magic: COMMAND_MAGIC,
    version: PLAN_VERSION,
    planBegin: units(length),
    planEnd: units(length + plan.words.byteLength),
    weightsEnd: units(length + plan.bytes),
    tablesBegin: tables < 0 ? dataEnd : units(ends[tables] as number),
    tablesEnd: tables < 0 ? dataEnd : units(ends[tables + 1] as number),
    dataEnd,
    hasBos: bos === undefined ? 0 : 1,
    bos: bos ?? 0,
    eosCount: eos.length,
    temperature: sampling.temperature ?? Number.NaN,
    topK: sampling.topK ?? Number.NaN,
    topP: sampling.topP ?? Number.NaN,
    minP: sampling.minP ?? Number.NaN,
    repeatPenalty: sampling.repeatPenalty ?? Number.NaN,
  })
  writer.words(eos)
  return { name: COMMAND_TENSOR, bytes: writer.end() }
}

/** The token that begins a text; none without a tokenizer, or with one that cannot be used, which says so when it is loaded. */
function beginOf({ tokenizer, tokenizerConfig }: ModelFiles): number | undefined {
  try {
    return tokenizer && textEndsOf(JSON.parse(new TextDecoder().decode(tokenizer)), tokenizerConfig).before[0]
  } catch {
    return undefined
  }
}

/** Where the first part begins, and where each one ends. */
function endsOf(begin: number, parts: readonly Part[]): number[] {
  const ends = [begin]
  for (const { bytes } of parts) ends.push((ends.at(-1) as number) + bytes.length)
  return ends
}
