/**
 * Computes a job on the Node that runs this file: with the library as it is built, or with gta.wasm under an engine that
 * is started from here. The driver bundles it, because Node 20 reads no TypeScript and an emulated one reads it slowly.
 */
import { readFileSync, statSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import type { Model } from '../../host/index.ts'
import { type Outcome, runOnNode, runOnShim, runOnWasmEdge, runOnWasmtime } from '../harness/wasi-engines.ts'
import type { Answer, Case, Found, Job } from './job.ts'

const dist = new URL('../../dist/', import.meta.url)

async function runLibrary(job: Job): Promise<Answer> {
  if (job.build === 'strict') refuseRelaxed()
  const library = new URL('index.mjs', dist).href
  const { load } = (await import(library)) as typeof import('../../host/index.ts')
  const answer: Answer = []
  for (const threads of job.threads) {
    const model = await load(job.model, { threads, batchThreads: threads })
    if (!model.engineName.startsWith(`wasm ${job.build}-simd, ${threads} thread`))
      throw new Error(`it runs on ${model.engineName}, not on ${threads} threads of the ${job.build} build`)
    const found: Found[] = []
    for (const one of job.cases) found.push(await generate(model, one, job.tokens))
    answer.push(found)
    await model.close()
  }
  return answer
}

async function generate(model: Model, { prompt, temperature, seed }: Case, maxTokens: number): Promise<Found> {
  const pieces = model.generate(prompt, { maxTokens, seed, temperature, stopAtEos: false })
  for (;;) {
    const { done, value } = await pieces.next()
    if (done) return { tokens: value.tokens, logitsHash: value.logitsHash }
  }
}

/** The library takes the strict build where the platform does not accept the relaxed one. */
function refuseRelaxed(): void {
  const { size } = statSync(new URL('engine-relaxed.wasm', dist))
  const { validate } = WebAssembly
  WebAssembly.validate = (bytes) => bytes.byteLength !== size && validate(bytes)
}

/** A process, or an instance, per case. */
function runCommand({ engine, build, tokens, cases, wordless }: Job): Answer {
  const name = basename(wordless)
  const folder = dirname(wordless)
  const file = readFileSync(wordless)
  const run = (args: string[]): Outcome => {
    if (engine === 'node:wasi') return runOnNode(args, { '.': folder }, { build })
    if (engine === 'browser_wasi_shim') return runOnShim(args, { [name]: file }, build)
    if (engine.startsWith('Wasmtime'))
      return runOnWasmtime(args, folder, { build, isDeterministic: engine === 'Wasmtime, deterministic' })
    const how = engine === 'WasmEdge JIT' ? '--enable-jit' : '--force-interpreter'
    return runOnWasmEdge(args, [how, '--enable-relaxed-simd', '--dir', `.:${folder}`], build)
  }
  const found = cases.map(({ ids, temperature, seed }) => {
    // Only flags of the form --name=value: these can also be an environment.
    const args = [`--model=${name}`, `--tokens=${ids}`, `--n-predict=${tokens}`, `--seed=${seed}`]
    if (temperature !== undefined) args.push(`--temp=${temperature}`)
    const { status, stdout, stderr } = run(args)
    const logitsHash = / logits ([0-9a-f]{16}) /.exec(stderr)?.[1]
    if (status !== 0 || !logitsHash) throw new Error(`gta.wasm ended with ${status}: ${stderr.slice(0, 400)}`)
    return { tokens: stdout.trim().split(' ').map(Number), logitsHash }
  })
  return [found]
}

const job = JSON.parse(process.argv[2] as string) as Job
console.log(JSON.stringify(job.engine === 'library' ? await runLibrary(job) : runCommand(job)))
