/**
 * The hardware table: what each device can do, value by value with its source. Bandwidth is kept twice: `peak` is what the
 * memory interface is sold with, `sustained` what somebody measured programs to read. The names and values of LLM-Viewer
 * are kept as they are, so that published figures can be compared.
 *
 * Units: bytes per second, operations per second (two for a multiply-add, dense), bytes. GB is 10⁹ bytes.
 */
import { errors } from '../../errors.ts'
import { toolErrors } from '../errors.ts'

export interface Value {
  value: number
  source: string
}

export type NumberFormat = 'FP32' | 'FP16' | 'INT8'

export interface Hardware {
  name: string
  /** For people. */
  title: string
  /** What else it is called, and boards that have it; letter case, spaces and signs do not matter. */
  aliases?: readonly string[]
  bandwidth: { peak: Value; sustained?: Value }
  /** Operations per second by number format; absent: the device has no arithmetic for it. */
  peak: Partial<Record<NumberFormat, Value>>
  /** What stays on the chip: of a GPU the register files, as LLM-Viewer counts them, of a processor its last cache. */
  onchipBuffer: Value
  /** Memory that a model may fill. */
  memory?: Value
  /** Set for a machine that was measured: what the engine reaches there. */
  rates?: MeasuredRates[]
  /** … when, and what else ran there meanwhile. */
  measured?: { date: string; load?: number; foreignShare?: number }
}

/** What the engine was seen to reach with so many threads. */
export interface MeasuredRates {
  threads: number
  /** Bytes per second that are read at best. */
  bandwidth: number
  /** Seconds that threads need to meet. */
  barrierSeconds: number
  /** Operations per second of the linear part with many rows, and bytes of weights per second with one, by weight type. */
  linear: Partial<Record<string, { operations: number; bytes: number }>>
  /** Operations per second of the sweep over an int8 cache: many rows, and one. */
  sweep: { many: number; one: number }
  /** Bytes per second of operations that are neither. */
  rest: { many: number; one: number }
}

const LLM_VIEWER = 'LLM-Viewer, hardwares/hardware_params.py'

/** A row of LLM-Viewer's table; `sheet` is what its authors read. */
function fromLlmViewer(
  name: string,
  title: string,
  [bandwidth, fp16, int8, buffer]: [number, number, number | undefined, number],
  sheet: string,
  memory?: number,
): Hardware {
  const source = `${LLM_VIEWER}, after ${sheet}`
  return {
    name,
    title,
    bandwidth: { peak: { value: bandwidth, source } },
    peak: { FP16: { value: fp16, source }, ...(int8 === undefined ? {} : { INT8: { value: int8, source } }) },
    onchipBuffer: { value: buffer, source },
    ...(memory === undefined
      ? {}
      : { memory: { value: memory, source: `${sheet} (capacity in the device's name or data sheet)` } }),
  }
}

const volta = 'https://images.nvidia.com/content/volta-architecture/pdf/volta-architecture-whitepaper.pdf'
const ada =
  'https://images.nvidia.com/aem-dam/en-zz/Solutions/technologies/NVIDIA-ADA-GPU-PROVIZ-Architecture-Whitepaper_1.1.pdf'
const ampere = 'https://images.nvidia.com/aem-dam/en-zz/Solutions/data-center/nvidia-ampere-architecture-whitepaper.pdf'
const hopper = 'https://resources.nvidia.com/en-us-tensor-core/gtc22-whitepaper-hopper'
const l40 = 'https://images.nvidia.com/aem-dam/Solutions/Data-Center/l4/nvidia-ada-gpu-architecture-whitepaper-v2.1.pdf'
const intel =
  'https://www.intel.com/content/www/us/en/products/sku/230496/intel-core-i913900k-processor-36m-cache-up-to-5-80-ghz/specifications.html'

const h100: [number, number, number, number] = [3072e9, 1979e12 / 2, 3958e12 / 2, 33792e3]
const a100: [number, number, number, number] = [1555e9, 312e12, 624e12, 27648e3]
const a100Large: [number, number, number, number] = [2039e9, 312e12, 624e12, 27648e3]

const PI5_READ =
  'measured with two threads (one: 9.26, four: 11.59 GB/s): https://github.com/ggml-org/llama.cpp/issues/26484'
const A76 = 'Arm Cortex-A76 Software Optimization Guide: two 128-bit pipes'
const A72 = 'Arm Cortex-A72 Software Optimization Guide'
const pi5Sheet = 'https://datasheets.raspberrypi.com/rpi5/raspberry-pi-5-product-brief.pdf'
const pi4Sheet = 'https://datasheets.raspberrypi.com/rpi4/raspberry-pi-4-product-brief.pdf'
const zero2Sheet = 'https://datasheets.raspberrypi.com/rpizero2/raspberry-pi-zero-2-w-product-brief.pdf'
const ZERO2_MEMORY = 'sdram_freq in https://www.raspberrypi.com/documentation/computers/config_txt.html'
const A53 = 'one 128-bit multiply-add per clock, as a Cortex-A55 (its Software Optimization Guide)'
const rkSheet = 'https://www.rock-chips.com/uploads/pdf/2022.8.26/192/RK3588%20Brief%20Datasheet.pdf'
const orinSheet = 'https://developer.nvidia.com/downloads/jetson-orin-nano-series-data-sheet'
const m2Sheet =
  'https://www.apple.com/newsroom/2022/06/apple-unveils-m2-with-breakthrough-performance-and-capabilities/'
const ga106 =
  'GA106 with 28 SMs at 1.777 GHz, 512 FP16 multiply-adds per SM and clock (https://www.nvidia.com/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.pdf)'
const rtx3060Sheet = 'https://www.nvidia.com/en-us/geforce/graphics-cards/30-series/rtx-3060-3060ti/'
const h200Sheet = 'https://www.nvidia.com/en-us/data-center/h200/'

const GIB = 2 ** 30

export const hardwareTable: readonly Hardware[] = [
  fromLlmViewer('nvidia_V100', 'NVIDIA V100', [900e9, 112e12, 62e12, 20480e3], volta, 16e9),
  fromLlmViewer('nvidia_A6000', 'NVIDIA RTX A6000', [768e9, 154.8e12, 309.7e12, 21504e3], ada, 48e9),
  fromLlmViewer('nvidia_A6000_Ada', 'NVIDIA RTX 6000 Ada', [960e9, 364.2e12, 728.5e12, 36352e3], ada, 48e9),
  fromLlmViewer('nvidia_A100', 'NVIDIA A100 40 GB', a100, ampere, 40e9),
  fromLlmViewer('nvidia_A100_40G', 'NVIDIA A100 40 GB', a100, ampere, 40e9),
  fromLlmViewer('nvidia_A100_80G', 'NVIDIA A100 80 GB', a100Large, ampere, 80e9),
  fromLlmViewer('nvidia_A800_80G_SXM', 'NVIDIA A800 80 GB SXM', a100Large, ampere, 80e9),
  fromLlmViewer('nvidia_A40', 'NVIDIA A40', [696e9, 149.7e12, 299.3e12, 21504e3], ampere, 48e9),
  fromLlmViewer('nvidia_H100', 'NVIDIA H100 SXM', h100, hopper, 80e9),
  fromLlmViewer('nvidia_H100_SXM', 'NVIDIA H100 SXM', h100, hopper, 80e9),
  fromLlmViewer('nvidia_H100_PCIe', 'NVIDIA H100 PCIe', [2048e9, 1513e12 / 2, 3026e12 / 2, 29184e3], hopper, 80e9),
  fromLlmViewer('nvidia_L40', 'NVIDIA L40', [864e9, 181e12, 362e12, 36352e3], l40, 48e9),
  fromLlmViewer('intel_13900k', 'Intel Core i9-13900K', [89.6e9, 8 * 5.4e9 * (512 / 16), undefined, 36e6], intel),
  {
    name: 'nvidia_H200',
    title: 'NVIDIA H200',
    bandwidth: { peak: { value: 4800e9, source: h200Sheet } },
    peak: {
      FP16: { value: 1979e12 / 2, source: `${h200Sheet}, half of the figure with sparsity` },
      INT8: { value: 3958e12 / 2, source: `${h200Sheet}, half of the figure with sparsity` },
    },
    onchipBuffer: { value: 33792e3, source: `register files of 132 SMs, 256 KB each: ${hopper}` },
    memory: { value: 141e9, source: h200Sheet },
  },
  {
    name: 'nvidia_RTX3060',
    title: 'NVIDIA RTX 3060 12 GB',
    bandwidth: { peak: { value: 360e9, source: `192 bits of GDDR6 at 15 Gbit/s: ${rtx3060Sheet}` } },
    peak: {
      FP32: { value: 12.7e12, source: `3584 cores at 1.777 GHz: ${rtx3060Sheet}` },
      FP16: { value: 51e12, source: ga106 },
      INT8: { value: 102e12, source: `${ga106}, twice as many of INT8` },
    },
    onchipBuffer: { value: 7168e3, source: 'register files of 28 SMs, 256 KB each' },
    memory: { value: 12e9, source: rtx3060Sheet },
  },
  {
    name: 'jetson_orin_nano',
    title: 'NVIDIA Jetson Orin Nano 8 GB',
    aliases: ['Orin Nano', 'Jetson Orin'],
    bandwidth: { peak: { value: 68e9, source: `128 bits of LPDDR5: ${orinSheet}` } },
    peak: {
      FP16: { value: 10e12, source: `half of INT8: ${orinSheet}` },
      INT8: { value: 20e12, source: `half of the 40 TOPS with sparsity: ${orinSheet}` },
    },
    onchipBuffer: { value: 2048e3, source: 'register files of 8 SMs, 256 KB each' },
    memory: { value: 8 * GIB, source: orinSheet },
  },
  {
    name: 'apple_M2',
    title: 'Apple M2 (GPU)',
    aliases: ['M2'],
    bandwidth: { peak: { value: 100e9, source: m2Sheet } },
    peak: {
      FP32: { value: 3.6e12, source: m2Sheet },
      FP16: { value: 3.6e12, source: `the rate of FP32, no more is promised: ${m2Sheet}` },
    },
    onchipBuffer: { value: 8e6, source: 'system level cache, as measured by others' },
    memory: { value: 8 * GIB, source: `the smallest configuration: ${m2Sheet}` },
  },
  {
    name: 'bcm2712',
    title: 'Raspberry Pi 5 (BCM2712)',
    aliases: ['pi5', 'rpi5', 'Raspberry Pi 5', 'Raspberry Pi 500', 'Compute Module 5', 'CM5'],
    bandwidth: {
      peak: { value: 4267e6 * 4, source: `32 bits of LPDDR4X-4267: ${pi5Sheet}` },
      sustained: { value: 13.23e9, source: PI5_READ },
    },
    peak: {
      FP32: { value: 4 * 2.4e9 * 2 * 4 * 2, source: `4 cores × 2.4 GHz × 2 pipes × 4 multiply-adds, ${A76}` },
      FP16: { value: 4 * 2.4e9 * 2 * 8 * 2, source: `4 cores × 2.4 GHz × 2 pipes × 8 multiply-adds, ${A76}` },
      INT8: { value: 4 * 2.4e9 * 2 * 16 * 2, source: `4 cores × 2.4 GHz × 2 pipes × 16 multiply-adds (SDOT), ${A76}` },
    },
    onchipBuffer: { value: 2 * 2 ** 20, source: `L3 cache: ${pi5Sheet}` },
    memory: { value: 8 * GIB, source: `sold with 2, 4, 8 and 16 GB: ${pi5Sheet}` },
  },
  {
    name: 'bcm2711',
    title: 'Raspberry Pi 4 (BCM2711)',
    aliases: ['pi4', 'rpi4', 'Raspberry Pi 4', 'Raspberry Pi 400', 'Compute Module 4', 'CM4'],
    bandwidth: { peak: { value: 3200e6 * 4, source: `32 bits of LPDDR4-3200: ${pi4Sheet}` } },
    peak: {
      FP32: { value: 4 * 1.5e9 * 4 * 2, source: `4 cores × 1.5 GHz × 4 multiply-adds, ${A72}` },
      // No half-precision arithmetic and no dot product: what is stored narrower is computed with what there is.
      FP16: { value: 4 * 1.5e9 * 4 * 2, source: `the rate of FP32: no arithmetic in FP16, ${A72}` },
      INT8: { value: 4 * 1.5e9 * 8 * 2, source: `4 cores × 1.5 GHz × 8 multiply-adds (SMLAL), no dot product, ${A72}` },
    },
    onchipBuffer: { value: 2 ** 20, source: `L2 cache: ${pi4Sheet}` },
    memory: { value: 4 * GIB, source: `sold with 1 to 8 GB: ${pi4Sheet}` },
  },
  {
    name: 'bcm2710a1',
    title: 'Raspberry Pi Zero 2 W (BCM2710A1)',
    aliases: ['zero2', 'zero 2 w', 'pi zero 2', 'Raspberry Pi Zero 2', 'Raspberry Pi Zero 2 W', 'rp3a0'],
    bandwidth: { peak: { value: 900e6 * 4, source: `32 bits of LPDDR2 at 450 MHz: ${ZERO2_MEMORY}` } },
    peak: {
      FP32: { value: 4 * 1e9 * 4 * 2, source: `4 cores × 1 GHz × 4 multiply-adds: ${A53}` },
      FP16: { value: 4 * 1e9 * 4 * 2, source: `the rate of FP32: no arithmetic in FP16 on a Cortex-A53` },
      INT8: { value: 4 * 1e9 * 8 * 2, source: `4 cores × 1 GHz × 8 multiply-adds (SMLAL), no dot product: ${A53}` },
    },
    onchipBuffer: { value: 2 ** 19, source: 'L2 cache of 512 KiB, shared by the four cores' },
    memory: { value: 2 ** 29, source: zero2Sheet },
  },
  {
    name: 'rk3588',
    title: 'Rockchip RK3588 (its processors, not its NPU)',
    aliases: ['rk3588s', 'Orange Pi 5', 'Orange Pi 5 Plus', 'Rock 5A', 'Rock 5B', 'NanoPi R6S', 'NanoPC T6'],
    bandwidth: { peak: { value: 4224e6 * 8, source: `64 bits of LPDDR4X-4224, as most boards have: ${rkSheet}` } },
    peak: {
      FP32: {
        value: 4 * 2.4e9 * 16 + 4 * 1.8e9 * 8,
        source: `4 Cortex-A76 at 2.4 GHz with two 128-bit pipes, 4 Cortex-A55 at 1.8 GHz with half of that: ${rkSheet}`,
      },
      FP16: { value: 4 * 2.4e9 * 32 + 4 * 1.8e9 * 16, source: 'twice the rate of FP32' },
      INT8: { value: 4 * 2.4e9 * 64 + 4 * 1.8e9 * 32, source: 'SDOT: four times the rate of FP32' },
    },
    onchipBuffer: { value: 3 * 2 ** 20, source: `L3 cache: ${rkSheet}` },
    memory: { value: 8 * GIB, source: 'sold with 4 to 32 GB' },
  },
]

/** The device of that name or alias; throws BAD_OPTION with the names that look most like what was typed. */
export function findHardware(name: string, table: readonly Hardware[] = hardwareTable): Hardware {
  if (typeof name !== 'string') throw errors.badOption('the hardware', 'the name of a device', name)
  const wanted = plain(name)
  const found = table.find((device) => wordsOf(device).some((word) => plain(word) === wanted))
  if (found) return found
  throw toolErrors.unknownHardware(name, nearestHardware(name, table))
}

const plain = (text: string) => text.toLowerCase().replace(/[^a-z0-9]/g, '')
const wordsOf = ({ name, aliases = [] }: Hardware) => [name, ...aliases]

/** Up to three devices that are about as near as the nearest, each by that of its names which looks most like it. */
function nearestHardware(typed: string, table: readonly Hardware[]): string[] {
  const owners = new Map(table.flatMap((device) => wordsOf(device).map((word) => [word, device.name] as const)))
  const words = [...owners.keys(), 'this'].map((word) => ({ word, device: owners.get(word) ?? word }))
  const scored = words.map((one) => ({ ...one, score: distanceTo(one.word, plain(typed)) }))
  const sorted = scored.sort((a, b) => a.score - b.score)
  const best = sorted[0]?.score ?? 0
  return sorted
    .filter(({ device, score }, i) => score <= best + 1 && sorted.findIndex((one) => one.device === device) === i)
    .slice(0, 3)
    .map(({ word, device }) => (word === device ? word : `${word} (${device})`))
}

/** Letters between a name and what was typed. People leave the vendor out, or what comes behind. */
function distanceTo(name: string, wanted: string): number {
  const parts = name.split(/[ _]/).map((_, i, all) => plain(all.slice(i).join('')))
  const distance = Math.min(...parts.map((part, i) => editDistance(wanted, part) + i / 4))
  return wanted.length > 1 && plain(name).includes(wanted) ? Math.min(1, distance) : distance
}

/** Levenshtein's: letters to insert, delete or replace. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next.push(
        Math.min(
          (row[j] as number) + 1,
          (next[j - 1] as number) + 1,
          (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1),
        ),
      )
    row = next
  }
  return row[b.length] as number
}
