/**
 * Small models written as GGUF files, in llama.cpp and here: how far the logits of a short text are apart, for every family that
 * `gta convert DIR FILE.gguf` writes.
 *
 *     node bench/peers/exports.ts
 *
 * llama.cpp puts GELU through a table of f16 (2e-3 in Gemma, GPT-2 and GPT-NeoX), norms the latents of MiniCPM3 with another
 * eps (2e-2), and computes EXAONE models with windows otherwise unless they have 64 layers. It has no windows in Mistral: the text is
 * not longer.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { load } from '../../host/index.ts'
import { writeCheckpoint } from '../../test/fixtures/checkpoints.ts'
import { exportedConfigs, sensibleTensors } from '../../test/fixtures/gguf-models.ts'
import { golden, worst } from '../../test/fixtures/goldens.ts'
import { binaries, installPeers, llamaCppVersion } from './install.ts'

/** What is used of the addon, beside what llama-cpp.ts says. */
interface Addon {
  setLogger(log: (level: number, message: string) => void): void
  loadBackends(folder: string): void
  init(): Promise<void>
  AddonModel: new (path: string, options: object) => { init(): Promise<boolean> }
  AddonContext: new (model: object, options: object) => Context
  AddonSampler: new (model: object) => { applyConfig(config: object): void }
}
interface Context {
  init(): Promise<boolean>
  initBatch(tokens: number): void
  addToBatch(sequence: number, from: number, tokens: Uint32Array, logits: Uint32Array): ArrayLike<number>
  decodeBatch(): Promise<void>
  /** The fourth of what it gives is each token with its logit. */
  sampleToken(
    at: number,
    sampler: object,
    probabilities: boolean,
    confidence: boolean,
    logits: boolean,
  ): Promise<[number, unknown, unknown, number[]]>
}

const TOKENS = [3, 14, 15, 9, 26, 5]
const missing = installPeers()
if (missing) throw new Error(missing)
const addon = createRequire(import.meta.url)(join(binaries(), 'llama-addon.node')) as Addon
addon.setLogger(() => {})
addon.loadBackends(binaries())
await addon.init()

async function theirs(path: string): Promise<Float32Array> {
  const model = new addon.AddonModel(path, { gpuLayers: 0, useMmap: true })
  if (!(await model.init())) throw new Error('llama.cpp cannot load it')
  // Caches of f32, as ours.
  const cache = { flashAttention: false, kvCacheKeyType: 0, kvCacheValueType: 0 }
  const context = new addon.AddonContext(model, { contextSize: 32, batchSize: 32, sequences: 1, threads: 1, ...cache })
  if (!(await context.init())) throw new Error('llama.cpp cannot create a context')
  context.initBatch(TOKENS.length)
  const [at = 0] = Array.from(context.addToBatch(0, 0, Uint32Array.from(TOKENS), Uint32Array.of(TOKENS.length - 1)))
  await context.decodeBatch()
  const sampler = new addon.AddonSampler(model)
  sampler.applyConfig({ temperature: 0 })
  const [, , , pairs] = await context.sampleToken(at, sampler, false, false, true)
  const logits = new Float32Array(pairs.length / 2)
  for (let i = 0; i < pairs.length; i += 2) logits[pairs[i] as number] = pairs[i + 1] as number
  return logits
}

async function ours(path: string): Promise<Float32Array> {
  const model = await load(path, { type: 'f32', threads: 1 })
  const logits = await model.logits(TOKENS)
  await model.close()
  return logits
}

const families = `
  gemma2 gemma3_text gemma3_text_linear gpt2 gpt_neox granite llama3_rope llama_bias minicpm3 mistral_swa olmo2 phi3 plm qwen3 smollm3
`
const directories: [name: string, directory: string][] = [
  ...families
    .trim()
    .split(/\s+/)
    .map((name): [string, string] => [name, golden(`families/${name}`)]),
  ...Object.entries(exportedConfigs).map(([name, config]): [string, string] => [
    name,
    writeCheckpoint(config, sensibleTensors(config)),
  ]),
]
const { convert } = await import('../../host/files/convert.ts')
const folder = mkdtempSync(join(tmpdir(), 'gta-edge-exports-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
console.log(`| model | largest difference of a logit, llama.cpp ${llamaCppVersion()} |\n|---|---|`)
for (const [i, [name, directory]] of directories.entries()) {
  const path = join(folder, `${i}.gguf`)
  await convert(directory, path, { type: 'f32' })
  const found = await theirs(path).then(async (logits) => worst(logits, await ours(path)).toExponential(1))
  console.log(`| ${name} | ${found} |`)
}
process.exit()
