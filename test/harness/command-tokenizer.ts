/** The parts of gta.wasm that need no files, in its debug build: assembly/wasi/debug.ts. */
import { readFileSync } from 'node:fs'

interface Exports {
  memory: WebAssembly.Memory
  room(bytes: number): number
  release(at: number): void
  prepare(at: number, bytes: number): void
  encodeText(at: number, length: number, ids: number): number
  normaliseText(at: number, length: number): bigint
  number(at: number, length: number): number
  digest(at: number, length: number): bigint
  isText(at: number, length: number): number
}

let compiled: WebAssembly.Module | undefined

/** The engine is asked for nothing but to show an error and to end. */
function imports(memory: () => WebAssembly.Memory): WebAssembly.Imports {
  let said = ''
  const functions: Record<string, (...values: number[]) => number> = {
    fd_write: (_, vectors = 0, __, done = 0) => {
      const view = new DataView(memory().buffer)
      const [at, length] = [view.getUint32(vectors, true), view.getUint32(vectors + 4, true)]
      said += Buffer.from(memory().buffer, at, length)
      view.setUint32(done, length, true)
      return 0
    },
    proc_exit: (code) => {
      throw new Error(`exit ${code}: ${said}`)
    },
  }
  return { wasi_snapshot_preview1: new Proxy(functions, { get: (known, name: string) => known[name] ?? (() => 0) }) }
}

export class CommandTokenizer {
  private readonly exports: Exports
  /** First address behind the tables. */
  private readonly free: number

  /** `tables`: tensor "tokenizer.tables". */
  constructor(tables: Uint8Array) {
    compiled ??= new WebAssembly.Module(readFileSync(new URL('../../dist/gta-debug.wasm', import.meta.url)))
    const instance = new WebAssembly.Instance(
      compiled,
      imports(() => this.exports.memory),
    )
    this.exports = instance.exports as unknown as Exports
    const at = this.exports.room(tables.length) >>> 0
    new Uint8Array(this.exports.memory.buffer).set(tables, at)
    this.exports.prepare(at, tables.length)
    this.free = this.exports.room(0) >>> 0
  }

  encode(text: string): Uint32Array {
    const bytes = new TextEncoder().encode(text)
    const at = this.put(bytes)
    const ids = this.exports.room(4 * (4 * bytes.length + 8)) >>> 0
    const count = this.exports.encodeText(at, bytes.length, ids)
    return new Uint32Array(this.exports.memory.buffer, ids, count).slice()
  }

  /** The text in normal form C, if the tables have it. */
  normalise(text: string): string {
    const bytes = new TextEncoder().encode(text)
    const found = BigInt.asUintN(64, this.exports.normaliseText(this.put(bytes), bytes.length))
    return Buffer.from(this.exports.memory.buffer, Number(found & 0xffffffffn), Number(found >> 32n)).toString()
  }

  number(text: string): number {
    const bytes = new TextEncoder().encode(text)
    return this.exports.number(this.put(bytes), bytes.length)
  }

  /** First 16 hex digits. */
  digest(bytes: Uint8Array): string {
    return BigInt.asUintN(64, this.exports.digest(this.put(bytes), bytes.length))
      .toString(16)
      .padStart(16, '0')
  }

  isText(bytes: Uint8Array): boolean {
    return this.exports.isText(this.put(bytes), bytes.length) === 1
  }

  /** Copies bytes where the last ones were. */
  private put(bytes: Uint8Array): number {
    this.exports.release(this.free)
    const at = this.exports.room(bytes.length) >>> 0
    new Uint8Array(this.exports.memory.buffer).set(bytes, at)
    return at
  }
}
