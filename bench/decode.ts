/**
 * Prefill and decode of any config with synthetic weights, so that every size can be timed without a checkpoint:
 *
 *     node bench/decode.ts [models/configs/gta-1b.json] [--type q8|f32] [--prompt 128] [--predict 16] [--repeat 5]
 *
 * Prints a line per repetition, then one JSON document. Figures are of this machine under whatever else it does:
 * compare only what ran side by side.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { greedy } from '../host/engine.ts'
import { openWasmEngine } from '../host/wasm/engine.ts'
import { describe, type PackedTensor, planModel, type WeightType, weightBytesPerToken } from '../models/index.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    type: { type: 'string', default: 'q8' },
    prompt: { type: 'string', default: '128' },
    predict: { type: 'string', default: '16' },
    repeat: { type: 'string', default: '5' },
  },
})
const [config = 'models/configs/gta-1b.json'] = positionals
const promptTokens = Number(values.prompt)
const predictTokens = Number(values.predict)
const model = describe(JSON.parse(readFileSync(config, 'utf8')))
const plan = planModel(model, values.type as WeightType)

/** Weights that keep activations of order 1, from a linear congruential generator. */
function fill(target: Uint8Array, tensor: PackedTensor, seed: number): void {
  const bytes = target.subarray(tensor.offset, tensor.offset + tensor.bytes)
  const { content } = tensor
  let state = seed
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  if (content.is === 'plan') bytes.set(new Uint8Array(plan.words.buffer))
  else if (tensor.dtype === 'U8') for (let i = 0; i < bytes.length; i++) bytes[i] = 1 + Math.floor(next() * 127)
  else if (tensor.dtype === 'F64') new Float64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8).fill(0.1)
  else {
    const floats = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
    if (content.is === 'scales') floats.fill(1 / 63 / 32)
    else if (content.is === 'matrix') for (let i = 0; i < floats.length; i++) floats[i] = (next() - 0.5) / 16
    else floats.fill(tensor.name.endsWith('norm') ? 1 : 0)
  }
}

const started = performance.now()
const engine = await openWasmEngine({
  spec: model.spec,
  plan,
  options: { context: promptTokens + predictTokens, cache: 'int8', maxRows: 64, maxLogits: 1, conversations: 1 },
  load: async (target) => {
    for (const [i, tensor] of plan.tensors.entries()) fill(target, tensor, i + 1)
  },
})
console.log(`${config} ${values.type}, ${engine.name}, ready in ${((performance.now() - started) / 1000).toFixed(1)} s`)

const bandwidth = await engine.measureBandwidth()
const runs: { prefill: number; decode: number }[] = []
for (let repetition = 0; repetition < Number(values.repeat); repetition++) {
  engine.rewind(0, 0)
  const begin = performance.now()
  for (let from = 0; from < promptTokens; from += engine.maxRows) {
    const count = Math.min(engine.maxRows, promptTokens - from)
    await engine.step(
      Array.from({ length: count }, (_, i) => {
        const position = from + i
        const sampling = position === promptTokens - 1 ? greedy : undefined
        return { conversation: 0, position, token: position % model.spec.vocabSize, sampling }
      }),
    )
  }
  const middle = performance.now()
  let token = 1
  for (let i = 0; i < predictTokens; i++)
    [token = 0] = await engine.step([{ conversation: 0, position: promptTokens + i, token, sampling: greedy }])
  const end = performance.now()
  const run = {
    prefill: (1000 * promptTokens) / (middle - begin),
    decode: (1000 * predictTokens) / (end - middle),
  }
  runs.push(run)
  console.log(`prefill ${run.prefill.toFixed(1)} tok/s, decode ${run.decode.toFixed(1)} tok/s`)
}
await engine.close()

const median = (list: number[]) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)] as number
const decode = median(runs.map((run) => run.decode))
const bytes = weightBytesPerToken(plan, model.spec)
console.log(
  JSON.stringify({
    config,
    type: values.type,
    engine: engine.name,
    node: process.version,
    promptTokens,
    predictTokens,
    prefillTokensPerSecond: median(runs.map((run) => run.prefill)),
    decodeTokensPerSecond: decode,
    weightBytesPerSecond: decode * bytes,
    readBandwidth: bandwidth,
    shareOfBandwidth: (decode * bytes) / bandwidth,
  }),
)
