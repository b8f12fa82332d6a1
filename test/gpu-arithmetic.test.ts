/**
 * What shaders compute number by number, to the last bit beside the debug build: polynomials, whose products no compiler may fuse
 * with sums or take in another order, and quotients and roots, which may come from the device some units off.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../assembly/abi.ts'
import { GpuDevice } from '../host/engine/gpu/gpu.ts'
import { functionsText } from '../host/engine/gpu/math.ts'
import { Readback } from '../host/engine/gpu/readback.ts'
import { activateText, softcapText } from '../host/engine/gpu/texts.ts'
import { describe } from '../models/index.ts'
import { openDebug, Random, Room } from './harness/debug-engine.ts'
import { gpuTest, type TestAdapter } from './harness/gpu.ts'

const COUNT = 4096
const tiny = { num_attention_heads: 1, hidden_size: 16, vocab_size: 16, num_hidden_layers: 1, intermediate_size: 16 }
const engine = openDebug(describe({ architectures: ['LlamaForCausalLM'], ...tiny }), 'f32', {}, 2 ** 20)
const { exports } = engine
const room = new Room(engine.end)
const [source, target] = [room.take(4 * COUNT), room.take(4 * COUNT)]

const random = new Random(3)
/** Sizes up to 8: nothing that follows from them is below 2^-126, where a device may have zeros. */
const numbers = Float32Array.from(
  { length: COUNT },
  () => random.signed() * 8 * 2 ** (12 * Math.abs(random.signed()) - 12),
)

function onCpu(compute: () => void): Float32Array {
  engine.floats(source, COUNT).set(numbers)
  compute()
  return engine.floats(target, COUNT).slice()
}

interface Shader {
  name: string
  text: string
  constants?: Record<string, number>
  /** The second binding is read and written; there is no other. */
  isInPlace?: boolean
}

async function onGpu(gpu: GpuDevice, { name, text, constants, isInPlace = false }: Shader): Promise<Float32Array> {
  const buffers = [gpu.buffer('numbers', 4 * COUNT), gpu.buffer('results', 4 * COUNT)].slice(isInPlace ? 1 : 0)
  gpu.device.queue.writeBuffer(buffers[0] as GPUBuffer, 0, numbers)
  const pipeline = await gpu.pipeline({ name, text }, constants)
  const bindings = gpu.bind(name, pipeline, buffers)
  const [found] = await new Readback(gpu).submit(
    [{ buffer: buffers.at(-1) as GPUBuffer, offset: 0, bytes: 4 * COUNT }],
    (encoder) => {
      const pass = encoder.beginComputePass()
      pass.setPipeline(pipeline)
      pass.setBindGroup(0, bindings)
      pass.dispatchWorkgroups(COUNT / 64)
      pass.end()
    },
  )
  return new Float32Array(found as ArrayBuffer)
}

function assertSame(found: Float32Array, expected: Float32Array, what: string): void {
  const others = expected.filter((one, i) => found[i] !== one)
  assert.is(others.length, 0, `${what}: ${others.length} of ${COUNT} numbers are others`)
}

async function opened(adapter: TestAdapter): Promise<GpuDevice> {
  return GpuDevice.open(await adapter.request(), (await adapter.gpu()).wgslLanguageFeatures)
}

const activations = { silu: abi.SILU, gelu: abi.GELU, 'gelu-tanh': abi.GELU_TANH, relu2: abi.RELU2 }

gpuTest('activations and caps have the bits of the other engine', async (adapter) => {
  const gpu = await opened(adapter)
  for (const [name, code] of Object.entries(activations)) {
    const constants = { ACTIVATION: code, IS_GATED: 0, WIDTH: COUNT, FROM_STRIDE: COUNT, INTO_STRIDE: COUNT }
    const found = await onGpu(gpu, { name, text: functionsText + activateText, constants })
    assertSame(
      found,
      onCpu(() => exports.activate(code, source, COUNT, target)),
      name,
    )
  }
  const constants = { WIDTH: COUNT, STRIDE: COUNT, CAP: 7 }
  const capped = await onGpu(gpu, { name: 'cap', text: functionsText + softcapText, constants, isInPlace: true })
  const expected = onCpu(() => {
    engine.floats(target, COUNT).set(numbers)
    exports.cap(target, COUNT, 7)
  })
  assertSame(capped, expected, 'cap')
  gpu.close()
})

/** Shaders whose device is off by up to three units in the last place. */
function inexact(result: string): string {
  const text = functionsText
    .replace('near = a / b;', 'near = bitcast<f32>(bitcast<u32>(a / b) + off);')
    .replace('near = sqrt(x);', 'near = bitcast<f32>(bitcast<u32>(sqrt(x)) + off);')
  assert.is(text.split('+ off').length, 3)
  return `var<private> off: u32;
${text}
@group(0) @binding(0) var<storage, read> numbers: array<f32>;
@group(0) @binding(1) var<storage, read_write> results: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  off = id.x % 7 - 3;
  let a = numbers[id.x];
  let b = numbers[(id.x + 1) % ${COUNT}];
  results[id.x] = ${result} + precisely(0);
}`
}

gpuTest('quotients and roots are rounded to nearest on a device that does not', async (adapter) => {
  const gpu = await opened(adapter)
  const quotients = numbers.map((a, i) => a / (numbers[(i + 1) % COUNT] as number))
  assertSame(await onGpu(gpu, { name: 'quotients', text: inexact('divided(a, b)') }), quotients, 'quotients')
  const roots = numbers.map((a) => Math.sqrt(Math.abs(a)))
  assertSame(await onGpu(gpu, { name: 'roots', text: inexact('rootOf(abs(a))') }), roots, 'roots')
  gpu.close()
})

test.run()
