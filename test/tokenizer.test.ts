/** The tokenizer: text to ids and back without loss, streams that never show half a character, broken files refused. */
import { readFileSync } from 'node:fs'
import { Tokenizer as Library } from '@huggingface/tokenizers'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { GtaError } from '../host/index.ts'
import { withAllDigits } from '../host/text/digits.ts'
import { longestToken } from '../host/text/longest-token.ts'
import { TextStream } from '../host/text/text-stream.ts'
import { Tokenizer } from '../host/text/tokenizer.ts'
import { golden, readJson } from './fixtures/goldens.ts'
import { Random } from './harness/debug-engine.ts'

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))

const storiesJson = readJson(golden('stories/tokenizer.json'))
const storiesConfig = readJson(golden('stories/tokenizer_config.json'))
const stories = await Tokenizer.open('stories', readFileSync(golden('stories/tokenizer.json')), storiesConfig)

const samples = [
  'Once upon a time',
  'e\u0301 n\u0303 \u1E69\u0323\u0307', // combining marks, in more than one order
  '👩‍👩‍👧‍👦 👋🏽 🇨🇭 🏴󠁧󠁢󠁳󠁣󠁴󠁿',
  'שלום עולם مرحبا بالعالم \u202Eabc\u202C',
  '日本語のテキスト 한국어 ไทย',
  '\u0000\u0001\u007F a\u0000b',
  'a\r\nb\n\n\r  \t \u00A0\u3000x  ',
  "it's they're I'll 12345 1,000.00 !?…—",
  '\uFEFFbom \uFFFD \uFFFF \u{10FFFF} \u{1D11E}',
  '<0x41> <unk> Ġ Ċ <s>',
]

/** Random pieces of all planes, samples among them. */
function randomText(random: Random): string {
  const ranges = [
    [0x20, 0x7f],
    [0x20, 0x7f],
    [0, 0x20],
    [0xa0, 0x250],
    [0x300, 0x370],
    [0x5d0, 0x700],
    [0x2000, 0x2070],
    [0x4e00, 0x9fff],
    [0xe000, 0x10000],
    [0x1f300, 0x1faff],
    [0x10000, 0x110000],
  ] as const
  return Array.from({ length: random.below(12) }, () => {
    if (random.below(5) === 0) return random.pick(samples)
    const [from, to] = random.pick(ranges)
    const length = 1 + random.below(6)
    return Array.from({ length }, () => String.fromCodePoint(from + random.below(to - from))).join('')
  }).join('')
}

/** What a stream shows, piece by piece. */
function stream(tokenizer: Tokenizer, ids: number[]): string[] {
  const text = new TextStream(tokenizer)
  return [...ids.map((id) => text.push(id)), text.end()]
}

const hasHalf = (piece: string) => piece.includes('\uFFFD')

/** No piece may hold a replacement character that the text itself does not hold. */
function expectStream(tokenizer: Tokenizer, ids: number[], text: string): void {
  const pieces = stream(tokenizer, ids)
  assert.is(pieces.join(''), text)
  if (!hasHalf(text)) for (const piece of pieces) assert.not.ok(hasHalf(piece), `half a character in ${text}`)
  assert.is(tokenizer.decode(ids), text)
}

test('byte level: random text of all planes comes back, streamed and at once', () => {
  const library = new Library(storiesJson, storiesConfig)
  for (let i = 0; i < 400; i++) {
    const text = randomText(new Random(i))
    const ids = stories.encode(text)
    expectStream(stories, ids, text)
    // The library drops a byte order mark; a text must come back with it.
    if (ids.length > 0 && !text.startsWith('\uFEFF')) assert.is(library.decode(ids), text)
  }
})

test('byte level: lone surrogates become U+FFFD, as in every UTF-8 encoder, and nothing else changes', () => {
  for (const text of ['\uD83D', 'a\uD83Db', '\uDC4B\uD83D', 'x \uD83D\uD83D\uDC4B y', '\uDFFF'])
    expectStream(stories, stories.encode(text), text.toWellFormed())
})

/** Ids of the 256 single bytes, found through the tokenizer itself. */
function byteIds(tokenizer: Tokenizer, vocabSize: number): number[] {
  const ids: number[] = []
  for (let id = 0; id < vocabSize; id++) {
    const [byte, ...more] = tokenizer.bytesOf(id)
    if (byte !== undefined && more.length === 0) ids[byte] ??= id
  }
  return ids
}

test('byte level: one byte per token never shows half a character', () => {
  const ids = byteIds(stories, 4096)
  assert.is(ids.filter((id) => id !== undefined).length, 256)
  for (const text of [...samples, ...Array.from({ length: 100 }, (_, i) => randomText(new Random(i + 1000)))])
    expectStream(
      stories,
      Array.from(new TextEncoder().encode(text), (byte) => ids[byte] as number),
      text,
    )
})

test('a broken character shows as U+FFFD once it is certain: at what follows, or at the end', () => {
  const ids = byteIds(stories, 4096)
  const at = (...values: number[]) =>
    stream(
      stories,
      values.map((byte) => ids[byte] as number),
    )
  assert.equal(at(0xf0, 0x9f, 0x91), ['', '', '', '\uFFFD'])
  assert.equal(at(0xf0, 0x9f, 0x41), ['', '', '\uFFFDA', ''])
  assert.equal(at(0xff, 0x41), ['\uFFFD', 'A', ''])
  assert.equal(at(0xc3, 0xa9), ['', 'é', ''])
})

test('a stream knows nothing of the one before it', () => {
  const ids = byteIds(stories, 4096)
  const first = new TextStream(stories)
  assert.is(first.push(ids[0xf0] as number), '')
  assert.is(new TextStream(stories).push(ids[0x41] as number), 'A')
  first.end()
  assert.is(first.push(ids[0x42] as number), 'B')
})

test('control tokens and unknown ids are silent', () => {
  const [a] = stories.encode('a') as [number]
  assert.is(stories.decode([0, a, 1, a, 4096, -1, 1e9]), 'aa')
  for (const id of [0, 1, 4096, -1]) assert.is(stories.bytesOf(id).length, 0)
})

test('typed control tokens are text; in a corpus they are themselves', () => {
  const typed = ['<|endoftext|>', 'a<|endoftext|>b', '<|pad|><|endoftext|>', ' <|endoftext|> ', '<|endoftext|>\n']
  for (const text of typed) {
    const ids = stories.encode(text)
    assert.not.ok(ids.includes(0) || ids.includes(1), text)
    assert.is(stories.decode(ids), text)
  }
  const [a, b] = [stories.encode('a'), stories.encode('b')]
  assert.equal(stories.encodeCorpus('a<|endoftext|>b'), [...a, 0, ...b])
  assert.equal(stories.encodeCorpus('<|endoftext|>a<|endoftext|><|pad|>'), [0, ...a, 0, 1])
  assert.equal(stories.encodeCorpus('<|endoftext'), stories.encode('<|endoftext'))
  assert.equal(stories.encodeCorpus(''), [])
  assert.equal(stories.encode(''), [])
})

test('a longer control token wins over one that begins it, and their signs are not a pattern', async () => {
  const special = (content: string, id: number) => ({ ...storiesJson.added_tokens[0], content, id })
  const added = [special('<a>', 0), special('<a>.*', 1), special('(|', 2)]
  const tokenizer = await Tokenizer.open('x', bytes({ ...storiesJson, added_tokens: added }), storiesConfig)
  const x = tokenizer.encode('x')
  assert.equal(tokenizer.encodeCorpus('<a>.*x<a>x(|'), [1, ...x, 0, ...x, 2])
})

test('a token that is added but not special is text in and out', async () => {
  // é is a character of the byte table too, ▁ is not: neither stands for a byte here.
  for (const content of ['<é>', '<think é▁>']) {
    const added = { ...storiesJson.added_tokens[0], content, id: 4096, special: false }
    const json = bytes({ ...storiesJson, added_tokens: [...storiesJson.added_tokens, added] })
    const tokenizer = await Tokenizer.open('x', json, storiesConfig)
    const ids = tokenizer.encode(`a${content}b`)
    assert.ok(ids.includes(4096))
    expectStream(tokenizer, ids, `a${content}b`)
  }
})

test('a long corpus has more ids than a call may have arguments', () => {
  const text = 'Once upon a time, there was a cat. '.repeat(20000)
  const ids = stories.encodeCorpus(`${text}<|endoftext|>`)
  assert.ok(ids.length > 150000)
  assert.is(ids.at(-1), 0)
})

interface Piece {
  id: number
  piece: string
  score: number
}

const pieces: Piece[] = (readJson(golden('stories260K/tok512.json')) as Piece[]).map((one) => ({
  ...one,
  piece: one.id < 3 ? (['<unk>', '<s>', '</s>'][one.id] as string) : one.piece.replaceAll(' ', '▁'),
}))
const scores = new Map(pieces.map(({ piece, score, id }) => [piece, { score, id }]))

/** tokenizer.json as transformers writes it for Llama 2. */
function sentencePieceJson(): Record<string, unknown> {
  const merges = pieces
    .filter(({ id }) => id >= 259)
    .sort((a, b) => b.score - a.score)
    .flatMap(({ piece }) => {
      const chars = [...piece]
      return chars
        .slice(1)
        .map((_, i) => [chars.slice(0, i + 1).join(''), chars.slice(i + 1).join('')])
        .filter(([left, right]) => scores.has(left as string) && scores.has(right as string))
        .map((pair) => pair.join(' '))
    })
  const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => ({ id, content, ...special })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<unk>',
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(pieces.map(({ piece, id }) => [piece, id])),
      merges,
    },
  }
}

const sentencePiece = await Tokenizer.open('sp', bytes(sentencePieceJson()), {})

/** SentencePiece itself: of all neighbours, join those that make the piece of the best score. */
function twinEncode(text: string): number[] {
  const parts = [...`▁${text.replaceAll(' ', '▁')}`]
  for (;;) {
    let best = -1
    for (let i = 0; i + 1 < parts.length; i++) {
      const score = scores.get(`${parts[i]}${parts[i + 1]}`)?.score
      const champion = best < 0 ? undefined : scores.get(`${parts[best]}${parts[best + 1]}`)?.score
      if (score !== undefined && (champion === undefined || score > champion)) best = i
    }
    if (best < 0) break
    parts.splice(best, 2, `${parts[best]}${parts[best + 1]}`)
  }
  return parts.flatMap((part) => {
    const id = scores.get(part)?.id
    return id === undefined ? Array.from(new TextEncoder().encode(part), (byte) => byte + 3) : [id]
  })
}

test('SentencePiece: ids are those of its own algorithm', () => {
  assert.equal(sentencePiece.encode('Once upon a time'), twinEncode('Once upon a time'))
  for (let i = 0; i < 300; i++) {
    const random = new Random(i)
    const words = ['the', 'little', 'girl', 'named', 'Lily', 'upon', 'é', '👋', 'x', ' ', '"', '.', '\n']
    const text = Array.from({ length: 1 + random.below(20) }, () => random.pick(words)).join(random.pick([' ', '']))
    assert.equal(sentencePiece.encode(text), twinEncode(text), text)
  }
})

test('SentencePiece: text comes back behind one space, unknown characters as bytes', () => {
  const library = new Library(sentencePieceJson(), {})
  for (let i = 0; i < 400; i++) {
    // ▁ is a space there, in every implementation.
    const text = randomText(new Random(i + 500)).replaceAll('▁', '')
    if (text === '') continue
    const ids = sentencePiece.encode(text)
    expectStream(sentencePiece, ids, ` ${text}`)
    if (!text.includes('\uFEFF')) assert.is(library.decode(ids, { clean_up_tokenization_spaces: false }), text)
  }
  expectStream(sentencePiece, sentencePiece.encode('a\uD83Db'), ' a\uFFFDb')
})

test('SentencePiece: an emoji in four byte tokens is shown at the fourth', () => {
  const ids = sentencePiece.encode('👋')
  assert.equal(
    ids.slice(-4),
    [0xf0, 0x9f, 0x91, 0x8b].map((byte) => byte + 3),
  )
  assert.equal(stream(sentencePiece, ids).slice(-5), ['', '', '', '👋', ''])
})

test('SentencePiece: control tokens are silent, and typed ones are text', () => {
  const ids = sentencePiece.encode('<s>a</s>')
  assert.not.ok(ids.some((id) => id < 3))
  assert.is(sentencePiece.decode([1, ...ids, 2]), ' <s>a</s>')
  assert.is(sentencePiece.decode(sentencePiece.encode('<0x41>')), ' <0x41>')
  assert.equal(sentencePiece.encodeCorpus('<s>a</s>'), [1, ...sentencePiece.encode('a'), 2])
})

test('Metaspace: ▁ is a space', async () => {
  const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: false }
  const json = { ...sentencePieceJson(), normalizer: null, pre_tokenizer: metaspace, decoder: metaspace }
  const tokenizer = await Tokenizer.open('x', bytes(json), {})
  expectStream(tokenizer, tokenizer.encode('the little girl'), ' the little girl')
})

function nested(depth: number): unknown {
  let decoder: unknown = { type: 'ByteLevel' }
  for (let i = 0; i < depth; i++) decoder = { type: 'Sequence', decoders: [decoder] }
  return decoder
}

const { model } = storiesJson
const added = storiesJson.added_tokens[0]
const { decoder: _, ...noDecoder } = storiesJson

const broken: Record<string, unknown> = {
  'an empty object': {},
  null: null,
  'a list': [],
  'a text': 'tokenizer',
  'a number': 5,
  'no decoder': noDecoder,
  'a decoder of null': { ...storiesJson, decoder: null },
  'a decoder that is a text': { ...storiesJson, decoder: 'ByteLevel' },
  'a decoder without a type': { ...storiesJson, decoder: {} },
  'an unknown decoder': { ...storiesJson, decoder: { type: 'Morse' } },
  'a decoder that is not supported': { ...storiesJson, decoder: { type: 'WordPiece', prefix: '##', cleanup: true } },
  'a sequence of nothing known': { ...storiesJson, decoder: { type: 'Sequence', decoders: [null] } },
  'a sequence that is a number': { ...storiesJson, decoder: { type: 'Sequence', decoders: 5 } },
  'sequences in sequences': { ...storiesJson, decoder: nested(3) },
  'sequences without end': { ...storiesJson, decoder: nested(2000) },
  'a decoder that replaces a pattern': {
    ...storiesJson,
    decoder: { type: 'Replace', pattern: { Regex: '[▁_]' }, content: ' ' },
  },
  'a replacement that is a number': {
    ...storiesJson,
    decoder: { type: 'Replace', pattern: { String: 5 }, content: 6 },
  },
  'no model': { ...storiesJson, model: undefined },
  'a model of null': { ...storiesJson, model: null },
  'a model that is a list': { ...storiesJson, model: [] },
  'no vocabulary': { ...storiesJson, model: { ...model, vocab: undefined } },
  'a vocabulary of null': { ...storiesJson, model: { ...model, vocab: null } },
  'a vocabulary that is a number': { ...storiesJson, model: { ...model, vocab: 5 } },
  'an empty vocabulary': { ...storiesJson, model: { ...model, vocab: {} } },
  'ids that are texts': { ...storiesJson, model: { ...model, vocab: { ...model.vocab, a: '66' } } },
  'ids that are no whole numbers': { ...storiesJson, model: { ...model, vocab: { ...model.vocab, a: 66.5 } } },
  'ids below zero': { ...storiesJson, model: { ...model, vocab: { ...model.vocab, a: -1 } } },
  'no merges': { ...storiesJson, model: { ...model, merges: undefined } },
  'merges that are a number': { ...storiesJson, model: { ...model, merges: 5 } },
  'merges of numbers': { ...storiesJson, model: { ...model, merges: [1, 2] } },
  'an unknown pre-tokenizer': { ...storiesJson, pre_tokenizer: { type: 'Guess' } },
  'an unknown normalizer': { ...storiesJson, normalizer: { type: 'Guess' } },
  'added tokens that are a number': { ...storiesJson, added_tokens: 5 },
  'an added token of null': { ...storiesJson, added_tokens: [null] },
  'an added token without content': { ...storiesJson, added_tokens: [{ ...added, content: undefined }] },
  'an added token whose content is a number': { ...storiesJson, added_tokens: [{ ...added, content: 7 }] },
  'an added token of no characters': { ...storiesJson, added_tokens: [{ ...added, content: '' }] },
  'an added token without an id': { ...storiesJson, added_tokens: [{ ...added, id: undefined }] },
  'an added token whose id is a text': { ...storiesJson, added_tokens: [{ ...added, id: '0' }] },
}

async function expectBroken(json: Uint8Array, config: unknown = {}): Promise<void> {
  const found = await Tokenizer.open('some/model', json, config).catch((error) => error)
  assert.instance(found, GtaError, found instanceof Error ? `${found}` : 'it was taken')
  const { code, message } = found as GtaError
  assert.is(code, 'BAD_TOKENIZER')
  assert.match(message, 'some/model')
  assert.ok(message.length < 500, 'a message is for people')
}

for (const [name, json] of Object.entries(broken))
  test(`refused with BAD_TOKENIZER: ${name}`, async () => {
    await expectBroken(bytes(json))
  })

test('refused with BAD_TOKENIZER: no JSON, no UTF-8, nothing, or cut off', async () => {
  const whole = readFileSync(golden('stories/tokenizer.json'))
  const files = [
    new Uint8Array(),
    Uint8Array.of(0xff, 0xfe, 0x7b),
    new TextEncoder().encode('{'),
    whole.subarray(0, 5e4),
  ]
  for (const file of files) await expectBroken(file)
  await expectBroken(new TextEncoder().encode(`${'['.repeat(100000)}`))
})

test('a tokenizer_config that is no object is refused or ignored, never a raw error', async () => {
  for (const config of [undefined, null, 5, 'text', [], { bos_token: 5 }])
    try {
      const tokenizer = await Tokenizer.open('x', bytes(storiesJson), config)
      assert.is(tokenizer.decode(stories.encode('Once')), 'Once')
    } catch (error) {
      assert.instance(error, GtaError)
    }
})

test('no text has fewer tokens than its length says, and where that is not known, nothing is said', () => {
  const random = new Random(11)
  for (const [name, tokenizer] of Object.entries({ stories, sentencePiece })) {
    const texts = [...samples, ' '.repeat(500), ...Array.from({ length: 300 }, () => randomText(random))]
    for (const text of texts) {
      const count = tokenizer.encode(text).length
      assert.ok(tokenizer.leastTokens(text.length) <= count, `${name}: ${count} tokens of ${JSON.stringify(text)}`)
    }
  }
  assert.ok(stories.leastTokens(1e6) > 1e4)
  const { model } = storiesJson
  const unknown = [
    { model: { ...model, type: 'WordPiece' } },
    { normalizer: { type: 'Strip' } },
    {
      normalizer: {
        type: 'Sequence',
        normalizers: [{ type: 'NFC' }, { type: 'Replace', pattern: { Regex: ' +' }, content: ' ' }],
      },
    },
    { normalizer: { type: 'Replace', pattern: { String: '  ' }, content: ' ' } },
    { pre_tokenizer: null },
    {
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [{ type: 'Split', behavior: 'Removed' }, storiesJson.pre_tokenizer],
      },
    },
    { added_tokens: [{ id: 0, content: '<x>', rstrip: true }] },
    { model: { ...model, vocab: { a: 0 } } },
  ]
  for (const change of unknown)
    assert.is(
      longestToken({ ...storiesJson, ...change }),
      Number.POSITIVE_INFINITY,
      JSON.stringify(change).slice(0, 99),
    )
  assert.ok(longestToken(storiesJson) < 100)
  assert.is(longestToken({ ...storiesJson, normalizer: { type: 'NFC' } }), 4 * longestToken(storiesJson))
})

test('to Digits any number is a digit, alone or in a run', () => {
  for (const [individual_digits, expected] of [
    [true, ['a', '½', '٣', '1', '2', 'b']],
    [false, ['a', '½٣12', 'b']],
  ] as const) {
    const cut = withAllDigits({ type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits }] })
    const [{ pattern }] = (cut as { pretokenizers: [{ pattern: { Regex: string } }] }).pretokenizers
    assert.equal('a½٣12b'.split(new RegExp(`(${pattern.Regex})`, 'u')).filter(Boolean), expected)
  }
  const other = { type: 'ByteLevel', add_prefix_space: false }
  assert.is(withAllDigits(other), other)
  assert.is(withAllDigits(null), null)
})

test.run()
