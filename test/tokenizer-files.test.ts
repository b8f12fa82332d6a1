/** The tokenizer of a directory: which file counts, which tokens are cut out of a text, and what stands around one. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { GtaError } from '../host/errors.ts'
import { readModelFiles } from '../host/files/checkpoint.ts'
import { readGguf } from '../host/files/gguf/file.ts'
import { readTokenizer } from '../host/files/tokenizer-files.ts'
import { tokenizerTables } from '../host/files/tokenizer-tables.ts'
import { unusedSettings } from '../host/files/unused-settings.ts'
import { AddedTokens } from '../host/text/added-tokens.ts'
import { byteLevelTable } from '../host/text/bytes.ts'
import { ChatTemplate } from '../host/text/template/template.ts'
import { Tokenizer } from '../host/text/tokenizer.ts'
import { bytes, tokenizerJson } from './fixtures/chats.ts'
import { failure, temporary } from './fixtures/checkpoints.ts'
import { golden, readJson } from './fixtures/goldens.ts'
import { bytesField, concat, floatField, numberField } from './fixtures/protobuf.ts'

/** A directory with these files: bytes, texts, or what becomes JSON. */
function directoryOf(files: Record<string, unknown>): string {
  const directory = temporary()
  for (const [name, content] of Object.entries(files)) {
    const isPlain = typeof content === 'string' || content instanceof Uint8Array
    writeFileSync(join(directory, name), isPlain ? content : JSON.stringify(content))
  }
  return directory
}

async function tokenizerOf(files: Record<string, unknown>, config: unknown = {}): Promise<Tokenizer> {
  const { tokenizer, tokenizerConfig } = await readTokenizer(directoryOf(files), config)
  return await Tokenizer.open('model', tokenizer as Uint8Array, tokenizerConfig)
}

const sentencePiece = readFileSync(golden('sentencepiece/bpe-identity.model'))
const { texts, ids } = readJson(golden('sentencepiece/cases.json')) as {
  texts: string[]
  ids: Record<string, number[][]>
}

test("Llama 2's tokenizer.model: ids of llama.cpp's texts, and its tables for gta.wasm", async () => {
  const gguf = gunzipSync(readFileSync(golden('gguf/vocab-llama-spm.gguf.gz')))
  const { values } = await readGguf('x', {
    size: gguf.length,
    readers: 1,
    readBytes: 1,
    read: async (target, position) => target.set(gguf.subarray(position, position + target.length)),
    close: async () => undefined,
  })
  const list = (name: string) => values.get(`tokenizer.ggml.${name}`) as unknown as ArrayLike<number>
  const [scores, types] = [list('scores'), list('token_type')]
  const pieces = Array.from(list('tokens') as unknown as ArrayLike<string>, (text, id) =>
    bytesField(1, bytesField(1, text), floatField(2, scores[id] as number), numberField(3, types[id] as number)),
  )
  const trainer = bytesField(2, numberField(3, 2), numberField(35, 1))
  const model = concat(...pieces, trainer, bytesField(3, numberField(4, 0)))
  const { tokenizer = new Uint8Array(), tokenizerConfig } = await readTokenizer(
    directoryOf({ 'tokenizer.model': model }),
    { model_type: 'llama' },
  )
  const own = await Tokenizer.open('llama', tokenizer, tokenizerConfig)
  const texts = readFileSync(golden('gguf/vocab-llama-spm.inp'), 'utf8').split('\n__ggml_vocab_test__\n')
  const ids = readFileSync(golden('gguf/vocab-llama-spm.out'), 'utf8').split('\n')
  for (const [i, text] of texts.entries()) assert.is(own.encode(text).join(' '), ids[i]?.trim(), JSON.stringify(text))
  assert.equal(own.ends, { before: [1], behind: [] })
  assert.ok((await tokenizerTables(tokenizer, tokenizerConfig)).length > 500_000)
})

test('tokenizer.model alone: the class says what stands around a text, tokenizer_config.json over it', async () => {
  const model = { 'tokenizer.model': sentencePiece }
  const plain = await tokenizerOf(model)
  for (const [i, text] of texts.entries()) assert.equal(plain.encode(text), ids['bpe-identity']?.[i])
  const endsOf = async (config: object, modelConfig: object = {}) => {
    const { ends } = await tokenizerOf({ ...model, 'tokenizer_config.json': config }, modelConfig)
    return [ends.before, ends.behind]
  }
  assert.equal(await endsOf({}), [[1], []])
  assert.equal(await endsOf({ tokenizer_class: 'LlamaTokenizerFast', add_bos_token: false }), [[], []])
  assert.equal(await endsOf({ add_eos_token: true }), [[1], [2]])
  assert.equal(await endsOf({ bos_token: '</s>' }), [[2], []])
  // Its own tokens are not in this model, which says itself what begins a text.
  assert.equal(await endsOf({}, { model_type: 'gemma2' }), [[1], []])
  const the = plain.encode('The')
  const bare = await tokenizerOf({ ...model, 'tokenizer_config.json': { add_prefix_space: false } })
  assert.not.equal(bare.encode('The'), the)
  assert.equal(bare.encode(' The'), the)
  const newer = await tokenizerOf({ ...model, 'tokenizer_config.json': { legacy: false } })
  assert.equal(newer.encodeChat('The</s>The', '\ufdd0'), [...the, 2, ...bare.encode('The')])
})

test('a class that reads tokenizer.model in its own way is refused by its name, and so is no SentencePiece model', async () => {
  for (const [files, config, word] of [
    [{ 'tokenizer.model': sentencePiece, 'tokenizer_config.json': { tokenizer_class: 'XLNetTokenizer' } }, {}, /XLNet/],
    [{ 'tokenizer.model': sentencePiece }, { tokenizer_class: 'constructor' }, /found "constructor"/],
    [{ 'tokenizer.model': 'IQ== 0\nIg== 1\n' }, {}, /tiktoken/],
    [{ 'tokenizer.model': '<!DOCTYPE html>' }, {}, /HTML/],
    [{ 'vocab.json': {}, 'merges.txt': '' }, { model_type: 'gpt_neox' }, /tokenizer_class/],
    [{ 'vocab.json': {}, 'merges.txt': '' }, { tokenizer_class: 'CodeGenTokenizer' }, /CodeGenTokenizer/],
    [{ 'vocab.json': {}, 'merges.txt': '#version: 0.2\na b\na b c\n' }, { model_type: 'gpt2' }, /line 3/],
  ] as const) {
    const error = await failure(readTokenizer(directoryOf(files), config))
    assert.instance(error, GtaError, error.stack)
    assert.match(error.message, word)
  }
  assert.equal(await readTokenizer(directoryOf({ 'vocab.json': {} }), {}), { tokenizerConfig: undefined })
})

/** Bytes, and some pairs of them; Ġ is a blank. */
const vocab = Object.fromEntries([
  ...[...byteLevelTable()],
  ['Th', 256],
  ['The', 257],
  ['Ġf', 258],
  ['12', 259],
  ['<|endoftext|>', 260],
])
const older = { 'vocab.json': vocab, 'merges.txt': '#version: 0.2\nT h\nTh e\nĠ f\n1 2\n' }

test('vocab.json and merges.txt: GPT-2 keeps numbers whole, Qwen 2 cuts digits and composes characters', async () => {
  const gpt2 = await tokenizerOf(older, { model_type: 'gpt2' })
  assert.equal(gpt2.encode('The f12'), [257, 258, 259])
  assert.equal(gpt2.encode('The<|endoftext|>').slice(1), bytes('<|endoftext|>'))
  assert.equal(gpt2.encodeCorpus('The<|endoftext|>'), [257, 260])
  assert.equal(gpt2.ends, { before: [], behind: [] })
  assert.equal(gpt2.encode('a\u0308'), bytes('a\u0308'))
  const qwen = await tokenizerOf(older, { model_type: 'qwen2' })
  assert.equal(qwen.encode('The f12'), [257, 258, 49, 50])
  assert.equal(qwen.encode('a\u0308'), bytes('ä'))
  const config = { tokenizer_class: 'GPT2TokenizerFast', add_prefix_space: true, add_bos_token: true }
  const spaced = await tokenizerOf({ ...older, 'tokenizer_config.json': config })
  assert.equal(spaced.encode('f'), [258])
  assert.equal(spaced.ends, { before: [260], behind: [] })
})

const token = (content: string, options: object = {}) => ({ content, special: false, ...options })

test('added_tokens_decoder says what a token is; added_tokens.json only where there is none', async () => {
  const decoder = {
    262: token('<x>'),
    263: token('<hidden>', { special: true }),
    260: token('<|user|>', { rstrip: true }),
  }
  const files = {
    'tokenizer.json': tokenizerJson,
    'tokenizer_config.json': { added_tokens_decoder: decoder },
    'added_tokens.json': { '<y>': 264, '<think>': 300 },
    'special_tokens_map.json': { additional_special_tokens: ['<y>'] },
  }
  const told = await tokenizerOf(files)
  assert.equal(told.encode('a<x><y>'), [97, 262, ...bytes('<y>')])
  assert.equal(told.encode('<hidden>'), bytes('<hidden>'))
  assert.is(told.decode([263, 97]), 'a')
  assert.equal(told.encode('<|user|>  b'), [260, 98], 'as its setting is in tokenizer_config.json')
  const untold = await tokenizerOf({ ...files, 'tokenizer_config.json': {} })
  assert.equal(untold.encode('<x><y>'), [...bytes('<x><y>')], 'a special token')
  assert.equal(untold.encodeCorpus('<y>'), [264])
  assert.equal(untold.encode('<think>'), [261], 'tokenizer.json has it already')
  assert.equal(untold.encode('<|user|> b'), [260, 32, 98])
})

test('a named special token of the vocabulary is no text', async () => {
  const files = {
    'tokenizer.json': tokenizerJson,
    'tokenizer_config.json': {
      ...{ eos_token: '<|user|>', pad_token: '[PAD]' },
      model_specific_special_tokens: { thought: '<think>' },
    },
  }
  const tokenizer = await tokenizerOf(files)
  assert.equal(tokenizer.encode('<|user|>[PAD]'), bytes('<|user|>[PAD]'))
  assert.is(tokenizer.decode([260, 261]), '')
  assert.equal((await tokenizerOf({ 'tokenizer.json': tokenizerJson })).encode('<|user|>'), [260])
})

test('a token on top of a SentencePiece model, by its id as it is written', async () => {
  const tokenizer = await tokenizerOf({
    'tokenizer.model': sentencePiece,
    'added_tokens.json': { '<|im_end|>': 32000 },
  })
  const the = tokenizer.encode('The')
  assert.equal(tokenizer.encode('The<|im_end|>The'), [...the, 32000, ...the])
  assert.equal(tokenizer.bytesOf(32000), new TextEncoder().encode('<|im_end|>'))
})

test('added tokens that are none are refused with their place', async () => {
  for (const [name, content, word] of [
    ['tokenizer_config.json', { added_tokens_decoder: [] }, /added_tokens_decoder/],
    ['tokenizer_config.json', { added_tokens_decoder: { x: token('a') } }, /token "x"/],
    ['tokenizer_config.json', { added_tokens_decoder: { 1: token('') } }, /token "1"/],
    ['added_tokens.json', { a: -1 }, /id of "a"/],
    ['added_tokens.json', [], /must be an object/],
  ] as const) {
    const error = await failure(readTokenizer(directoryOf({ 'tokenizer.json': tokenizerJson, [name]: content }), {}))
    assert.instance(error, GtaError, error.stack)
    assert.match(error.message, word)
  }
})

test('of added tokens the leftmost counts, then the longest; with its white space, and not in a word', () => {
  const tokens = new AddedTokens([
    { id: 1, content: '<a>' },
    { id: 2, content: '<a><b>' },
    { id: 3, content: '<l>', lstrip: true },
    { id: 4, content: '<r>', rstrip: true },
    { id: 5, content: 'one', single_word: true },
    { id: 6, content: '  ' },
  ])
  const split = (text: string) => tokens.split(text).map((part) => (typeof part === 'string' ? part : part.id))
  assert.equal(split('<a><a><b>x'), ['', 1, '', 2, 'x'])
  assert.equal(split('x \n\u00a0<l> y'), ['x', 3, ' y'])
  assert.equal(split('x <r> \u0085y'), ['x ', 4, 'y'])
  assert.equal(split('x<r>\ufeffy'), ['x', 4, '\ufeffy'], 'U+FEFF is no white space')
  assert.equal(split('one, oné one1 _one one'), ['', 5, ', oné one1 _one ', 5, ''])
  assert.equal(split('\u{1d7d8}one one\u{20000}'), ['\u{1d7d8}one one\u{20000}'], 'characters of two units')
  assert.equal(split('<r>   <l>'), ['', 4, '', 6, '', 3, ''], 'white space that is a token of its own')
  assert.equal(new AddedTokens([{ id: 1, content: '<a>' }], '\ufdd0').split('\ufdd0<a>'), ['\ufdd0<a>'])
})

test('chat templates: files over tokenizer_config.json, chat_template.json where there is no other', async () => {
  const templateOf = async (files: Record<string, unknown>, named: Record<string, string> = {}) => {
    const directory = directoryOf({ 'config.json': {}, ...files })
    mkdirSync(join(directory, 'additional_chat_templates'))
    for (const [name, text] of Object.entries(named))
      writeFileSync(join(directory, 'additional_chat_templates', `${name}.jinja`), text)
    return ((await readModelFiles(directory)).tokenizerConfig as { chat_template?: unknown } | undefined)?.chat_template
  }
  const config = { 'tokenizer_config.json': { chat_template: 'config' } }
  const processor = { 'chat_template.json': { chat_template: 'processor' } }
  const jinja = { 'chat_template.jinja': 'jinja' }
  assert.is(await templateOf({}), undefined)
  assert.is(await templateOf(processor), 'processor')
  assert.is(await templateOf({ ...processor, ...config }), 'config')
  assert.is(await templateOf({ ...processor, ...config, ...jinja }), 'jinja')
  assert.equal(await templateOf({ ...config, ...jinja }, { tool_use: 'tools' }), [
    { name: 'default', template: 'jinja' },
    { name: 'tool_use', template: 'tools' },
  ])
  assert.match((await failure(templateOf({ 'chat_template.json': {} }))).message, /"chat_template"/)
})

test('a template is told the special tokens, whatever names them', async () => {
  const config = { bos_token: '<s>', sep_token: { content: '</s>' }, mask_token: '<think>', pad_token: null }
  const tokenizer = await tokenizerOf({ 'tokenizer.json': tokenizerJson })
  let told: unknown
  const template = new ChatTemplate('model', config, tokenizer, 'chatml', async (_, { variables }) => {
    told = variables
    return ''
  })
  await template.render([{ role: 'user', content: 'a' }], {})
  assert.equal(told, { bos_token: '<s>', sep_token: '</s>', mask_token: '<think>' })
})

test('settings of generation_config.json that are not applied are named', () => {
  const found = (generation: unknown) => unusedSettings({ vocabSize: 100 }, generation)
  const usual = {
    num_beams: 1,
    temperature: 0.6,
    top_k: 0,
    eos_token_id: [1, 2],
    suppress_tokens: [],
    forced_eos_token_id: null,
  }
  assert.equal(found({ ...usual, do_sample: true, repetition_penalty: 1.1, pad_token_id: 0, max_length: 20 }), [])
  assert.equal(found(undefined), [])
  assert.equal(found({ num_beams: 4, bad_words_ids: [[1]], no_repeat_ngram_size: 3, forced_bos_token_id: 0 }), [
    'bad_words_ids: [[1]]',
    'forced_bos_token_id: 0',
    'no_repeat_ngram_size: 3',
    'num_beams: 4',
  ])
  assert.equal(found({ temperature: -1, eos_token_id: [1, 100], do_sample: 'false' }), [
    'temperature: -1',
    'eos_token_id: [1,100]',
    'do_sample: "false"',
  ])
})

test('add_prefix_space of tokenizer_config.json counts more than tokenizer.json', async () => {
  const spaced = (config: object, pre: object, normalizer: unknown = null) =>
    tokenizerOf({
      'tokenizer.json': { ...tokenizerJson, pre_tokenizer: pre, normalizer },
      'tokenizer_config.json': config,
    })
  const byteLevel = { ...tokenizerJson.pre_tokenizer, add_prefix_space: true }
  assert.equal((await spaced({}, byteLevel)).encode('a'), bytes(' a'))
  assert.equal((await spaced({ add_prefix_space: false }, byteLevel)).encode('a'), bytes('a'))
  const llama = { tokenizer_class: 'LlamaTokenizer', add_bos_token: false, add_prefix_space: false }
  const steps = { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: ' ' }] }
  const plain = { ...tokenizerJson.pre_tokenizer, type: 'ByteLevel' }
  const sequence = { type: 'Sequence', pretokenizers: [plain] }
  assert.equal((await spaced({ ...llama, add_prefix_space: true }, sequence, steps)).encode('a'), bytes(' a'))
  assert.equal((await spaced(llama, sequence, steps)).encode('a'), bytes('a'))
})

test.run()
