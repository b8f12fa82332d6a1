/** Cases through the library in Node, on the software adapter that the environment names. */
import { readFileSync } from 'node:fs'
import { load } from '../../host/index.ts'
import { leaveCores } from '../harness/gpu.ts'
import { type Classes, shareDevice, watchBuffers } from '../harness/gpu-watch.ts'
import { compute } from './compute.ts'
import type { CaseType, Figures, Text } from './job.ts'

export async function openNode() {
  const { globals } = await import('webgpu')
  const classes = globals as unknown as Classes
  leaveCores()
  shareDevice(classes)
  const poison = watchBuffers(classes)
  const place = { load, poison: async () => poison() }
  const dawn = readFileSync(new URL('../../node_modules/webgpu/package.json', import.meta.url), 'utf8')
  return {
    program: `webgpu ${JSON.parse(dawn).version}, Node ${process.versions.node}`,
    run: (path: string, type: CaseType, texts: readonly Text[]): Promise<Figures> => compute(path, type, texts, place),
    close: async () => undefined,
  }
}
