/** Which GPUs are used: the table of those that are not, by what adapters say of themselves, and the adapters that are here. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type AdapterInfo, chooseAdapter, listAdapters, nameAdapter, whyUnfit } from '../host/engine/gpu/adapters.ts'
import { GpuDevice } from '../host/engine/gpu/gpu.ts'
import { GtaError } from '../host/errors.ts'
import { gpuTest } from './harness/gpu.ts'

const info = (vendor: string, architecture: string, device: string, description: string): AdapterInfo => ({
  ...{ vendor, architecture, device, description },
})

/** As Dawn and browsers tell of them. */
const fit: [string, AdapterInfo][] = [
  ['Jetson Orin Nano', info('nvidia', 'ampere', 'nvidia-tegra-orin--nvgpu-', 'NVIDIA: 540.4.0')],
  ['GeForce', info('nvidia', 'ada', 'nvidia-geforce-rtx-4090', 'NVIDIA: 580.95.05')],
  [
    'Arc',
    info('intel', 'xe-2lpg', 'intel-r--arc-tm--a770-graphics--dg2-', 'Intel open-source Mesa driver: Mesa 25.0.7'),
  ],
  ['Radeon', info('amd', 'rdna-3', 'amd-radeon-rx-7900-xtx--radv-navi31-', 'radv: Mesa 25.0.7')],
  ['Apple', info('apple', 'metal-3', '', '')],
  ['a browser that says nothing', info('', '', '', '')],
  ["Mali-G610 with Arm's driver", info('arm', 'valhall', 'mali-g610', 'Mali-G610: v1.g13p0')],
  ['another Mali with panvk', info('arm', 'valhall', 'mali-g720', 'panvk: Mesa 25.2.1')],
  // WARP is a word, not a part of one.
  ['a device of whose name WARP is a part', info('nvidia', '', 'warpdrive-9', 'NVIDIA')],
]
const unfit: [string, AdapterInfo, RegExp][] = [
  ['SwiftShader', info('google', 'swiftshader', 'swiftshader-device-subzero-', 'SwiftShader driver 5.0.0'), /CPU/],
  ['lavapipe', info('mesa', 'software', 'llvmpipe-llvm-15-0-6-256-bits-', 'llvmpipe: Mesa 25.0.7'), /CPU/],
  ['WARP', info('microsoft', 'warp', '', 'Microsoft Basic Render Driver'), /CPU/],
  [
    'WARP by its driver',
    info('microsoft', '', 'microsoft-basic-render-driver', 'Microsoft Basic Render Driver'),
    /CPU/,
  ],
  ['anything that says so', { ...info('acme', '', '', 'Acme'), isFallbackAdapter: true }, /CPU/],
  ['Raspberry Pi 5', info('broadcom', '', 'v3d-7-1-7-0', 'V3DV Mesa: Mesa 25.0.7'), /Raspberry Pi/],
  ['Raspberry Pi 4', info('broadcom', 'videocore', '', 'V3D 4.2'), /Raspberry Pi/],
  ['RK3588', info('arm', 'valhall', 'mali-g610', 'panvk: Mesa 25.0.7'), /panvk/],
]

test('adapters that are used', () => {
  for (const [name, one] of fit) assert.is(whyUnfit(one), undefined, name)
})

test('adapters that are not used unless forced to, and why', () => {
  for (const [name, one, reason] of unfit) assert.match(whyUnfit(one) ?? 'nothing', reason, name)
})

test('names of adapters', () => {
  assert.is(nameAdapter(info('mesa', 'software', 'x', 'llvmpipe')), 'llvmpipe (mesa software)')
  assert.is(nameAdapter(info('nvidia', 'ada', 'rtx', '')), 'rtx (nvidia ada)')
  assert.is(nameAdapter(info('apple', '', '', '')), 'apple')
  assert.is(nameAdapter(info('', '', '', 'one')), 'one')
  assert.is(nameAdapter(info('', '', '', '')), 'a GPU without a name')
})

/** A navigator.gpu that offers `offered`, in the order in which it is asked. */
function fakeGpu(...offered: (AdapterInfo | undefined)[]): GPU {
  let next = 0
  const requestAdapter = async () => {
    const one = offered[next++]
    return one ? { info: one, limits: { maxBufferSize: 2 ** 28 }, features: new Set() } : null
  }
  return { requestAdapter, wgslLanguageFeatures: new Set() } as unknown as GPU
}

async function refusal(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => assert.unreachable('it was not refused'),
    (error: unknown) => error,
  )
  assert.instance(error, GtaError)
  assert.is((error as GtaError).code, 'NO_GPU')
  return (error as GtaError).message
}

test('the first that is fit is chosen, others only by force', async () => {
  const [pi, nvidia] = [unfit[5]?.[1] as AdapterInfo, fit[1]?.[1] as AdapterInfo]
  const software = unfit[1]?.[1] as AdapterInfo
  assert.is((await chooseAdapter(false, fakeGpu(software, nvidia))).facts.vendor, 'nvidia')
  // Force takes what is fit before what is not.
  assert.is((await chooseAdapter(true, fakeGpu(software, nvidia))).facts.vendor, 'nvidia')
  assert.is((await chooseAdapter(true, fakeGpu(pi, pi, software))).facts.vendor, 'broadcom')
  const message = await refusal(chooseAdapter(false, fakeGpu(pi, pi, software)))
  for (const part of [/V3DV/, /GPU of a Raspberry Pi has no/, /llvmpipe/, /--gpu-force/]) assert.match(message, part)
  assert.match(await refusal(chooseAdapter(true, fakeGpu())), /found none.*apt install libvulkan1 mesa-vulkan-drivers/)
})

gpuTest('what is here is found once and refused by name, and used by force', async ({ name, gpu, request }) => {
  const root = await gpu()
  const found = await listAdapters(root)
  assert.is(found.length, 1)
  const { facts } = found[0] as (typeof found)[number]
  assert.match(facts.description, { swiftshader: /SwiftShader/, lavapipe: /llvmpipe/ }[name])
  assert.ok(facts.canDot)
  for (const [limit, value] of Object.entries(facts.limits)) assert.ok(value > 0, limit)
  assert.match(await refusal(chooseAdapter(false, root)), /computes on the CPU/)
  const forced = await chooseAdapter(true, root)
  const device = await forced.adapter.requestDevice()
  device.destroy()
  assert.is((await device.lost).reason, 'destroyed')
  // An adapter gives one device; another one is another adapter.
  const other = await (await request()).requestDevice()
  other.destroy()
})

test('nobody waits for a device that was lost before', async () => {
  // In place of a device: all that is asked of it here is how it ends.
  const lost = Promise.resolve({ message: 'gone', reason: 'unknown' })
  const device = { lost, addEventListener: () => undefined } as unknown as GPUDevice
  const gpu = new GpuDevice(device, new Set())
  await lost
  const never = new Promise<never>(() => undefined)
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve('it waits'), 2000)
  })
  const error = await Promise.race([gpu.until(never), late]).catch((error) => error)
  clearTimeout(timer)
  assert.is(error.code, 'GPU_LOST')
})

test.run()
