/** Taps on WebGPU's classes, in Node and in a browser's worker: which buffers there are, and one device for many engines. */

/** WebGPU's classes: a worker's own scope, or `globals` of the package. */
export interface Classes {
  GPUAdapter: { prototype: GPUAdapter }
  GPUDevice: { prototype: GPUDevice }
  GPUBuffer: { prototype: GPUBuffer }
}

/** GPUBufferUsage.STORAGE. */
const STORAGE = 128
/** What the host writes once, or when it changes. */
const kept = /^(weights|tables|places|read back)/
/** A NaN that no computation gives. */
const POISON = 0x7fc0_dead

/** Call it before there is a device; what it returns fills the others with NaN, and says how many these were. */
export function watchBuffers({ GPUDevice, GPUBuffer }: Classes): () => number {
  const buffers = new Map<GPUBuffer, GPUDevice>()
  const { createBuffer } = GPUDevice.prototype
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor)
    const isFilled = (descriptor.usage & STORAGE) !== 0 && !kept.test(descriptor.label ?? '')
    if (isFilled) buffers.set(buffer, this)
    return buffer
  }
  const { destroy } = GPUBuffer.prototype
  GPUBuffer.prototype.destroy = function () {
    buffers.delete(this)
    return destroy.call(this)
  }
  return () => {
    for (const [buffer, { queue }] of buffers)
      queue.writeBuffer(buffer, 0, new Uint32Array(buffer.size / 4).fill(POISON))
    return buffers.size
  }
}

/**
 * All engines of a process get one device of an adapter, which stays, and a shader that is compiled stays too: SwiftShader
 * takes seconds for some. Buffers are still each engine's own.
 */
export function shareDevice({ GPUAdapter }: Classes): void {
  const devices = new Map<string, Promise<GPUDevice>>()
  const { requestDevice } = GPUAdapter.prototype
  GPUAdapter.prototype.requestDevice = function (descriptor) {
    const { description } = this.info
    const device = devices.get(description) ?? requestDevice.call(this, descriptor).then(keepPipelines)
    devices.set(description, device)
    return device
  }
}

function keepPipelines(device: GPUDevice): GPUDevice {
  const modules = new Map<string, GPUShaderModule>()
  const pipelines = new Map<string, Promise<GPUComputePipeline>>()
  const createModule = device.createShaderModule.bind(device)
  const createPipeline = device.createComputePipelineAsync.bind(device)
  const textOf = new Map<GPUShaderModule, string>()
  device.createShaderModule = (descriptor) => {
    const module = modules.get(descriptor.code) ?? createModule(descriptor)
    modules.set(descriptor.code, module)
    textOf.set(module, descriptor.code)
    return module
  }
  device.createComputePipelineAsync = (descriptor) => {
    const { module, constants } = descriptor.compute
    const key = JSON.stringify([textOf.get(module), constants])
    const pipeline = pipelines.get(key) ?? createPipeline(descriptor)
    pipelines.set(key, pipeline)
    return pipeline
  }
  device.destroy = () => undefined
  return device
}
