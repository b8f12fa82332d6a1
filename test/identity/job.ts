/** What the driver asks of a program that runs on some platform, and what it answers on its last line. */

export interface Case {
  prompt: string
  /** The same as token ids, for commands that show ids only where there is no text. */
  ids: number[]
  temperature?: number
  seed: number
}

export interface Job {
  engine: Engine
  build: 'relaxed' | 'strict'
  /** Each computes all cases. */
  threads: number[]
  tokens: number
  cases: Case[]
  /** Path of the model. */
  model: string
  /** Path of the same model without tables for text, for gta.wasm. */
  wordless: string
}

export type Engine =
  | 'library'
  | 'chromium, isolated'
  | 'chromium'
  | 'node:wasi'
  | 'browser_wasi_shim'
  | 'WasmEdge interpreter'
  | 'WasmEdge JIT'
  | 'Wasmtime'
  | 'Wasmtime, deterministic'

/** Of one case. */
export interface Found {
  tokens: number[]
  logitsHash: string
}

/** Of all cases, for each number of threads. */
export type Answer = Found[][]
