/** Runs one subject in a fresh process and watches what else the machine does meanwhile. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Report } from './measure.ts'

export interface Run {
  report: Report
  /** Share of all cores' time that went to others, or that a hypervisor kept; undefined where /proc is absent. */
  foreignCpu: number | undefined
}

export async function runSubject(subject: string, args: string[]): Promise<Run> {
  const before = cpuTicks()
  const stdout = await outputOf(subject, args)
  const foreignCpu = foreignShare(before, cpuTicks())
  const report: Report = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '')
  return { report, foreignCpu }
}

/** Milliseconds. Only an engine that others keep from running needs so long. */
const TIMEOUT = 600_000

/** A spinning engine with a thread per core falls to a tenth when somebody else takes one. */
const QUIET = 0.1

const foreignCpuOf = ({ foreignCpu = 0 }: Run) => foreignCpu
export const countQuiet = (runs: Run[]) => runs.filter((run) => foreignCpuOf(run) <= QUIET).length
export const quietest = (runs: Run[], count: number) =>
  runs.toSorted((a, b) => foreignCpuOf(a) - foreignCpuOf(b)).slice(0, count)

function outputOf(subject: string, args: string[]): Promise<string> {
  const script = fileURLToPath(new URL(`${subject}.ts`, import.meta.url))
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: TIMEOUT,
  })
  const kill = () => child.kill()
  process.once('exit', kill)
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status, signal) => {
      process.off('exit', kill)
      if (status === 0) resolve(stdout)
      else reject(new Error(`${script} ${args.join(' ')} ended with ${signal ?? `exit code ${status}`}`))
    })
  })
}

interface Ticks {
  /** Time of all cores, idle or not. */
  all: number
  busy: number
  /** Of this process and of those it has waited for. */
  own: number
}

export function cpuTicks(): Ticks | undefined {
  try {
    return parseTicks(readFileSync('/proc/stat', 'utf8'), readFileSync('/proc/self/stat', 'utf8'))
  } catch {
    return undefined
  }
}

/** proc(5): cpu user nice system idle iowait irq softirq steal …; guests are counted in user and nice already. */
export function parseTicks(stat: string, self: string): Ticks {
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = stat
    .slice(0, stat.indexOf('\n'))
    .split(/\s+/)
    .slice(1)
    .map(Number)
  const busy = user + nice + system + irq + softirq + steal
  // The name in parentheses may hold spaces; utime is the 12th field behind it, then stime, cutime and cstime.
  const fields = self.slice(self.lastIndexOf(')') + 2).split(' ')
  const own = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
  return { all: busy + idle + iowait, busy, own }
}

export function foreignShare(before: Ticks | undefined, after: Ticks | undefined): number | undefined {
  if (!before || !after || after.all <= before.all) return undefined
  const foreign = after.busy - before.busy - (after.own - before.own)
  return Math.max(0, foreign) / (after.all - before.all)
}
