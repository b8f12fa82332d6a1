/**
 * The encoder over tables against the library: any tokenizer.json, any texts, line by line and as whole documents.
 * `node bench/tokenizers.ts DIRECTORY TEXT…`; a directory holds tokenizer.json and may hold tokenizer_config.json. Exit code
 * 1 if they differ anywhere. Times are of the processor, not of the clock.
 *
 * `--load library|json|tables` opens the tokenizer once instead, and tells what that takes: as before there were tables, from
 * a directory, from a packed file.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openTokenizer } from '../host/files/tokenizer.ts'
import { tokenizerTables } from '../host/files/tokenizer-tables.ts'
import { makeTables } from '../host/load.ts'
import { Tokenizer } from '../host/text/tokenizer.ts'
import { readArguments, refuse } from './arguments.ts'

const { values, positionals } = readArguments({
  command: 'node bench/tokenizers.ts',
  about: 'The encoder over tables against the library: DIRECTORY holds tokenizer.json; exit code 1 if ids differ.',
  flags: {
    load: { type: 'string', value: 'library|json|tables', help: 'opens the tokenizer this way, and no more' },
    write: { type: 'boolean', help: 'writes the tables to stdout, and no more' },
  },
  operands: { value: 'DIRECTORY [TEXT…]', least: 1, most: Number.POSITIVE_INFINITY },
})
const [directory = '', ...files] = positionals
if (values.load === undefined && !values.write && files.length === 0) refuse('DIRECTORY TEXT… must be given, found 1')
const json = readFileSync(join(directory, 'tokenizer.json'))
const configPath = join(directory, 'tokenizer_config.json')
const config = existsSync(configPath) ? JSON.parse(readFileSync(configPath, 'utf8')) : {}

/** Made in another process, whose memory is not counted. */
function tablesElsewhere(): Uint8Array {
  const { stdout } = spawnSync(process.execPath, [import.meta.filename, directory, '--write'], { maxBuffer: 1e9 })
  return stdout
}

/** Milliseconds of the processor. */
async function timed<T>(work: () => T | Promise<T>): Promise<[result: T, ms: number]> {
  const before = process.cpuUsage()
  const result = await work()
  const { user, system } = process.cpuUsage(before)
  return [result, (user + system) / 1000]
}

async function load(way: string): Promise<void> {
  const tokenizerTables = way === 'tables' ? tablesElsewhere() : undefined
  if (!['library', 'json', 'tables'].includes(way)) refuse(`--load must be library, json or tables, found "${way}"`)
  const before = process.resourceUsage().maxRSS
  const [, ms] = await timed<unknown>(() =>
    way === 'library'
      ? Tokenizer.open(directory, json, config)
      : openTokenizer(
          directory,
          { tokenizer: json, tokenizerConfig: config, ...(tokenizerTables && { tokenizerTables }) },
          makeTables,
        ),
  )
  const memory = (process.resourceUsage().maxRSS - before) / 1000
  console.log(`${directory}, ${way}: ${ms.toFixed(0)} ms, ${memory.toFixed(0)} MB more at the most`)
}

async function compareAll(): Promise<void> {
  const own = (await openTokenizer(directory, { tokenizer: json, tokenizerConfig: config }, makeTables)) as Tokenizer
  const library = await Tokenizer.open(directory, json, config)
  const spent = { library: 0, tables: 0 }
  let ids = 0
  let different = 0
  const compare = async (text: string, place: string) => {
    const [found, ms] = await timed(() => own.encode(text))
    const [expected, libraryMs] = await timed(() => library.encode(text))
    spent.tables += ms
    spent.library += libraryMs
    ids += expected.length
    const at = expected.findIndex((id, i) => found[i] !== id)
    if (at < 0 && found.length === expected.length) return
    different++
    console.log(`${place}: differs at token ${at}`)
  }
  for (const file of files) {
    const text = readFileSync(file, 'utf8')
    for (const [i, line] of text.split('\n').entries()) await compare(line, `${file}:${i + 1}`)
    await compare(text, `${file}, whole`)
  }
  const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`
  console.log(
    `${directory}: ${ids} tokens, ${different} texts differ, library ${seconds(spent.library)}, tables ${seconds(spent.tables)}`,
  )
  process.exitCode = different === 0 ? 0 : 1
}

if (values.write) process.stdout.write(await tokenizerTables(json, config))
else if (values.load === undefined) await compareAll()
else await load(values.load)
