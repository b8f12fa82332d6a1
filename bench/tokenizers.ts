/**
 * The tokenizer of gta.wasm against that of the host: any tokenizer.json, any texts, line by line and as whole documents.
 * `node bench/tokenizers.ts DIRECTORY TEXT…`; a directory holds tokenizer.json and may hold tokenizer_config.json. Exit code
 * 1 if they differ anywhere.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { tokenizerTables } from '../host/files/tokenizer-tables.ts'
import { Tokenizer } from '../host/text/tokenizer.ts'
import { CommandTokenizer } from '../test/harness/command-tokenizer.ts'
import { readArguments } from './arguments.ts'

const { positionals } = readArguments({
  command: 'node bench/tokenizers.ts',
  about: "The tokenizer of gta.wasm against the host's: DIRECTORY holds tokenizer.json; exit code 1 if ids differ.",
  operands: { value: 'DIRECTORY TEXT…', least: 2, most: Number.POSITIVE_INFINITY },
})
const [directory = '', ...files] = positionals
const json = readFileSync(join(directory, 'tokenizer.json'))
const configPath = join(directory, 'tokenizer_config.json')
const config = existsSync(configPath) ? JSON.parse(readFileSync(configPath, 'utf8')) : {}
const tables = await tokenizerTables(json, config)
const host = await Tokenizer.open(directory, json, config)
const command = new CommandTokenizer(tables)
const seconds = { host: 0, wasm: 0 }
let ids = 0
let different = 0

function compare(text: string, place: string): void {
  const start = performance.now()
  const found = command.encode(text)
  const middle = performance.now()
  const expected = host.encode(text)
  seconds.wasm += (middle - start) / 1000
  seconds.host += (performance.now() - middle) / 1000
  ids += expected.length
  const at = expected.findIndex((id, i) => found[i] !== id)
  if (at < 0 && found.length === expected.length) return
  different++
  console.log(`${place}: differs at token ${at}`)
}

for (const file of files) {
  const text = readFileSync(file, 'utf8')
  for (const [i, line] of text.split('\n').entries()) compare(line, `${file}:${i + 1}`)
  compare(text, `${file}, whole`)
}
console.log(
  `${directory}: tables ${tables.length} bytes, ${ids} tokens, ${different} texts differ, host ${seconds.host.toFixed(1)} s, wasm ${seconds.wasm.toFixed(1)} s`,
)
process.exitCode = different === 0 ? 0 : 1
