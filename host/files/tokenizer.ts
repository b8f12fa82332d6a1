/**
 * The tokenizer of a model. Where there are tables, or they can be made of its tokenizer.json, their encoder is used
 * (text/table-encoder.ts); the library, which takes ten times as long, is for all others. Both give the same ids
 * (test/table-encoder.test.ts).
 */
import { parseJson } from '../json.ts'
import { hasTables, TableEncoder, tokenizerModule } from '../text/table-encoder.ts'
import { Tokenizer, unusable } from '../text/tokenizer.ts'
import type { ModelFiles } from './source.ts'
import { tokenizerHead } from './tokenizer-head.ts'
import type { TokenizerJson } from './tokenizer-way.ts'

export type TokenizerFiles = Pick<ModelFiles, 'tokenizer' | 'tokenizerTables' | 'tokenizerConfig'>

/** The room that makes tables: tokenizer-tables.ts. */
export type TableMaker = () => Promise<{ tablesOf(json: TokenizerJson, config: unknown): Uint8Array }>

/**
 * Undefined for a model that knows only ids; `path` is for messages. Where tables are not made, the library is for all that
 * brings none. Throws GtaError BAD_TOKENIZER.
 */
export async function openTokenizer(
  path: string,
  files: TokenizerFiles,
  makeTables?: TableMaker,
): Promise<Tokenizer | undefined> {
  const { tokenizer: json, tokenizerTables: tables, tokenizerConfig: config } = files
  if (!json) return undefined
  const module = await tokenizerModule()
  if (tables && hasTables(tables)) return openPacked(path, json, config, encoderOver(path, module, tables))
  if (!makeTables) return Tokenizer.open(path, json, config)
  const { tablesOf } = await makeTables()
  try {
    const parsed = parseJson(json) as TokenizerJson
    return Tokenizer.fromTables(path, parsed, config, new TableEncoder(module, tablesOf(parsed, config)))
  } catch {
    // It works in another way, or not at all: the library says what is wrong.
    return Tokenizer.open(path, json, config)
  }
}

function encoderOver(path: string, module: WebAssembly.Module, tables: Uint8Array): TableEncoder {
  try {
    return new TableEncoder(module, tables)
  } catch (cause) {
    throw unusable(path, cause)
  }
}

/** Of the tokenizer.json of a packed file, the beginning is enough, but for a begin token that only its vocabulary knows. */
function openPacked(path: string, json: Uint8Array, config: unknown, encoder: TableEncoder): Tokenizer {
  const head = tokenizerHead(json)
  try {
    if (head) return Tokenizer.fromTables(path, head, config, encoder)
  } catch {
    // Read all of it, which says what is wrong.
  }
  let parsed: object
  try {
    parsed = parseJson(json) as object
  } catch (cause) {
    throw unusable(path, cause)
  }
  return Tokenizer.fromTables(path, parsed, config, encoder)
}
