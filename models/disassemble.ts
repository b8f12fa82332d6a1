/** A plan in words that a person can read: one line per field. For `gta inspect --plan`. */
import * as abi from '../assembly/abi.ts'
import { matrixCodes } from './packed.ts'
import type { Plan } from './plan.ts'
import { fieldsOf, isFloat, placesOf } from './records.ts'

const typeNames = new Map(Object.entries(matrixCodes).map(([name, code]) => [code, name]))

export function disassemble({ words, bytes }: Plan): string[] {
  const floats = new Float32Array(words.buffer)
  const lines: string[] = []
  let at = 0
  const record = (owner: string, fields: object) => {
    for (const name of fieldsOf(fields)) {
      lines.push(`${owner}${name} ${isFloat(fields, name) ? floats[at] : words[at]}`)
      at++
    }
  }
  const matrix = (name: string) => {
    const [type = 0, rows, cols, stride, data, scales] = words.subarray(at, at + fieldsOf(new abi.Matrix()).length)
    at += fieldsOf(new abi.Matrix()).length
    const shape = `${typeNames.get(type)} (${rows}, ${cols}) stride ${stride} at ${data} scales ${scales || '–'}`
    lines.push(type === 0 ? `${name} –` : `${name} ${shape}`)
  }
  const head = placesOf(new abi.Plan())
  const many = (field: keyof abi.Plan, each: (index: number) => void) => {
    for (let index = 0; index < (words[head[field]] ?? 0); index++) each(index)
  }
  /** Offsets of the layer kinds whose mixer keeps a state. */
  const withState = new Set<number>()
  record('', new abi.Plan())
  record('buffer ', new abi.Buffers())
  for (const name of ['embed', 'positions', 'head']) matrix(name)
  many('nPageKinds', (index) => record(`page kind ${index} `, new abi.PageKind()))
  many('nRotations', (index) => record(`rotation ${index} `, new abi.Rotation()))
  many('nLayerKinds', () => {
    const { maps: mapsAt, mixer } = placesOf(new abi.LayerKind())
    const maps = words[at + mapsAt] ?? 0
    const hasState = words[at + mixer] !== abi.MIXER_ATTENTION
    if (hasState) withState.add(4 * at)
    const owner = `layer kind at ${4 * at} `
    record(owner, new abi.LayerKind())
    if (hasState) {
      record(owner, new abi.Recurrence())
      return
    }
    for (const view of ['key 0', 'key 1', 'value']) {
      lines.push(`${owner}${view} heads ${words.subarray(at, at + maps).join(' ')}`)
      at += maps
    }
  })
  many('nLayers', (index) => {
    record(`layer ${index} `, withState.has(words[at] ?? 0) ? new abi.StateLayer() : new abi.Layer())
    for (const name of fieldsOf(new abi.LayerMatrices())) matrix(`layer ${index} ${name}`)
  })
  // An offset is a word.
  if (bytes > 2 ** 32)
    lines.unshift('beyond 4 GiB: no engine can execute this plan, and its offsets are cut to 32 bits')
  return lines
}
