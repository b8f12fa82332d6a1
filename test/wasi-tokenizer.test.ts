/**
 * The tokenizer of gta.wasm against that of the host, on the embedded model's vocabulary cut in every way that is known,
 * and the parts that it is made of. bench/tokenizers.ts compares any tokenizer.json on any text.
 */
import { createHash } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { TokenizerTables, UNKNOWN_WAY } from '../assembly/wasi/abi.ts'
import { tokenizerTables } from '../host/files/tokenizer-tables.ts'
import { Tokenizer } from '../host/text/tokenizer.ts'
import {
  behindSplit,
  config,
  metaspace,
  pieces,
  sentencePiece,
  slice,
  stories,
  textTokens,
  tokenizers,
  toMark,
} from './fixtures/tokenizer-ways.ts'
import { CommandTokenizer } from './harness/command-tokenizer.ts'
import { Random } from './harness/debug-engine.ts'

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))

for (const [name, json] of Object.entries(tokenizers))
  test(`${name}: the ids of the host, for stories, line by line and whole, and for random text`, async () => {
    const host = await Tokenizer.open(name, bytes(json), config)
    const tables = await tokenizerTables(bytes(json), config)
    const command = new CommandTokenizer(tables)
    const expectSame = (text: string) =>
      assert.equal([...command.encode(text)], host.encode(text), JSON.stringify(text))
    for (const text of [slice, ...slice.split('\n')]) expectSame(text)
    for (const a of pieces) for (const b of pieces) expectSame(a + b)
    const random = new Random(1)
    for (let i = 0; i < 1000; i++)
      expectSame(Array.from({ length: random.below(12) }, () => random.pick(pieces)).join(''))
    expectSame('ab'.repeat(3000))
  })

test('letters, numbers and white space are those of JavaScript', async () => {
  const host = await Tokenizer.open('Llama 3', bytes(tokenizers['Llama 3']), config)
  const command = new CommandTokenizer(await tokenizerTables(bytes(tokenizers['Llama 3']), config))
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

test('normal form C is that of JavaScript: every character alone and between others, random text', async () => {
  const { normalise } = await normaliser()
  const expectSame = (text: string) => assert.is(normalise(text), text.normalize('NFC'), JSON.stringify(text))
  const interesting: string[] = []
  for (let c = 0; c < 0x110000; c++) {
    if (c >= 0xd800 && c < 0xe000) continue
    const char = String.fromCodePoint(c)
    if (char.normalize('NFD') !== char || /\p{M}/u.test(char)) interesting.push(char)
    // Most ideographs and syllables are one like the other; planes 3 to 13 hold none.
    else if ((c > 0x3400 && c < 0xa000 && c % 53) || (c > 0x20000 && c % 997)) continue
    expectSame(`${char}a${char}\u0323\u0307${char}\u0301`)
  }
  assert.ok(interesting.length > 12000, 'all syllables are there')
  const random = new Random(7)
  const parts = [...interesting.filter((_, i) => i % 7 === 0), ...pieces]
  const marks = interesting.filter((char) => /\p{M}/u.test(char))
  for (let i = 0; i < 20000; i++)
    expectSame(Array.from({ length: 1 + random.below(9) }, () => random.pick(i % 2 ? parts : marks)).join(''))
  for (const list of [marks, [...marks].reverse()]) expectSame(`a${list.join('')}`)
})

/** Only the form is of interest. */
async function normaliser() {
  const json = { ...behindSplit('', false), normalizer: { type: 'NFC' } }
  const command = new CommandTokenizer(await tokenizerTables(bytes(json), config))
  return { normalise: (text: string) => command.normalise(text) }
}

test('only files with the normalizer have the table for it', async () => {
  const bytesWith = async (normalizer: unknown) =>
    (await tokenizerTables(bytes({ ...behindSplit('', false), normalizer }), config)).length
  const [without, having] = [await bytesWith(null), await bytesWith({ type: 'NFC' })]
  assert.ok(having - without > 50_000 && having - without < 100_000, `${having - without} bytes`)
})

test('tokenizers that work in other ways are named', async () => {
  const split = (regex: string) => ({ type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false })
  const inSequence = (...pretokenizers: object[]) => ({ pre_tokenizer: { type: 'Sequence', pretokenizers } })
  const last = behindSplit('', false).pre_tokenizer.pretokenizers[1] as object
  const changes: [object, string][] = [
    [inSequence(split('\\w+'), last), 'the expression "\\\\w+"'],
    [inSequence(split('\\w+'), split('\\d'), last), 'the pre-tokenizer "Split", "Split", "ByteLevel"'],
    [{ pre_tokenizer: { type: 'Whitespace' } }, 'the pre-tokenizer "Whitespace"'],
    [{ pre_tokenizer: null }, 'the pre-tokenizer null'],
    [{ normalizer: { type: 'NFKC' } }, 'the normalizer "NFKC"'],
    [{ normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Lowercase' }] } }, 'the normalizer "Lowercase"'],
    [{ model: { type: 'WordPiece', vocab: stories.model.vocab, unk_token: 'a' } }, 'the model "WordPiece"'],
    [{ model: { ...stories.model, dropout: 0.1 } }, 'a model with dropout'],
    [{ model: { ...stories.model, end_of_word_suffix: '</w>' } }, 'a model with end_of_word_suffix'],
    [{ model: { ...stories.model, vocab: Object.fromEntries(Object.entries(stories.model.vocab).filter(([token]) => token !== 'Ā')) } }, 'a byte without a token'],
    [{ added_tokens: [...stories.added_tokens, { ...textTokens[0], lstrip: true }] }, 'an added token that is lstrip'],
    [{ normalizer: { type: 'NFC' }, added_tokens: [{ ...textTokens[0], normalized: true }] }, 'an added token that is normalized'],
    [{ decoder: { type: 'Sequence', decoders: [{ type: 'ByteFallback' }] } }, 'characters that are spelt in neither bytes nor tokens'],
    [sentencePiece({ normalizer: { type: 'NFKC' } }) as object, 'the normalizer "NFKC"'],
    [sentencePiece({ normalizer: toMark, pre_tokenizer: { type: 'Whitespace' } }) as object, 'the pre-tokenizer "Whitespace"'],
    [sentencePiece({ normalizer: null, pre_tokenizer: { ...metaspace('always'), split: true } }) as object, 'a Metaspace that cuts text'],
  ] // biome-ignore format: a table
  for (const [change, reason] of changes) assert.is(await reasonOf({ ...stories, ...change }), reason)
  assert.is(await reasonOf('{'), 'one that cannot be used at all')
  assert.is(await reasonOf(stories, { ...config, remove_space: true }), 'a tokenizer_config.json with remove_space')
})

/** What the tables say instead of tokens. */
async function reasonOf(json: unknown, settings: unknown = config): Promise<string> {
  const tables = Buffer.from(await tokenizerTables(bytes(json), settings))
  const names = Object.keys(new TokenizerTables())
  assert.is(tables.readUInt32LE(4 * names.indexOf('kind')), UNKNOWN_WAY)
  const length = tables.readUInt32LE(4 * names.indexOf('textBytes'))
  return tables.subarray(4 * names.length, 4 * names.length + length).toString()
}

const command = new CommandTokenizer(await tokenizerTables(bytes(stories), config))

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
