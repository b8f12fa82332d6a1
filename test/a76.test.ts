/** bench/a76: the parser of V8's listing and what it says of loops, on a real listing; no emulator is needed here. */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Code, contentsOf, innermostLoops, type Loop, parseListing } from '../bench/a76/listing.ts'
import { faultsOf, findLoops } from '../bench/a76/loops.ts'
import { compareRow, formatTable, percentOfBound, type Row, readTable } from '../bench/a76/table.ts'
import { committedTokens, tokenTable } from '../bench/a76/tokens.ts'

/**
 * Four functions as Node 24.21 printed them: the relaxed tile, the strict row, a tile that holds too many vectors and
 * spills, and one whose loop is rotated and aligned with a nop.
 */
const codes = parseListing(readFileSync(new URL('a76/listing.txt', import.meta.url), 'utf8'))
const codeOf = (name: string) => codes.find((code) => code.name.endsWith(name)) as Code
function onlyLoop(name: string): Loop {
  const loops = innermostLoops(codeOf(name))
  assert.is(loops.length, 1)
  return loops[0] as Loop
}

test('a listing gives names, tiers and instructions', () => {
  assert.equal(
    codes.map(({ name, compiler, instructions }) => [name, compiler, instructions.length]),
    [
      ['assembly/kernels/products-q8/dot4x4_q8', 'TurboFan', 195],
      ['assembly/kernels/products-q8/dotRow_q8', 'TurboFan', 116],
      ['tiles/holdSeven', 'TurboFan', 206],
      ['tiles/nibbles', 'TurboFan', 109],
    ],
  )
  const [first] = codeOf('dot4x4_q8').instructions
  assert.equal(first, { offset: 0, word: 'd2800110', text: 'movz x16, #0x8' })
})

test('a loop is its body alone, without what saves registers around the stack guard', () => {
  const { body } = onlyLoop('dot4x4_q8')
  const contents = contentsOf(body)
  const { instructions, sdot, accumulators, vectorLoads, macs, longMultiplies } = contents
  assert.equal([instructions, sdot, accumulators, vectorLoads, macs, longMultiplies], [38, 16, 16, 8, 256, 0])
  assert.match(body[body.length - 1]?.text ?? '', /^b\.lo #-0x/)
  assert.equal(faultsOf(contents, 'relaxed'), [])
  const whole = contentsOf(codeOf('dot4x4_q8').instructions)
  assert.ok(whole.spills > 16 && whole.calls > 0)
})

test('a rotated loop leaves out the nops before it', () => {
  const { body } = onlyLoop('nibbles')
  assert.is(body.length, 66)
  assert.match(body[0]?.text ?? '', /^add w5/)
  assert.match(body[65]?.text ?? '', /^cbnz w3/)
})

test('long multiplies in the relaxed build are a fault', () => {
  const contents = contentsOf(onlyLoop('dotRow_q8').body)
  assert.is(contents.macs, 64)
  assert.equal(faultsOf(contents, 'strict'), [])
  assert.equal(faultsOf(contents, 'relaxed'), ['no SDOT', '16 long multiplies'])
})

test('a spill in the loop is a fault', () => {
  const contents = contentsOf(onlyLoop('holdSeven').body)
  assert.is(contents.vectorSpills, 2)
  assert.equal(faultsOf(contents, 'relaxed'), ['2 instructions touch the stack'])
})

test('hot loops are known by their functions and contents', () => {
  const names = (build: 'relaxed' | 'strict') =>
    findLoops(codes, build).map(({ loop, hot }) => [loop.function.replace(/.*\//, ''), hot?.name])
  assert.equal(names('relaxed'), [
    ['dot4x4_q8', 'q8 tile (prefill)'],
    ['holdSeven', undefined],
    ['nibbles', undefined],
  ])
  assert.equal(names('strict')[1], ['dotRow_q8', 'q8 rows (decode)'])
})

const row: Row = {
  build: 'relaxed',
  name: 'q8 tile (prefill)',
  functions: ['dot4x4_q8'],
  instructions: 38,
  sdot: 16,
  macs: 256,
  cycles: [16.5, 10, 8],
}

test('a table reads back as it was written', () => {
  const read = readTable(`# Title\n\n${formatTable([row, { ...row, build: 'strict', macs: 128 }])}`)
  assert.equal([...read.keys()], ['relaxed q8 tile (prefill)', 'strict q8 tile (prefill)'])
  assert.ok(Math.abs((read.get('relaxed q8 tile (prefill)') ?? 0) - 10 / 256) < 1e-4)
  assert.is(percentOfBound(row), 80)
})

test('more than a tenth more cycles fail, a tenth fewer ask for a new table', () => {
  const committed = readTable(formatTable([row]))
  const compare = (cycles: number) => compareRow({ ...row, cycles: [0, cycles, 0] }, committed)
  assert.equal(compare(10.8), {})
  assert.match(compare(11.5).fault ?? '', '15 % more cycles')
  assert.match(compare(8).hint ?? '', '20 % fewer cycles')
  assert.match(compareRow({ ...row, name: 'another' }, committed).fault ?? '', 'not in table.md')
})

test('the table of whole models in docs/raspberry-pi.md follows from that of the loops', () => {
  const loops = readFileSync(new URL('../bench/a76/table.md', import.meta.url), 'utf8')
  assert.is(committedTokens(), tokenTable(loops), 'npm run bench:a76 -- --tokens')
})

test.run()
