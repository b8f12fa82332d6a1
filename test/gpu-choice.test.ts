/** Which engine a model gets with `gpu`: what is refused, and what `auto` measures and remembers. */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type LoadOptions, load } from '../host/index.ts'
import { measurementsFile } from '../host/runtime/measurements.ts'
import { fastestMode } from '../host/runtime/tune-gpu.ts'
import { failure, temporary } from './fixtures/checkpoints.ts'
import { golden } from './fixtures/goldens.ts'

process.env.XDG_CACHE_HOME = temporary()

const compare = (cpu: [number, number], gpu: [number, number]) => {
  const speed = ([prompt, decode]: [number, number]) => ({ prompt, decode })
  return fastestMode({ cpu: speed(cpu), gpu: speed(gpu) })
}

test('a GPU is chosen for what it does clearly faster', () => {
  assert.is(compare([1, 1], [0.5, 0.5]), 'on')
  assert.is(compare([1, 1], [0.5, 1.5]), 'prefill')
  assert.is(compare([1, 1], [1.5, 1.5]), 'off')
  assert.is(compare([1, 1], [0.95, 0.95]), 'off', 'not by so little')
  assert.is(compare([1, 1], [1.2, 0.5]), 'on', 'most time goes into generating')
})

const refused: [string, LoadOptions | object, RegExp][] = [
  ['another mode', { gpu: 'yes' }, /gpu \(--gpu\) must be one of off, on, prefill, auto, found "yes"/],
  ['force without a GPU', { gpuForce: true }, /gpuForce \(--gpu-force\) must be absent without gpu/],
  ['offload', { gpu: 'on', offload: 1e6 }, /offload \(--offload\) must be absent with gpu/],
]
for (const [name, options, message] of refused)
  test(`refused: ${name}`, async () => {
    const error = await failure(load(golden('gta'), options as LoadOptions))
    assert.is((error as { code?: string }).code, 'BAD_OPTION')
    assert.match(String(error), message)
  })

test('without a GPU that is fit, auto is the CPU, and remembers nothing', async () => {
  const model = await load(golden('gta'), { gpu: 'auto', threads: 1 })
  assert.match(model.engineName, /^wasm /)
  await model.close()
  assert.throws(() => readFileSync(measurementsFile()), /ENOENT/)
})

test.run()
