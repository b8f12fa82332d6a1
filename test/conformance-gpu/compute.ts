/**
 * One case, through what programs and pages use: `load()`, `logits()`, `generate()`. It is run in Node and, bundled, in a page.
 */
import { bounds, type CaseType, type Figures, type Text } from './job.ts'

/** What a model of `gta-edge` and one of `gta-edge/browser` have in common. */
interface Model {
  open(): Conversation | Promise<Conversation>
  close(): Promise<void>
  engineName?: string
  engine?: { name: string }
}
interface Conversation {
  logits(prompt: number[]): Promise<Float32Array>
  generate(
    prompt: undefined,
    options: { maxTokens: number; temperature: number; stopAtEos: boolean },
  ): AsyncIterable<string> & { result: Promise<{ tokens: readonly number[] }> }
  rewind(length: number): void | Promise<void>
  close(): void | Promise<void>
}
export interface Place {
  load(url: string, options: { gpu?: 'on'; gpuForce?: boolean }): Promise<Model>
  /** Fills what a GPU's buffers hold between two steps with NaN; resolves to how many buffers these were. */
  poison(): Promise<number>
}

/** Fewer were no whole engine. */
const FEWEST_BUFFERS = 10

const best = (logits: Float32Array) => logits.indexOf(Math.max(...logits))

/** NaN if there is one. */
function difference(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  let worst = 0
  for (let i = 0; i < expected.length; i++) {
    const one = Math.abs((found[i] as number) - (expected[i] as number))
    if (!(one <= worst)) worst = one
  }
  return worst
}

/** In relation to the largest number that is expected. */
const relative = (found: Float32Array, expected: Float32Array) =>
  difference(found, expected) / Math.max(...expected.map(Math.abs))

const isEqual = (found: Float32Array, expected: Float32Array) => {
  const [a, b] = [found, expected].map((values) => new Int32Array(values.slice().buffer)) as [Int32Array, Int32Array]
  return a.length === b.length && a.every((word, i) => word === b[i])
}

/** Of the best two. */
function marginOf(logits: Float32Array): number {
  const [first = 0, second = 0] = logits.toSorted((a, b) => b - a)
  return first - second
}

/** Logits by the number of tokens before them, of a conversation that is read in such parts. */
type Logits = Map<number, Float32Array>
async function read(conversation: Conversation, parts: number[][]): Promise<Logits> {
  await conversation.rewind(0)
  const logits: Logits = new Map()
  let length = 0
  for (const part of parts) {
    length += part.length
    logits.set(length, (await conversation.logits(part)).slice())
  }
  return logits
}

function cut(tokens: number[], size: number): number[][] {
  return Array.from({ length: Math.ceil(tokens.length / size) }, (_, i) => tokens.slice(i * size, (i + 1) * size))
}

/** Two readings of a text that should be the same. */
type Pair = readonly [found: Logits, expected: Logits]

/** A text in threes, and, from poisoned buffers, all of it again. */
interface Again {
  threes: Logits
  changed: number
}

async function readAgain(
  conversation: Conversation,
  { prompt, next }: Text,
  place: Place,
  atOnce: Logits,
): Promise<Again> {
  const parts = cut([...prompt, ...next], 3)
  const threes = await read(conversation, parts)
  const poisoned = await place.poison()
  if (poisoned < FEWEST_BUFFERS) throw new Error(`only ${poisoned} buffers were found and filled with NaN`)
  const again: Pair[] = [
    [await read(conversation, [prompt, next]), atOnce],
    [await read(conversation, parts), threes],
  ]
  const changed = again
    .flatMap(([found, expected]) => [...found].map(([at, logits]) => isEqual(logits, expected.get(at) as Float32Array)))
    .filter((isSame) => !isSame).length
  return { threes, changed }
}

/** Adds up what is found at each place. */
class Sum implements Figures {
  engine: string
  places = 0
  difference = 0
  beyond = 0
  equal = 0
  otherTokens = 0
  slices = 0
  changed = 0

  constructor({ engineName, engine }: Model) {
    this.engine = engineName ?? engine?.name ?? ''
  }

  compare(difference: number, bound: number): void {
    this.places++
    if (difference === 0) this.equal++
    if (!(difference <= bound)) this.beyond++
    if (!(difference <= this.difference)) this.difference = difference
  }

  /** Where both readings have logits. */
  compareReadings([found, expected]: Pair, measure: typeof relative): void {
    for (const [at, logits] of found) {
      const other = expected.get(at)
      const one = other ? measure(logits, other) : 0
      if (!(one <= this.slices)) this.slices = one
    }
  }

  /** Of the longest text; a GPU in software takes a tenth of a second for each step. */
  compareAgain({ threes, changed }: Again, steps: Logits, measure: typeof relative): void {
    this.compareReadings([threes, steps], measure)
    this.changed += changed
  }
}

const longestOf = (texts: readonly Text[]) =>
  texts.reduce((long, text) => (text.prompt.length > long.prompt.length ? text : long))

async function computeF32(url: string, texts: readonly Text[], place: Place): Promise<Figures> {
  const model = await place.load(url, { gpu: 'on', gpuForce: true })
  const sum = new Sum(model)
  for (const text of texts) {
    const conversation = await model.open()
    const { prompt, next, after } = text
    const atOnce = await read(conversation, [prompt, next])
    const steps = await read(conversation, cut(prompt, 1))
    const written = await write(conversation, next.length)
    sum.compareReadings([atOnce, steps], difference)
    for (const logits of [atOnce, steps])
      sum.compare(difference(logits.get(prompt.length) as Float32Array, text.logits), bounds.f32)
    if (after) sum.compare(difference(atOnce.get(prompt.length + next.length) as Float32Array, after), bounds.f32)
    sum.otherTokens += text.best.filter((token, i) => token !== best(steps.get(i + 1) as Float32Array)).length
    sum.otherTokens += next.filter((token, i) => token !== written[i]).length
    if (text === longestOf(texts))
      sum.compareAgain(await readAgain(conversation, text, place, atOnce), new Map([...steps, ...atOnce]), difference)
    await conversation.close()
  }
  await model.close()
  return sum
}

/** What it goes on with at temperature 0. */
async function write(conversation: Conversation, maxTokens: number): Promise<readonly number[]> {
  const stream = conversation.generate(undefined, { maxTokens, temperature: 0, stopAtEos: false })
  for await (const _ of stream);
  return (await stream.result).tokens
}

/** Token by token, on the CPU and on the GPU: each from its own cache. */
async function computeQ8(url: string, texts: readonly Text[], place: Place): Promise<Figures> {
  const cpu = await place.load(url, {})
  const gpu = await place.load(url, { gpu: 'on', gpuForce: true })
  const sum = new Sum(gpu)
  for (const text of texts) {
    const [one, other] = [await cpu.open(), await gpu.open()]
    const { prompt, next } = text
    const singly = cut([...prompt, ...next], 1)
    const expected = await read(one, singly)
    const steps = await read(other, singly)
    const atOnce = await read(other, [prompt, next])
    sum.compareReadings([atOnce, steps], relative)
    for (const [at, logits] of expected) {
      const found = steps.get(at) as Float32Array
      sum.compare(relative(found, logits), bounds.q8)
      if (marginOf(logits) > bounds.margin && best(found) !== best(logits)) sum.otherTokens++
    }
    if (text === longestOf(texts)) sum.compareAgain(await readAgain(other, text, place, atOnce), steps, relative)
    await Promise.all([one.close(), other.close()])
  }
  await Promise.all([cpu.close(), gpu.close()])
  return sum
}

/** The packed model at `url` has weights of this type. */
export const compute = (url: string, type: CaseType, texts: readonly Text[], place: Place): Promise<Figures> =>
  type === 'f32' ? computeF32(url, texts, place) : computeQ8(url, texts, place)
