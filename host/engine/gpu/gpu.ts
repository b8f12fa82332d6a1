/**
 * A device with what every part of the GPU engine makes on it: pipelines, buffers, bind groups. There is no other place that
 * compiles a shader, so one that does not compile names itself and the line.
 *
 * Everything is made within one pair of error scopes, `scoped()`: what a driver refuses later, or a lost device, ends the
 * engine, see failure.
 */
import { errors } from '../../errors.ts'
import { gpuErrors } from './errors.ts'
import { preciseText } from './texts.ts'

/** GPUBufferUsage: in Node its names are the package's, not the platform's. */
export const usage = { MAP_READ: 1, COPY_SRC: 4, COPY_DST: 8, UNIFORM: 64, STORAGE: 128 } as const
/** GPUMapMode.READ. */
export const MAP_READ = 1

/** Of precise.wgsl. */
const ZERO_BINDING = 15

/** WGSL, and what errors call it. */
export interface Shader {
  name: string
  text: string
}

/** What an engine gets its device from. */
export interface GpuSource {
  /** Gives one device, which the engine takes. */
  adapter: GPUAdapter
  /** `wgslLanguageFeatures` of the GPU that the adapter is from. */
  language: ReadonlySet<string>
}

export interface Gpu {
  readonly device: GPUDevice
  /** Has WGSL dot4I8Packed here? */
  readonly canDot: boolean
  /** Compiles a shader's `main` once for each set of override constants. Throws ENGINE_FAILED with its name and line. */
  pipeline(shader: Shader, constants?: Record<string, number>): Promise<GPUComputePipeline>
  /** Storage, zeros; `bytes` is rounded up to 16. Can be copied from and to. */
  buffer(name: string, bytes: number): GPUBuffer
  /** A uniform that is written once; its bytes are rounded up to 16. */
  parameters(name: string, words: ArrayBufferView<ArrayBuffer>): GPUBuffer
  /** Group 0 of a pipeline: entry i is binding i of the shader, which uses all of them; what precise.wgsl wants is added. */
  bind(name: string, pipeline: GPUComputePipeline, entries: readonly (GPUBuffer | GPUBufferBinding)[]): GPUBindGroup
}

/** What a device is asked for, as far as its adapter has it: a model may need all of it. */
const wantedLimits = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupStorageSize',
] as const

export class GpuDevice implements Gpu {
  readonly device: GPUDevice
  readonly canDot: boolean
  /** Bytes of all buffers. */
  bytes = 0
  /** Those whose shader has precise.wgsl, and the zero that it reads. */
  private readonly precise = new WeakSet<GPUComputePipeline>()
  private zero: GPUBuffer | undefined
  private readonly pipelines = new Map<string, Promise<GPUComputePipeline>>()
  private readonly buffers = new Set<GPUBuffer>()
  private failed: Error | undefined
  private isClosed = false
  /** Who waits for the device, and is told when it is lost or refuses something: no step after that has a result. */
  private readonly waiting = new Set<(error: Error) => void>()
  private readonly onRefused = ({ error }: GPUUncapturedErrorEvent) => this.fail(gpuErrors.refused(error.message))

  /** `language`: navigator.gpu.wgslLanguageFeatures. */
  constructor(device: GPUDevice, language: ReadonlySet<string>) {
    this.device = device
    this.canDot = language.has('packed_4x8_integer_dot_product')
    device.lost.then(({ message, reason }) => this.fail(gpuErrors.lost(message || reason)))
    device.addEventListener('uncapturederror', this.onRefused)
  }

  static async open(adapter: GPUAdapter, language: ReadonlySet<string>): Promise<GpuDevice> {
    const requiredLimits = Object.fromEntries(wantedLimits.map((name) => [name, adapter.limits[name]]))
    return new GpuDevice(await adapter.requestDevice({ label: 'gta-edge', requiredLimits }), language)
  }

  private fail(error: Error): void {
    if (this.isClosed) return
    this.failed ??= error
    this.tell(this.failed)
  }

  private tell(error: Error): void {
    for (const reject of this.waiting) reject(error)
  }

  /** Throws what ended the engine. */
  check(): void {
    if (this.isClosed) throw errors.closed()
    if (this.failed) throw this.failed
  }

  /** Waits for the device; throws what ended the engine instead of waiting for ever, or of what a destroyed buffer says. */
  async until<T>(done: Promise<T>): Promise<T> {
    try {
      return await this.orFailure(done)
    } catch (cause) {
      this.check()
      // A device says that it is lost a moment after what it was to do has failed.
      await this.orFailure(new Promise((resolve) => setTimeout(resolve, 1000)))
      throw gpuErrors.refused(cause instanceof Error ? cause.message : String(cause))
    }
  }

  /** Promise.race() with a promise that outlives all steps would keep every one of their results. */
  private orFailure<T>(done: Promise<T>): Promise<T> {
    const ended = this.isClosed ? errors.closed() : this.failed
    return new Promise((resolve, reject) => {
      this.waiting.add(reject)
      if (ended) reject(ended)
      done.then(resolve, reject).finally(() => this.waiting.delete(reject))
    })
  }

  /** Runs what makes things on the device; throws TOO_LARGE or ENGINE_FAILED if the driver refuses one of them. */
  async scoped<T>(make: () => Promise<T>): Promise<T> {
    const { device } = this
    device.pushErrorScope('out-of-memory')
    device.pushErrorScope('validation')
    const made = await make().then(
      (value) => ({ value }),
      (cause: unknown) => ({ cause }),
    )
    const [invalid, noMemory] = await Promise.all([device.popErrorScope(), device.popErrorScope()])
    this.check()
    if (noMemory) throw gpuErrors.noMemory(this.bytes)
    // A shader's own error says more than what the driver then says of its pipeline.
    if ('cause' in made) throw made.cause
    if (invalid) throw gpuErrors.refused(invalid.message)
    return made.value
  }

  pipeline(shader: Shader, constants: Record<string, number> = {}): Promise<GPUComputePipeline> {
    const key = JSON.stringify([shader.name, shader.text, constants])
    let made = this.pipelines.get(key)
    if (!made) {
      made = this.compile(shader, constants)
      this.pipelines.set(key, made)
    }
    return made
  }

  private async compile({ name, text }: Shader, constants: Record<string, number>): Promise<GPUComputePipeline> {
    const module = this.device.createShaderModule({ label: name, code: text })
    const { messages } = await module.getCompilationInfo()
    const wrong = messages.find(({ type }) => type === 'error')
    if (wrong) throw gpuErrors.badShader(name, wrong.lineNum, text.split('\n')[wrong.lineNum - 1] ?? '', wrong.message)
    const compute = { module, entryPoint: 'main', constants }
    try {
      const pipeline = await this.device.createComputePipelineAsync({ label: name, layout: 'auto', compute })
      if (text.includes(preciseText)) this.precise.add(pipeline)
      return pipeline
    } catch (cause) {
      throw gpuErrors.badShader(
        name,
        0,
        JSON.stringify(constants),
        cause instanceof Error ? cause.message : String(cause),
      )
    }
  }

  buffer(name: string, bytes: number): GPUBuffer {
    const most = this.device.limits.maxStorageBufferBindingSize
    if (bytes > most) throw gpuErrors.limit(name, bytes, 'maxStorageBufferBindingSize', most)
    return this.make(name, bytes, usage.STORAGE | usage.COPY_SRC | usage.COPY_DST)
  }

  parameters(name: string, words: ArrayBufferView<ArrayBuffer>): GPUBuffer {
    const buffer = this.make(name, words.byteLength, usage.UNIFORM | usage.COPY_DST)
    this.device.queue.writeBuffer(buffer, 0, words.buffer, words.byteOffset, words.byteLength)
    return buffer
  }

  make(name: string, bytes: number, flags: number): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16)
    const most = this.device.limits.maxBufferSize
    if (size > most) throw gpuErrors.limit(name, size, 'maxBufferSize', most)
    const buffer = this.device.createBuffer({ label: name, size, usage: flags })
    this.buffers.add(buffer)
    this.bytes += size
    return buffer
  }

  free(buffer: GPUBuffer): void {
    this.buffers.delete(buffer)
    this.bytes -= buffer.size
    buffer.destroy()
  }

  bind(name: string, pipeline: GPUComputePipeline, entries: readonly (GPUBuffer | GPUBufferBinding)[]): GPUBindGroup {
    const resources = entries.map((entry) => ('buffer' in entry ? entry : { buffer: entry }))
    const bound: GPUBindGroupEntry[] = resources.map((resource, binding) => ({ binding, resource }))
    if (this.precise.has(pipeline)) {
      this.zero ??= this.parameters('zero', new Uint32Array(1))
      bound.push({ binding: ZERO_BINDING, resource: { buffer: this.zero } })
    }
    return this.device.createBindGroup({ label: name, layout: pipeline.getBindGroupLayout(0), entries: bound })
  }

  close(): void {
    this.isClosed = true
    for (const buffer of this.buffers) buffer.destroy()
    // Node keeps a device and its listeners for ever: what they lead to must not stay with it.
    this.device.removeEventListener('uncapturederror', this.onRefused)
    this.buffers.clear()
    this.pipelines.clear()
    this.zero = undefined
    this.device.destroy()
    this.tell(errors.closed())
  }
}
