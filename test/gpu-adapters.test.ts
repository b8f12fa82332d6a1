import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { gpuTest } from './harness/gpu.ts'

const expected = { swiftshader: /SwiftShader/, lavapipe: /llvmpipe/ }

gpuTest('each adapter for itself, and a new one each time', async ({ name, request }) => {
  const { info } = await request()
  assert.match(info.description, expected[name])
  for (let time = 0; time < 2; time++) {
    const device = await (await request()).requestDevice()
    device.destroy()
    assert.is((await device.lost).reason, 'destroyed')
  }
})

test.run()
