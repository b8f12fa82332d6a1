/** The built command in processes of its own, and from the sources where it fails: exit codes, messages, and what comes out as JSON. */
import { execFile, spawn, spawnSync } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Conversion, convert } from '../host/files/convert.ts'
import { encodeHeader } from '../host/files/safetensors.ts'
import { type Config, gqaConfig, randomTensors, sourcesOf, temporary, writeCheckpoint } from './fixtures/checkpoints.ts'
import { type Ended, runHere } from './harness/command.ts'
import { limit, limitNote } from './harness/limits.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const command = join(root, 'dist', 'gta.mjs')
const golden = (name: string) => join(root, 'test', 'golden', name)
const [gta, gqa, storiesDirectory] = [golden('gta'), golden('gqa'), golden('stories')]
const config1b = join(root, 'models', 'configs', 'gta-1b.json')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const folder = temporary()

/** Packed once: it loads several times faster than its directory. */
const stories = join(folder, 'stories.gta')
await convert(storiesDirectory, stories)

function run(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [command, ...args], { cwd: folder, timeout: limit(300) }, (error, stdout, stderr) =>
      resolve({ args, code: error ? Number(error.code ?? -1) : 0, stdout, stderr: stderr + limitNote(error, 300) }),
    )
  })
}

const show = ({ args, code, stdout, stderr }: Ended) =>
  `gta ${args.join(' ').slice(0, 200)}: exit ${code}\n${stdout.slice(0, 500)}\n${stderr.slice(0, 1000)}`

/** The command must succeed with one JSON document, which says what it is, and nothing else; the rest of it. */
async function json<T = Record<string, unknown>>(...args: string[]): Promise<T> {
  const result = await run(...args, '--json')
  assert.is(result.code, 0, show(result))
  assert.is(result.stderr, '', show(result))
  assert.ok(result.stdout.endsWith('\n') && result.stdout.indexOf('\n') === result.stdout.length - 1, show(result))
  const { schema, version, ...document } = JSON.parse(result.stdout)
  // Tasks keep the shape of another tool.
  if (args.includes('--tasks')) return document
  assert.match(schema, /^gta-[a-z]+\/1$/)
  assert.is(version, manifest.version)
  return document
}

/** The command must fail with this code, one line that holds `words`, and nothing on stdout. */
async function fails(code: number, args: string[], ...words: string[]): Promise<void> {
  const result = await runHere(folder, ...args)
  assert.is(result.code, code, show(result))
  assert.is(result.stdout, '', show(result))
  assert.match(result.stderr, /^gta: [^\n]+\n$/, show(result))
  for (const word of words) assert.ok(result.stderr.includes(word), `"${word}" is not in: ${show(result)}`)
  assert.is(result.stderr.includes('--help'), code === 2 && !words.includes(NO_HELP), show(result))
}

/** A wrong value that only the model can tell: exit code 2, but the help would not help. */
const NO_HELP = 'must be'

interface Generated {
  tokens: number[]
  text: string | null
  finish: string
  promptTokens: number
  seed: number
  logitsHash: string
  weightType: string
  cacheType: string
  context: number
}

const greedy = ['-n', '16', '--temp', '0']

test('help and version', async () => {
  const names = ['run', 'chat', 'convert', 'inspect', 'logits', 'eval', 'bench', 'doctor']
  const [overview, short, none, version, ...commands] = await Promise.all([
    run('--help'),
    run('-h'),
    run(),
    run('--version'),
    ...names.map((name) => run(name, '--help')),
  ])
  for (const result of [overview, short, none, version, ...commands]) {
    assert.is(result?.code, 0, show(result as Ended))
    assert.is(result?.stderr, '')
  }
  for (const name of names) assert.match(overview?.stdout ?? '', new RegExp(`^  ${name} `, 'm'))
  assert.is(short?.stdout, overview?.stdout)
  assert.is(none?.stdout, overview?.stdout)
  assert.is(version?.stdout, `${JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version}\n`)
  commands.forEach(({ stdout }, i) => {
    assert.match(stdout, `Usage: gta ${names[i]}`)
    assert.match(stdout, '--json')
  })
})

test('wrong usage: exit code 2', async () => {
  await Promise.all([
    fails(2, ['walk'], '"walk"', 'run, chat, convert'),
    fails(2, ['--frobnicate'], '--frobnicate'),
    fails(2, ['run', gta, '--frobnicate'], '--frobnicate'),
    fails(2, ['convert', gta, '-n', '3'], '-n'),
    fails(2, ['doctor', 'model'], 'model'),
    fails(2, ['run', gta, 'Once', '-p', 'upon'], '"Once"', '-p'),
    fails(2, ['logits', gta, 'x', '--tokens', '1'], '"x"'),
    fails(2, ['convert', gta, 'a.gta', 'b.gta'], '"b.gta"'),
    fails(2, ['convert', gta, 'a.gta', '--out', 'b.gta'], '"a.gta"', '"b.gta"'),
    fails(2, ['convert'], 'gta convert DIR'),
    fails(2, ['run', gta, '-m', gqa, '--tokens', '1'], gta, gqa),
    fails(2, ['run', gta, '-p', 'a', '--tokens', '1'], '--prompt', '--tokens'),
    fails(2, ['run', gta, '-p', 'a', '-f', 'b'], '--prompt', '--file'),
    fails(2, ['eval', gta], '--text'),
    fails(2, ['eval', gta, '--text', 'x', '--tokens', '1,2'], '--text'),
    fails(2, ['run', gta, '-p'], '-p'),
    fails(2, ['eval', gta, '--tokens', '1,2', '--cache', 'int8,f16'], '--cache', 'f32, int8', '"int8,f16"'),
    fails(2, ['eval', gta, '--tokens', '1,2', '--cache', 'f16'], '--cache', '"f16"'),
    fails(2, ['eval', gta, '--tokens', '1,2', '--cache', 'int8,f32,int8'], '--cache', 'int8 once'),
    fails(2, ['eval', gta, '--tokens', '1,2', '--cache', 'int8,'], '--cache', '"int8,"'),
    fails(2, ['run', gta, '--tokens', '1,2', '--cache', 'int8,f32'], '--cache', 'one of'),
    fails(2, ['run', '-m', gta, '-m', gqa], gta, gqa, 'once'),
  ])
})

test('under --json an error is a JSON document on stderr, and so is a warning', async () => {
  for (const [code, name, words, ...args] of [
    [2, 'BAD_OPTION', '-o md', 'eval', gta, '--tokens', '1,2', '-o', 'md'],
    [2, 'BAD_OPTION', '--frobnicate', 'run', gta, '--frobnicate'],
    [1, 'NOT_FOUND', '/nothing', 'inspect', '/nothing'],
    [1, 'BAD_PROMPT', 'at least one token', 'logits', gta, '-p', ''],
  ] as [number, string, string, ...string[]][]) {
    const result = await run(...args, '--json')
    assert.is(result.code, code, show(result))
    assert.is(result.stdout, '', show(result))
    const { schema, version, code: found, message, exitCode, ...rest } = JSON.parse(result.stderr)
    assert.equal([schema, version, found, exitCode, rest], ['gta-error/1', manifest.version, name, code, {}])
    assert.ok(message.includes(words), message)
  }
  const many = await run('run', gta, '--tokens', '1', '-n', '1', '-t', '64', '--json')
  assert.is(many.code, 0, show(many))
  const { schema, message } = JSON.parse(many.stderr)
  assert.is(schema, 'gta-message/1')
  assert.match(message, /^warning: threads \(-t\) is 64, more than the \d+ cores/)
})

test('numbers that are none, or out of range: exit code 2', async () => {
  const usage: [string, string][] = [
    ['-n', 'three'],
    ['--temp', ''],
    ['--seed', ' '],
    ['-c', 'x'],
    ['-c', '-2'],
    ['-n', '-2'],
    ['--seed', '1.5'],
    ['--temp', 'hot'],
    ['--temp', 'NaN'],
    ['--temp', '101'],
    ['--top-p', '1.1'],
    ['--repeat-penalty', '0'],
    ['--top-k', '2147483649'],
    ['-t', '65'],
    ['--top-k', '0.5'],
    ['--type', 'q5'],
    ['--cache', 'f16'],
    ['--tokens', '1,x'],
    ['--tokens', '1,,2'],
    ['--tokens', '-1'],
  ]
  const model: [string, string, string][] = [['-c', '129', '128']]
  await Promise.all([
    ...usage.map(([flag, value]) =>
      fails(2, [
        'run',
        gta,
        ...(flag === '--tokens' ? [] : ['--tokens', '1']),
        `${flag}${flag[1] === '-' ? '=' : ''}${value}`,
      ]),
    ),
    ...model.map(([flag, value, word]) => fails(2, ['run', gta, '--tokens', '1', flag, value], NO_HELP, word)),
  ])
})

/** A packed file with one bit of a tensor changed. */
function flipBit(bytes: Buffer, name: string): Buffer {
  const length = Number(bytes.readBigUInt64LE())
  const at = 8 + length + JSON.parse(bytes.subarray(8, 8 + length).toString())[name].data_offsets[0]
  bytes[at] = (bytes[at] as number) ^ 1
  return bytes
}

test('files that are missing or damaged: exit code 1', async () => {
  const empty = join(folder, 'empty')
  mkdirSync(empty)
  const weightless = join(folder, 'weightless')
  mkdirSync(weightless)
  writeFileSync(join(weightless, 'config.json'), JSON.stringify(gqaConfig))
  const text = join(folder, 'text.gta')
  writeFileSync(text, 'this is a text and not a model at all')
  const packed = join(folder, 'whole.gta')
  assert.is((await run('convert', gta, packed)).code, 0)
  const cut = join(folder, 'cut.gta')
  writeFileSync(cut, readFileSync(packed).subarray(0, 100_000))
  const flipped = join(folder, 'flipped.gta')
  writeFileSync(flipped, flipBit(readFileSync(packed), 'layers.1.out'))
  writeFileSync(join(folder, 'binary.txt'), Uint8Array.of(0xff, 0xfe, 0))
  writeFileSync(join(folder, 'nothing.txt'), '')
  writeFileSync(join(folder, 'broken.json'), '{"vocab_size": ')
  writeFileSync(join(folder, 'other.json'), '{"architectures": ["BertModel"]}')
  await Promise.all([
    ...['run', 'logits', 'eval'].map((name) => fails(1, [name, 'missing.gta', '--tokens', '1,2'], 'check the path')),
    ...['missing.gta', empty, cut].map((path) => fails(1, ['inspect', path], path)),
    fails(1, ['run', empty, '--tokens', '1'], empty, 'config.json'),
    // The name of a repository is no path, but what somebody has who has no model yet.
    ...['run', 'inspect', 'convert'].map((name) =>
      fails(1, [name, 'Qwen/Qwen3-0.6B'], 'gta pull Qwen/Qwen3-0.6B', 'downloads it once'),
    ),
    fails(1, ['run', 'models/my.gta'], 'check the path; README.md'),
    fails(1, ['run', cut, '--tokens', '1'], cut, 'damaged'),
    fails(1, ['run', weightless, '--tokens', '1'], weightless, 'model.safetensors'),
    fails(1, ['run', text, '--tokens', '1'], text, 'damaged'),
    fails(1, ['run', join(gta, 'model.safetensors'), '--tokens', '1'], 'gta convert'),
    fails(1, ['run', packed, '--tokens', ''], 'at least one token'),
    fails(1, ['convert', 'missing'], 'missing'),
    fails(1, ['convert', packed], 'a Hugging Face directory', 'another file'),
    fails(1, ['convert', gta, 'no/such/folder.gta'], 'cannot be written'),
    fails(2, ['convert', gta, packed], packed, '--force', NO_HELP),
    fails(1, ['inspect', flipped, '--verify'], flipped, 'layers.1.out', 'damaged'),
    fails(1, ['run', flipped, '--tokens', '1', '--verify'], flipped, 'layers.1.out'),
    fails(1, ['inspect', 'broken.json'], 'broken.json', 'JSON'),
    fails(1, ['inspect', 'other.json'], '"architectures"', 'BertModel'),
    fails(1, ['run', stories, '-f', 'missing.txt'], 'missing.txt'),
    fails(1, ['run', stories, '-f', 'binary.txt'], 'binary.txt', 'UTF-8'),
    fails(1, ['run', stories, '-f', 'nothing.txt'], 'at least one token'),
    fails(1, ['eval', stories, '--text', 'missing.txt'], 'missing.txt'),
    fails(2, ['run', packed, '--tokens', '1', '--type', 'f32'], NO_HELP, 'q8'),
  ])
})

test('prompts that a model cannot take: exit code 1', async () => {
  const long = Array(200).fill(7).join(',')
  await Promise.all([
    fails(1, ['run', stories, '-p', ''], 'at least one token'),
    fails(1, ['run', '-p', ''], 'at least one token'),
    fails(1, ['run', gta], 'at least one token'),
    fails(1, ['logits', gta, '--tokens', ''], 'at least one token'),
    fails(1, ['run', gta, '--tokens', long], '200 tokens', 'context of 128', 'shorten'),
    fails(1, ['run', gta, '--tokens', '1,2,3,4,5,6,7,8,9', '-c', '8'], '9 tokens', 'context of 8', '-c', 'allows 128'),
    fails(1, ['logits', gta, '--tokens', long], '200 tokens', 'context of 128'),
    fails(1, ['logits', stories, '-p', 'a time '.repeat(200), '-c', '100'], 'context of 100', 'allows 512'),
    fails(1, ['run', gta, '--tokens', '1,320'], '0 to 319', 'found 320'),
    fails(1, ['logits', gta, '--tokens', '99999999999'], '0 to 319', 'found 99999999999'),
    fails(1, ['eval', gta, '--tokens', '1,2,320'], '0 to 319', 'found 320'),
    fails(1, ['logits', gta, '-p', 'words'], 'tokenizer.json', '--tokens'),
    fails(1, ['eval', gta, '--text', join(storiesDirectory, 'valid_slice.txt')], 'tokenizer.json'),
  ])
})

test('a prompt that is refused is not printed first', async () => {
  await Promise.all([
    fails(1, ['run', gta, '-p', 'words'], 'tokenizer.json', '--tokens'),
    fails(1, ['run', stories, '-p', 'once upon a time '.repeat(20), '-c', '10'], 'context of 10', 'allows 512'),
  ])
})

test('logits --json: position and every logit', async () => {
  const [one, three, again] = await Promise.all([
    json<{ position: number; logits: number[] }>('logits', gta, '--tokens', '5'),
    json<{ position: number; logits: number[] }>('logits', gta, '--tokens', '5,6,7', '--type', 'f32'),
    json<{ position: number; logits: number[] }>('logits', gta, '--tokens', ' 5, 6 ,7 ', '--type', 'f32'),
  ])
  assert.equal(Object.keys(one).sort(), ['logits', 'position'])
  assert.is(one.position, 0)
  assert.is(three.position, 2)
  for (const { logits } of [one, three]) {
    assert.is(logits.length, 320)
    assert.ok(logits.every(Number.isFinite))
    assert.ok(new Set(logits).size > 300)
  }
  assert.equal(three, again)
})

test('logits for people: the best first, as many as asked for', async () => {
  const { stdout, code } = await run('logits', gta, '--tokens', '5,6,7', '--top', '7', '--type', 'f32')
  assert.is(code, 0)
  const rows = stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
  assert.is(rows.length, 7)
  const { logits } = await json<{ logits: number[] }>('logits', gta, '--tokens', '5,6,7', '--type', 'f32')
  const best = [...logits.keys()].sort((a, b) => (logits[b] as number) - (logits[a] as number)).slice(0, 7)
  assert.equal(
    rows.map(([id]) => id),
    best,
  )
  rows.forEach(([id, value]) => {
    assert.ok(Math.abs((value as number) - (logits[id as number] as number)) < 1e-6)
  })
})

test('run --tokens: exactly as many ids as asked for, and no begin token', async () => {
  const results = await Promise.all([
    json<Generated>('run', gta, '--tokens', '5,6,7', ...greedy),
    json<Generated>('run', gqa, '--tokens', '5', ...greedy, '--type', 'f32', '-c', '64'),
    json<Generated>('run', stories, '--tokens', '593,526', ...greedy),
  ])
  assert.equal(
    results.map(({ promptTokens }) => promptTokens),
    [3, 1, 2],
  )
  for (const { tokens, finish } of results) {
    assert.is(tokens.length, 16)
    assert.ok(tokens.every((id) => Number.isInteger(id) && id >= 0))
    assert.is(finish, 'length')
  }
  assert.equal(
    results.map(({ text }) => typeof text),
    ['object', 'object', 'string'],
  )
  assert.equal([results[1].weightType, results[1].cacheType, results[1].context], ['f32', 'f32', 64])
  // The first id is the best logit of the prompt alone.
  const { logits } = await json<{ logits: number[] }>('logits', gta, '--tokens', '5,6,7')
  assert.is(results[0].tokens[0], logits.indexOf(Math.max(...logits)))
})

test('run for people: prompt and story on stdout, statistics on stderr', async () => {
  const prompt = 'Once upon a time'
  const [result, document] = await Promise.all([
    run('run', stories, '-p', prompt, '-n', '8', '--temp', '0'),
    json<Generated>('run', stories, '-p', prompt, '-n', '8', '--temp', '0'),
  ])
  assert.is(result.code, 0, show(result))
  assert.is(result.stdout, `${prompt}${document.text}\n`)
  assert.match(result.stderr, /^\[prefill 5 tokens .* decode 7 tokens .* ended by length\]\n$/)
})

/** What a shell makes of a line in which `gta` is the command. */
const shell = (line: string) =>
  spawnSync('sh', ['-c', `gta() { "${process.execPath}" "${command}" "$@"; }\n${line}`], {
    cwd: folder,
    encoding: 'utf8',
    input: 'from the socket',
    timeout: 300_000,
  })

test('run --json-schema and --pattern write that form, and nothing else on stdout', async () => {
  const schema = join(folder, 'schema.json')
  const properties = { name: { maxLength: 8 }, age: { type: 'integer', maximum: 9 } }
  writeFileSync(schema, JSON.stringify({ properties, required: ['name', 'age'] }))
  const { code, stdout } = await run('run', stories, '--json-schema', schema, '-s', '1', '-p', 'Once')
  assert.is(code, 0)
  assert.equal(Object.keys(JSON.parse(stdout)), ['name', 'age'])
  const document = await json('run', stories, '--json-schema', schema, '-s', '1', '-p', 'Once')
  assert.equal(document.value, JSON.parse(stdout))
  const { text } = await json<Generated>('run', stories, '--pattern', '(?:cat|dog)s? [a-z]{3}', '-p', 'Once')
  assert.match(text ?? '', /^(?:cat|dog)s? [a-z]{3}$/)
  writeFileSync(schema, '{"properties":{"a":{"not":{}}}}')
  await fails(1, ['run', stories, '--json-schema', schema, '-p', 'a'], '"not" of the schema at "/properties/a"')
  writeFileSync(schema, '{')
  await fails(1, ['run', stories, '--json-schema', schema, '-p', 'a'], 'must be valid JSON')
  await fails(
    2,
    ['run', stories, '--json-schema', schema, '--pattern', 'a', '-p', 'a'],
    'only one of --json-schema, --pattern',
  )
})

test('what is piped is the prompt, if none is given', async () => {
  writeFileSync(join(folder, 'fox'), 'The fox said\n')
  const flags = '-n 4 --temp 0'
  for (const [line, text] of [
    [`echo "The fox said" | gta run ${stories} ${flags}`, 'The fox said'],
    [`gta run ${stories} ${flags} < fox`, 'The fox said'],
    [`echo "The fox said" | gta run ${stories} ${flags} -f -`, 'The fox said'],
    [`echo "The fox said" | gta run ${stories} ${flags} -p "A bear"`, 'A bear'],
    [`gta run ${stories} ${flags} -f -`, 'from the socket'],
    // What is not waited for, or empty, is no prompt: the embedded model has one of its own.
    [`gta run ${flags}`, 'Once upon a time'],
    [`gta run ${flags} < /dev/null`, 'Once upon a time'],
    [`true | gta run ${flags}`, 'Once upon a time'],
  ] as const) {
    const { status, stdout, stderr } = shell(line)
    assert.is(status, 0, `${line}: ${stderr}`)
    assert.ok(stdout.startsWith(text) && stdout.length > text.length + 2, `${line}: ${stdout}`)
  }
  const empty = shell(`true | gta run ${stories}`)
  assert.is(empty.status, 1)
  assert.match(empty.stderr, 'at least one token')
})

test('-n 0 reads the prompt and writes nothing, -n -1 ends with the text', async () => {
  const prompt = ['run', stories, '-p', 'Once upon a time', '--temp', '0']
  const none = await run(...prompt, '-n', '0')
  assert.is(none.code, 0, show(none))
  assert.is(none.stdout, 'Once upon a time\n')
  assert.match(none.stderr, /^\[prefill 5 tokens .* decode none .* ended by length\]\n$/)
  const { tokens, finish } = await json<Generated>(...prompt, '-n', '0')
  assert.equal([tokens, finish], [[], 'length'])
  const [all, whole] = [await json<Generated>(...prompt, '-n', '-1'), await json<Generated>(...prompt)]
  assert.equal([all.tokens, all.finish], [whole.tokens, 'eos'])
})

test('the memory is measured only with --perf', async () => {
  const args = ['run', stories, '-p', 'Once', '-n', '4', '--temp', '0']
  assert.is('memoryBandwidth' in (await json(...args)), false)
  assert.ok((await json<{ memoryBandwidth: number }>(...args, '--perf')).memoryBandwidth > 1e6)
  const { stderr } = await run(...args, '--perf')
  assert.match(stderr, / GB\/s = \d+ % of [\d.]+ GB\/s memory · /)
})

/** Writes without end until Ctrl-C, which comes once `isTime`. */
async function interrupted(args: string[], isTime: (text: string) => boolean): Promise<Ended> {
  const endless = ['run', stories, '-p', 'Once', '--ignore-eos', '-s', '1', '-c', '512', '--context-policy', 'window']
  const child = spawn(process.execPath, [command, ...endless, ...args], { cwd: folder, timeout: 300_000 })
  const result: Ended = { args, code: -1, stdout: '', stderr: '' }
  child.stderr.on('data', (bytes) => {
    result.stderr += bytes
  })
  child.stdout.on('data', (bytes) => {
    result.stdout += bytes
    if (!child.killed && isTime(result.stdout)) child.kill('SIGINT')
  })
  result.code = await new Promise((resolve) => child.on('close', resolve))
  return result
}

test('Ctrl-C ends a text with the statistics of what there is', async () => {
  const result = await interrupted([], (text) => text.length > 60)
  assert.is(result.code, 130, show(result))
  assert.ok(result.stdout.startsWith('Once') && result.stdout.endsWith('\n'), show(result))
  assert.match(
    result.stderr,
    /^\[prefill 2 tokens \d+ tok\/s · decode \d+ tokens \d+ tok\/s, .* · seed 1 · ended by a signal\]\ngta: stopped by SIGINT\n$/,
  )
})

test('with --json Ctrl-C leaves the document of what there is, if there is something', async () => {
  // Nothing tells when a text has begun: later and later, until it has.
  for (let milliseconds = 500; ; milliseconds *= 2) {
    const child = spawn(process.execPath, [command, 'run', stories, '-p', 'Once', '--ignore-eos', '-c', '512', '--context-policy', 'window', '--json'], { cwd: folder, timeout: 300_000 }) // biome-ignore format: one line
    setTimeout(() => child.kill('SIGINT'), milliseconds)
    const output = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const)
      child[name].on('data', (bytes) => {
        output[name] += bytes
      })
    const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
      child.on('close', (...how) => resolve(how)),
    )
    // Node itself was not there yet.
    if (signal === 'SIGINT') continue
    assert.is(code, 130, output.stderr)
    const { code: name, exitCode } = JSON.parse(output.stderr)
    assert.equal([name, exitCode], ['INTERRUPTED', 130])
    if (output.stdout === '') continue
    const { schema, finish, tokens, text, seed } = JSON.parse(output.stdout)
    assert.equal([schema, finish, typeof text], ['gta-run/1', 'interrupted', 'string'])
    if (tokens.length < 2) continue
    assert.type(seed, 'number')
    break
  }
})

test('the packed file writes what its directory writes', async () => {
  const types = ['q8', 'f32'] as const
  const path = (type: string) => join(folder, `same-${type}.gta`)
  const converted = await Promise.all([
    json<Conversion>('convert', gta, path('q8')),
    json<Conversion>('convert', '-m', gta, '--out', path('f32'), '--type', 'f32'),
  ])
  converted.forEach((result, i) => {
    const type = types[i] as string
    const bytes = readFileSync(path(type)).length
    assert.equal(
      { ...result, parameters: 0, errors: [] },
      { path: path(type), type, bytes, parameters: 0, unused: [], errors: [], hasTokenizer: false, left: [] },
    )
    assert.is(result.errors.length > 0, type !== 'f32')
  })
  const cases = [
    ...types.map((type) => [path(type), gta, ['--tokens', '5,6,7'], ['--type', type]] as const),
    [stories, storiesDirectory, ['-p', 'The dog'], []] as const,
  ]
  await Promise.all(
    cases.map(async ([packed, directory, prompt, type]) => {
      const [a, b] = await Promise.all([
        json<Generated>('run', packed, ...prompt, ...greedy),
        json<Generated>('run', directory, ...prompt, ...greedy, ...type),
      ])
      assert.equal(a.tokens, b.tokens)
      assert.is(a.text, b.text)
      assert.is(a.logitsHash, b.logitsHash)
    }),
  )
})

test('inspect --verify: a whole file is verified, and told to be', async () => {
  const path = join(folder, 'verified.gta')
  assert.is((await run('convert', gta, path)).code, 0)
  const hashes = async (...args: string[]) =>
    (await json<{ hashes: { tensors: number; verified: boolean } | null }>('inspect', ...args)).hashes
  const tensors = (await hashes(path))?.tensors as number
  assert.ok(tensors > 20, `${tensors}`)
  assert.equal(await hashes(path), { tensors, verified: false })
  assert.equal(await hashes(path, '--verify'), { tensors, verified: true })
  assert.is(await hashes(gta), null)
  assert.match((await run('inspect', path, '--verify')).stdout, `of ${tensors} tensors, verified`)
  assert.is((await run('run', path, '--tokens', '1', '-n', '1', '--verify')).code, 0)
  assert.is((await run('convert', gta, path, '--force')).code, 0)
})

test('convert: default name, plain message, warnings for tensors that are not used', async () => {
  const tensors = randomTensors(gqaConfig)
  tensors.set('model.extra.weight', { dtype: 'F32', shape: [1], data: new Uint8Array(4) })
  const directory = writeCheckpoint(gqaConfig, tensors)
  const result = await run('convert', directory)
  assert.is(result.code, 0, show(result))
  assert.is(
    result.stderr,
    'gta: warning: tensor "model.extra.weight" is not used by this model\n' +
      `gta: warning: there is no tokenizer.json in "${directory}": the packed model takes only --tokens\n`,
  )
  const [, name = ''] =
    result.stdout.match(
      /^(\S+-q8\.gta): q8, \d+ parameters, [\d.]+ kB\n( {2}\S+: q8, error \d\.\d\d % of the weights\n)+$/,
    ) ?? []
  assert.ok(readFileSync(join(folder, name)).length > 1000, show(result))
})

test('many tensors that are not used are named by their beginnings', async () => {
  const tensors = randomTensors(gqaConfig)
  for (const name of ['vision.a.0', 'vision.a.1', 'vision.b', 'model.vision.0', 'projector'])
    tensors.set(name, { dtype: 'F32', shape: [1], data: new Uint8Array(4) })
  const { stderr } = await run('run', writeCheckpoint(gqaConfig, tensors), '--tokens', '1', '-n', '1')
  assert.match(
    stderr,
    'gta: warning: 5 tensors are not used by this model: "vision.…" (3), "model.vision.…" (1), "projector" (1)\n',
  )
})

test('a seed repeats its text, another one does not', async () => {
  const args = ['run', stories, '-p', 'Once', '-n', '24', '--temp', '1']
  const [a, b, other, large] = await Promise.all([
    json<Generated>(...args, '--seed', '42'),
    json<Generated>(...args, '-s', '42'),
    json<Generated>(...args),
    json<Generated>(...args, '--seed', String(Number.MAX_SAFE_INTEGER)),
  ])
  assert.equal(a.tokens, b.tokens)
  assert.is(a.seed, 42)
  assert.not.equal(a.tokens, other.tokens)
  assert.is(large.seed, Number.MAX_SAFE_INTEGER)
  // A seed that nobody gave repeats its text too.
  const repeated = await json<Generated>(...args, '--seed', String(other.seed))
  assert.equal(repeated.tokens, other.tokens)
})

test('control tokens in a prompt are text', async () => {
  const [control, letter, word] = await Promise.all(
    ['<|endoftext|>', 'a', 'Once<|endoftext|>'].map((prompt) =>
      json<Generated>('run', stories, '-p', prompt, '-n', '1', '--temp', '0'),
    ),
  )
  // The begin token comes before every prompt.
  assert.is(letter?.promptTokens, 2)
  assert.ok((control?.promptTokens ?? 0) > 3)
  assert.ok((word?.promptTokens ?? 0) > 3)
})

test('a prompt from a file is the same prompt, without the newline at its end', async () => {
  writeFileSync(join(folder, 'prompt.txt'), 'Once upon a time\n')
  const [a, b] = await Promise.all([
    json<Generated>('run', stories, '-f', 'prompt.txt', ...greedy),
    json<Generated>('run', stories, '-p', 'Once upon a time', ...greedy),
  ])
  assert.equal(a.tokens, b.tokens)
  assert.is(a.promptTokens, b.promptTokens)
})

test('eval --json', async () => {
  const text = readFileSync(join(storiesDirectory, 'valid_slice.txt'), 'utf8').slice(0, 600)
  writeFileSync(join(folder, 'eval.txt'), text)
  const [some, tokens] = await Promise.all([
    json<Record<string, number>>('eval', stories, '--text', 'eval.txt', '-c', '64'),
    json<Record<string, number>>('eval', gta, '--tokens', '1,2,3,4,5', '--type', 'f32'),
  ])
  const fields = [
    'tokens',
    'predicted',
    'nll',
    'nllError',
    'perplexity',
    'seconds',
    'weightType',
    'cacheType',
    'window',
  ]
  for (const result of [some, tokens]) {
    assert.equal(Object.keys(result).sort(), fields.sort())
    assert.is(result.predicted, (result.tokens as number) - 1)
    assert.ok(Math.abs(Math.log(result.perplexity as number) - (result.nll as number)) < 1e-9)
  }
  assert.is(some.window, 64)
  assert.ok((some.perplexity as number) > 5 && (some.perplexity as number) < 60, `${some.perplexity}`)
  assert.is(tokens.tokens, 5)
  assert.equal([tokens.weightType, tokens.cacheType], ['f32', 'f32'])
})

interface Comparison {
  predicted: number
  window: number
  results: {
    model: string
    weightType: string
    cacheType: string
    weightBytes: number
    elementBytesPerToken: number
    scaleBytesPerToken: number
    meanKl: number
    tokensPerSecond: number
  }[]
}

test('eval with several types compares weights and caches with the most exact ones', async () => {
  const ids = Array.from({ length: 60 }, (_, i) => i + 1).join()
  const args = ['eval', gta, '--tokens', ids, '-c', '32', '-t', '1']
  const [document, swapped, table, csv] = await Promise.all([
    json<Comparison>(...args, '--type', 'f32,q4', '--cache', 'f32,int8'),
    json<Comparison>(...args, '--type', 'q4, f32', '--cache', 'int8, f32'),
    run(...args, '--type', 'f32', '--cache', 'int8,f32'),
    run(...args, '--type', 'f32', '--cache', 'int8,f32', '-o', 'csv'),
  ])
  const facts = ({ results }: Comparison) =>
    results.map(({ weightType, cacheType, elementBytesPerToken, scaleBytesPerToken, meanKl }) => ({
      types: `${weightType} ${cacheType}`,
      bytes: [elementBytesPerToken, scaleBytesPerToken],
      meanKl,
    }))
  assert.equal(facts(swapped), facts(document))
  assert.equal([document.window, document.predicted], [32, 59])
  assert.equal(
    facts(document).map(({ types }) => types),
    ['f32 f32', 'f32 int8', 'q4 f32', 'q4 int8'],
  )
  // 2 layers of a key of 8 numbers and a latent value of 16, each with a scale in int8.
  assert.equal(
    facts(document).map(({ bytes }) => bytes),
    [
      [192, 0],
      [48, 16],
      [192, 0],
      [48, 16],
    ],
  )
  const [reference, int8, q4] = document.results as [Comparison['results'][0], ...Comparison['results']]
  assert.ok(reference.meanKl === 0 && (int8?.meanKl as number) > 0 && (q4?.meanKl as number) > (int8?.meanKl as number))
  assert.ok((q4?.weightBytes as number) < reference.weightBytes / 4 && reference.tokensPerSecond > 0)

  assert.is(table.code, 0, show(table))
  assert.is(table.stderr, '')
  const lines = table.stdout.split('\n')
  assert.match(lines[0] ?? '', /^\| weights \| cache \| +size \| bytes per token \| +perplexity \| +ΔPPL % \|/)
  assert.match(lines[2] ?? '', /^\| f32 +\| f32 +\| +0\.4 MB \| +192 \| +\d+\.\d{4} ± \d+\.\d{4} \|( +– \|){4} +\d+ \|/)
  assert.match(lines[3] ?? '', /^\| f32 +\| int8 +\|.*\| +64 \|.*\| +[+−]\d\.\d{3} ± \d\.\d{3} \| +0\.00\d{4} \|/)
  assert.ok(lines[3]?.includes(` ${int8?.meanKl.toFixed(6)} |`))
  assert.match(table.stdout, 'windows of 32')
  const [names, first, second, ...rest] = csv.stdout.split('\n').map((line) => line.split(','))
  assert.equal(rest, [['']])
  const column = (name: string) => names?.indexOf(name) as number
  assert.equal([first?.[column('cacheType')], second?.[column('cacheType')]], ['f32', 'int8'])
  assert.is(Number(second?.[column('meanKl')]), int8?.meanKl)
})

test('eval --against compares with another model, which is taken as exactly as it comes', async () => {
  writeFileSync(join(folder, 'against.txt'), 'Once upon a time there was a fox.')
  const [{ results }, table] = await Promise.all([
    json<Comparison>('eval', stories, '--against', storiesDirectory, '--text', 'against.txt'),
    run('eval', stories, '--against', stories, '--text', 'against.txt', '--cache', 'int8'),
  ])
  assert.equal(
    results.map(({ model, weightType, cacheType }) => [model, weightType, cacheType]),
    [
      [storiesDirectory, 'f32', 'f32'],
      [stories, 'q8', 'int8'],
    ],
  )
  assert.ok((results[1]?.meanKl as number) > 0)
  assert.match(table.stdout, /^\| weights.*\n.*\n\| q8 +\| f32 .*\n\| q8 +\| int8 /)
  await Promise.all([
    fails(1, ['eval', gta, '--against', 'missing.gta', '--tokens', '1,2'], 'missing.gta'),
    fails(2, ['eval', gta, '--against', stories, '--tokens', '1,2', NO_HELP], 'argument too many'),
  ])
})

test('eval with one cache type prints one line, or one record', async () => {
  const args = ['eval', gta, '--tokens', '1,2,3,4,5', '--cache', 'f32']
  const [line, csv] = await Promise.all([run(...args), run(...args, '-o', 'csv')])
  assert.match(line.stdout, /^perplexity \d+\.\d{4} ± \d+\.\d{4}, .* 4 of 5 tokens .*f32 cache.*\n$/)
  assert.match(
    csv.stdout,
    /^tokens,predicted,nll,nllError,perplexity,seconds,weightType,cacheType,window\n5,4,.*,q8,f32,128\n$/,
  )
})

test('eval: token ids from a file', async () => {
  writeFileSync(join(folder, 'ids.txt'), '1, 2\n3\t4,5\n')
  writeFileSync(join(folder, 'ids-list.txt'), '[1, 2, 3, 4, 5]\n')
  writeFileSync(join(folder, 'ids-wrong.txt'), '1, 2\n3 four 5')
  const nll = async (...args: string[]) => (await json<{ nll: number }>('eval', gta, ...args)).nll
  const [expected, ...found] = await Promise.all([
    nll('--tokens', '1,2,3,4,5'),
    nll('--tokens-file', 'ids.txt'),
    nll('--tokens-file', 'ids-list.txt'),
  ])
  assert.equal(found, [expected, expected])
  await Promise.all([
    fails(1, ['eval', gta, '--tokens-file', 'ids-wrong.txt'], 'ids-wrong.txt', 'token ids', '"four"'),
    fails(1, ['eval', gta, '--tokens-file', 'missing.txt'], 'missing.txt'),
    fails(1, ['eval', gta, '--tokens-file', '/dev/zero'], '/dev/zero', 'at most 256.0 MB'),
    fails(2, ['eval', gta, '--tokens-file', 'ids.txt', '--tokens', '1,2'], '--tokens-file', 'found 2'),
  ])
})

test('eval --tasks: as JSON, as a table, as CSV, and every item', async () => {
  const fox = {
    ctx: 'Once upon a time, there was a',
    choices: ['fox who lived in a hole.', 'of the', 'the the'],
    gold: 0,
  }
  const lines = [fox, { ...fox, gold: 1 }, { ...fox, choices: ['of', 'of'] }]
  writeFileSync(join(folder, 'fox.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  const args = ['eval', stories, '--tasks', 'fox', '--task-dir', '.']
  const [document, sample, table, csv, samples] = await Promise.all([
    json('eval', stories, '--tasks', './fox.jsonl', '--limit', '2'),
    json<{ 'n-samples': object }>('eval', stories, '--tasks', 'piqa,arc_easy', '--limit', '3'),
    run(...args),
    run(...args, '-o', 'csv', '--limit', '1'),
    run(...args, '--samples', 'samples.jsonl', '--resume', 'results', '--limit', '2'),
  ])
  const { results, versions, config, ...rest } = document as Record<string, Record<string, unknown>>
  assert.equal(Object.keys((results?.fox as object) ?? {}).slice(0, 3), ['alias', 'acc,none', 'acc_stderr,none'])
  assert.equal([versions, rest['n-samples']], [{ fox: 0 }, { fox: { original: 3, effective: 2 } }])
  assert.equal([config?.model, config?.limit, rest.samples], ['gta-edge', 2, undefined])
  const counts = { original: 500, effective: 3 }
  assert.equal(sample['n-samples'], { piqa: counts, arc_easy: counts })
  assert.is(table.code, 0, show(table))
  assert.match(table.stderr, /^gta: warning: 1 of 3 items of fox have the same choice twice.*\n$/)
  assert.match(
    table.stdout,
    /^\| task +\| version \| +items \| metric +\| +value \| stderr \|\n.*\n\| fox +\| +0 \| +3 \| acc /,
  )
  assert.match(
    csv.stdout,
    /^task,version,items,metric,value,stderr\nfox,0,1,acc,[01],N\/A\nfox,0,1,acc_norm,[01],N\/A\n$/,
  )
  assert.is(samples.code, 0, show(samples))
  const written = readFileSync(join(folder, 'samples.jsonl'), 'utf8').trimEnd().split('\n')
  const [first, second] = written.map((line) => JSON.parse(line))
  assert.equal([written.length, first.task, first.doc, first.target, second.target], [2, 'fox', fox, [0], [1]])
  assert.equal(first.arguments[0], [fox.ctx, ` ${fox.choices[0]}`])
  assert.equal(second.resps, first.resps)
})

test('eval --tasks: what is wrong is said', async () => {
  writeFileSync(join(folder, 'broken.jsonl'), '{"ctx": "a"}\n')
  const long = { ctx: 'word '.repeat(99), choices: ['a', 'b'], gold: 0 }
  writeFileSync(join(folder, 'long.jsonl'), JSON.stringify(long))
  const tasks = (...rest: string[]) => ['eval', stories, '--tasks', ...rest]
  const [cut] = await Promise.all([
    run(...tasks('./long.jsonl', '-c', '64')),
    fails(2, tasks('piqa', '--text', 'x'), '--tasks', 'found 2'),
    fails(2, tasks('piqa', '--against', gta), '--against', 'with a text'),
    fails(2, ['eval', stories, '--text', 'x', '--limit', '3'], '--limit', 'with --tasks'),
    fails(2, tasks('piqa', '--limit', '0'), '--limit'),
    fails(2, tasks('piqa', '--type', 'q8,q4'), '--type'),
    fails(1, tasks('piqa', '--task-dir', 'nowhere'), 'piqa.jsonl', 'nowhere', '--task-dir'),
    fails(1, tasks('./broken.jsonl'), 'line 1 of "./broken.jsonl"', 'choices'),
    fails(2, tasks('mbpp'), '"mbpp"', NO_HELP),
    fails(1, tasks('./long.jsonl', '-c', '64', '--samples', 'no/where'), 'no/where'),
  ])
  assert.match(cut.stderr, /^gta: warning: 1 of 1 items of long are longer than the context of 64 tokens.*\n$/)
})

test('inspect: GTA-1B without its weights', async () => {
  const [plain, long, f32, people, plan] = await Promise.all([
    json('inspect', config1b),
    json('inspect', config1b, '-c', '32768'),
    json('inspect', config1b, '-c', '2048', '--cache', 'f32'),
    run('inspect', config1b, '-c', '2048', '--cache', 'f32'),
    run('inspect', config1b, '--plan'),
  ])
  assert.is(plain.parameters, 1_128_766_208)
  assert.is(plain.cacheElements, 192)
  assert.equal([plain.cacheType, plain.context, plain.kind, plain.packedType], ['int8', 2048, 'gta', null])
  assert.is(plain.cacheBytes, 54 * 2048 * 192)
  // One f32 scale for the key, one for the latent value.
  assert.is(plain.cacheScaleBytes, 54 * 2048 * 8)
  assert.is(long.cacheBytes, 679_477_248 / 2)
  assert.equal([f32.cacheBytes, f32.cacheScaleBytes], [54 * 2048 * 192 * 4, 0])
  assert.match(people.stdout, '1,128,766,208 (1076.48 Mi')
  assert.match(people.stdout, 'f32, 84.9 MB and 0 B of scales at 2,048 tokens')
  assert.match(plan.stdout, /^layer 53 down q8 \(1280, 3584\)/m)
  await Promise.all([
    fails(2, ['inspect', config1b, '-c', '-2'], '--ctx-size'),
    fails(2, ['inspect', config1b, '--cache', 'f16'], '--cache'),
  ])
})

test('inspect --plan --json is one JSON document', async () => {
  await json('inspect', config1b, '--plan')
})

/** A directory with the weights of a config as one hole of zeros, and NaN as the very first number. */
function hollow(config: Config): string {
  const directory = temporary()
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config))
  let offset = 0
  const entries = sourcesOf(config).map(({ tensor, shape }) => {
    const bytes = 4 * shape.reduce((n, m) => n * m, 1)
    const entry = { name: tensor, dtype: 'F32' as const, shape, offset, bytes }
    offset += bytes
    return entry
  })
  const header = encodeHeader({}, entries)
  const path = join(directory, 'model.safetensors')
  const file = openSync(path, 'w')
  writeSync(file, header)
  writeSync(file, new Uint8Array(Float32Array.of(Number.NaN).buffer))
  closeSync(file)
  truncateSync(path, header.length + offset)
  return directory
}

test('f32 weights of a 1B model are refused before they are read', async () => {
  const config = JSON.parse(readFileSync(config1b, 'utf8'))
  const directory = hollow(config)
  const broken = temporary()
  writeFileSync(join(broken, 'config.json'), JSON.stringify(config))
  writeFileSync(join(broken, 'model.safetensors'), 'nothing that could be read')
  const words = ['4.52 GB', '4.29 GB', 'use --type q8']
  await Promise.all([
    fails(1, ['run', directory, '--tokens', '1', '--type', 'f32'], ...words),
    fails(1, ['logits', directory, '--tokens', '1', '--type', 'f32'], ...words),
    fails(1, ['convert', directory, 'big.gta', '--type', 'f32'], ...words),
    fails(1, ['convert', broken, 'big.gta', '--type', 'f32'], ...words),
    // With q8 they would fit, so they are read, and found broken.
    fails(1, ['convert', directory, 'big.gta'], 'model.embed_tokens.weight', 'NaN at index 0'),
  ])
})

test('a model that cannot fit is refused whatever its weight files are', async () => {
  const broken = temporary()
  writeFileSync(join(broken, 'config.json'), readFileSync(config1b))
  writeFileSync(join(broken, 'model.safetensors'), 'nothing that could be read')
  await fails(1, ['run', broken, '--tokens', '1', '--type', 'f32'], '4.52 GB', 'use --type q8')
})

test('doctor tells what it found', async () => {
  // Dawn writes warnings of its own to stderr where there is a GPU.
  const { stdout } = await run('doctor', '--json')
  const found = JSON.parse(stdout) as { chosen: string; node: string; gpu: { adapters: { unfit?: string }[] } }
  assert.type(found.chosen, 'string')
  assert.ok(found.node.includes(process.versions.node))
  // A machine with a GPU, with one in software, or with none.
  for (const { unfit } of found.gpu.adapters) assert.ok(unfit === undefined || unfit.length > 10)
  assert.match((await run('doctor')).stdout, /^gpu {11}\S/m)
})

interface WithSession extends Generated {
  session: {
    path: string
    tokens: number
    bytes: number
    bytesWritten: number
    isIncremental: boolean
    restoredTokens: number
  }
}

test('run --session: what was interrupted twice is what was never interrupted', async () => {
  const file = join(folder, 'talk')
  const settings = ['--temp', '0.9', '--seed', '4', '--repeat-penalty', '1.2']
  const prompt = ['-p', 'The dog was very']
  const whole = await json<Generated>('run', stories, ...prompt, ...settings, '-n', '24')
  const first = await json<WithSession>('run', stories, ...prompt, ...settings, '-n', '8', '--session', file)
  assert.equal(first.session, {
    path: file,
    tokens: first.promptTokens + 8,
    bytes: readFileSync(file).length,
    bytesWritten: first.session.bytesWritten,
    isIncremental: false,
    restoredTokens: 0,
  })
  // Without a prompt it goes on, with the same settings.
  const second = await json<WithSession>('run', stories, '-n', '8', '--session', file)
  assert.equal([second.session.restoredTokens, second.session.isIncremental], [first.session.tokens, true])
  const third = await run('run', stories, '-n', '8', '--session', file)
  assert.is(third.code, 0, show(third))
  assert.match(
    third.stderr,
    `[session ${first.session.tokens + 8} tokens restored, ${first.session.tokens + 16} saved · `,
  )
  assert.is(`${first.text}${second.text}${third.stdout.trimEnd()}`, whole.text)
  assert.match(third.stderr, `logits ${whole.logitsHash}`)
  // With another prompt, printed like any other.
  const more = await run('run', stories, '-p', ' Then Tom', '-n', '3', '--session', file)
  assert.ok(more.stdout.startsWith(' Then Tom'), show(more))
})

test('run --session: a model that knows ids only, drops, and a smaller context', async () => {
  const file = join(folder, 'ids')
  const window = ['-c', '128', '--context-policy', 'window', '--keep', '0', '--session', file]
  const settings = ['--temp', '0.8', '--seed', '9']
  const whole = await json<Generated>('run', gta, '--tokens', '5,6,7', ...settings, '-n', '400', ...window.slice(0, -2))
  const tokens: number[] = []
  for (const prompt of [['--tokens', '5,6,7', ...settings], [], []]) {
    const part = await json<WithSession>('run', gta, ...prompt, '-n', prompt.length > 0 ? '100' : '150', ...window)
    tokens.push(...part.tokens)
    if (tokens.length === 400) assert.is(part.logitsHash, whole.logitsHash)
  }
  assert.equal(tokens, whole.tokens)
  const before = readFileSync(file)
  await Promise.all([
    fails(1, ['run', gta, '--session', file, '-c', '50'], 'context of 50', 'raise -c', 'allows 128'),
    fails(1, ['run', gqa, '--session', file], 'session', 'model'),
    fails(1, ['run', gta, '--session', file, '--cache', 'f32'], 'cache'),
    fails(1, ['run', gta, '--session', file, '--tokens', '320'], '0 to 319'),
  ])
  assert.equal(readFileSync(file), before)
})

test('run --session: what is no session is refused before anything is generated', async () => {
  const at = (name: string) => join(folder, name)
  writeFileSync(at('text.session'), 'my diary')
  writeFileSync(at('empty.session'), '')
  mkdirSync(at('folder.session'))
  symlinkSync('nowhere', at('link.session'))
  const args = (name: string) => ['run', gta, '--tokens', '1', '-n', '2', '--session', name]
  await Promise.all([
    fails(1, args(at('text.session')), 'text.session', 'no session'),
    fails(1, args(at('empty.session')), 'empty.session', 'no session'),
    fails(1, args(at('folder.session')), 'folder.session', 'a regular file'),
    fails(1, args(at('link.session')), 'link.session'),
    fails(1, args(join(at('text.session'), 'x')), 'text.session'),
    fails(1, args(at('no/such/folder/talk')), 'no/such/folder/talk', 'cannot be saved'),
    fails(2, args(''), NO_HELP, '--session'),
    fails(1, ['run', gta, '--session', at('new.session')], 'at least one token'),
  ])
  assert.is(readFileSync(at('text.session'), 'utf8'), 'my diary')
})

test('run --session: two at once, and the file is that of one of them', async () => {
  const file = join(folder, 'two')
  const args = ['run', gta, '-n', '40', '--seed', '2', '--session', file]
  const both = await Promise.all([1, 2].map((id) => json<WithSession>(...args, '--tokens', `${id}`)))
  const next = await json<WithSession>('run', gta, '-n', '3', '--session', file)
  assert.is(next.session.restoredTokens, 41)
  const alone = await Promise.all(
    [1, 2].map((id) => json<Generated>('run', gta, '-n', '43', '--seed', '2', '--tokens', `${id}`)),
  )
  assert.ok(
    alone.some((it, i) => `${it.tokens}` === `${[...(both[i]?.tokens ?? []), ...next.tokens]}`),
    'neither of the two goes on',
  )
})

test('run --session: Ctrl-C saves what there is', async () => {
  const file = join(folder, 'stopped')
  const args = ['run', stories, '-p', 'Once', '--ignore-eos', '--temp', '0', '--session', file]
  const child = spawn(process.execPath, [command, ...args, '-c', '512', '--context-policy', 'window'], { cwd: folder })
  let text = ''
  let errors = ''
  child.stderr.on('data', (bytes) => {
    errors += bytes
  })
  const code = await new Promise((resolve) => {
    child.stdout.on('data', (bytes) => {
      text += bytes
      if (text.length > 60 && !child.killed) child.kill('SIGINT')
    })
    child.on('close', resolve)
  })
  assert.is(code, 130, errors)
  assert.match(errors, 'stopped by SIGINT')
  const { text: more, session } = await json<WithSession>('run', stories, '-n', '4', '--temp', '0', '--session', file)
  assert.ok(session.restoredTokens > 5)
  const { text: whole } = await json<Generated>(
    ...(['run', stories, '-p', 'Once', '--ignore-eos', '--temp', '0', '-c', '512'] as const),
    ...['-n', `${session.tokens - 2}`],
  )
  assert.is(`${text.replace(/\n*$/, '')}${more}`, `Once${whole}`)
})

test.run()
