/**
 * WebGPU in Node: Dawn, as the npm package `webgpu`, which is the user's to install. It is imported when a GPU is asked for
 * and not before.
 */
import { errors } from '../errors.ts'

/** One for the process, and in a place that lives as long: Node crashes at random once what create() gave is collected. */
const KEPT = Symbol.for('gta-edge.gpu')

export async function openGpu(): Promise<GPU> {
  const scope = globalThis as { navigator?: { gpu?: GPU }; [KEPT]?: GPU }
  // Deno and Bun may have it as browsers do.
  const found = scope[KEPT] ?? scope.navigator?.gpu
  if (found) return found
  const { create } = await importDawn()
  scope[KEPT] ??= create([])
  return scope[KEPT]
}

/** Not a literal: bundlers of programs would look for it, and not everybody has it. */
const dawn = 'webgpu'

async function importDawn(): Promise<typeof import('webgpu')> {
  try {
    return await import(/* webpackIgnore: true */ /* @vite-ignore */ dawn)
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ERR_MODULE_NOT_FOUND')
      throw errors.noGpu('no WebGPU in Node', 'run "npm install webgpu" (with -g where gta-edge was)')
    // It has no binary for this system, or that lacks a library.
    throw errors.noGpu(
      `a package "webgpu" that does not load (${message.split('\n')[0]})`,
      'install it again, or load without gpu (--gpu off)',
    )
  }
}
