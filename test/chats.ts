/** A small model that can be talked with: random weights, a byte-level tokenizer, and control tokens. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { byteLevelTable } from '../host/text/bytes.ts'
import { builtInTemplates } from '../host/text/template/templates.ts'
import { gqaConfig, randomTensors, writeCheckpoint } from './checkpoints.ts'

/** Ids behind those of the 256 bytes. */
export const controls = {
  '<|im_start|>': 256,
  '<|im_end|>': 257,
  '<s>': 258,
  '</s>': 259,
  '<|user|>': 260,
  '<think>': 261,
}

const ids = new Map([...byteLevelTable()].map(([char, byte]) => [byte, char]))

/** Each byte is a token; <|user|> and <think> are no special tokens, as DeepSeek has them. */
export const tokenizerJson = {
  added_tokens: Object.entries(controls).map(([content, id]) => ({ id, content, special: id < 260 })),
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
  post_processor: null,
  decoder: { type: 'ByteLevel' },
  model: { type: 'BPE', vocab: Object.fromEntries(Array.from(ids, ([byte, char]) => [char, byte])), merges: [] },
}

export const bytes = (text: string): number[] => [...new TextEncoder().encode(text)]

interface ChatFiles {
  /** Of tokenizer_config.json. */
  template?: unknown
  /** chat_template.jinja. */
  jinja?: string | Uint8Array
  /** Tokens that end a text. */
  eos?: number[]
}

/** A model directory; by default with the template ChatML, whose <|im_end|> generation_config.json names. */
export function chatModel(files: ChatFiles = { template: builtInTemplates.chatml }): string {
  const config = { ...gqaConfig, vocab_size: 264, max_position_embeddings: 512 }
  const directory = writeCheckpoint(config, randomTensors(config))
  const write = (name: string, content: unknown) => writeFileSync(join(directory, name), JSON.stringify(content))
  write('tokenizer.json', tokenizerJson)
  const tokens = { bos_token: '<s>', eos_token: { content: '</s>' } }
  write('tokenizer_config.json', {
    ...tokens,
    ...(files.template === undefined ? {} : { chat_template: files.template }),
  })
  write('generation_config.json', { eos_token_id: files.eos ?? [259, 257] })
  if (files.jinja !== undefined) writeFileSync(join(directory, 'chat_template.jinja'), files.jinja)
  return directory
}
