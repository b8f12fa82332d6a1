/**
 * Mutated GGUF files, opened as `gta convert` does, with their tokenizer and all weights: each must give a model or a GtaError,
 * within 2 seconds of a processor and 64 MiB beside the file. As a command:
 *
 *     npm run fuzz -- gguf --files 50000 --seed 1
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openCheckpoint } from '../../host/files/checkpoint.ts'
import { convert } from '../../host/files/convert.ts'
import { packTensors } from '../../host/files/tensors.ts'
import { GtaError } from '../../host/index.ts'
import { Tokenizer } from '../../host/text/tokenizer.ts'
import { random, temporary, writeCheckpoint } from '../fixtures/checkpoints.ts'
import { exportedConfigs, sensibleTensors } from '../fixtures/gguf-models.ts'
import { dissect, mutate } from '../fixtures/gguf-random.ts'
import { golden } from '../fixtures/goldens.ts'

const MAX_MS = 2000
const MAX_BYTES = 2 ** 26

/** Models of several architectures, with a vocabulary of SentencePiece, a byte-level one, and none; `few`: those that are there. */
async function originalsOf(few: boolean): Promise<Buffer[]> {
  const folder = temporary()
  const there = ['stories260K-v3-q4_k_m', 'tiny-deepseek2', 'tiny-phi3', 'tiny-gemma3', 'tiny-granite']
  const made = there.map((name) => readFileSync(golden(`gguf/${name}.gguf`)))
  if (few) return made
  for (const name of ['gemma3 that sees', 'exaone4 with windows', 'hunyuan', 'minicpm', 'llama, yarn']) {
    const config = exportedConfigs[name] ?? {}
    const path = join(folder, `${made.length}.gguf`)
    const directory = writeCheckpoint(config, sensibleTensors(config))
    if (name === 'minicpm') writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify(byteLevel))
    await convert(directory, path, { type: 'q8_0' })
    made.push(readFileSync(path))
  }
  for (const family of ['gpt2', 'gpt_neox', 'phi3_longrope']) {
    const path = join(folder, `${family}.gguf`)
    await convert(golden(`families/${family}`), path, { type: 'f16' })
    made.push(readFileSync(path))
  }
  return made
}

const byteLevel = {
  model: { type: 'BPE', vocab: { a: 0, b: 1, ab: 2, aba: 3 }, merges: [['a', 'b'], ['ab', 'a']] },
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
  decoder: { type: 'ByteLevel' },
} // biome-ignore format: short

export interface Fuzzed {
  read: number
  refused: number
  /** How often each code was. */
  codes: Record<string, number>
  slowestMs: number
  mostBytes: number
}

/** Throws for the first file that ends otherwise, and leaves it at `wrong`. */
export async function fuzzGguf(options: {
  files: number
  seed: number
  wrong?: string
  few?: boolean
}): Promise<Fuzzed> {
  const { files, seed, wrong, few = false } = options
  const next = random(seed)
  const originals = (await originalsOf(few)).map((file) => ({ file, anatomy: dissect(file) }))
  const path = join(temporary(), 'mutated.gguf')
  const result: Fuzzed = { read: 0, refused: 0, codes: {}, slowestMs: 0, mostBytes: 0 }
  for (const { file } of originals) {
    // What is compiled and remembered once is not the file's.
    writeFileSync(path, file)
    await open(path)
  }
  for (let i = 0; i < files; i++) {
    const { file, anatomy } = originals[i % originals.length] as (typeof originals)[number]
    const bytes = mutate(file, anatomy, next)
    writeFileSync(path, bytes)
    resetPeak()
    // Of processors, not of the clock: a busy machine is no hang.
    const [before, started] = [memory('VmRSS'), process.cpuUsage()]
    const error = await open(path).then(
      () => undefined,
      (cause) => cause,
    )
    const { user, system } = process.cpuUsage(started)
    const ms = (user + system) / 1000
    const used = memory('VmHWM') - before
    result.slowestMs = Math.max(result.slowestMs, ms)
    result.mostBytes = Math.max(result.mostBytes, used)
    const isTyped = error === undefined || error instanceof GtaError
    if (!isTyped || ms > MAX_MS || used > bytes.length + MAX_BYTES) {
      if (wrong) writeFileSync(wrong, bytes)
      throw new Error(`file ${i} of seed ${seed}: ${Math.round(ms)} ms, ${used} bytes, ${error?.stack ?? 'no error'}`)
    }
    if (error === undefined) result.read++
    else {
      result.refused++
      result.codes[error.code] = (result.codes[error.code] ?? 0) + 1
    }
  }
  return result
}

async function open(path: string): Promise<void> {
  const { checkpoint, plan } = await openCheckpoint(path, 'q8')
  try {
    const { tokenizer, tokenizerConfig } = checkpoint.files
    if (tokenizer) (await Tokenizer.open(path, tokenizer, tokenizerConfig)).encode('One day, a little girl')
    await packTensors(checkpoint, plan, () => {})
  } finally {
    await checkpoint.close()
  }
}

/** Bytes of a line of /proc/self/status; 0 where there is none. */
function memory(name: string): number {
  try {
    const line = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))
    return 1024 * Number(line?.[1] ?? 0)
  } catch {
    return 0
  }
}

/** From here on the peak is a new one (proc(5), clear_refs). */
function resetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5')
  } catch {}
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    options: { files: { type: 'string', default: '50000' }, seed: { type: 'string', default: '1' } },
    allowPositionals: true,
  })
  if (positionals.join() !== 'gguf') throw new Error('one format can be fuzzed: npm run fuzz -- gguf')
  const [files, seed] = [Number(values.files), Number(values.seed)]
  console.log(JSON.stringify(await fuzzGguf({ files, seed, wrong: 'fuzz-wrong.gguf' })))
}
