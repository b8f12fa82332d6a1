/**
 * Random schemas, and what is written by them, against ajv: `node test/harness/fuzz-schemas.ts --count 5000 --seed 1 [--model DIR|stories|random]`.
 * A random choice among the allowed tokens writes, or with --model a model: the embedded one, one of random weights, or any. Every finished text must be valid; of values that were changed
 * a little, the automaton of all that a schema allows must take none that ajv refuses. What it refuses though ajv takes it is
 * counted: numbers and formats are narrower (docs/library.md).
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { defaultModel, load, type Model } from '../../host/index.ts'
import { compileSchema } from '../../host/text/structured/compile.ts'
import { constraintOf } from '../../host/text/structured/constrain.ts'
import { SchemaError } from '../../host/text/structured/errors.ts'
import { Tokenizer } from '../../host/text/tokenizer.ts'
import { chatModel } from '../fixtures/chats.ts'
import { plainJson, read } from '../fixtures/grammar.ts'
import { changed, type Random, randomOf, randomSchema } from '../fixtures/random-schemas.ts'

export interface Counts {
  schemas: number
  /** Refused because nothing satisfies them, a oneOf may be satisfied twice, or a reference leads to itself. */
  impossible: number
  /** Refused because compiling them takes more steps of work than a schema may. */
  dear: number
  finished: number
  /** Of those: ajv cannot compile the schema. */
  uncompared: number
  unfinished: number
  changed: number
  /** Changed values that ajv takes, and the automaton does not. */
  narrower: number
}

const stories = new URL('../golden/stories/', import.meta.url)
const VOCAB = 4096
const MOST_TOKENS = 400

/** Throws Error for the first value that is not valid. */
export async function fuzzSchemas(count: number, seed: number, model?: Model): Promise<Counts> {
  const counts: Counts = {
    schemas: 0,
    impossible: 0,
    dear: 0,
    finished: 0,
    uncompared: 0,
    unfinished: 0,
    changed: 0,
    narrower: 0,
  }
  const json = readFileSync(new URL('tokenizer.json', stories))
  const tokenizer = await Tokenizer.open('stories', json, {})
  for (let i = 0; i < count; i++) {
    const random = randomOf(seed + i * 7919)
    const schema = randomSchema(random)
    counts.schemas++
    let text: string | undefined
    try {
      text = model ? await writtenBy(model, schema, seed + i) : written(schema, tokenizer, random)
    } catch (error) {
      if (!(error instanceof SchemaError))
        throw new Error(
          `${i} of seed ${seed}: ${JSON.stringify(schema)}: ${error instanceof Error ? error.stack : error}`,
        )
      if (/steps of work/.test(error.message)) counts.dear++
      else if (/none satisfies|oneOf|a circle|multipleOf/.test(error.message)) counts.impossible++
      else throw new Error(`${JSON.stringify(schema)}: ${error.message}`)
      continue
    }
    if (text === undefined) counts.unfinished++
    else {
      counts.finished++
      compare(schema, text, random, counts)
    }
  }
  return counts
}

function compare(schema: object, text: string, random: Random, counts: Counts): void {
  const ajv = new Ajv2020({ strict: false, validateFormats: true, multipleOfPrecision: 9, ownProperties: true })
  formats.default(ajv)
  let isValid: ReturnType<typeof ajv.compile>
  try {
    isValid = ajv.compile(schema)
  } catch (error) {
    // It follows some references in a circle that lead through a value.
    if (!(error instanceof RangeError)) throw error
    counts.uncompared++
    return
  }
  let value: unknown = JSON.parse(text)
  const say = (what: string) => new Error(`${what}: ${JSON.stringify(value)} for ${JSON.stringify(schema)}`)
  if (!isValid(value)) throw say(`not valid (${ajv.errorsText(isValid.errors)})`)
  const any = compileSchema(schema, { form: 'any' })
  // In another way of writing it: without white space.
  const isRead = [plainJson(value), JSON.stringify(value)].some((written) => read(any, written) === 'whole')
  // Longer numbers are not written in full.
  if (!isRead && !/\d{16}/.test(plainJson(value))) throw say('refused by the automaton of all values')
  for (let i = 0; i < 10; i++) {
    value = changed(value, random)
    counts.changed++
    const isTaken = read(any, plainJson(value)) === 'whole'
    if (isTaken && !isValid(value)) throw say(`taken, and not valid (${ajv.errorsText(isValid.errors)})`)
    if (!isTaken && isValid(value)) counts.narrower++
  }
}

/** By tokens that are drawn among those that are allowed, those that end something more often than others. */
function written(schema: object, tokenizer: Tokenizer, random: Random): string | undefined {
  const constraint = constraintOf(compileSchema(schema), { tokenizer, vocabSize: VOCAB, ends: [0] })
  const ids: number[] = []
  for (let i = 0; i < MOST_TOKENS && !constraint.isComplete; i++) {
    const mask = constraint.allowed() as Uint32Array
    const allowed = Array.from({ length: VOCAB }, (_, id) => id).filter(
      (id) => ((mask[id >> 5] as number) >>> (id & 31)) & 1,
    )
    if (allowed.length === 0) throw new Error(`nothing is allowed behind ${tokenizer.decode(ids)}`)
    const ending = random(3) > 0 ? allowed.filter((id) => id === 0 || /["\]}]/.test(tokenizer.decode([id]))) : []
    const from = ending.length > 0 ? ending : allowed
    const id = from[random(from.length)] as number
    if (id === 0) return tokenizer.decode(ids)
    ids.push(id)
    constraint.push(id)
  }
  return constraint.isComplete ? tokenizer.decode(ids) : undefined
}

async function writtenBy(model: Model, schema: object, seed: number): Promise<string | undefined> {
  const stream = model.generate('Once upon a time', { schema, seed, maxTokens: 120, temperature: 1.5 })
  for await (const _ of stream);
  const { finish, text } = await stream.result
  return finish === 'length' ? undefined : text
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '5000' },
      seed: { type: 'string', default: '1' },
      model: { type: 'string' },
    },
    allowPositionals: true,
  })
  const path = values.model === 'stories' ? defaultModel : values.model === 'random' ? chatModel() : values.model
  const model = path === undefined ? undefined : await load(path, { threads: 1 })
  const { count, seed, model: by = 'chance' } = values
  const started = performance.now()
  const counts = await fuzzSchemas(Number(count), Number(seed), model)
  const seconds = Math.round((performance.now() - started) / 1000)
  console.log(JSON.stringify({ by, seed: Number(seed), ...counts, seconds }))
  await model?.close()
}
