/**
 * Reads what `node --print-wasm-code` prints on arm64 and finds the innermost loops of each function.
 *
 *     name: assembly/kernels/products-q8/dotRow_q8      from the module's name section
 *     Instructions (size = 464)
 *     0x25d2e2ccb0    50  f852034a       ldur x10, [x26, #-224]
 *     address     offset  word           V8's own disassembly
 *
 * WebAssembly's control flow is reducible and V8 keeps it so: an edge back to a block on the path from the entry closes
 * a loop. V8 rotates loops and puts rare paths (the call of the stack guard) behind the end of the function, so the body
 * is what lies in one piece around the loop's header.
 */

export interface Instruction {
  /** Bytes from the start of the function. */
  offset: number
  /** The machine word as eight hexadecimal digits. */
  word: string
  text: string
}

export interface Code {
  name: string
  compiler: string
  instructions: Instruction[]
}

export interface Loop {
  function: string
  /** Of the innermost loops of this function, in the order of their addresses. */
  order: number
  body: Instruction[]
}

const LINE = /^0x[0-9a-f]+\s+([0-9a-f]+)\s+([0-9a-f]{8})\s+(\S.*)$/

export function parseListing(listing: string): Code[] {
  return listing
    .split('--- WebAssembly code ---\n')
    .slice(1)
    .map((section) => {
      const [head = '', rest = ''] = section.split(/^Instructions \(size = \d+\)\n/m)
      const [lines = ''] = rest.split('\n\n')
      const instructions = lines.split('\n').flatMap((line) => {
        const [, offset = '', word = '', text = ''] = line.match(LINE) ?? []
        return word ? [{ offset: Number.parseInt(offset, 16), word, text }] : []
      })
      return { name: field(head, 'name'), compiler: field(head, 'compiler'), instructions }
    })
}

function field(head: string, name: string): string {
  return head.match(new RegExp(`^${name}: (.*)$`, 'm'))?.[1] ?? ''
}

interface Block {
  first: number
  /** Index behind the last instruction. */
  end: number
  next: number[]
}

/** Distance in bytes of a branch that stays in the function; calls do not branch. */
function branchDistance(text: string): number | undefined {
  const [, sign, digits] = text.match(/^(?:b|b\.\w+|cbn?z|tbn?z) (?:.*, )?#([+-])0x([0-9a-f]+) /) ?? []
  return digits === undefined ? undefined : Number.parseInt(digits, 16) * (sign === '-' ? -1 : 1)
}

const endsPath = (text: string) => /^(b #|br |ret|brk|hlt|udf)/.test(text)

/** Basic blocks in the order of their addresses; `next` are indices of blocks. */
function blocksOf({ instructions }: Code): Block[] {
  const indexAt = new Map(instructions.map(({ offset }, index) => [offset, index]))
  const target = ({ offset, text }: Instruction) => indexAt.get(offset + (branchDistance(text) ?? Number.NaN))
  const starts = new Set([0])
  instructions.forEach((instruction, index) => {
    const to = target(instruction)
    if (to !== undefined) starts.add(to)
    if (to !== undefined || endsPath(instruction.text)) starts.add(index + 1)
  })
  const firsts = [...starts].filter((index) => index < instructions.length).sort((a, b) => a - b)
  const blockAt = new Map(firsts.map((first, block) => [first, block]))
  return firsts.map((first, block) => {
    const end = firsts[block + 1] ?? instructions.length
    const last = instructions[end - 1] as Instruction
    const falls = !endsPath(last.text) && end < instructions.length ? [end] : []
    const next = [target(last), ...falls].flatMap((index) => blockAt.get(index ?? -1) ?? [])
    return { first, end, next }
  })
}

/** Edges [from, to] that lead back to a block on the path that led to `from`, and what is reached at all. */
function walk(blocks: Block[]) {
  const edges: [number, number][] = []
  const state: ('open' | 'done')[] = []
  const stack: { block: number; nth: number }[] = [{ block: 0, nth: 0 }]
  state[0] = 'open'
  while (stack.length > 0) {
    const top = stack[stack.length - 1] as { block: number; nth: number }
    const to = blocks[top.block]?.next[top.nth++]
    if (to === undefined) {
      state[top.block] = 'done'
      stack.pop()
    } else if (state[to] === 'open') edges.push([top.block, to])
    else if (state[to] === undefined) {
      state[to] = 'open'
      stack.push({ block: to, nth: 0 })
    }
  }
  return { edges, isReached: (block: number) => state[block] !== undefined }
}

/** The blocks of each loop by its header: all that reach the header's back edges without passing the header. */
function naturalLoops(blocks: Block[]): Map<number, Set<number>> {
  const { edges, isReached } = walk(blocks)
  const previous = blocks.map((): number[] => [])
  blocks.forEach(({ next }, from) => {
    // V8 aligns loops with nops, which nothing reaches but which run into the loop.
    if (isReached(from)) for (const to of next) previous[to]?.push(from)
  })
  const loops = new Map<number, Set<number>>()
  for (const [from, header] of edges) {
    const members = loops.get(header) ?? new Set([header])
    const open = [from]
    for (let block = open.pop(); block !== undefined; block = open.pop()) {
      if (members.has(block)) continue
      members.add(block)
      open.push(...(previous[block] ?? []))
    }
    loops.set(header, members)
  }
  return loops
}

export function innermostLoops(code: Code): Loop[] {
  if (code.instructions.length === 0) return []
  const blocks = blocksOf(code)
  const loops = [...naturalLoops(blocks)]
  const headers = loops.map(([header]) => header)
  const innermost = loops.filter(
    ([header, members]) => !headers.some((other) => other !== header && members.has(other)),
  )
  return innermost
    .map(([header, members]) => {
      let first = header
      while (members.has(first - 1)) first--
      let last = header
      while (members.has(last + 1)) last++
      return code.instructions.slice(blocks[first]?.first, blocks[last]?.end)
    })
    .sort((a, b) => (a[0]?.offset ?? 0) - (b[0]?.offset ?? 0))
    .map((body, order) => ({ function: code.name, order, body }))
}

/** What one passage of a loop consists of. */
export interface Contents {
  instructions: number
  sdot: number
  /** Long multiplies: what a dot product becomes without SDOT. */
  longMultiplies: number
  /** Products summed. */
  macs: number
  /** Instructions that give 8 (strict) or 16 products each, however V8 wrote them. */
  dots: number
  /** Registers that SDOT adds to. */
  accumulators: number
  vectorLoads: number
  tableLookups: number
  rightShifts: number
  /** Whatever touches the stack, save for comparing its pointer with the limit. */
  spills: number
  /** The same of vector registers. */
  vectorSpills: number
  calls: number
}

export function contentsOf(body: Instruction[]): Contents {
  const all = (pattern: RegExp) => body.filter(({ text }) => pattern.test(text))
  const count = (pattern: RegExp) => all(pattern).length
  const sdots = all(/^sdot /)
  const longMultiplies = count(/^[su](mull|mlal|mlsl)2? v/)
  // A strict dot of 8 is smull, smull2 and addp.
  const macs = 16 * sdots.length + 4 * longMultiplies
  return {
    instructions: body.length,
    sdot: sdots.length,
    longMultiplies,
    macs,
    dots: sdots.length || longMultiplies / 2,
    accumulators: new Set(sdots.map(({ text }) => text.split(/[ .]/)[1])).size,
    vectorLoads: count(/^ldu?r [qd]|^ld1/),
    tableLookups: count(/^tbl /),
    rightShifts: count(/^[us]shr v/),
    spills: all(/\b(sp|fp)\b/).filter(({ text }) => !text.startsWith('cmp sp,')).length,
    vectorSpills: count(/^(ld|st)[pu]?r? [qds]\d.*\[(sp|fp)\b/),
    calls: count(/^blr? /),
  }
}
