/** Models as load() opens them, on an adapter of gpu.ts: with the devices that were opened, and in other guises. */
import { platform } from '../../host/platform/node.ts'
import type { TestAdapter } from './gpu.ts'

/** What an adapter says of itself, and what it can do at most, where that is not the truth. */
export interface Guise {
  info?: Partial<GPUAdapterInfo>
  /** Lower than the adapter's own. */
  limits?: Partial<Record<keyof GPUSupportedLimits, number>>
}

const { openGpu } = platform

/** What `platform` gives from now on is this adapter. Devices are added to the list when they are opened. */
export function useAdapter(adapter: TestAdapter, guise: Guise = {}): GPUDevice[] {
  const devices: GPUDevice[] = []
  platform.openGpu = async () => {
    const gpu = await adapter.gpu()
    const requestAdapter = async (options?: GPURequestAdapterOptions) =>
      disguise(await gpu.requestAdapter(options), guise, devices)
    return { requestAdapter, wgslLanguageFeatures: gpu.wgslLanguageFeatures }
  }
  return devices
}

/** What the process itself finds. */
export function useNoAdapter(): void {
  platform.openGpu = openGpu
}

function disguise(adapter: GPUAdapter | null, { info, limits }: Guise, devices: GPUDevice[]): unknown {
  if (!adapter) return null
  const least = <T extends GPUSupportedLimits>(given: T): T => ({ ...copy(given), ...limits })
  return {
    info: { ...copy(adapter.info), ...info },
    limits: least(adapter.limits),
    features: adapter.features,
    requestDevice: async (descriptor: GPUDeviceDescriptor) => {
      const device = await adapter.requestDevice(descriptor)
      // A device never has less than WebGPU promises.
      if (limits) Object.defineProperty(device, 'limits', { value: least(device.limits) })
      devices.push(device)
      return device
    },
  }
}

/** Getters of a prototype, as a plain object. */
function copy<T extends object>(from: T): T {
  const names = Object.keys(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(from)))
  const values = names.filter((name) => !['constructor', '__brand'].includes(name))
  return Object.fromEntries(values.map((name) => [name, from[name as keyof T]])) as T
}
