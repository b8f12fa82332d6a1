/**
 * Which tokens are cut out of a text, and which are special: as transformers puts it together from the files beside the
 * weights (PreTrainedTokenizerBase._from_pretrained, the same in versions 4 and 5).
 *
 *     tokenizer_config.json with added_tokens_decoder    it alone, over what tokenizer.json says of the same tokens
 *     without                                            special_tokens_map.json over tokenizer_config.json,
 *                                                        tokenizer.json over added_tokens.json
 */
import { show } from '../../models/index.ts'
import { errors } from '../errors.ts'
import type { AddedToken } from '../text/added-tokens.ts'
import { isObject } from './objects.ts'

type Json = Record<string, unknown>

/** What stands beside a tokenizer; undefined where there is no such file. */
export interface TokenFiles {
  /** tokenizer_config.json */
  config: unknown
  /** special_tokens_map.json */
  special: unknown
  /** added_tokens.json */
  added: unknown
}

/** A tokenizer.json, as far as it is changed here. */
export interface TokenizerJson {
  added_tokens?: AddedToken[]
  model?: { vocab?: unknown }
}

const NAMED = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token']
const LISTS = ['additional_special_tokens', 'extra_special_tokens', 'model_specific_special_tokens']
const FLAGS = ['special', 'lstrip', 'rstrip', 'single_word', 'normalized'] as const

/** tokenizer_config.json with the special tokens that count; undefined if neither file is there. */
export function configWithTokens({ config, special }: TokenFiles): unknown {
  if (!isObject(special) || (config !== undefined && !isObject(config))) return config
  if (config && 'added_tokens_decoder' in config) return config
  const named = Object.entries(special).filter(([name]) => NAMED.includes(name) || LISTS.includes(name))
  return { ...config, ...Object.fromEntries(named) }
}

/**
 * Puts the tokens into a tokenizer.json; returns whether that changed it. `config` is what configWithTokens() made.
 * Throws BAD_FILE for tokens that are none; `path` is the directory.
 */
export function addTokens(path: string, json: TokenizerJson, config: unknown, added: unknown): boolean {
  const before = JSON.stringify(json.added_tokens ?? [])
  const tokens = (json.added_tokens ?? []).map((token) => ({ ...token }))
  const byName = new Map(tokens.map((token) => [token.content, token]))
  const own = isObject(config) ? config : {}
  const named = namedTokens(own)
  const idOf = vocabularyOf(json)
  const add = (token: AddedToken) => {
    tokens.push(token)
    byName.set(token.content, token)
  }
  const hasDecoder = 'added_tokens_decoder' in own
  const given = hasDecoder ? decoderTokens(path, own.added_tokens_decoder) : addedTokens(path, added, named)
  for (const token of given) {
    const known = byName.get(token.content)
    if (!known) add({ ...token, id: idOf(token.content) ?? token.id })
    // Its id stays: transformers gives no token another one.
    else if (hasDecoder) Object.assign(known, { ...token, id: known.id })
  }
  for (const [content, flags] of named) {
    const known = byName.get(content)
    const id = idOf(content)
    if (known) known.special = true
    // A padding token that is nowhere else is of no use to a model.
    else if (id !== undefined) add({ normalized: false, ...flags, id, content, special: true })
  }
  if (JSON.stringify(tokens) === before) return false
  json.added_tokens = tokens
  return true
}

/** Names of special tokens, and what is said of them: a text, an object with one, or a list. */
function namedTokens(config: Json): Map<string, Partial<AddedToken>> {
  const named = new Map<string, Partial<AddedToken>>()
  const add = (value: unknown) => {
    if (typeof value === 'string' && value !== '') named.set(value, {})
    if (isObject(value) && typeof value.content === 'string' && value.content !== '')
      named.set(value.content, flagsOf(value))
  }
  for (const name of NAMED) add(config[name])
  for (const name of LISTS) {
    const value = config[name]
    for (const entry of Array.isArray(value) ? value : isObject(value) ? Object.values(value) : []) add(entry)
  }
  return named
}

/** added_tokens_decoder: id → token. */
function decoderTokens(path: string, value: unknown): AddedToken[] {
  const file = `${path}/tokenizer_config.json`
  if (!isObject(value)) throw errors.badFile(file, '"added_tokens_decoder"', 'an object', show(value))
  const tokens = Object.entries(value).map(([id, token]) => {
    if (!isObject(token) || typeof token.content !== 'string' || token.content === '' || !/^\d{1,9}$/.test(id))
      throw errors.badFile(file, `token ${JSON.stringify(id)}`, 'an id and a content', show(token))
    return { special: false, ...flagsOf(token), id: Number(id), content: token.content }
  })
  return tokens.sort((a, b) => a.id - b.id)
}

/** added_tokens.json: content → id. */
function addedTokens(path: string, value: unknown, named: ReadonlyMap<string, unknown>): AddedToken[] {
  if (value === undefined) return []
  const file = `${path}/added_tokens.json`
  if (!isObject(value)) throw errors.badFile(file, 'the content', 'an object', show(value))
  const tokens = Object.entries(value).map(([content, id]) => {
    if (content === '' || !Number.isInteger(id) || (id as number) < 0)
      throw errors.badFile(file, `the id of ${JSON.stringify(content)}`, 'a whole number', show(id))
    const special = named.has(content)
    return { id: id as number, content, special, normalized: !special }
  })
  return tokens.sort((a, b) => a.id - b.id)
}

function flagsOf(token: Json): Partial<AddedToken> {
  return Object.fromEntries(FLAGS.flatMap((name) => (typeof token[name] === 'boolean' ? [[name, token[name]]] : [])))
}

function vocabularyOf({ model }: TokenizerJson): (content: string) => number | undefined {
  const vocab = model?.vocab
  if (Array.isArray(vocab)) {
    const ids = new Map(vocab.map((entry, id) => [entry?.[0], id]))
    return (content) => ids.get(content)
  }
  return (content) => {
    const id = isObject(vocab) && Object.hasOwn(vocab, content) ? vocab[content] : undefined
    return Number.isInteger(id) ? (id as number) : undefined
  }
}
