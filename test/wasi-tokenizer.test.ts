/**
 * The tokenizer of gta.wasm against that of the host, on the embedded model's vocabulary cut in every way that is known,
 * and the parts that it is made of. bench/tokenizers.ts compares any tokenizer.json on any text.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { tokenizerTables } from '../host/convert/tables.ts'
import { Tokenizer } from '../host/index.ts'
import { CommandTokenizer } from './command-tokenizer.ts'
import { Random } from './debug-engine.ts'
import { golden, readJson } from './goldens.ts'

const stories = readJson(golden('stories/tokenizer.json'))
const config = readJson(golden('stories/tokenizer_config.json'))
const slice = readFileSync(golden('stories/valid_slice.txt'), 'utf8')

const pattern = (digits: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`

/** Byte level behind a Split, as Llama 3 and Qwen 2 have it. */
const behindSplit = (digits: string, ignoresMerges: boolean) => ({
  ...stories,
  model: { ...stories.model, ignore_merges: ignoresMerges },
  pre_tokenizer: {
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern: { Regex: pattern(digits) }, behavior: 'Isolated', invert: false },
      { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    ],
  },
})

/** The same words as SentencePiece has them: ▁ for a blank, tokens of ASCII, other characters in bytes. */
function sentencePiece(change: object): unknown {
  const mark = (token: string) => token.replaceAll('Ġ', '▁')
  const isPlain = (token: string) => /^[ -~▁]+$/.test(mark(token))
  const names = [
    '<unk>',
    ...Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`),
  ]
  const tokens = Object.keys(stories.model.vocab).filter((token) => isPlain(token) && !token.includes(' '))
  const vocab = Object.fromEntries([...names, ...new Set(tokens.map(mark)), 'é', '中'].map((token, id) => [token, id]))
  const merges = (stories.model.merges as string[]).map(mark).filter((merge) => {
    const [left = '', right = ''] = merge.split(' ')
    return left in vocab && right in vocab && left + right in vocab
  })
  return {
    ...stories,
    added_tokens: [{ id: 0, content: '<unk>', special: true, normalized: false }],
    model: { type: 'BPE', vocab, merges, byte_fallback: true, fuse_unk: true, unk_token: '<unk>' },
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
      ],
    },
    ...change,
  }
}

const toMark = { type: 'Replace', pattern: { String: ' ' }, content: '▁' }
const prepend = { type: 'Prepend', prepend: '▁' }
const metaspace = (scheme: string) => ({ type: 'Metaspace', replacement: '▁', prepend_scheme: scheme, split: false })
const textTokens = [
  { id: 5000, content: '<tool>', special: false, normalized: false },
  { id: 5001, content: '<tool>!', special: false, normalized: false },
  { id: 5002, content: '中', special: false, normalized: false },
]

const tokenizers: Record<string, unknown> = {
  'GPT-2': stories,
  'GPT-2, a blank before the text': {
    ...stories,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true, use_regex: true },
  },
  'bytes in one piece': { ...stories, pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: false } },
  'added tokens that are text': { ...stories, added_tokens: [...stories.added_tokens, ...textTokens] },
  'Llama 3': behindSplit('{1,3}', true),
  'Llama 3, merges only': behindSplit('{1,3}', false),
  'Qwen 2': behindSplit('', false),
  'Llama 2': sentencePiece({ normalizer: { type: 'Sequence', normalizers: [prepend, toMark] } }),
  'SentencePiece without a blank before the text': sentencePiece({
    normalizer: { type: 'Sequence', normalizers: [toMark] },
  }),
  ...Object.fromEntries(
    ['always', 'first', 'never'].map((scheme) => [
      `Metaspace, ${scheme}`,
      sentencePiece({
        normalizer: null,
        pre_tokenizer: metaspace(scheme),
        added_tokens: [
          { id: 0, content: '<unk>', special: true },
          ...textTokens.slice(0, 2).map((token) => ({ ...token, normalized: false })),
        ],
      }),
    ]),
  ),
}

const pieces = [
  ' ', '  ', '   ', '\n', '\n\n', '\r\n', '\t', '\v', '\u00A0', '\u3000', '\uFEFF', '\u0085', '\u2028', '\u200B',
  "'s", "'S", "'LL", "'ve", "'D", "'", '’s', 'a', 'Abc', 'THE', 'é', 'e\u0301', 'ß', 'ǅ', '中', '字', 'ア', '가', 'ا', 'ש',
  '1', '23', '456', '７', '٣', '²', '½', 'Ⅷ', '!', '?!', '...', '_', '-', '—', '«', '👩‍👩‍👧', '🇨🇭', '\u{1D11E}', '\u{10FFFF}',
  '▁', '▁▁', '<s>', '<0x41>', '<|endoftext|>', '<unk>', '<tool>', '<tool>!', ' the', ' and', 'Once upon a time', '\u0000',
] // biome-ignore format: a table

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))

for (const [name, json] of Object.entries(tokenizers))
  test(`${name}: the ids of the host, for stories, line by line and whole, and for random text`, () => {
    const host = new Tokenizer(name, bytes(json), config)
    const tables = tokenizerTables(bytes(json), config)
    assert.ok(tables, 'there are tables')
    const command = new CommandTokenizer(tables as Uint8Array)
    const expectSame = (text: string) =>
      assert.equal([...command.encode(text)], host.encode(text), JSON.stringify(text))
    for (const text of [slice, ...slice.split('\n')]) expectSame(text)
    for (const a of pieces) for (const b of pieces) expectSame(a + b)
    const random = new Random(1)
    for (let i = 0; i < 3000; i++)
      expectSame(Array.from({ length: random.below(12) }, () => random.pick(pieces)).join(''))
    expectSame('ab'.repeat(3000))
  })

test('letters, numbers and white space are those of JavaScript', () => {
  const host = new Tokenizer('Llama 3', bytes(tokenizers['Llama 3']), config)
  const command = new CommandTokenizer(tokenizerTables(bytes(tokenizers['Llama 3']), config) as Uint8Array)
  const kindOf = (c: number) => /^(?:(\p{L})|(\p{N})|(\s))/u.exec(String.fromCodePoint(c))?.findLastIndex(Boolean) ?? 0
  let before = 0
  let kind = kindOf(0)
  for (let c = 0; c < 0x110000; c++) {
    const after = c + 1 < 0x110000 ? kindOf(c + 1) : 0
    const isEdge = kind !== before || kind !== after
    before = kind
    kind = after
    // Most ideographs and syllables are one like the other: the ends of each range, and some between them.
    if ((c >= 0xd800 && c < 0xe000) || (c > 0x3400 && !isEdge && c % 53)) continue
    const char = String.fromCodePoint(c)
    const text = `a${char}${char}1 ${char}\n${char}`
    assert.equal([...command.encode(text)], host.encode(text), `U+${c.toString(16)}`)
  }
})

test('tokenizers that work in other ways have no tables', () => {
  const changes: [string, object][] = [
    ['another expression', { pre_tokenizer: { ...behindSplit('', false).pre_tokenizer, pretokenizers: [{ type: 'Split', pattern: { Regex: '\\w+' }, behavior: 'Isolated', invert: false }, stories.pre_tokenizer] } }],
    ['a normalizer', { normalizer: { type: 'NFC' } }],
    ['no BPE', { model: { type: 'WordPiece', vocab: stories.model.vocab, unk_token: 'a' } }],
    ['dropout', { model: { ...stories.model, dropout: 0.1 } }],
    ['suffixes', { model: { ...stories.model, end_of_word_suffix: '</w>' } }],
    ['a byte without a token', { model: { ...stories.model, vocab: Object.fromEntries(Object.entries(stories.model.vocab).filter(([token]) => token !== 'Ā')) } }],
    ['a token that takes the blanks around it', { added_tokens: [...stories.added_tokens, { ...textTokens[0], lstrip: true }] }],
  ] // biome-ignore format: a table
  for (const [name, change] of changes)
    assert.is(tokenizerTables(bytes({ ...stories, ...change }), config), undefined, name)
  assert.is(tokenizerTables(new TextEncoder().encode('{'), config), undefined)
  assert.is(tokenizerTables(bytes(stories), { ...config, remove_space: true }), undefined)
})

const command = new CommandTokenizer(tokenizerTables(bytes(stories), config) as Uint8Array)

test('numbers are those of JavaScript', () => {
  const random = new Random(3)
  const spelt = [
    '0',
    '-0',
    '1',
    '+1',
    '0.8',
    '.5',
    '5.',
    '1e3',
    '1E-3',
    '1.5e+2',
    '9007199254740991',
    '0.1',
    '123456.789e-7',
  ]
  for (let i = 0; i < 2000; i++)
    spelt.push(`${random.below(1e6)}.${random.below(1e6)}`, String(random.below(2 ** 31) / 1e5))
  for (const text of spelt) assert.is(command.number(text), Number(text), text)
  for (const text of ['', '-', '.', 'e5', '1e', '1e99999', '1,5', '1 ', '0x10', 'NaN', 'Infinity', '1.2.3', '--1'])
    assert.ok(Number.isNaN(command.number(text)), text)
})

test('SHA-256 is that of Node, at every length of a block', () => {
  for (let length = 0; length < 200; length++) {
    const data = Uint8Array.from({ length }, (_, i) => i * 7 + length)
    assert.is(command.digest(data), createHash('sha256').update(data).digest('hex').slice(0, 16), `${length} bytes`)
  }
})

test('UTF-8 is what the decoder of the platform takes', () => {
  const random = new Random(5)
  const decoder = new TextDecoder('utf-8', { fatal: true })
  for (let i = 0; i < 20000; i++) {
    const data = Uint8Array.from({ length: 1 + random.below(5) }, () =>
      random.pick([0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff]),
    ) // biome-ignore format: a table
    let isText = true
    try {
      decoder.decode(data)
    } catch {
      isText = false
    }
    assert.is(command.isText(data), isText, `${data}`)
  }
})

test.run()
