/** What else runs on a machine while something is measured: nobody should believe a figure without it. */
import { cpus, loadavg } from 'node:os'

export interface MachineLoad {
  /** Processes that wanted to run when it began, on average over a minute; absent where the system does not tell. */
  load?: number
  /** Share of all processors' time that other programs took meanwhile; absent: too short to tell, or unknown. */
  foreignShare?: number
}

/** Seconds below which the system's clocks, which count in hundredths, say nothing. */
const SHORTEST = 0.2

/** Watches from now on; what is returned tells what was seen. */
export function watchLoad(): () => MachineLoad {
  const load = process.platform === 'win32' ? undefined : loadavg()[0]
  const before = { at: performance.now(), ...busySeconds(), own: process.cpuUsage() }
  return () => {
    const seconds = (performance.now() - before.at) / 1000
    const now = busySeconds()
    const { user, system } = process.cpuUsage(before.own)
    const foreign = now.busy - before.busy - (user + system) / 1e6
    const isKnown = seconds >= SHORTEST && now.cores > 0 && now.busy > 0
    return { load, ...(isKnown ? { foreignShare: Math.min(1, Math.max(0, foreign / (seconds * now.cores))) } : {}) }
  }
}

/** Of all processors since the system's start, whoever took them. */
function busySeconds(): { busy: number; cores: number } {
  const all = cpus()
  const busy = all.reduce((sum, { times: { user, nice, sys, irq } }) => sum + user + nice + sys + irq, 0) / 1000
  return { busy, cores: all.length }
}
