/**
 * SHA-256 (FIPS 180-4) where node:crypto is not, and crypto.subtle neither: browsers have that in pages from https: and
 * localhost only, and a board on the desk serves http:. For a few MB at most, so written to be read.
 */
import type { Hash } from './platform.ts'

/** The first 32 bits behind the point of square or cube roots of the first primes: 4.2.2 and 5.3.3. */
function fractions(count: number, root: (n: number) => number): Uint32Array {
  const primes: number[] = []
  for (let n = 2; primes.length < count; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n)
  return Uint32Array.from(primes, (prime) => (root(prime) % 1) * 2 ** 32)
}

const K = fractions(64, Math.cbrt)
const START = fractions(8, Math.sqrt)
const BLOCK = 64

const rotate = (x: number, by: number) => (x >>> by) | (x << (32 - by))

export class Sha256 implements Hash {
  private readonly state = START.slice()
  private readonly block = new Uint8Array(BLOCK)
  private readonly words = new Uint32Array(64)
  /** Bytes so far. */
  private length = 0

  update(data: string | Uint8Array): this {
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : asBytes(data)
    for (let at = 0; at < bytes.length; ) {
      const from = this.length % BLOCK
      const part = bytes.subarray(at, at + BLOCK - from)
      this.block.set(part, from)
      at += part.length
      this.length += part.length
      if (this.length % BLOCK === 0) this.compress()
    }
    return this
  }

  /** Once; hexadecimal digits. */
  digest(_: 'hex'): string {
    const bits = this.length * 8
    const padding = new Uint8Array(BLOCK - ((this.length + 8) % BLOCK) + 8)
    padding[0] = 0x80
    const end = new DataView(padding.buffer)
    end.setUint32(padding.length - 8, Math.floor(bits / 2 ** 32))
    end.setUint32(padding.length - 4, bits)
    this.update(padding)
    return Array.from(this.state, (word) => word.toString(16).padStart(8, '0')).join('')
  }

  private compress(): void {
    const { words: w, state } = this
    const view = new DataView(this.block.buffer)
    for (let i = 0; i < 16; i++) w[i] = view.getUint32(4 * i)
    for (let i = 16; i < 64; i++) {
      const [x, y] = [w[i - 15] as number, w[i - 2] as number]
      const s0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3)
      const s1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10)
      w[i] = (w[i - 16] as number) + s0 + (w[i - 7] as number) + s1
    }
    let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number]
    for (let i = 0; i < 64; i++) {
      const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + (K[i] as number) + (w[i] as number)) | 0
      const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0
      ;[h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0]
    }
    for (const [i, value] of [a, b, c, d, e, f, g, h].entries()) state[i] = (state[i] as number) + value
  }
}

/** Typed arrays of other numbers count by their bytes, as in node:crypto. */
function asBytes(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}
