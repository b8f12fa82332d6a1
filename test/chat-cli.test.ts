/** gta chat in processes of its own: what is typed, what comes out, signals and exit codes. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { convert } from '../host/files/convert.ts'
import { chatModel } from './fixtures/chats.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { limit, limitNote } from './harness/limits.ts'

const command = fileURLToPath(new URL('../dist/gta.mjs', import.meta.url))
const folder = temporary()
const model = join(folder, 'chat.gta')
await convert(chatModel(), model)
const flags = ['-t', '1', '-n', '4', '-s', '1']

interface Result {
  code: number | null
  stdout: string
  stderr: string
}

/** Starts a chat; `onOutput` sees what it writes, and may write more to it or send it signals. */
function chat(
  args: string[],
  input: string,
  onOutput?: (all: string, child: ReturnType<typeof spawn>) => void,
): Promise<Result> {
  const child = spawn(process.execPath, [command, 'chat', ...args], { cwd: folder, timeout: limit(300) })
  const result: Result = { code: null, stdout: '', stderr: '' }
  child.stdout.on('data', (data) => {
    result.stdout += data
    onOutput?.(result.stdout, child)
  })
  child.stderr.on('data', (data) => {
    result.stderr += data
  })
  child.stdin.write(input)
  if (!onOutput) child.stdin.end()
  return new Promise((resolve) =>
    child.on('close', (code, signal) =>
      resolve({ ...result, code, stderr: result.stderr + limitNote({ signal }, 300) }),
    ),
  )
}

interface Line {
  type: string
  code?: string
  text?: string
  finish?: string
  promptTokens?: number
  cachedTokens?: number
  messages?: number
  tokens?: number | number[]
}

const linesOf = ({ stdout }: Result): Line[] =>
  stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))

/** Exit code and one line on stderr, as of every command. */
function expectFailure(result: Result, code: number, ...words: string[]): void {
  assert.is(result.code, code, result.stderr)
  assert.match(result.stderr, /^gta: [^\n]+\n$/)
  for (const word of words) assert.ok(result.stderr.includes(word), `"${word}" is not in: ${result.stderr}`)
}

test('each line is a message, and each turn reads what is new', async () => {
  const result = await chat([model, ...flags, '--json'], 'one\n\ntwo\\\nlines\n/stats\n//slash\n/reset\none\n')
  assert.is(result.code, 0, result.stderr)
  assert.is(result.stderr, '')
  const [one, two, stats, slash, reset, again, ...rest] = linesOf(result) as [Line, Line, Line, Line, Line, Line]
  assert.equal(rest, [])
  const length = (message: string) => `<user\n${message}>\n<assistant\n`.length
  assert.is(one.promptTokens, length('one'))
  assert.is(one.cachedTokens, 0)
  assert.is(one.finish, 'length')
  assert.is(two.promptTokens, length('one') + 4 + '>\n'.length + length('two\nlines'))
  assert.is(two.cachedTokens, length('one') + 3)
  assert.is(stats.type, 'stats')
  assert.is(stats.messages, 4)
  assert.is(stats.tokens, (two.promptTokens as number) + (two.tokens as number[]).length)
  assert.is(slash.type, 'answer')
  assert.is(reset.type, 'reset')
  // All that was said is forgotten: with the same seed, the same answer.
  assert.is(again.text, one.text)
})

test('for people, answers are on stdout and everything else on stderr', async () => {
  const result = await chat([model, ...flags], 'one\n/help\n/system Be brief.\n/stats\n/quit\nnever\n')
  assert.is(result.code, 0, result.stderr)
  const [{ text = '' } = {}] = linesOf(await chat([model, ...flags, '--json'], 'one\n'))
  assert.is(result.stdout, `${text}\n`)
  for (const words of ['/save FILE', 'stopped by -n', 'from the next message on', '2 messages', 'of 512 tokens'])
    assert.ok(result.stderr.includes(words), `"${words}" is not in: ${result.stderr}`)
})

test('a saved chat goes on with its messages and its cache', async () => {
  const first = linesOf(await chat([model, ...flags, '--json', '--system', 'S'], 'one\n/save a.gtas\n'))
  assert.is(first[1]?.type, 'save')
  const [two] = linesOf(await chat([model, ...flags, '--json', '--session', 'a.gtas'], 'two\n'))
  assert.ok((two?.cachedTokens as number) >= (first[0]?.promptTokens as number))
  // --session saves at the end: two more messages.
  const [stats] = linesOf(await chat([model, ...flags, '--json', '--session', 'a.gtas'], '/stats\n'))
  assert.is(stats?.messages, 4)
  const { stderr } = await chat([model, ...flags, '--session', 'a.gtas'], '/quit\n')
  assert.match(stderr, /goes on with a\.gtas: 4 messages, \d+ tokens, on /)
})

test('Ctrl-C stops an answer, and the next line goes on', async () => {
  let interrupts = 0
  const endless = chatModel({ eos: [], template: '{{ messages[-1].content }}' })
  const args = [endless, '-t', '1', '-s', '1', '--context-policy', 'window']
  const result = await chat(args, 'one\n', (all, child) => {
    if (interrupts === 0 && all.length > 20) {
      interrupts++
      child.kill('SIGINT')
      child.stdin?.end('/stats\n')
    }
  })
  assert.is(result.code, 0, result.stderr)
  assert.match(result.stderr, 'gta: stopped\n')
  assert.match(result.stderr, '2 messages')
})

test('a second Ctrl-C, or another signal, ends the chat; --session saves it', async () => {
  let count = 0
  const args = [model, ...flags, '--json', '--session', 'killed.gtas']
  const twice = await chat(args, 'one\n', (_, child) => {
    if (count++ > 0) return
    child.kill('SIGINT')
    setTimeout(() => child.kill('SIGINT'), 500)
  })
  assert.is(twice.code, 130, twice.stderr)
  assert.match(twice.stderr, 'stopped by SIGINT')
  const [stats] = linesOf(await chat([model, '--json', '--session', 'killed.gtas'], '/stats\n'))
  assert.is(stats?.messages, 2)
  const terminated = await chat([model, ...flags, '--json'], 'one\n', (_, child) => child.kill('SIGTERM'))
  assert.is(terminated.code, 143, terminated.stderr)
})

test('where nobody can try again, the first failure ends the chat', async () => {
  const unknown = await chat([model, ...flags, '--json'], '/sing\none\n')
  assert.is(unknown.code, 2)
  const { schema, message } = JSON.parse(unknown.stderr)
  assert.is(schema, 'gta-error/1')
  for (const words of ['/help, /reset, /system, /save, /stats, /quit', 'found "/sing"', '"//"'])
    assert.ok(message.includes(words), message)
  assert.equal(
    linesOf(unknown).map(({ type, code }) => `${type} ${code}`),
    ['error BAD_OPTION'],
  )
  expectFailure(await chat([model, ...flags, '-c', '64'], `${'x'.repeat(100)}\none\n`), 1, 'context of 64 tokens')
  expectFailure(await chat([model, ...flags], '/reset now\n'), 2, '/reset must be alone')
})

test('a model without a template says what to do', async () => {
  expectFailure(await chat([], 'Hi\n'), 1, 'stories.gta', 'continues texts (gta run)', '--chat-template', 'chatml')
  writeFileSync(join(folder, 'own.jinja'), '{{ messages | map(attribute="content") | join("\\n") }}')
  const own = await chat([...flags, '--chat-template', 'own.jinja', '--json'], 'Hi\n')
  assert.is(own.code, 0, own.stderr)
  assert.is(linesOf(own)[0]?.type, 'answer')
  expectFailure(await chat(['--chat-template', 'nowhere'], 'Hi\n'), 1, '"nowhere" must be a file')
})

test('a session of gta run is no chat, and is left as it is', async () => {
  writeFileSync(join(folder, 'text.gtas'), 'a letter')
  expectFailure(await chat([model, '--session', 'text.gtas'], 'Hi\n'), 1, 'text.gtas')
  expectFailure(await chat([model, '--session', ''], 'Hi\n'), 2, '--session')
})

test.run()
