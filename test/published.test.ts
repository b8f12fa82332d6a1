/**
 * Configs of the checkpoints that people run, as they were published: what each is taken for, how many parameters it has, what
 * a token leaves in the cache, how long a text may be, and whether it fits. What is not supported is refused by name.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fit } from '../host/engine/fit.ts'
import { describeModel } from '../host/files/describe.ts'
import { cacheBytes, cost, describe, families, ModelError } from '../models/index.ts'
import { type Config, encode, randomTensors, writeCheckpoint } from './fixtures/checkpoints.ts'
import { attentionOf, golden } from './fixtures/goldens.ts'
import { type Published, published, refusedConfigs } from './fixtures/published.ts'

const familyOf = ({ config }: Published) =>
  families.find(({ architectures }) => architectures.includes((config.architectures as string[])[0] ?? ''))?.name
const supported = published.filter((one) => familyOf(one) !== undefined)

/** '1.96B' of 1,961,560,064: in as many digits as `like` has. */
function rounded(parameters: number, like: string): string {
  const digits = like.split('.')[1]?.length ?? 1
  const unit = like.at(-1) as 'M' | 'B'
  return `${(parameters / { M: 1e6, B: 1e9 }[unit]).toFixed(like.includes('.') ? digits - 1 : 0)}${unit}`
}

test('families, parameters and cached numbers of published models', () => {
  assert.ok(supported.length >= 24, `${supported.length}`)
  for (const one of supported) {
    const model = describe(one.config)
    const counted = cost(model)
    assert.is(familyOf(one), one.family, one.repository)
    const { parameters } = one
    const found = typeof parameters === 'string' ? rounded(counted.parameters, parameters) : counted.parameters
    assert.is(found, parameters, one.repository)
    const perToken = counted.layers.reduce((sum, { count, cacheElements }) => sum + count * cacheElements, 0)
    assert.is(perToken, one.cache, one.repository)
  }
})

test('a window keeps the cache short', () => {
  const bytes = (repository: string, context: number) => {
    const one = published.find((candidate) => candidate.repository === repository) as Published
    return cacheBytes(describe(one.config).spec, 'int8', context).elements
  }
  // 15 layers of 18 hold 512 tokens and the page that the next ones are written to.
  const [whole, kept] = [3 * 512 * 32768, 15 * 512 * (512 + 64)]
  assert.ok(Math.abs(bytes('google/gemma-3-270m-it', 32768) - (whole + kept)) <= 15 * 512 * 64)
  assert.is(bytes('Qwen/Qwen3-0.6B', 8192), 57344 * 8192)
})

test('a window as long as the context is none', () => {
  const phi = published.find(({ repository }) => repository === 'microsoft/Phi-4-mini-instruct') as Published
  assert.is(phi.config.sliding_window, 262144)
  assert.is(attentionOf(describe(phi.config).spec).window, undefined)
})

test('contexts end where the numbers would be others', () => {
  const contexts: Record<string, number> = {
    'microsoft/Phi-4-mini-instruct': 4096,
    'mistralai/Ministral-3-3B-Instruct-2512-BF16': 16384,
    'openbmb/MiniCPM3-4B': 32768,
    'google/gemma-3-4b-it': 131072,
  }
  for (const { repository, config } of supported) {
    const { text_config: text = config } = config as { text_config?: Config }
    const expected = contexts[repository] ?? text.max_position_embeddings
    assert.is(describe(config).spec.maxContext, expected, repository)
  }
})

/** As transformers 5 writes it; undefined where it is written so already. */
function inVersion5(config: Config): Config | undefined {
  const { rope_theta, rope_scaling, rope_local_base_freq, partial_rotary_factor, torch_dtype, ...rest } = config
  if (rope_theta === undefined) return undefined
  const { type = 'default', ...scaling } = (rope_scaling ?? {}) as Config
  const whole = {
    rope_type: type,
    ...scaling,
    rope_theta,
    ...(partial_rotary_factor === undefined ? {} : { partial_rotary_factor }),
  }
  const local = { rope_type: 'default', rope_theta: rope_local_base_freq }
  const isByType = rope_local_base_freq !== undefined
  const rope_parameters = isByType ? { full_attention: whole, sliding_attention: local } : whole
  return { ...rest, dtype: torch_dtype, rope_parameters }
}

test('transformers 5 spells the same models', () => {
  let count = 0
  for (const { repository, config } of supported) {
    const recent = inVersion5(config)
    if (!recent) continue
    assert.equal(describe(recent).spec, describe(config).spec, repository)
    count++
  }
  assert.ok(count >= 20, `${count}`)
})

test('every one of them fits a board of 8 GB with 4,096 tokens, in q4; the largest do not fit 2 GB', async () => {
  const fits = async (config: Config, memory: number) => {
    const model = describe(config)
    const context = Math.min(4096, model.spec.maxContext)
    const memoryBytes = memory * 2 ** 30
    return (await fit(model, 'q4', { memoryBytes, context, conversations: 1, cache: 'int8' })).fits
  }
  const small: string[] = []
  for (const { repository, config } of supported) {
    assert.ok(await fits(config, 8), repository)
    if (!(await fits(config, 2))) small.push(repository)
  }
  assert.ok(small.includes('openbmb/MiniCPM3-4B') && !small.includes('meta-llama/Llama-3.2-1B-Instruct'), `${small}`)
})

test('what a checkpoint has besides its text part is named', async () => {
  const leftOut = async (path: string) => (await describeModel(path)).leftOut
  assert.equal(await leftOut(golden('published/gemma-3-4b-it.json')), ['vision_config'])
  assert.equal(await leftOut(golden('published/Qwen3-0.6B.json')), [])
  const small = { hidden_size: 16, intermediate_size: 8, num_attention_heads: 2, num_key_value_heads: 1, vocab_size: 9 }
  const config = {
    architectures: ['Gemma3ForConditionalGeneration'],
    text_config: { ...small, head_dim: 8, num_hidden_layers: 1 },
    vision_config: {},
  }
  const tensors = randomTensors(config)
  for (const name of ['model.vision_tower.a', 'lm_head.weight'])
    tensors.set(name, { dtype: 'F32', shape: [1], data: encode([1], 'F32') })
  assert.equal(await leftOut(writeCheckpoint(config, tensors)), ['model.vision_tower.a'])
})

test('what is not supported is refused by name, with advice', () => {
  const unknown = published.filter((one) => familyOf(one) === undefined)
  const named = unknown.map(({ repository, config }): (typeof refusedConfigs)[number] => [
    repository,
    config,
    (config.architectures as string[])[0] ?? '',
    'docs/kinds.md',
  ])
  for (const [name, config, ...words] of [...refusedConfigs, ...named])
    assert.throws(
      () => describe(config),
      (error: Error) => {
        assert.instance(error, ModelError, name)
        for (const word of words) assert.ok(error.message.includes(word), `${name}: ${word} is not in ${error.message}`)
        return error.message.length < 700
      },
      name,
    )
})

test.run()
