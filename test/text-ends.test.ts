/** The tokens around a text, and where a generation ends, as transformers takes them from the files beside the weights. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { recommendedSampling } from '../host/engine/sampling.ts'
import { load } from '../host/index.ts'
import { textEndsOf } from '../host/text/special-tokens.ts'
import { bytes, tokenizerJson } from './fixtures/chats.ts'
import { gqaConfig, randomTensors, writeCheckpoint } from './fixtures/checkpoints.ts'

/** TemplateProcessing around the text, by the names of tokens. */
const template = (before: string[], behind: string[] = []) => ({
  type: 'TemplateProcessing',
  single: [
    ...before.map((id) => ({ SpecialToken: { id, type_id: 0 } })),
    { Sequence: { id: 'A', type_id: 0 } },
    ...behind.map((id) => ({ SpecialToken: { id, type_id: 0 } })),
  ],
  special_tokens: { '<s>': { id: '<s>', ids: [258], tokens: ['<s>'] } },
})
const ends = (post_processor: unknown, config: unknown = {}) => {
  const { before, behind } = textEndsOf({ ...tokenizerJson, post_processor }, config)
  return [before, behind]
}
const byteLevel = { type: 'ByteLevel', trim_offsets: false }

test('a post-processor says what stands around a text', () => {
  assert.equal(ends(null), [[], []])
  assert.equal(ends(byteLevel), [[], []])
  assert.equal(ends(template(['<s>'])), [[258], []])
  assert.equal(ends(template(['<s>', '<|user|>'], ['</s>'])), [[258, 260], [259]])
  assert.equal(ends({ type: 'Sequence', processors: [byteLevel, template(['<s>'])] }), [[258], []])
  assert.equal(
    ends({ type: 'Sequence', processors: [template(['<s>'], ['</s>']), template(['<|user|>'], ['<think>'])] }),
    [
      [260, 258],
      [259, 261],
    ],
  )
  assert.equal(ends({ type: 'RobertaProcessing', sep: ['</s>', 259], cls: ['<s>', 258] }), [[258], [259]])
})

test('add_bos_token and add_eos_token have the last word', () => {
  const named = { bos_token: '<s>', eos_token: { content: '</s>' } }
  assert.equal(ends(null, { ...named, add_bos_token: true }), [[258], []])
  assert.equal(ends(byteLevel, { ...named, add_bos_token: true, add_eos_token: true }), [[258], [259]])
  assert.equal(ends(template(['<s>'], ['</s>']), { ...named, add_bos_token: false, add_eos_token: false }), [[], []])
  assert.equal(ends(template(['<s>']), { ...named, add_bos_token: true }), [[258], []], 'once')
  assert.equal(ends(template(['<s>']), { ...named, add_bos_token: null }), [[258], []])
})

test('without a word, the classes of Llama and Gemma begin a text', () => {
  for (const name of ['LlamaTokenizer', 'LlamaTokenizerFast', 'GemmaTokenizer', 'CodeLlamaTokenizerFast'])
    assert.equal(ends(null, { tokenizer_class: name, bos_token: '<s>' }), [[258], []], name)
  assert.equal(ends(byteLevel, { tokenizer_class: 'LlamaTokenizerFast', bos_token: '<s>' }), [[], []])
  for (const name of ['GPT2Tokenizer', 'Qwen2TokenizerFast', 'PreTrainedTokenizerFast'])
    assert.equal(ends(null, { tokenizer_class: name, bos_token: '<s>' }), [[], []], name)
})

test('what is not understood is no begin token that is left out', () => {
  for (const [processor, config] of [
    [{ type: 'Unheard' }, {}],
    ['TemplateProcessing', {}],
    [{ type: 'TemplateProcessing', single: '$A' }, {}],
    [{ type: 'TemplateProcessing', single: [] }, {}],
    [template(['<unknown>']), {}],
    [{ ...template(['<s>']), special_tokens: { '<s>': { ids: ['258'] } } }, {}],
    [{ type: 'Sequence', processors: {} }, {}],
    [{ type: 'BertProcessing', cls: 258 }, {}],
    [null, { add_bos_token: true }],
    [null, { add_bos_token: true, bos_token: '<unknown>' }],
    [null, { add_bos_token: true, bos_token: 'constructor' }],
  ])
    assert.throws(() => ends(processor, config))
})

/** Ids of a prompt in a model with these files. */
async function promptIds(config: object, files: Record<string, unknown>): Promise<number[]> {
  const all = { ...gqaConfig, vocab_size: 264, ...config }
  const directory = writeCheckpoint(all, randomTensors(all))
  for (const [name, content] of Object.entries({ 'tokenizer.json': tokenizerJson, ...files }))
    writeFileSync(join(directory, name), JSON.stringify(content))
  const model = await load(directory, { threads: 1 })
  const ids = model.promptIds('The fox')
  await model.close()
  return ids
}

const fox = bytes('The fox')

test('the ids of config.json decide nothing', async () => {
  const begins = { 'tokenizer.json': { ...tokenizerJson, post_processor: template(['<s>']) } }
  assert.equal(await promptIds({ bos_token_id: 258 }, {}), fox, 'SmolLM2')
  assert.equal(await promptIds({ bos_token_id: 0, eos_token_id: 1 }, begins), [258, ...fox], 'Llama 1')
  assert.equal(await promptIds({}, begins), [258, ...fox])
  const off = { 'tokenizer_config.json': { add_bos_token: false, bos_token: null } }
  assert.equal(await promptIds({ bos_token_id: 259, eos_token_id: 259 }, off), fox, 'Qwen 2.5')
})

test('special_tokens_map.json counts more than tokenizer_config.json, unless that has all added tokens', async () => {
  const map = { 'special_tokens_map.json': { bos_token: { content: '<s>' }, eos_token: '</s>' } }
  for (const config of [{ add_bos_token: true }, { add_bos_token: true, bos_token: null }])
    assert.equal(await promptIds({}, { ...map, 'tokenizer_config.json': config }), [258, ...fox])
  const other = { add_bos_token: true, bos_token: '<|user|>' }
  assert.equal(await promptIds({}, { ...map, 'tokenizer_config.json': other }), [258, ...fox])
  const whole = { ...other, added_tokens_decoder: {} }
  assert.equal(await promptIds({}, { ...map, 'tokenizer_config.json': whole }), [260, ...fox])
  assert.equal(await promptIds({}, map), fox, 'a name alone puts nothing there')
})

test('do_sample: false is the most likely token, with the penalty that stands there', () => {
  const generation = { temperature: 0.6, top_p: 0.9, repetition_penalty: 1.1 }
  assert.equal(recommendedSampling({ ...generation, do_sample: false }), {
    temperature: 0,
    topP: 0.9,
    repeatPenalty: 1.1,
  })
  for (const rest of [{}, { do_sample: true }, { do_sample: 'false' }])
    assert.is(recommendedSampling({ ...generation, ...rest }).temperature, 0.6)
})

test.run()
