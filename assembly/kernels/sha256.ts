/**
 * SHA-256 (FIPS 180-4). Its constants are computed, as the standard defines them, from the roots of the first primes: a table
 * would be a data segment, which the engine does not have. f64 gives 53 bits of a root, of which 35 are needed.
 */

/** What lies in the scratch: u32[64] schedule, u32[8] state, the last one or two blocks, u32[64] constants. */
const STATE: usize = 256
const BLOCK: usize = 288
const ROUNDS: usize = 416
export const SHA256_SCRATCH: usize = 672

/** The first eight bytes of the digest of `length` bytes at `source`, the first byte highest; `work` is SHA256_SCRATCH bytes. */
export function sha256Prefix(source: usize, length: usize, work: usize): u64 {
  prepare(work)
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

/** Fractions of the square roots of the first 8 primes, and of the cube roots of the first 64. */
function prepare(work: usize): void {
  let prime: u32 = 2
  for (let i: usize = 0; i < 64; i++) {
    if (i < 8) store<u32>(work + STATE + (i << 2), fraction(sqrt<f64>(prime as f64)))
    store<u32>(work + ROUNDS + (i << 2), fraction(cubeRoot(prime as f64)))
    do prime++
    while (!isPrime(prime))
  }
}

function isPrime(n: u32): bool {
  for (let i: u32 = 2; i * i <= n; i++) if (n % i == 0) return false
  return true
}

/** The first 32 bits behind the point. */
function fraction(x: f64): u32 {
  return ((x - floor(x)) * 4294967296) as u32
}

/** Newton's method, from above: 12 steps are enough below 8³. */
function cubeRoot(n: f64): f64 {
  let x: f64 = 8
  for (let i = 0; i < 12; i++) x -= (x * x * x - n) / (3 * x * x)
  return x
}

function addBlock(work: usize, block: usize): void {
  const w = work
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
    const t1 = h + big1 + choice + load<u32>(work + ROUNDS + (t << 2)) + load<u32>(w + (t << 2))
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
