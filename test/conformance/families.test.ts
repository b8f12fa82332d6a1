/**
 * The families' goldens: small random models, in the spellings of transformers 4 and 5, with results of a float64 evaluation
 * (test/README.md). Logits of the last position, the best token of every position of the prompt, eight greedy tokens; fed at
 * once, token by token and in threes, by one thread and by several, in every build.
 */
import { existsSync, readdirSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { KvCache } from '../../host/cache/cache.ts'
import { greedy } from '../../host/engine/engine.ts'
import { type Build, debugBuild } from '../../host/engine/wasm/builds.ts'
import { describe, families, type WeightType } from '../../models/index.ts'
import { golden, readJson, worst } from '../fixtures/goldens.ts'
import { logitsOf, openEngine, relaxedSingle, strict } from '../harness/engines.ts'

interface FamilyCase {
  prompt: number[]
  logits: number[]
  argmax: number[]
  greedy: number[]
}

const names = readdirSync(golden('families'))
const folder = (name: string) => golden(`families/${name}`)
/** Those that the model's context holds; longer ones are in long-context.test.ts. */
const casesOf = (name: string): FamilyCase[] => {
  const { cases, ...visible } = readJson(`${folder(name)}/golden.json`)
  const { maxContext } = describe(readJson(`${folder(name)}/config.json`)).spec
  const fitting = [visible, ...cases].filter(({ prompt, greedy: ids }) => prompt.length + ids.length - 1 <= maxContext)
  assert.ok(fitting.length > 0, name)
  return fitting
}

const open = (name: string, build: Build, type: WeightType, threads = 1) =>
  openEngine(folder(name), { build, type, threads, context: 64, maxLogits: 64 })

/** Logits of every position of a prompt that is fed in slices. */
async function positions(engine: KvCache, ids: number[], slice: number): Promise<Float32Array[]> {
  engine.rewind(0, 0)
  return logitsOf(engine, ids, slice)
}

const best = (logits: Float32Array) => logits.indexOf(Math.max(...logits))

async function checkCase(engine: KvCache, what: string, { prompt, logits, argmax, greedy: expected }: FamilyCase) {
  const found = await positions(engine, prompt, prompt.length)
  const difference = worst(found.at(-1) as Float32Array, logits)
  assert.ok(difference <= 1e-4, `${what}: logits differ by ${difference}`)
  assert.equal(found.map(best), argmax, what)
  for (const slice of [1, 3]) assert.equal(await positions(engine, prompt, slice), found, `${what}, slices of ${slice}`)
  const written: number[] = [best(found.at(-1) as Float32Array)]
  for (let i = 0; i + 1 < expected.length; i++) {
    const row = { conversation: 0, position: prompt.length + i, token: written[i] as number, sampling: greedy }
    written.push((await engine.step([row]))[0] as number)
  }
  assert.equal(written, expected, what)
}

/** Of these only the literal form of reference.ts says what is right, in their shapes; nobody else's evaluation was at hand. */
const withoutGolden = ['ernie4_5', 'exaone4', 'hunyuan', 'minicpm', 'ministral3', 'mobilellm', 'youtu']

test('there are goldens of every family', () => {
  const found = new Set(names.map((name) => readJson(`${folder(name)}/config.json`).architectures[0]))
  const own = families.filter(({ kinds }) => kinds.length === 0)
  const lacking = own.filter(({ architectures }) => !architectures.some((one) => found.has(one)))
  assert.ok(own.length > lacking.length)
  assert.equal(
    lacking.map(({ name }) => name),
    withoutGolden,
  )
})

/** Every build, and one thread and several, compute the same bits. A thread costs more here than what it computes. */
const engines: [Build, number][] = [
  [relaxedSingle, 1],
  [strict, 3],
  [debugBuild, 1],
]

for (const name of names) {
  for (const [build, threads] of engines)
    test(`${name}, ${build.name}, ${threads} threads: the logits and the tokens of its reference`, async () => {
      const engine = await open(name, build, 'f32', threads)
      for (const [i, one] of casesOf(name).entries()) await checkCase(engine, `case ${i}`, one)
      await engine.close()
    })

  test(`${name}: q8 weights and an int8 cache stay near, with the same bits in every build`, async () => {
    const [{ prompt, logits }] = casesOf(name) as [FamilyCase]
    const [one, three] = await Promise.all(
      engines.slice(0, 2).map(([build, threads]) => open(name, build, 'q8', threads)),
    )
    const all = await positions(one as KvCache, prompt, prompt.length)
    for (const slice of [64, 3, 1])
      assert.equal(await positions(three as KvCache, prompt, slice), all, `slices of ${slice}`)
    await Promise.all([one?.close(), three?.close()])
    const found = all.at(-1) as Float32Array
    const size = Math.sqrt(logits.reduce((sum, one) => sum + one * one, 0) / logits.length)
    const error = Math.sqrt(logits.reduce((sum, one, i) => sum + (one - (found[i] as number)) ** 2, 0) / logits.length)
    // Random weights make small errors large; a wrong scale or a lost term leaves nothing of the logits (1.4).
    assert.ok(error > 0 && error < 0.25 * size, `${error} of ${size}`)
  })

  // A class of transformers 5 alone has one spelling.
  if (!existsSync(`${folder(name)}/config.v5.json`)) continue
  test(`${name}: transformers 5 spells the same model`, () => {
    const [old, recent] = ['config.json', 'config.v5.json'].map((file) => describe(readJson(`${folder(name)}/${file}`)))
    assert.equal(recent?.spec, old?.spec)
    assert.equal(recent?.sources.layer(1), old?.sources.layer(1))
  })
}

test.run()
