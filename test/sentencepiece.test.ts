/** tokenizer.model: ids that SentencePiece gives (golden/sentencepiece), and files that lie. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { GtaError } from '../host/errors.ts'
import { readSentencePiece } from '../host/files/sentencepiece/model-file.ts'
import { sentencePieceJson } from '../host/files/sentencepiece/tokenizer-json.ts'
import { Charsmap } from '../host/text/sentencepiece/charsmap.ts'
import { Tokenizer } from '../host/text/tokenizer.ts'
import { failure } from './fixtures/checkpoints.ts'
import { golden, readJson } from './fixtures/goldens.ts'
import { bytesField, concat, floatField, numberField } from './fixtures/protobuf.ts'
import { Random } from './harness/debug-engine.ts'

const file = (name: string) => readFileSync(golden(`sentencepiece/${name}`))
const { texts, ids } = readJson(golden('sentencepiece/cases.json')) as {
  texts: string[]
  ids: Record<string, number[][]>
}
const charsmap = gunzipSync(file('nmt_nfkc.charsmap.gz'))

/** A model's file; a message that comes twice is merged, so the rules of its normalizer may stand behind. */
function modelFile(name: string): Uint8Array {
  const model = file(`${name}.model`)
  return name.endsWith('-nmt') ? concat(model, bytesField(3, bytesField(2, charsmap))) : model
}

function tokenizerOf(bytes: Uint8Array, isLegacy = true): Promise<Tokenizer> {
  const json = sentencePieceJson(readSentencePiece('tokenizer.model', bytes), isLegacy)
  return Tokenizer.open('model', new TextEncoder().encode(JSON.stringify(json)), {})
}

const models = Object.keys(ids)

test('BPE and Unigram, with every normalizer: the ids of SentencePiece', async () => {
  assert.is(models.length, 8)
  for (const name of models) {
    const tokenizer = await tokenizerOf(modelFile(name))
    for (const [i, text] of texts.entries())
      assert.equal(tokenizer.encode(text), ids[name]?.[i], `${name}: ${JSON.stringify(text)}`)
  }
})

test('what is spelt in bytes comes back whole', async () => {
  for (const [name, blank] of [
    ['bpe-identity', ' '],
    ['unigram-bytes', ''],
  ] as const) {
    const tokenizer = await tokenizerOf(modelFile(name))
    for (const text of texts.filter((text) => text !== '' && !text.includes('▁')))
      assert.is(tokenizer.decode(tokenizer.encode(text)), blank + text, `${name}: ${JSON.stringify(text)}`)
  }
})

test('only the first text has a blank before it, unless the behaviour is the older one', async () => {
  for (const name of ['bpe-identity', 'unigram-suffix', 'bpe-nmt']) {
    const bytes = modelFile(name)
    const [older, newer] = [await tokenizerOf(bytes), await tokenizerOf(bytes, false)]
    const ids = (tokenizer: Tokenizer) => tokenizer.encodeChat('</s>The</s>The', '\ufdd0')
    const the = older.encode('The')
    assert.equal(ids(older), [2, ...the, 2, ...the], name)
    assert.not.equal(ids(newer), ids(older), name)
    assert.equal(newer.encodeChat('The</s>', '\ufdd0'), [...the, 2], name)
  }
})

test('a user-defined piece is text, and a control token in a chat', async () => {
  const tokenizer = await tokenizerOf(modelFile('bpe-nmt'))
  const [sep] = tokenizer.encodeChat('<sep>', '\ufdd0') as [number]
  assert.ok(tokenizer.encode('a<sep>b').includes(sep))
  assert.not.ok(tokenizer.encodeChat('a\ufdd0<sep>b', '\ufdd0').includes(sep))
  assert.not.ok(tokenizer.encode('<s></s><unk><ctl>').some((id) => id < 4 && id > 0))
})

/** What transformers makes of a Unigram model (convert_slow_tokenizer.py, SpmConverter), as tokenizer.json. */
function unigramJson(name: string, normalizer: unknown, prepend_scheme: string): Promise<Tokenizer> {
  const { pieces, byteFallback } = readSentencePiece(name, file(`${name}.model`))
  const blank = { pattern: { String: '▁' }, content: ' ' }
  const json = {
    added_tokens: [0, 1, 2].map((id) => ({ id, content: pieces[id]?.text, special: true })),
    normalizer,
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme, split: false },
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [{ type: 'Replace', ...blank }, { type: 'ByteFallback' }, { type: 'Fuse' }],
    },
    model: {
      type: 'Unigram',
      unk_id: 0,
      byte_fallback: byteFallback,
      vocab: pieces.map(({ text, score }) => [text, score]),
    },
  }
  return Tokenizer.open(name, new TextEncoder().encode(JSON.stringify(json)), {})
}

test('Unigram in tokenizer.json: the same ids, in bytes what has no piece', async () => {
  const tokenizer = await unigramJson('unigram-bytes', null, 'never')
  for (const [i, text] of texts.entries())
    assert.equal(tokenizer.encode(text), ids['unigram-bytes']?.[i], JSON.stringify(text))
  assert.is(tokenizer.decode(tokenizer.encode('한국 \u{1f469} <s>')), '한국 \u{1f469} <s>')
})

test('unknown characters in a row are one token, in two parts of a text two; a vocabulary that is none is refused', async () => {
  const json = (entry: unknown) => ({
    ...{
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: 'WhitespaceSplit' },
      post_processor: null,
      decoder: { type: 'Metaspace' },
    },
    model: { type: 'Unigram', unk_id: 0, vocab: [['<unk>', 0], entry] },
  })
  const read = (entry: unknown) => Tokenizer.open('x', new TextEncoder().encode(JSON.stringify(json(entry))), {})
  const tokenizer = await read(['a', -1])
  assert.equal(tokenizer.encode('abc'), [1, 0])
  assert.equal(tokenizer.encode('b c'), [0, 0])
  for (const entry of [['a'.repeat(1001), -1], ['', -1], ['a', '-1'], ['a'], 'a'])
    assert.match(
      `${await failure(read(entry))}`,
      /token 1 must be a text of 1 to 1000 characters and a number/,
      JSON.stringify(entry),
    )
})

test('a precompiled normalizer of tokenizer.json: as the file says, in the way of tokenizers', async () => {
  const precompiled = (map: Uint8Array) => ({
    type: 'Sequence',
    normalizers: [{ type: 'Precompiled', precompiled_charsmap: Buffer.from(map).toString('base64') }],
  })
  const nmt = await unigramJson('unigram-nmt', precompiled(charsmap), 'always')
  const known = ['ﬁ', '①', 'ｶﾞ', '½', 'Å', 'A\u030a', '～', '日本語', '…', '™', 'a\u3000b', 'a\tb', '\u00ada', '\u0344']
  const sentencePiece = await tokenizerOf(modelFile('unigram-nmt'))
  for (const text of known) {
    const sp = sentencePiece.encode(text)
    assert.equal(nmt.encode(text), sp, JSON.stringify(text))
  }
  // SentencePiece takes the longest rule, tokenizers the shortest one for all of a grapheme.
  const { precompiledCharsmap } = readSentencePiece('x', modelFile('unigram-rules'))
  const rules = await unigramJson('unigram-rules', precompiled(precompiledCharsmap), 'always')
  assert.equal(rules.encode('a\u0308bc'), rules.encode('abc'))
  assert.not.equal(rules.encode('abc'), (await tokenizerOf(modelFile('unigram-rules'))).encode('abc'))
  const broken = unigramJson('unigram-rules', precompiled(Uint8Array.of(1)), 'always')
  assert.match(`${await failure(broken)}`, /charsmap/)
})

test('a precompiled normalizer before a model that is no Unigram, alone and in a sequence', async () => {
  const precompiled = { type: 'Precompiled', precompiled_charsmap: '' }
  for (const normalizer of [
    precompiled,
    { type: 'Sequence', normalizers: [{ type: 'Sequence', normalizers: [precompiled] }] },
  ]) {
    const json = {
      added_tokens: [],
      normalizer,
      pre_tokenizer: { type: 'WhitespaceSplit' },
      post_processor: null,
      decoder: { type: 'Metaspace' },
      model: { type: 'BPE', unk_token: '<unk>', vocab: { '<unk>': 0, ﬁ: 1, f: 2, i: 3 }, merges: [] },
    }
    const tokenizer = await Tokenizer.open('x', new TextEncoder().encode(JSON.stringify(json)), {})
    // A charsmap without rules leaves it, which NFKC does not.
    assert.equal(tokenizer.encode('ﬁ'), [1])
  }
})

const piece = (text: string, score = 0, type = 1) =>
  bytesField(1, bytesField(1, text), floatField(2, score), numberField(3, type))
const least = concat(piece('<unk>', 0, 2), piece('a', -1), piece('b', -2))
/** A charsmap: units of the trie, and a text. */
const rules = (units: number[], text = 'x\0') =>
  concat(new Uint8Array(Uint32Array.from([4 * units.length, ...units]).buffer), new TextEncoder().encode(text))
const normalizer = (map: Uint8Array) => concat(least, bytesField(3, bytesField(2, map)))

/** What is wrong, and a word of the error. */
const lies: [file: Uint8Array, word: RegExp][] = [
  [new Uint8Array(), /0 pieces for what is unknown/],
  [Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f), /field 1 is longer/],
  [concat(least, Uint8Array.of(0x0a, 4, 0x0a, 1, 0x63)), /field 1 is longer/],
  [Uint8Array.of(0x08, ...new Array(11).fill(0x80)), /more than ten bytes/],
  [Uint8Array.of(0x0b), /unknown wire type 3/],
  [Uint8Array.of(0x02, 0), /without a number/],
  [concat(least, numberField(1, 5)), /field 1 must be bytes/],
  [concat(least, bytesField(2, bytesField(3, 'BPE'))), /field 3 must be a number/],
  [concat(least, bytesField(1, bytesField(2, 'abc'))), /field 2 must be four bytes/],
  [concat(least, bytesField(1, bytesField(1, Uint8Array.of(0xff)))), /UTF-8/],
  [concat(least, piece('a')), /"a", is there twice/],
  [concat(least, piece('<x>', 0, 2)), /2 pieces for what is unknown/],
  [concat(least, piece('')), /piece 3 has 0 characters/],
  [concat(least, piece('a'.repeat(1001))), /piece 3 has 1001 characters/],
  [concat(least, piece('c', Number.NaN)), /score of piece 3 is NaN/],
  [concat(least, piece('c', 0, 7)), /unknown type 7/],
  [concat(least, piece('<0x0A>', 0, 6)), /1 pieces for single bytes, not 0/],
  [concat(least, piece('<0x0a>', 0, 6)), /is no byte/],
  [concat(least, bytesField(2, numberField(35, 1))), /0 pieces for single bytes, not 256/],
  [concat(least, bytesField(2, numberField(3, 3))), /type WORD/],
  [concat(least, bytesField(5, bytesField(2, charsmap))), /denormalizer/],
  [new TextEncoder().encode('IQ== 0\nIg== 1\n'), /tiktoken/],
]

test('files that lie are refused with what is wrong', async () => {
  await tokenizerOf(least)
  for (const [bytes, word] of lies)
    assert.throws(
      () => readSentencePiece('tokenizer.model', bytes),
      (error: Error) => error instanceof GtaError && error.code === 'BAD_FILE' && word.test(error.message),
      `${word}`,
    )
})

test('rules of a normalizer that lie are refused, when they are read or used, and never loop', async () => {
  const parts: [map: Uint8Array, word: RegExp][] = [
    [rules([], ''), /trie of 0 bytes/],
    [Uint8Array.of(255, 255, 255, 255, 0), /trie of 4294967295 bytes/],
    [rules([0], 'x'), /no end/],
    [rules([0x7fffff00]), /outside of itself/],
    // All units have the label 'a', and lead to themselves.
    [rules(new Array(256).fill(0x161), 'x\0'), /outside of the texts/],
  ]
  for (const [map, word] of parts) {
    const error = await failure(tokenizerOf(normalizer(map)).then((tokenizer) => tokenizer.encode('aaaa')))
    assert.instance(error, GtaError, `${word}`)
    assert.match(error.message, word)
  }
  // "a" is "x"; a value whose low byte is zero is no way to a zero behind it.
  const units = new Array(256).fill(0)
  units[0x61] = 0x561
  units[0x60] = 0x80000100
  const found = new Charsmap(rules(units, `${'z'.repeat(256)}x\0`)).find(Uint8Array.of(0x61, 0), 0, 2, true)
  assert.equal(found, { length: 1, text: 'x' })
  const cyclic = new Uint32Array(256).fill(0x61)
  assert.is(new Charsmap(rules([...cyclic])).find(new Uint8Array(1e5).fill(0x61), 0, 1e5, true), undefined)
})

test('a file that is cut anywhere, or of which bytes are others, is a tokenizer or an error with a type', async () => {
  const whole = modelFile('unigram-rules')
  const random = new Random(16)
  const cut = ['hand-bpe', 'hand-unigram'].flatMap((name) => {
    const bytes = modelFile(name)
    return Array.from({ length: bytes.length }, (_, length) => bytes.subarray(0, length))
  })
  const others = Array.from({ length: 300 }, () => {
    const bytes = Uint8Array.from(whole)
    for (let i = random.below(4); i >= 0; i--) bytes[random.below(bytes.length)] = random.below(256)
    return bytes
  })
  const files = [...cut, ...others]
  let refused = 0
  for (const bytes of files)
    try {
      ;(await tokenizerOf(bytes)).encode('— abc äe')
    } catch (error) {
      assert.instance(error, GtaError)
      refused++
    }
  assert.ok(refused > 100 && refused < files.length, `${refused} refused`)
})

test.run()
