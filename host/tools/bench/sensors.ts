/** Temperature and throttling, where the system tells: a figure from a throttled board is not one of the board. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** What could not be read is absent: unknown is not zero. */
export interface Sensors {
  /** °C of the processor. */
  temperature?: number
  /** What slows the processor down now; empty: nothing. Raspberry Pi only. */
  throttled?: string[]
  /** What has done so since the machine was started. */
  throttledSinceStart?: string[]
}

/** Bits of the Raspberry Pi firmware's word; 16 places further up: since the start. */
const throttleBits = ['under-voltage', 'frequency capped', 'throttled', 'soft temperature limit']

/** Reads files only: a process for vcgencmd would disturb what is measured. */
export async function readSensors(root = '/sys'): Promise<Sensors> {
  return { temperature: await temperature(join(root, 'class/thermal')), ...(await throttling(root)) }
}

/** The processor's zone, else the first one; the files count in thousandths. */
async function temperature(folder: string): Promise<number | undefined> {
  const zones = (await list(folder)).filter((name) => name.startsWith('thermal_zone')).sort()
  const types = await Promise.all(zones.map((zone) => readText(join(folder, zone, 'type'))))
  const zone = zones[types.findIndex((type) => /cpu|soc|x86_pkg/.test(type ?? ''))] ?? zones[0]
  const found = zone === undefined ? undefined : await readText(join(folder, zone, 'temp'))
  return found === undefined || Number.isNaN(Number(found)) ? undefined : Number(found) / 1000
}

/** The firmware's word, or, from kernels that no longer show it, the alarm of the voltage sensor. */
async function throttling(root: string): Promise<Pick<Sensors, 'throttled' | 'throttledSinceStart'>> {
  const word = await throttleWord(join(root, 'devices/platform'))
  if (word !== undefined) return { throttled: reasons(word), throttledSinceStart: reasons(word >>> 16) }
  const hwmon = join(root, 'class/hwmon')
  for (const device of await list(hwmon)) {
    if ((await readText(join(hwmon, device, 'name'))) !== 'rpi_volt') continue
    const alarm = await readText(join(hwmon, device, 'in0_lcrit_alarm'))
    if (alarm !== undefined) return { throttledSinceStart: alarm === '1' ? ['under-voltage'] : [] }
  }
  return {}
}

function reasons(word: number): string[] {
  return throttleBits.filter((_, bit) => word & (1 << bit))
}

/** A hexadecimal word in a file of the firmware's device, whose bus has one name on some boards and another on others. */
async function throttleWord(platform: string): Promise<number | undefined> {
  for (const bus of (await list(platform)).filter((name) => /^soc|firmware/.test(name)))
    for (const device of ['', ...(await list(join(platform, bus))).filter((name) => name.includes('firmware'))]) {
      const word = Number.parseInt((await readText(join(platform, bus, device, 'get_throttled'))) ?? '', 16)
      if (!Number.isNaN(word)) return word
    }
  return undefined
}

async function list(folder: string): Promise<string[]> {
  return (await readdir(folder).catch(() => [])).sort()
}

async function readText(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').then(
    (text) => text.trim() || undefined,
    () => undefined,
  )
}
