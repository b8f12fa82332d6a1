/** Stories of gta.wasm beside those of the library, for the tests of every engine. Who imports this closes `stories`. */
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { defaultModel, type GenerateOptions, type Generation, load, type Model } from '../host/index.ts'
import type { Outcome } from './wasi-engines.ts'

export const storiesPath = fileURLToPath(defaultModel)
export const storiesFolder = dirname(storiesPath)
export const stories = await load(defaultModel, { threads: 1 })

export async function generate(model: Model, prompt: string | number[], options: GenerateOptions): Promise<Generation> {
  const pieces = model.generate(prompt, options)
  for (;;) {
    const { done, value } = await pieces.next()
    if (done) return value
  }
}

/** What the command prints for a text prompt, statistics but for those of this machine. */
export function expectSame(found: Outcome, prompt: string, expected: Generation, name: string): void {
  assert.is(found.status, 0, `${name}: ${found.stderr}`)
  assert.is(found.stdout, `${prompt}${expected.text}\n`, name)
  const { promptTokens, tokens, finish, sampling, logitsHash } = expected
  const decode = tokens.length > 1 ? `decode ${tokens.length - 1} tokens \\d+ tok/s, \\d+\\.\\d GB/s` : 'decode none'
  assert.match(
    found.stderr,
    new RegExp(
      `^\\[prefill ${promptTokens} tokens \\d+ tok/s · ${decode} · memory \\d+\\.\\d MB · logits ${logitsHash} · seed ${sampling.seed} · ended by ${finish}\\]\\n$`,
    ),
    name,
  )
}

export const args = (prompt: string, { maxTokens, temperature, seed }: GenerateOptions) => [
  'stories.gta',
  '-p',
  prompt,
  '-n',
  `${maxTokens}`,
  '-s',
  `${seed}`,
  ...(temperature === undefined ? [] : ['--temp', `${temperature}`]),
]
