/** A WebAssembly module as its sections (webassembly.github.io/spec/core/binary/modules.html). */

export const CUSTOM = 0
export const IMPORT = 2

export interface Section {
  id: number
  /** What follows its id and length. */
  contents: Uint8Array
}

export function sectionsOf(module: Uint8Array): Section[] {
  const sections: Section[] = []
  for (let at = 8; at < module.length; ) {
    const id = module[at++] as number
    let length = 0
    let byte = 128
    for (let shift = 0; byte & 128; shift += 7) {
      byte = module[at++] ?? 0
      length += (byte & 127) * 2 ** shift
    }
    sections.push({ id, contents: module.subarray(at, at + length) })
    at += length
  }
  return sections
}

export function moduleOf(sections: Section[]): Buffer {
  const parts = sections.flatMap(({ id, contents }) => [Uint8Array.of(id, ...leb128(contents.length)), contents])
  return Buffer.concat([Buffer.from('\0asm\x01\0\0\0', 'latin1'), ...parts])
}

function leb128(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...leb128(Math.floor(value / 128))]
}
