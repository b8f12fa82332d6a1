/**
 * What was measured once on this machine and is believed until it is measured again: the threads that suit a model, whether
 * a GPU does, the roofline of the analyzer. One file, one shape:
 *
 *     "roofline 2c302f74dd5f464e": { "value": …, "date": "2026-11-30T…", "load": 0.1, "foreignShare": 0.02 }
 *
 * What was taken while others used the machine too is not believed for ever: it is measured again as soon as the machine is
 * quiet, and the better one is kept.
 */
import { platform } from '#platform'
import type { MachineLoad } from '../platform/platform.ts'

export type MeasurementKind = 'threads' | 'gpu' | 'roofline'

export interface Measurement<T> extends MachineLoad {
  value: T
  /** ISO 8601. */
  date: string
}

/** Share of the processors that others may take before a figure is worth a warning: a system alone takes less. */
const BUSY = 0.1
/** Processes that want to run, below which a machine is quiet. */
const QUIET_LOAD = 0.5

/** Deleting it makes everything be measured again. */
export const measurementsFile = (): string => platform.cacheFile('measurements.json')

export const isBusy = ({ foreignShare = 0 }: MachineLoad): boolean => foreignShare > BUSY

/** Whether something that was taken on a busy machine can be had better now. */
export function isWorthAgain(measurement: MachineLoad): boolean {
  return isBusy(measurement) && (platform.watchLoad()().load ?? 0) <= QUIET_LOAD
}

/** Runs a measurement and watches what else runs meanwhile. */
export async function measured<T>(take: () => Promise<T>): Promise<Measurement<T>> {
  const seen = platform.watchLoad()
  const value = await take()
  return { value, date: new Date().toISOString(), ...seen() }
}

/** What is remembered under that name, if `isUsable` says that it is one. */
export async function recall<T>(
  kind: MeasurementKind,
  key: string,
  isUsable: (value: unknown) => value is T,
): Promise<Measurement<T> | undefined> {
  const found = (await platform.readEntries(measurementsFile()))[`${kind} ${key}`] as Partial<Measurement<T>> | null
  return isMeasurement(found) && isUsable(found?.value) ? (found as Measurement<T>) : undefined
}

export async function remember<T>(kind: MeasurementKind, key: string, measurement: Measurement<T>): Promise<void> {
  await platform.writeEntry(measurementsFile(), `${kind} ${key}`, measurement)
}

/** Everything that is remembered, whatever it is worth: for people. */
export async function allMeasurements(): Promise<({ kind: string } & Measurement<unknown>)[]> {
  const entries = Object.entries(await platform.readEntries(measurementsFile()))
  return entries.flatMap(([name, found]) =>
    isMeasurement(found as Partial<Measurement<unknown>> | null)
      ? [{ kind: name.split(' ')[0] as string, ...(found as Measurement<unknown>) }]
      : [],
  )
}

export async function forgetMeasurements(): Promise<void> {
  await platform.removeEntries(measurementsFile())
}

/** What a file says may be anything. */
function isMeasurement(found: Partial<Measurement<unknown>> | null | undefined): boolean {
  if (typeof found !== 'object' || found === null || typeof found.date !== 'string') return false
  const isShare = (n: unknown) => n === undefined || (typeof n === 'number' && n >= 0)
  return !Number.isNaN(Date.parse(found.date)) && isShare(found.load) && isShare(found.foreignShare)
}
