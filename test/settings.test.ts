/** The table of settings: the commands and the library have what it says, and nobody else says it. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { chat } from '../host/cli/chat.ts'
import { commands } from '../host/cli/commands.ts'
import { fit } from '../host/cli/fit.ts'
import { Arguments, type Command, flagAs, flagsOf, generateNames, help, UsageError } from '../host/cli/options.ts'
import { inWords, timeLeft } from '../host/cli/progress.ts'
import { run } from '../host/cli/run.ts'
import { checkSampling, defaultSampling } from '../host/engine/sampling.ts'
import { MAX_RANKS } from '../host/engine/wasm/protocol.ts'
import { checkSetting, type GtaError } from '../host/errors.ts'
import {
  contextSettings,
  defaultCache,
  defaultContext,
  expectedOf,
  helpOf,
  isAllowed,
  modelSettings,
  type Setting,
  type SettingName,
  settings,
  titleOf,
} from '../host/settings.ts'
import { megabytes, parseSize } from '../host/sizes.ts'
import { weightTypes } from '../models/index.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const table = Object.entries(settings) as [SettingName, Setting][]

test('each flag, letter and alias is there once', () => {
  const all = table.flatMap(([, { flag, short, alias }]) => [flag, short, alias].filter((name) => name !== undefined))
  assert.equal(all, [...new Set(all)])
  assert.ok(all.length > 30)
})

test('each default is one that is allowed, and each range is one', () => {
  for (const [name, setting] of table) {
    if (setting.default !== undefined) assert.ok(isAllowed(setting, setting.default), name)
    if (setting.min !== undefined && setting.max !== undefined) assert.ok(setting.min < setting.max, name)
    if (setting.none !== undefined) assert.not(isAllowed(setting, setting.none), name)
  }
  checkSampling({ ...defaultSampling, seed: 1 })
})

test('the help of a command has each of its settings with its letters, its default and its words', () => {
  const linesOf = (command: Command) => help(command).split('\n')
  const names = [...Object.keys(modelSettings), ...Object.keys(contextSettings), ...generateNames] as SettingName[]
  for (const command of [run, chat])
    for (const name of names) {
      const { flag, short, alias, ...setting }: Setting = settings[name]
      if (flag === undefined) continue
      const line = linesOf(command).find((candidate) => candidate.includes(` --${flag} `)) as string
      assert.ok(line?.endsWith(helpOf(setting as Setting)), `${command.usage.split(' ')[0]} --${flag}: ${line}`)
      if (short ?? alias) assert.ok(line.includes(` -${short ?? alias},`), line)
      for (const choice of setting.choices ?? []) assert.ok(line.includes(choice), line)
      if (setting.default !== undefined) assert.ok(line.includes(String(setting.default)), line)
    }
})

test('a command line gives the library what it says, and nothing for what it does not', () => {
  const options = {
    ...flagsOf('context', 'temperature', 'seed', 'stop', 'cacheMemory', 'contextPolicy'),
    ...flagsOf('batchThreads'),
  }
  const args = new Arguments(
    ['-c', '64', '--temp=0.5', '-s', '-1', '--stop', 'a', '--stop', 'b', '--cache-memory', '2Mi', '-tb', '3'],
    options,
  )
  assert.equal(args.values('context', 'temperature', 'seed', 'stop', 'cacheMemory', 'batchThreads', 'contextPolicy'), {
    context: 64,
    temperature: 0.5,
    seed: undefined,
    stop: ['a', 'b'],
    cacheMemory: 2 ** 21,
    batchThreads: 3,
    contextPolicy: undefined,
  })
})

test('a size means the same wherever it is given: powers of 1000 with K, M, G, T, of 1024 with Ki, Mi, Gi, Ti', () => {
  for (const [text, bytes] of [
    ['1000000', 1e6],
    ['64K', 64e3],
    ['64k', 64e3],
    ['1.5G', 1.5e9],
    ['2GB', 2e9],
    ['4Gi', 2 ** 32],
    ['4GiB', 2 ** 32],
    ['0.5 Mi', 2 ** 19],
    ['1T', 1e12],
  ] as const) {
    assert.is(parseSize(text), bytes, text)
    const readers = [
      new Arguments(['--cache-memory', text], run.options).value('cacheMemory'),
      new Arguments(['--offload', text], chat.options).value('offload'),
      new Arguments(['--memory', text], fit.options).bytes('memory'),
    ]
    assert.equal(readers, [bytes, bytes, bytes], text)
  }
  for (const text of ['', 'G', '4Q', '-4G', '1e9', '4 Gi b', '1,5G', '99999999T'])
    assert.is(parseSize(text), undefined, text)
  const written = [0, 999, 1000, 99_949, 1e5, 22.1e6, 1.13e9, 2 ** 32].map(megabytes)
  assert.equal(written, ['0 B', '999 B', '1.0 kB', '99.9 kB', '0.1 MB', '22.1 MB', '1.13 GB', '4.29 GB'])
})

test('an option that counts once is given once; those that may come again are listed', () => {
  const twice = (...args: string[]) => {
    try {
      new Arguments(args, run.options)
      return 'accepted'
    } catch (error) {
      return error instanceof UsageError ? error.message : error
    }
  }
  assert.is(twice('-m', 'a', '--model=b'), '--model must be given once, found "a" and "b"')
  assert.is(twice('-n', '1', '-n', '1'), '--n-predict must be given once, found "1" and "1"')
  assert.is(twice('--json', '--json'), '--json must be given once, found it twice')
  assert.is(twice('-tb', '1', '--threads-batch', '2'), '--threads-batch must be given once, found "1" and "2"')
  assert.is(twice('--stop', 'a', '--stop', 'b'), 'accepted')
  assert.is(twice('-p', 'a', '--', '-p', 'b'), 'accepted')
})

test('the time that is left is told once it can be known', () => {
  assert.is(timeLeft(900, 50, 50), undefined)
  assert.is(timeLeft(5000, 0, 100), undefined)
  assert.is(timeLeft(5000, 1, 99), undefined)
  assert.is(timeLeft(5000, 20, 80), 20)
  assert.equal([0, 12.1, 99, 100, 3600, 7500].map(inWords), ['0 s', '13 s', '99 s', '2 min', '60 min', '2 h 5 min'])
})

test('command and library refuse the same numbers and choices, with the same range', () => {
  let count = 0
  for (const [name, setting] of table) {
    const { kind, flag, min = 0, max, choices } = setting
    const bad: (string | number)[] = choices
      ? ['f16']
      : kind === 'whole'
        ? [min - 3, min + 0.5]
        : kind === 'number'
          ? [min - 1]
          : []
    if (max !== undefined && max < 2 ** 40) bad.push(max + 1)
    for (const value of bad) {
      const isRefusal = (error: Error) => error.message.includes(`must be ${expectedOf(setting)}, found`)
      assert.throws(
        () => checkSetting(name, value),
        (error: GtaError) => error.code === 'BAD_OPTION' && error.message.startsWith(titleOf(name)) && isRefusal(error),
        `${name} ${value}`,
      )
      if (flag === undefined) continue
      assert.throws(
        () => new Arguments([`--${flag}=${value}`], flagsOf(name)),
        (error: Error) => error instanceof UsageError && isRefusal(error),
        `--${flag}`,
      )
      count++
    }
  }
  assert.ok(count > 20, `${count}`)
})

/** Numbers and choices that no option takes, or only those that say so. */
const odd = ['0', '-1', '1.5', 'NaN', '1e99', '', ' ', 'x', '0x10', '1,2', '-0', '+1', '1_000', '9007199254740993']

test('every option of every command refuses what it cannot be, by its name, before anything is opened', async () => {
  const model = fileURLToPath(new URL('../models/stories/stories.gta', import.meta.url))
  let [refused, taken] = [0, 0]
  for (const [name, entry] of Object.entries(commands)) {
    const command = await entry.read()
    for (const [flag, { check }] of Object.entries(command.options)) {
      if (!check || ['text', 'texts', 'boolean'].includes(check.kind)) continue
      for (const text of odd) {
        const number = text.trim() === '' ? Number.NaN : Number(text)
        const isGood =
          check.kind === 'bytes'
            ? (parseSize(text) ?? -1) >= (check.min ?? 0)
            : check.kind === 'choice' || check.kind === 'biases'
              ? false
              : number === check.none || isAllowed(check, number)
        const what = `gta ${name} --${flag}=${text}`
        const parse = () => new Arguments([model, `--${flag}=${text}`], command.options)
        if (isGood) {
          parse()
          taken++
          continue
        }
        assert.throws(parse, (error: Error) => error instanceof UsageError && error.message.startsWith(`--${flag} must be `) && error.message.endsWith(`found "${text}"`), what) // biome-ignore format: one line
        refused++
      }
      for (const choice of check.choices ?? []) new Arguments([`--${flag}=${choice}`], command.options)
    }
  }
  assert.ok(refused > 1000 && taken > 100, `${refused} refused, ${taken} taken`)
})

test('a model may allow less than the table', () => {
  checkSetting('context', 512, 512)
  checkSetting('context', undefined, 512)
  assert.throws(
    () => checkSetting('context', 513, 512),
    /^context \(-c\) must be a whole number from 1 to 512, found 513$/,
  )
})

test('a flag with other words stays the same flag', () => {
  const { short, help: words } = flagAs('context', { help: 'other' })['ctx-size'] ?? {}
  assert.equal([short, words], ['c', 'other'])
})

test('defaults that follow from something else', () => {
  assert.equal(weightTypes.map(defaultCache), ['f32', 'int8', 'int8'])
  assert.equal([defaultContext(512), defaultContext(32768)], [512, 4096])
  assert.ok(helpOf(settings.context).includes(String(defaultContext(Number.POSITIVE_INFINITY))))
})

test('the engine has room for the most threads that the table allows', () => {
  assert.is(settings.threads.max, MAX_RANKS)
  assert.is(settings.batchThreads.max, MAX_RANKS)
})

test('no other file decides the default of the cache', () => {
  const files = readdirSync(join(root, 'host'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.ts$/.test(name),
  )
  const deciding = files.filter((name) =>
    /'f32' \? 'f32' : 'int8'|\(?default:? (int8|f32)/.test(readFileSync(join(root, 'host', name), 'utf8')),
  )
  // The comment of the public option says it once more: it is read where the table is not.
  assert.equal(deciding.sort(), ['runtime/api.ts', 'settings.ts'])
})

test.run()
