/** The engine's modules where sources run as they are: files of dist/. A bundle has them inside instead (build.mjs). */
import { readFile } from 'node:fs/promises'

const dist = new URL('../../dist/', import.meta.url)

export async function readKernel(file: string): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await readFile(new URL(file, dist)))
}
