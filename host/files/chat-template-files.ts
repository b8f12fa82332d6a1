/**
 * Chat templates of a directory, as transformers finds them: chat_template.jinja and additional_chat_templates/NAME.jinja in
 * place of what tokenizer_config.json says; else that; else chat_template.json, which older multimodal checkpoints have.
 */
import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { show } from '../../models/index.ts'
import { errors } from '../errors.ts'
import { readJson, readText } from './json.ts'
import { isObject } from './objects.ts'

const FOLDER = 'additional_chat_templates'

/** "chat_template" as tokenizer_config.json would have it: a text, or a list of named ones. Throws BAD_FILE. */
export async function readChatTemplate(directory: string, tokenizerConfig: unknown): Promise<unknown> {
  const own = isObject(tokenizerConfig) ? tokenizerConfig.chat_template : undefined
  const [main, names] = await Promise.all([readText(join(directory, 'chat_template.jinja')), namesIn(directory)])
  const named = await Promise.all(
    names.map(async (name) => ({
      name: basename(name, '.jinja'),
      template: (await readText(join(directory, FOLDER, name))) ?? '',
    })),
  )
  if (named.length > 0) return main === undefined ? named : [{ name: 'default', template: main }, ...named]
  if (main !== undefined) return main
  return own ?? (await readProcessor(directory))
}

async function namesIn(directory: string): Promise<string[]> {
  const found = await readdir(join(directory, FOLDER)).catch(() => [])
  return found.filter((name) => name.endsWith('.jinja')).sort()
}

async function readProcessor(directory: string): Promise<unknown> {
  const path = join(directory, 'chat_template.json')
  const json = await readJson(path)
  if (json === undefined) return undefined
  const template = isObject(json) ? json.chat_template : undefined
  if (typeof template !== 'string') throw errors.badFile(path, '"chat_template"', 'a text', show(template))
  return template
}
