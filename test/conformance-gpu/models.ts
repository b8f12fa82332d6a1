/** The models of the table: every attention kind and every family that has a reference in test/golden, and its texts. */
import { readdirSync } from 'node:fs'
import { describe } from '../../models/index.ts'
import { type GoldenCase, golden, kinds, readGolden, readJson } from '../fixtures/goldens.ts'
import type { Text } from './job.ts'

export interface ConformanceModel {
  name: string
  /** Of its checkpoint. */
  folder: string
  texts: Text[]
}

const ofKind = ({ prompt_ids, greedy_ids, prefill_logits_last, logits_after_8 }: GoldenCase): Text => ({
  ...{ prompt: prompt_ids, next: greedy_ids, logits: prefill_logits_last, after: logits_after_8, best: [] },
})

interface FamilyCase {
  prompt: number[]
  logits: number[]
  argmax: number[]
  greedy: number[]
}

/** Nobody says what comes after the last token. */
const ofFamily = ({ prompt, logits, argmax, greedy }: FamilyCase): Text => ({
  ...{ prompt, next: greedy, logits, after: undefined, best: argmax },
})

function family(name: string): ConformanceModel {
  const folder = golden(`families/${name}`)
  const { cases, ...first } = readJson(`${folder}/golden.json`)
  const { maxContext } = describe(readJson(`${folder}/config.json`)).spec
  const texts = [first, ...cases].map(ofFamily)
  return { name, folder, texts: texts.filter(({ prompt, next }) => prompt.length + next.length <= maxContext) }
}

export const models: readonly ConformanceModel[] = [
  ...kinds.map((name) => ({ name, folder: golden(name), texts: readGolden(name).cases.map(ofKind) })),
  ...readdirSync(golden('families')).sort().map(family),
]
