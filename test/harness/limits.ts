/**
 * How long tests wait for what should end by itself: the one place that says so. A limit is meant for a quiet machine; it
 * is stretched by how slow this one is, and by how many programs want each of its cores. Whatever a limit has ended says
 * so, with the limit and why it was so long.
 */
import { availableParallelism, loadavg } from 'node:os'

/** Milliseconds of processor time of the loop below on the x86_64 core that limits are meant for. */
const USUAL = 75
/** However busy the machine is: a program that hangs must end some day. */
const MOST = 12

/** How much slower this machine is than that one; 1 if it is faster. */
function measureSlowness(): number {
  const run = () => {
    const before = process.cpuUsage()
    let x = 1
    for (let i = 0; i < 1e7; i++) x = (Math.imul(x, 1664525) + i) | 0
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000 + Number(x === 0)
  }
  return Math.max(1, Math.min(run(), run()) / USUAL)
}

let measured: number | undefined

/** By what limits are multiplied now, and why. */
function stretch(): { factor: number; because: string } {
  measured ??= measureSlowness()
  const load = Math.max(1, (loadavg()[0] as number) / availableParallelism())
  return {
    factor: Math.min(MOST, measured * load),
    because: `a core ${measured.toFixed(1)} times as slow as usual, wanted by ${load.toFixed(1)} programs`,
  }
}

/** Milliseconds for what takes far less than so many seconds on a quiet machine. */
export const limit = (seconds: number): number => Math.round(1000 * seconds * stretch().factor)

/** How something with a limit ended: `spawnSync`'s result, the error of `execFile`, or what a child's event says. */
interface Ending {
  signal?: string | null | undefined
  error?: Error | undefined
}

/** A sentence to add to what a program wrote; empty if it ended by itself. */
export function limitNote(ending: Ending | null | undefined, seconds: number): string {
  const isHit = (ending?.error as NodeJS.ErrnoException | undefined)?.code === 'ETIMEDOUT'
  if (!isHit && ending?.signal !== 'SIGTERM') return ''
  return `\nENDED BY ITS LIMIT of ${seconds} s × ${stretch().factor.toFixed(1)} (${stretch().because})\n`
}

/** How often the clock of `afterLimit` is read, in ms. */
const TICK = 2000

/**
 * Calls back with a sentence when so many seconds of a quiet machine have passed, counted slower while this one is busy;
 * returns what stops it.
 */
export function afterLimit(seconds: number, callback: (sentence: string) => void): () => void {
  const started = performance.now()
  let [passed, last] = [0, started]
  const timer = setInterval(() => {
    const now = performance.now()
    passed += (now - last) / stretch().factor
    last = now
    if (passed < 1000 * seconds) return
    clearInterval(timer)
    const took = ((now - started) / 1000).toFixed(0)
    callback(`did not end within ${seconds} s of a quiet machine, which were ${took} s here (${stretch().because})`)
  }, TICK)
  return () => clearInterval(timer)
}
