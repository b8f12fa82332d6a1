/** Which GPUs `--gpu` has to choose from. Apart from diagnose.ts, because asking loads drivers. */
import { type AdapterFacts, listAdapters } from '../engine/gpu/adapters.ts'
import { GtaError } from '../errors.ts'

export interface GpuDiagnosis {
  /** The fastest first; each says why it is not used, if it is not. */
  adapters: AdapterFacts[]
  /** The name of the one that `--gpu on` would use. */
  chosen?: string
  /** Why there is none to ask for. */
  problem?: string
}

export async function diagnoseGpu(): Promise<GpuDiagnosis> {
  try {
    const adapters = (await listAdapters()).map(({ facts }) => facts)
    const chosen = adapters.find(({ unfit }) => unfit === undefined)?.name
    return { adapters, ...(chosen === undefined ? {} : { chosen }) }
  } catch (error) {
    if (!(error instanceof GtaError)) throw error
    return { adapters: [], problem: error.message }
  }
}
