/** SHA-256 (FIPS 180-4). */
import { reserve } from './memory'

/** Scratch: u32[64] schedule, u32[8] state, the last one or two blocks. */
const SCHEDULE: usize = 0
const STATE: usize = 256
const BLOCK: usize = 288

/** The first eight bytes of the digest of `length` bytes at `source`, the first byte highest. */
export function sha256Prefix(source: usize, length: usize): u64 {
  const work = reserve(BLOCK + 128)
  memory.copy(work + STATE, initialState(), 32)
  const full = length & ~63
  for (let i: usize = 0; i < full; i += 64) addBlock(work, source + i)
  // The rest, a one, zeros, and the length in bits.
  const rest = length - full
  const last = work + BLOCK
  memory.fill(last, 0, 128)
  memory.copy(last, source + full, rest)
  store<u8>(last + rest, 0x80)
  const end: usize = rest < 56 ? 64 : 128
  store<u64>(last + end - 8, bswap<u64>((length as u64) << 3))
  for (let i: usize = 0; i < end; i += 64) addBlock(work, last + i)
  return ((load<u32>(work + STATE) as u64) << 32) | (load<u32>(work + STATE, 4) as u64)
}

/** Fractions of the square roots of the first 8 primes. */
function initialState(): usize {
  return memory.data<u32>([
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
  ])
}

/** Fractions of the cube roots of the first 64 primes. */
function constants(): usize {
  return memory.data<u32>([
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
  ]) // biome-ignore format: a table
}

function addBlock(work: usize, block: usize): void {
  const w = work + SCHEDULE
  for (let t: usize = 0; t < 16; t++) store<u32>(w + (t << 2), bswap<u32>(load<u32>(block + (t << 2))))
  for (let t: usize = 16; t < 64; t++) {
    const x = load<u32>(w + ((t - 15) << 2))
    const y = load<u32>(w + ((t - 2) << 2))
    const s0 = rotr<u32>(x, 7) ^ rotr<u32>(x, 18) ^ (x >> 3)
    const s1 = rotr<u32>(y, 17) ^ rotr<u32>(y, 19) ^ (y >> 10)
    store<u32>(w + (t << 2), s1 + load<u32>(w + ((t - 7) << 2)) + s0 + load<u32>(w + ((t - 16) << 2)))
  }
  const s = work + STATE
  let a = load<u32>(s)
  let b = load<u32>(s, 4)
  let c = load<u32>(s, 8)
  let d = load<u32>(s, 12)
  let e = load<u32>(s, 16)
  let f = load<u32>(s, 20)
  let g = load<u32>(s, 24)
  let h = load<u32>(s, 28)
  for (let t: usize = 0; t < 64; t++) {
    const big1 = rotr<u32>(e, 6) ^ rotr<u32>(e, 11) ^ rotr<u32>(e, 25)
    const choice = (e & f) ^ (~e & g)
    const t1 = h + big1 + choice + load<u32>(constants() + (t << 2)) + load<u32>(w + (t << 2))
    const big0 = rotr<u32>(a, 2) ^ rotr<u32>(a, 13) ^ rotr<u32>(a, 22)
    const t2 = big0 + ((a & b) ^ (a & c) ^ (b & c))
    h = g
    g = f
    f = e
    e = d + t1
    d = c
    c = b
    b = a
    a = t1 + t2
  }
  add(s, a)
  add(s + 4, b)
  add(s + 8, c)
  add(s + 12, d)
  add(s + 16, e)
  add(s + 20, f)
  add(s + 24, g)
  add(s + 28, h)
}

function add(at: usize, value: u32): void {
  store<u32>(at, load<u32>(at) + value)
}
