/**
 * gta.wasm, the command without JavaScript: the same tokens and the same logits as the library, in both builds, under
 * Node's WASI and one in JavaScript; and what it says when something is wrong.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

import { Options } from '../assembly/wasi/abi.ts'
import { convert, defaultModel, type GenerateOptions, load } from '../host/index.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { expectedOf, helpOf, type Setting, type SettingName, settings } from '../host/settings.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { golden, kinds, readGolden, readJson } from './fixtures/goldens.ts'
import { prompts } from './fixtures/prompts.ts'
import { args, expectSame, generate, stories, storiesFolder, storiesPath } from './fixtures/wasi-stories.ts'
import { runNode } from './harness/programs.ts'
import { commandModule, runOnNode, runOnShim } from './harness/wasi-engines.ts'

const builds = ['strict', 'relaxed'] as const
/** Options of the command that the table has. */
const optionSettings = Object.keys(new Options())
  .filter((name) => name !== 'version')
  .map((name): Setting => settings[name as SettingName])
// Every prompt in both ways, on both engines, in every build: npm run identity.
const greedy: GenerateOptions = { maxTokens: 64, temperature: 0, seed: 1 }
const seeded: GenerateOptions = { maxTokens: 64, seed: 2 ** 40 + 7 }

test('20 prompts, 64 tokens, greedy and with a seed: text and logits of the library, in both builds', async () => {
  for (const [i, prompt] of prompts.entries()) {
    const options = i % 2 ? seeded : greedy
    const expected = await generate(stories, prompt, options)
    for (const build of builds)
      expectSame(runOnNode(args(prompt, options), { '.': storiesFolder }, { build }), prompt, expected, prompt)
  }
})

test('a WASI in JavaScript, with files in memory', async () => {
  const model = new Uint8Array(readFileSync(storiesPath))
  for (const [i, prompt] of prompts.entries()) {
    const options = i % 2 ? greedy : seeded
    const build = builds[Number(i % 4 > 1)]
    const expected = await generate(stories, prompt, options)
    // In a file: that WASI counts the characters of an argument where bytes are asked for.
    const files = { 'stories.gta': model, prompt: new TextEncoder().encode(`${prompt}\n`) }
    const given = args('', options).map((arg) => (arg === '-p' ? '-f' : arg || 'prompt'))
    expectSame(runOnShim(given, files, build), prompt, expected, prompt)
  }
})

/** A prompt of each kind's and each family's golden. */
const goldenPrompts: [string, number[]][] = [
  ...kinds.map((kind): [string, number[]] => [kind, readGolden(kind).cases[0]?.prompt_ids ?? []]),
  ...readdirSync(golden('families')).map((name): [string, number[]] => [
    `families/${name}`,
    // One of them has a context of 16.
    readJson(golden(`families/${name}/golden.json`)).prompt.slice(0, 8),
  ]),
]

test('every attention kind, family and weight type, against the library', async () => {
  const folder = temporary()
  for (const [kind, ids] of goldenPrompts)
    for (const type of ['f32', 'q8', 'q4'] as const) {
      await convert(golden(kind), join(folder, 'model.gta'), { type, force: true })
      const model = await load(join(folder, 'model.gta'), { threads: 1 })
      const expected = await generate(model, ids, { maxTokens: 12, temperature: 0, seed: 0 })
      await model.close()
      const given = ['model.gta', '--tokens', ids.join(), '-n', '12', '--temp', '0', '-s', '0']
      // Both compute the same bits; q4 has products of its own in each.
      for (const build of type === 'q4' ? builds : ([type === 'q8' ? 'relaxed' : 'strict'] as const)) {
        const { status, stdout, stderr } = runOnNode(given, { '.': folder }, { build })
        assert.is(status, 0, `${kind} ${type}: ${stderr}`)
        assert.is(stdout, `${expected.tokens.join(' ')} \n`, `${kind} ${type}`)
        assert.ok(stderr.includes(`logits ${expected.logitsHash} `), `${kind} ${type}`)
      }
    }
})

const run = (...given: string[]) => runOnNode(['stories.gta', ...given], { '.': storiesFolder })

test('each setting means what it means to the library', async () => {
  for (const [given, options] of [
    ['--temp 0.7 --top-p 0.92', { temperature: 0.7, topP: 0.92 }],
    ['--top-k 3 --min-p 0', { topK: 3, minP: 0 }],
    ['--repeat-penalty 1.5 --repeat-last-n 4 --temp=1e0', { repeatPenalty: 1.5, repeatLastN: 4, temperature: 1 }],
    ['--ignore-eos --min-p .2', { stopAtEos: false, minP: 0.2 }],
  ] as [string, GenerateOptions][]) {
    const found = run('-p', 'One day', '-n40', '-s', '9007199254740991', ...given.split(' '))
    const expected = await generate(stories, 'One day', { maxTokens: 40, seed: 9007199254740991, ...options })
    expectSame(found, 'One day', expected, given)
  }
})

test('the end of a text and that of the context end the generation', async () => {
  const whole = await generate(stories, 'Once upon a time', { seed: 1 })
  expectSame(run('-p', 'Once upon a time', '-s', '1', '-n', '-1'), 'Once upon a time', whole, whole.finish)
  const short = await load(defaultModel, { threads: 1, context: 70, cache: 'f32' })
  const cut = await generate(short, 'Once upon a time', { seed: 1 })
  await short.close()
  assert.is(cut.finish, 'context')
  expectSame(run('-p', 'Once upon a time', '-s', '1', '-c', '70', '--cache', 'f32'), 'Once upon a time', cut, 'context')
  const ids = runtimeOf(stories).promptIds('The end.').join()
  const [on, stopped] = [
    run('--tokens', ids, '-n', '30', '--temp', '0'),
    run('--tokens', ids, '--stop-eos', '--temp', '0'),
  ]
  assert.match(on.stderr, 'ended by length')
  assert.match(stopped.stderr, 'ended by eos')
  assert.ok(stopped.stdout.startsWith(on.stdout.trimEnd()), stopped.stdout)
})

test('a prompt from a file: the newline at its end and a byte order mark are none of it', async () => {
  const folder = temporary()
  writeFileSync(join(folder, 'prompt.txt'), '\uFEFFThe cat\r\n')
  const preopens = { '/models': storiesFolder, '/': folder }
  const given = ['/models/stories.gta', '-n', '8', '-s', '1', '-f']
  const expected = await generate(stories, 'The cat', { maxTokens: 8, seed: 1 })
  expectSame(runOnNode([...given, './prompt.txt'], preopens), 'The cat', expected, 'file')
  expectSame(runOnNode([...given, '-'], preopens, { input: join(folder, 'prompt.txt') }), 'The cat', expected, 'stdin')
  writeFileSync(join(folder, 'latin1.txt'), Buffer.from([0x66, 0xfc, 0x72]))
  assert.match(runOnNode([...given, 'latin1.txt'], preopens).stderr, 'must be UTF-8 text, found other bytes')
})

test('the module asks for WASI only, and exports its memory', () => {
  for (const build of builds) {
    const imports = WebAssembly.Module.imports(commandModule(build))
    for (const { module, name } of imports) assert.is(module, 'wasi_snapshot_preview1', name)
    const exported = WebAssembly.Module.exports(commandModule(build)).map(({ name }) => name)
    assert.equal(exported.sort(), ['_start', 'memory'])
  }
})

test('--version and --help', () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  assert.equal(runOnNode(['--version']), { status: 0, stdout: `${version}\n`, stderr: '' })
  const help = runOnNode(['-h'])
  assert.is(help.status, 0)
  const lines = help.stdout.split('\n')
  for (const line of lines) assert.ok(line.length <= 120, line)
  for (const { flag, short, ...setting } of optionSettings) {
    const line = lines.find((candidate) => candidate.includes(` --${flag} `)) as string
    assert.ok(line?.endsWith(flag === 'model' ? 'was told to give' : helpOf(setting)), `--${flag}: ${line}`)
    if (short) assert.ok(line.includes(`-${short},`), line)
  }
})

test('options are refused with the ranges and the words of the table', () => {
  let count = 0
  for (const { flag, kind, min = 0, max = 0, none, choices, ...setting } of optionSettings) {
    if (kind === 'text' || kind === 'boolean') continue
    const bad: (string | number)[] = choices ? ['other', 'f3', ''] : [min - 3]
    if (kind === 'whole') bad.push(min + 0.5)
    // Numbers of more than 16 digits are none to the command.
    if (max < 2 ** 50 && !choices) bad.push(max * 2)
    for (const value of bad) {
      const expected = `gta: --${flag} must be ${expectedOf({ kind, min, max, choices, ...setting })}, found "${value}"`
      const usual = ['a.gta', '-p', 'a', `--${flag}=${value}`]
      assert.equal(runOnNode(usual), { status: 2, stdout: '', stderr: `${expected}. See "gta.wasm --help"\n` })
      count++
    }
    if (choices) continue
    // What is allowed leads to what is asked next: the file.
    for (const value of [min, max, none ?? min])
      assert.match(
        runOnNode(['a.gta', '-p', 'a', `--${flag}=${value}`]).stderr,
        'must lie in a directory',
        `${flag} ${value}`,
      )
  }
  assert.ok(count > 20, `${count}`)
})

test('wrong usage: exit code 2 and one sentence', () => {
  for (const [given, message] of [
    [[], 'the model must be given: gta.wasm MODEL.gta -p "Once upon a time". See "gta.wasm --help"'],
    [['a.gta', 'b.gta'], 'there is an argument too many: "b.gta". The first one is the model; a prompt is given with -p "…". See "gta.wasm --help"'],
    [['a.gta', '--bogus=1'], 'Unknown option \'--bogus\'. See "gta.wasm --help"'],
    [['a.gta', '-x'], 'Unknown option \'-x\'. See "gta.wasm --help"'],
    [['a.gta', '-n'], 'Option \'-n\' must have a value, found none. See "gta.wasm --help"'],
    [['a.gta', '-p', '--temp'], 'Option \'-p\' must have a value, found another flag; give it as one word with =. See "gta.wasm --help"'],
    [['a.gta', '--stop-eos=1'], 'Option \'--stop-eos\' does not take an argument. See "gta.wasm --help"'],
    [['a.gta', '-n', '-2'], '--n-predict must be a whole number from 0 to 9007199254740991, found "-2". See "gta.wasm --help"'],
    [['a.gta', '-n', 'many'], '--n-predict must be a number, found "many". See "gta.wasm --help"'],
    [['a.gta', '--temp', '1,5'], '--temp must be a number, found "1,5". See "gta.wasm --help"'],
    [['a.gta', '--temp', '101'], '--temp must be a number from 0 to 100, found "101". See "gta.wasm --help"'],
    [['a.gta', '--cache', 'int4'], '--cache must be one of f32, int8, found "int4". See "gta.wasm --help"'],
    [['a.gta', '-p', 'a', '--tokens', '1'], 'only one of --prompt, --file, --tokens must be given, found 2. See "gta.wasm --help"'],
    [['a.gta', '--tokens', '1,,2'], '--tokens must be whole numbers with commas between, found "". See "gta.wasm --help"'],
    [['a.gta', '--tokens', '1,2,'], '--tokens must be whole numbers with commas between, found "". See "gta.wasm --help"'],
    [['stories.gta', '-p', 'a', '-c', '513'], 'context (-c) must be a whole number from 1 to 512, found 513'],
  ] as [string[], string][]) // biome-ignore format: a table
    assert.equal(runOnNode(given, { '.': storiesFolder }), { status: 2, stdout: '', stderr: `gta: ${message}\n` })
})

test('bad prompts, files and directories: exit code 1 and one sentence', async () => {
  const folder = temporary()
  writeFileSync(join(folder, 'empty.gta'), '')
  await convert(golden('gta'), join(folder, 'ids.gta'), { type: 'q8' })
  const preopens = { '.': storiesFolder, '/other': folder }
  for (const [given, message] of [
    [['stories.gta'], 'the prompt must hold at least one token, found none: give some text or --tokens'],
    [['stories.gta', '-p', ''], 'the prompt must hold at least one token, found none: give some text or --tokens'],
    [['stories.gta', '--tokens', '4096'], "a token id must be a whole number from 0 to 4095, found 4096: check the ids against this model's vocabulary"],
    [['stories.gta', '-p', 'Once upon a time', '-c', '3'], 'the prompt must leave room in a context of 3 tokens, found 5 tokens: raise -c (the model allows 512)'],
    [['nothing.gta', '-p', 'a'], '"nothing.gta" must be a .gta file, found nothing there: check the path'],
    [['/other', '-p', 'a'], '"/other" must be a .gta file, found a directory: pack it first, with gta convert'],
    [['/other/empty.gta', '-p', 'a'], 'the size of "/other/empty.gta" must be at least 8 bytes, found 0: the file is damaged or not what its name says, get it again'],
    [['/other/ids.gta', '-p', 'a'], 'the tokenizer of "/other/ids.gta" is missing (no tokenizer.json): get the model again, or use --tokens with ids'],
    [['a\u0007.gta', '-p', 'a'], '"a\uFFFD.gta" must be a .gta file, found nothing there: check the path'],
  ] as [string[], string][]) // biome-ignore format: a table
    assert.equal(runOnNode(given, preopens), { status: 1, stdout: '', stderr: `gta: ${message}\n` })
  const lacking = runOnNode(['stories.gta', '-p', 'a'])
  assert.is(lacking.status, 1)
  assert.match(lacking.stderr, /must lie in a directory that the engine was told to give, found none: name it/)
  const others = runOnNode(['/elsewhere/stories.gta', '-p', 'a'], { '/other': folder })
  assert.match(others.stderr, /must lie in a directory that the engine was told to give, found others only: name it/)
  const outside = runOnNode(['../stories/stories.gta', '-p', 'a'], { '.': folder })
  assert.is(outside.status, 1)
  assert.match(outside.stderr, /^gta: "\.\.\/stories\/stories\.gta" .*\n$/)
})

test('memory that the engine does not give', async () => {
  const { status, output } = await runNode(
    '--wasm-max-mem-pages=80',
    'dist/gta.mjs',
    'wasi',
    '--',
    storiesPath,
    '-p',
    'a',
  )
  assert.is(status, 1, output)
  assert.match(output, /^gta: the engine must give the command \d+\.\d MB of memory, it refused: [^\n]*$/)
})

test('gta wasi: the embedded model, both builds, exit codes', async () => {
  const expected = await generate(stories, 'Once', { maxTokens: 5, seed: 1 })
  const read = await generate(stories, 'Once', { maxTokens: 0, seed: 1 })
  expectSame(
    runOnNode(args('Once', { maxTokens: 0, seed: 1 }), { '.': storiesFolder }),
    'Once',
    read,
    'only the prompt',
  )
  for (const given of [[], ['--build', 'strict']]) {
    const { status, output } = await runNode('dist/gta.mjs', 'wasi', ...given, '--', '-p', 'Once', '-n', '5', '-s', '1')
    assert.is(status, 0, output)
    assert.ok(output.startsWith(`Once${expected.text}\n`), output)
    assert.ok(output.includes(`logits ${expected.logitsHash}`), output)
  }
  assert.is((await runNode('dist/gta.mjs', 'wasi', '--', '-n', '-2')).status, 2)
  assert.is((await runNode('dist/gta.mjs', 'wasi', '--', 'nothing.gta', '-p', 'a')).status, 1)
  assert.is((await runNode('dist/gta.mjs', 'wasi', '--build', 'other')).status, 2)
})

test.after(() => stories.close())
test.run()
