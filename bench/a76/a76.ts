/**
 * The proof for the Cortex-A76: what V8 makes of the engine's hot loops on arm64, and what llvm-mca predicts for it.
 *
 *     npm run bench:a76                 the table
 *     npm run bench:a76 -- --write      … into bench/a76/table.md
 *     npm run bench:a76 -- --tokens     what table.md makes of whole models, into docs/raspberry-pi.md; --write does that too
 *     npm run bench:a76 -- --check      fails on a stack access, on a long multiply beside SDOT, on a loop that is gone
 *                                       or 10 % slower than in table.md; ends with `N passed, N failed`
 *
 * Predicted from machine code under emulation, never measured.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { findRuntime } from '../../test/harness/runtimes.ts'
import { findTool, lacking, skipLoudly } from '../../test/harness/tools.ts'
import { readArguments } from '../arguments.ts'
import { compile, withNames } from './emulate.ts'
import { type Build, type Found, faultsOf, findLoops, hotLoops } from './loops.ts'
import { predictCycles } from './mca.ts'
import { compareRow, cyclesPerMac, formatTable, percentOfBound, type Row, readTable } from './table.ts'
import { writeTokens } from './tokens.ts'

const TABLE = new URL('table.md', import.meta.url)
/** Where the rows begin. */
const MARK = '<!-- written by npm run bench:a76 -- --write -->\n\n'

const { values } = readArguments({
  command: 'npm run bench:a76 --',
  about: 'What V8 makes of the hot loops on arm64, and the cycles that llvm-mca predicts for a Cortex-A76.',
  flags: {
    write: { type: 'boolean', help: 'write the table to bench/a76/table.md' },
    tokens: { type: 'boolean', help: 'write only what that table makes of whole models to docs/raspberry-pi.md' },
    check: { type: 'boolean', help: 'compare with that table; exit code 1 if a loop is worse' },
  },
})

const shortName = (name: string) => name.slice(name.lastIndexOf('/') + 1)

/** One row per hot loop that was found: the slowest of its copies. */
function rowsOf(found: Found[], build: Build): Row[] {
  const cycles = predictCycles(found.map(({ loop }) => loop.body))
  return hotLoops.flatMap(({ name }) => {
    const copies = found
      .flatMap(({ hot, loop, contents }, index): Row[] => {
        if (hot?.name !== name) return []
        const { instructions, sdot, macs } = contents
        const functions = [shortName(loop.function)]
        return [{ build, name, functions, instructions, sdot, macs, cycles: cycles[index] ?? [] }]
      })
      .sort((a, b) => cyclesPerMac(b) - cyclesPerMac(a))
    const [slowest] = copies
    const functions = [...new Set(copies.flatMap((copy) => copy.functions))].sort()
    return slowest ? [{ ...slowest, functions }] : []
  })
}

const report = { passed: 0, failed: 0 }
function tell(name: string, faults: string[], hint?: string): void {
  if (faults.length > 0) report.failed++
  else report.passed++
  const words = faults.length > 0 ? faults.join('; ') : hint
  console.log(`${faults.length > 0 ? '✘' : '✔'} ${name}${words ? `: ${words}` : ''}`)
}

function check(build: Build, found: Found[], rows: Row[], committed: Map<string, number>): void {
  for (const { name, least } of hotLoops) {
    const row = rows.find((candidate) => candidate.name === name)
    const copies = found.filter(({ hot }) => hot?.name === name)
    if (!row) {
      // The strict build has no tile of its own for q4.
      if (build === 'relaxed' || committed.has(`${build} ${name}`)) tell(`${build} ${name}`, ['no such loop'])
      continue
    }
    const faults = [...new Set(copies.flatMap(({ contents }) => faultsOf(contents, build)))]
    const percent = percentOfBound(row)
    if (build === 'relaxed' && percent < least)
      faults.push(`${percent.toFixed(0)} % of two SDOT per cycle, less than ${least} %`)
    const { fault, hint } = compareRow(row, committed)
    tell(`${build} ${name}`, fault ? [...faults, fault] : faults, hint)
  }
}

/** Loops that the list does not know, and copies in functions that are not kernels. */
function checkOthers(found: Found[]): void {
  const others = found.filter(({ hot }) => !hot)
  const faults = others.flatMap(({ loop, contents }) => {
    const where = `${shortName(loop.function)} #${loop.order}`
    const here: string[] = []
    if (contents.longMultiplies > 0) here.push(`${where} has ${contents.longMultiplies} long multiplies`)
    if (contents.vectorSpills > 0) here.push(`${where} spills ${contents.vectorSpills} vectors`)
    return here
  })
  tell(`relaxed, ${others.length} other loops with SDOT`, faults)
}

if (values.tokens) {
  writeTokens(readFileSync(TABLE, 'utf8'))
  process.exit(0)
}
const runtime = findRuntime('a76')
const missing = typeof runtime === 'string' ? runtime : findTool('llvm') ? undefined : lacking('llvm')
if (missing !== undefined) {
  skipLoudly("V8's code for the Cortex-A76", missing)
  console.log('0 passed, 0 failed, 1 skipped')
  process.exit(values.check ? 0 : 1)
}
const modules = { relaxed: withNames('relaxed'), strict: withNames('strict') }
const found = {
  relaxed: findLoops(compile(modules.relaxed), 'relaxed'),
  strict: findLoops(compile(modules.strict), 'strict'),
}
const rows = { relaxed: rowsOf(found.relaxed, 'relaxed'), strict: rowsOf(found.strict, 'strict') }
const table = formatTable([...rows.relaxed, ...rows.strict])

if (values.check) {
  const committed = readTable(readFileSync(TABLE, 'utf8'))
  for (const build of ['relaxed', 'strict'] as const) check(build, found[build], rows[build], committed)
  checkOthers(found.relaxed)
  console.log(`${report.passed} passed, ${report.failed} failed`)
  process.exitCode = report.failed === 0 ? 0 : 1
} else if (values.write) {
  const [prose] = readFileSync(TABLE, 'utf8').split(MARK)
  writeFileSync(TABLE, `${prose}${MARK}${table}`)
  writeTokens(table)
} else {
  console.log(table)
  for (const { loop, contents, hot } of found.relaxed)
    if (!hot)
      console.log(`${loop.function} #${loop.order}: ${contents.sdot} SDOT in ${contents.instructions} instructions`)
}
