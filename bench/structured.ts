/**
 * What a form costs: compiling schemas, the trie of a vocabulary, and the mask of each token of texts in that form.
 * `node bench/structured.ts DIRECTORY [--rounds 7]`; a directory holds tokenizer.json (or .json.gz) and tokenizer_config.json.
 *
 * "first": nothing is kept but the trie, and the code has run once; of each token the fastest of the rounds, so that other programs do
 * not count. "again": the next text of the same form.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { compilePattern, compileSchema } from '../host/text/structured/compile.ts'
import { LeafMasks } from '../host/text/structured/leaf-masks.ts'
import { Machine, type MachineState } from '../host/text/structured/machine.ts'
import { Masks } from '../host/text/structured/masks.ts'
import type { Grammar } from '../host/text/structured/rule.ts'
import { TokenTrie, type Vocabulary } from '../host/text/structured/vocabulary.ts'
import { Tokenizer } from '../host/text/tokenizer.ts'
import { readArguments } from './arguments.ts'
import { showBodies, showCompilations, showHostile } from './structured-compile.ts'
import { forms, hardForms } from './structured-forms.ts'

const { positionals, values } = readArguments({
  command: 'node bench/structured.ts',
  about: 'Times of masks and compilations for a vocabulary: DIRECTORY holds tokenizer.json.',
  operands: { value: 'DIRECTORY', least: 1, most: 1 },
  flags: {
    tokens: {
      type: 'string',
      default: '0',
      value: 'N',
      help: 'so many, where the tokenizer has fewer: made of two of its own',
    },
    rounds: { type: 'string', default: '7', value: 'N', help: 'rounds, of which the fastest counts' },
  },
})
const rounds = Number(values.rounds)
const directory = positionals[0] as string

async function openTokenizer(): Promise<Tokenizer> {
  const path = join(directory, 'tokenizer.json')
  const json = existsSync(path) ? readFileSync(path) : gunzipSync(readFileSync(`${path}.gz`))
  const config = join(directory, 'tokenizer_config.json')
  return await Tokenizer.open(directory, json, existsSync(config) ? JSON.parse(readFileSync(config, 'utf8')) : {})
}

/** A vocabulary of more tokens: words that begin as one of its own, and go on as another. */
function longer(tokenizer: Tokenizer, count: number): Vocabulary {
  const all = Array.from({ length: 300_000 }, (_, id) => Buffer.from(tokenizer.bytesOf(id)))
  const own = all.findLastIndex((bytes) => bytes.length > 0) + 1
  const ends = all.filter((bytes) => /^[a-z]+$/.test(bytes.toString()))
  const made = (id: number) =>
    Buffer.concat([all[(id * 31) % own] as Buffer, ends[(id * 7919) % ends.length] as Buffer])
  return {
    bytesOf: (id) => (id < own || id >= count ? tokenizer.bytesOf(id) : made(id)),
    controlNames: (isSilentOnly) => tokenizer.controlNames(isSilentOnly),
    controlAt: (text) => tokenizer.controlAt(text),
  }
}

function timed<T>(work: () => T): [T, number] {
  const start = performance.now()
  const result = work()
  return [result, performance.now() - start]
}

/** Milliseconds of each token: its mask, and the step over its bytes. */
function timesOf(masks: Masks, ids: readonly number[], tokens: TokenTrie): number[] {
  let state: MachineState | null = masks.machine.start
  return ids.map((id) => {
    const [, ms] = timed(() => {
      const mask = masks.maskOf(state as MachineState)
      if (!(((mask[id >> 5] as number) >>> (id & 31)) & 1)) throw new Error(`token ${id} is not allowed`)
      for (const byte of tokens.bytesOf(id)) state = state && masks.machine.step(state, byte)
    })
    return ms
  })
}

function fastest(lists: readonly (readonly number[])[]): number[] {
  return (lists[0] as readonly number[]).map((_, i) => Math.min(...lists.map((list) => list[i] as number)))
}

function quantile(times: readonly number[], share: number): string {
  const sorted = [...times].sort((a, b) => a - b)
  return `${((sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number) * 1000).toFixed(0)} µs`
}

const show = (times: readonly number[]) =>
  `median ${quantile(times, 0.5)}, p99 ${quantile(times, 0.99)}, most ${quantile(times, 1)}`

const tokenizer = await openTokenizer()
const vocabulary = longer(tokenizer, Number(values.tokens))
let vocabSize = 0
for (let id = 0; id < 300_000; id++) if (vocabulary.bytesOf(id).length > 0) vocabSize = id + 1
const [tokens, trieMs] = timed(() => new TokenTrie(vocabulary, vocabSize))
const [, leavesMs] = timed(() => new LeafMasks(tokens))
console.log(`${directory}: ${vocabSize} tokens, trie in ${trieMs.toFixed(0)} ms and ${leavesMs.toFixed(0)} ms`)

const all = { first: [] as number[], again: [] as number[] }
for (const { name, schema, pattern, text } of [...forms, ...hardForms]) {
  const compile = (): Grammar => (pattern === undefined ? compileSchema(schema) : compilePattern(pattern))
  const [, coldMs] = timed(compile)
  const compiles = Array.from({ length: rounds }, () => timed(compile)[1])
  const ids = tokenizer.encode(text)
  if (pattern !== undefined && tokenizer.decode(ids.slice(0, 1)).startsWith(' ')) {
    console.log(`${name}: left out, this tokenizer begins texts with a space`)
    continue
  }
  const lists = Array.from({ length: rounds + 1 }, () => {
    const masks = new Masks(new Machine(compile()), new LeafMasks(tokens))
    return { first: timesOf(masks, ids, tokens), again: timesOf(masks, ids, tokens) }
  }).slice(1)
  const first = fastest(lists.map((list) => list.first))
  const again = fastest(lists.map((list) => list.again))
  const isHard = hardForms.some((form) => form.name === name)
  if (!isHard) all.first.push(...first)
  if (!isHard) all.again.push(...again)
  const bytes = JSON.stringify(schema ?? pattern).length
  console.log(
    `${isHard ? 'hard: ' : ''}${name}: ${bytes} bytes compiled in ${coldMs.toFixed(1)} ms, then ${Math.min(...compiles).toFixed(1)} ms; ${ids.length} tokens, first ${show(first)}; again ${show(again)}`,
  )
}
console.log(`all but the hard ones, ${all.first.length} tokens: first ${show(all.first)}; again ${show(all.again)}`)

showCompilations(rounds)
showHostile()
showBodies()
