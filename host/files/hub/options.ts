import type { WeightType } from '../../../models/index.ts'
import type { Fit } from '../../engine/fit.ts'
import type { HubOptions } from './hub.ts'

export interface PullOptions extends HubOptions {
  /** Weight type that the model is to run with; default: q8 or q4, whichever fits, or that of a packed file. */
  type?: WeightType | undefined
  /** Context that it is to run with, in tokens; default: what load() takes. */
  context?: number | undefined
  /** Bytes of the machine that it is to run on; default: this one's. */
  memoryBytes?: number | undefined
  /** Also what does not fit. */
  force?: boolean
  /** Nothing touches the network; default: HF_HUB_OFFLINE. */
  offline?: boolean
  /** Told before the weights are fetched; `lines`: the same for people. */
  onFit?: (fits: Fit[], lines: string) => void
  /** In bytes. */
  onProgress?: (progress: { done: number; total: number }) => void
}

export interface Pulled {
  /** As every command takes it. */
  name: string
  /** The file, or the Hugging Face directory. */
  path: string
  type: string | null
  bytes: number
  /** Bytes that came over the network for it. */
  downloaded: number
}
