/**
 * The encoder over tables against the library, on every way for which there are tables; long and hostile texts, and hostile
 * tables. bench/tokenizers.ts compares any tokenizer.json on any text.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openTokenizer } from '../host/files/tokenizer.ts'
import { tokenizerTables } from '../host/files/tokenizer-tables.ts'
import { makeTables } from '../host/load.ts'
import { TableEncoder, tokenizerModule } from '../host/text/table-encoder.ts'
import { Tokenizer } from '../host/text/tokenizer.ts'
import { behindSplit, config, pieces, slice, stories, tokenizers } from './fixtures/tokenizer-ways.ts'
import { Random } from './harness/debug-engine.ts'

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))

const MARK = '\u{f8ff}'
const parts = [...pieces, '\ud800', '\udc00', MARK, 'x'.repeat(200)]

/** What is private. */
const encoderOf = (tokenizer: Tokenizer) => (tokenizer as unknown as { plain: unknown }).plain
interface Running {
  instance: { bytes: number } | undefined
}

const opened = async (name: string, json: unknown) =>
  (await openTokenizer(name, { tokenizer: bytes(json), tokenizerConfig: config }, makeTables)) as Tokenizer

async function both(name: string, json: unknown): Promise<[Tokenizer, Tokenizer]> {
  const tables = await opened(name, json)
  assert.instance(encoderOf(tables), TableEncoder, name)
  return [tables, await Tokenizer.open(name, bytes(json), config)]
}

/** Any characters, halves of pairs among them. */
function randomText(random: Random): string {
  const limits = [0x80, 0x800, 0x3000, 0x10000, 0x20000, 0x110000]
  return String.fromCodePoint(...Array.from({ length: random.below(20) }, () => random.below(random.pick(limits))))
}

for (const [name, json] of Object.entries(tokenizers))
  test(`${name}: the library's ids for texts, corpora and chats, its bytes, its names`, async () => {
    const [tables, library] = await both(name, json)
    const expectSame = (text: string) => {
      const shown = JSON.stringify(text).slice(0, 200)
      assert.equal(tables.encode(text), library.encode(text), shown)
      assert.equal(tables.encodeCorpus(text), library.encodeCorpus(text), `corpus ${shown}`)
      assert.equal(tables.encodeChat(text, MARK), library.encodeChat(text, MARK), `chat ${shown}`)
    }
    for (const text of ['', ' the  x', 'the  the  the', ' and the', 'and', slice.slice(0, 2000)]) expectSame(text)
    const random = new Random(2)
    for (let i = 0; i < 100; i++) {
      expectSame(Array.from({ length: random.below(12) }, () => random.pick(parts)).join(''))
      expectSame(randomText(random))
    }
    const shown = (tokenizer: Tokenizer, isShown: boolean) =>
      Array.from({ length: 5012 }, (_, i) => Buffer.from(tokenizer.bytesOf(i - 1, isShown)).toString('hex')).join()
    for (const isShown of [true, false]) assert.is(shown(tables, isShown), shown(library, isShown))
    assert.equal(tables.ends, library.ends)
    assert.equal(tables.controlNames(true), library.controlNames(true))
    assert.is(tables.leastTokens(1e6), library.leastTokens(1e6))
  })

test('long texts are themselves again, and take no memory for long', async () => {
  const long = ['a', ' ', '\n', '中', '\u0301\u0327', "'", '1 ', '▁a', '\n  ', '👩‍👩‍👧'].map((part) =>
    part.repeat(3e4 / part.length),
  )
  const ways: [name: string, own: (text: string) => string][] = [
    ['Llama 3', (text) => text],
    ['Llama 2', (text) => ` ${text.replaceAll('▁', ' ')}`],
    ['Qwen 2 and 3', (text) => text.normalize('NFC')],
  ]
  for (const [name, own] of ways) {
    const tables = await opened(name, tokenizers[name])
    for (const text of long)
      assert.ok(tables.decode(tables.encode(text)) === own(text), JSON.stringify(text.slice(0, 9)))
    const word = 'a'.repeat(5e5)
    assert.ok(tables.decode(tables.encode(word)).trimStart() === word)
    const encoder = encoderOf(tables) as TableEncoder
    assert.is((encoder as unknown as Running).instance, undefined)
    assert.is(tables.decode(tables.encode('and on')).trimStart(), 'and on')
    assert.ok(((encoder as unknown as Running).instance?.bytes ?? Number.POSITIVE_INFINITY) < 4e6)
  }
})

test('a text too long for the address space is refused', async () => {
  const tables = await opened('long', stories)
  const encoder = encoderOf(tables) as TableEncoder
  assert.throws(() => encoder.encode('é'.repeat(2 ** 27), true), /too long/)
  assert.equal(encoder.encode('and on', true).length > 0, true)
})

test('what has no tables is encoded by the library, and says what is wrong with it', async () => {
  const other = { ...stories, normalizer: { type: 'Lowercase' } }
  const tokenizer = await opened('other', other)
  assert.not.instance(encoderOf(tokenizer), TableEncoder)
  assert.equal(tokenizer.encode('ONE day'), tokenizer.encode('one day'))
  // The vocabulary's token goes on being what " the" becomes.
  const the = stories.model.vocab.Ġthe
  const twice = { ...stories, added_tokens: [{ id: the, content: '<x>', special: false, normalized: false }] }
  assert.equal((await opened('twice', twice)).encode(' the<x>'), [the, the])
  // Both names become it.
  const whole = behindSplit('', true)
  const alike = { ...whole, model: { ...whole.model, vocab: { Ġqzx: the, ...stories.model.vocab } } }
  assert.equal((await opened('alike', alike)).encode(' qzx the'), [the, the])
  const broken = { ...stories, model: { ...stories.model, vocab: { a: -1 } } }
  await opened('broken', broken).then(
    () => assert.unreachable(),
    ({ code, message }) => {
      assert.is(code, 'BAD_TOKENIZER')
      assert.match(message, 'an id in its vocabulary must be a whole number, found -1')
    },
  )
})

test('ids far above all others are not made tables of', async () => {
  const vocab = { ...stories.model.vocab, far: 2 ** 24 - 1 }
  const tokenizer = await opened('far', { ...stories, model: { ...stories.model, vocab } })
  assert.not.instance(encoderOf(tokenizer), TableEncoder)
})

test('tables with any wrong word are refused, or encode as they say', async () => {
  const good = await tokenizerTables(bytes({ ...behindSplit('', false), normalizer: { type: 'NFC' } }), config)
  const module = await tokenizerModule()
  const random = new Random(5)
  let refused = 0
  for (let i = 0; i < 150; i++) {
    const tables = good.slice()
    const at = i < 48 ? i : random.below(tables.length)
    tables[at] = (tables[at] as number) ^ (1 << random.below(8))
    try {
      const encoder = new TableEncoder(module, tables)
      for (const text of ["It's 123 é\u0327 the dragon", '\u0344\ud800'.repeat(50)])
        for (const id of encoder.encode(text, true)) assert.ok(id < encoder.tokens, `byte ${at}`)
      encoder.bytesOf(encoder.tokens - 1)
    } catch (error) {
      assert.match((error as Error).message, 'its tables are not what gta convert writes', `byte ${at}`)
      refused++
    }
  }
  assert.ok(refused > 30 && refused < 150, `${refused} refused`)
  for (const length of [0, 47, 48, 64, good.length - 64])
    assert.throws(() => new TableEncoder(module, good.subarray(0, length)), /its tables are not/, `${length} bytes`)
})

/** A packed file's: of its JSON, only what stands before the model is there. */
async function packed(json: object, change: (head: string) => string = (head) => head, settings: unknown = config) {
  const text = JSON.stringify(json)
  const head = change(`${text.slice(0, text.indexOf('"model":'))}"model":`)
  const tokenizerTables = await tables(json)
  return openTokenizer('p', {
    tokenizer: new TextEncoder().encode(`${head} none`),
    tokenizerTables,
    tokenizerConfig: settings,
  })
}

const tables = (json: object) => tokenizerTables(bytes(json), config)

const begun = {
  ...stories,
  added_tokens: [
    ...stories.added_tokens,
    { id: 4096, content: '<tool "model": {[\\', special: false, normalized: false },
  ],
}

test('of a packed file the JSON is read up to its model', async () => {
  const [own, library] = await both('whole', begun)
  const found = (await packed(begun)) as Tokenizer
  for (const text of ['One day, <tool "model": {[\\ the dragon', '<|endoftext|>'])
    for (const other of [own, library]) assert.equal(found.encodeCorpus(text), other.encodeCorpus(text))
  assert.equal(found.ends, library.ends)
  assert.equal([...found.bytesOf(4096)], [...library.bytesOf(4096)])
})

test('all of the JSON is read where its beginning does not say everything', async () => {
  const failed = async (given: Promise<unknown>) =>
    given.then(
      () => 'nothing',
      ({ code, message }) => `${code}: ${message}`,
    )
  const unread = /^BAD_TOKENIZER: .*Unexpected token/
  assert.match(await failed(packed(stories, (head) => head.replace('"added_tokens"', '"added"'))), unread)
  assert.match(await failed(packed(stories, (head) => head.replace('"post_processor"', '"post"'))), unread)
  assert.match(await failed(packed(stories, (head) => head.replace('"model"', '"mode"'))), unread)
  // The begin token is one of the vocabulary only.
  const settings = { ...config, add_bos_token: true, bos_token: 'Ġthe' }
  assert.match(await failed(packed(stories, undefined, settings)), unread)
  const whole = { tokenizer: bytes(stories), tokenizerTables: await tables(stories), tokenizerConfig: settings }
  const tokenizer = (await openTokenizer('p', whole)) as Tokenizer
  assert.equal(tokenizer.ends.before, [stories.model.vocab.Ġthe])
  assert.instance(encoderOf(tokenizer), TableEncoder)
})

test('tables that are none, or of another tokenizer, are refused; a name in their place is not', async () => {
  const good = await tables(stories)
  const open = (tokenizerTables: Uint8Array) =>
    openTokenizer('p.gta', { tokenizer: bytes(stories), tokenizerTables, tokenizerConfig: config }, makeTables)
  const refused: [Uint8Array, string][] = [
    [good.subarray(0, good.length - 64), 'its tables are not what gta convert writes'],
    [await tables(begun), 'its tables have other added tokens'],
  ]
  for (const [wrong, reason] of refused)
    await open(wrong).then(
      () => assert.unreachable(reason),
      ({ code, message }) =>
        assert.match(`${code} ${message}`, `BAD_TOKENIZER the tokenizer of "p.gta" cannot be used (${reason}`),
    )
  const named = await tables({ ...stories, normalizer: { type: 'Lowercase' } })
  assert.instance(encoderOf((await open(named)) as Tokenizer), TableEncoder)
})

test.run()
