/** Attention of layer 0 alone, on normalised rows that are not embeddings, against the float64 reference. */
import { readFile } from 'node:fs/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type EngineExports, instantiate } from '../../host/engine/wasm/instance.ts'
import { ROW_WORDS, writeRow } from '../../host/engine/wasm/rows.ts'
import { Checkpoint } from '../../host/files/checkpoint.ts'
import { packTensors } from '../../host/files/tensors.ts'
import { distUrl } from '../../host/platform/dist.ts'
import { planModel } from '../../models/index.ts'
import { golden, kinds, readGolden, worst } from '../fixtures/goldens.ts'
import { layoutMemory, weightsOf } from '../harness/engine-memory.ts'

interface DebugExports extends EngineExports {
  normed(): number
  hidden(): number
  hiddenStrideBytes(): number
  attentionLayer(index: number, count: number): void
}

const module = await WebAssembly.compile(new Uint8Array(await readFile(new URL('engine-debug.wasm', distUrl))))

for (const kind of kinds)
  test(`${kind}: layer 0 within 2e-5`, async () => {
    const directory = golden(kind)
    const checkpoint = await Checkpoint.open(directory)
    const plan = planModel(checkpoint.model, 'f32')
    const options = { context: 64, cache: 'f32' as const, maxRows: 16, maxLogits: 1, conversations: 1 }
    const engine = layoutMemory(module, checkpoint.model.spec, plan, options)
    const weights = weightsOf(engine, plan)
    await packTensors(checkpoint, plan, (offset, bytes) => weights.set(bytes, offset))
    await checkpoint.close()

    const { memory } = engine
    const exports = instantiate<DebugExports>(module, memory)
    const { input, output } = readGolden(kind).layer0_attention
    const words = new Uint32Array(memory.buffer, exports.rows() >>> 0, 16 * ROW_WORDS)
    const floats = new Float32Array(words.buffer, words.byteOffset, words.length)
    const stride = exports.hiddenStrideBytes()
    for (const [position, row] of input.entries()) {
      writeRow(words, floats, position, { conversation: 0, position, token: 0 })
      new Float32Array(memory.buffer, exports.normed() + position * stride).set(row)
    }
    exports.attentionLayer(0, input.length)
    for (const [position, expected] of output.entries()) {
      const found = new Float32Array(memory.buffer, exports.hidden() + position * stride, expected.length)
      assert.ok(worst(found, expected) <= 2e-5, `row ${position} differs by ${worst(found, expected)}`)
    }
  })

test.run()
