/**
 * The loops in which the engine spends its time, and what their code must be like. V8's listing knows functions only, and
 * binaryen puts one function into another as it likes: a loop is therefore known by the functions it may come from and by
 * what it consists of.
 */
import { type Code, type Contents, contentsOf, innermostLoops, type Loop } from './listing.ts'

export type Build = 'relaxed' | 'strict'

export interface HotLoop {
  name: string
  /** Of the functions it may be in, as in assembly/kernels/products-q8/dotRow_q8. */
  functions: RegExp
  is(contents: Contents): boolean
  /** Least share of two SDOT per cycle that the relaxed build must keep, in percent, with 4 µops dispatched a cycle. */
  least: number
}

// Not linear(), into which V8 puts the quantisation of activations.
const rows = /kernels\/products-q8\/(block|product|dot)/
const blocks = /kernels\/products-(q4|blocks)\/(product|dot)/
const tiles = /\/(tileOf|digitTile|score|value)/
const scores = /\/score/
const values = /\/value/
const isPlain = (c: Contents) => c.rightShifts === 0 && c.tableLookups === 0

export const hotLoops: readonly HotLoop[] = [
  {
    name: 'q8 tile (prefill)',
    functions: rows,
    is: (c) => isPlain(c) && c.dots > c.vectorLoads,
    least: 70,
  },
  {
    name: 'q8 rows (decode)',
    functions: rows,
    is: (c) => isPlain(c) && c.dots < c.vectorLoads,
    least: 20,
  },
  {
    name: 'q8k, q8m tile (prefill)',
    functions: blocks,
    // Two loads of weights and four of activations, which are spread over a vector each, for eight dots.
    is: (c) => isPlain(c) && c.sdot > 2 && c.dots > c.vectorLoads,
    least: 40,
  },
  {
    name: 'q8k, q8m rows (decode)',
    functions: blocks,
    is: (c) => isPlain(c) && c.dots <= c.vectorLoads,
    least: 20,
  },
  {
    name: 'q4, q4k, q4m tile (prefill)',
    functions: blocks,
    is: (c) => c.rightShifts > 0 && c.sdot > 2 * c.rightShifts,
    least: 40,
  },
  {
    name: 'q4, q4k, q4m rows (decode)',
    functions: blocks,
    is: (c) => c.rightShifts > 0 && c.dots > 0 && c.sdot <= 2 * c.rightShifts,
    least: 20,
  },
  {
    name: 'attention tile, int8: two queries (prefill)',
    functions: tiles,
    is: (c) => isPlain(c) && c.dots > c.vectorLoads && (c.sdot === 0 || c.accumulators > 8),
    least: 70,
  },
  {
    name: 'scores, int8 keys, one query',
    functions: scores,
    // As many loads as dots are the offset of a query, once per page.
    is: (c) => isPlain(c) && (c.sdot > 0 ? c.dots > c.vectorLoads : c.dots > 4),
    least: 45,
  },
  {
    name: 'values, int8, one query',
    functions: values,
    is: (c) => c.tableLookups > 0 && c.dots > c.vectorLoads,
    least: 40,
  },
]

export interface Found {
  loop: Loop
  contents: Contents
  /** Undefined: it has SDOT, but nobody said what it is. */
  hot?: HotLoop
}

/** All innermost loops that sum products of bytes: those of the list, and in the relaxed build any other with SDOT. */
export function findLoops(codes: Code[], build: Build): Found[] {
  const loops = codes
    .filter(({ compiler }) => compiler === 'TurboFan')
    .flatMap(innermostLoops)
    .map((loop) => ({ loop, contents: contentsOf(loop.body) }))
    .filter(({ contents }) => (build === 'relaxed' ? contents.sdot > 0 : contents.dots > 0))
  return loops.flatMap(({ loop, contents }): Found[] => {
    const hot = hotLoops.find(({ functions, is }) => functions.test(loop.function) && is(contents))
    if (!hot && build === 'strict') return []
    return [hot ? { loop, contents, hot } : { loop, contents }]
  })
}

/** What must not be in a loop, in words; nothing if all is well. */
export function faultsOf(contents: Contents, build: Build): string[] {
  const faults: string[] = []
  if (build === 'relaxed' && contents.sdot === 0) faults.push('no SDOT')
  if (build === 'relaxed' && contents.longMultiplies > 0) faults.push(`${contents.longMultiplies} long multiplies`)
  if (contents.spills > 0) faults.push(`${contents.spills} instructions touch the stack`)
  if (contents.calls > 0) faults.push(`${contents.calls} calls`)
  return faults
}
