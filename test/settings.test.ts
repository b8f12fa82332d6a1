/** The table of settings: the commands and the library have what it says, and nobody else says it. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { chat } from '../host/cli/chat.ts'
import { Arguments, type Command, flagAs, flagsOf, generateNames, help, UsageError } from '../host/cli/options.ts'
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
      const args = new Arguments([`--${flag}=${value}`], flagsOf(name))
      assert.throws(
        () => args.value(name),
        (error: Error) => error instanceof UsageError && isRefusal(error),
        `--${flag}`,
      )
      count++
    }
  }
  assert.ok(count > 20, `${count}`)
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
