/** gta bench --report and --show: results of a board in one file that can be sent, and what those who get it see. */
import { basename } from 'node:path'
import { megabytes } from '../errors.ts'
import { inconsistencies } from '../tools/bench/board/consistency.ts'
import { readBoardReport, writeBoardReport } from '../tools/bench/board/file.ts'
import { measureBoard } from '../tools/bench/board/measure.ts'
import type { BenchInfo } from '../tools/bench/report.ts'
import { beginTable, type Columns, columnsFor, rowOf } from './bench-table.ts'
import { Phases, readTests } from './bench-tests.ts'
import { boardFormats, compareHashes, type NamedReport } from './board-output.ts'
import { interruptSignal } from './interrupt.ts'
import { type Arguments, UsageError } from './options.ts'
import { printable, say } from './terminal.ts'

/** Measures the standard set, or what the flags name, and writes the report to a new file. */
export async function writeReport(args: Arguments): Promise<void> {
  const other = args.given().find((name) => ['offload', 'explain', 'output', 'json'].includes(name))
  if (other !== undefined) throw new UsageError(`--${other} must be absent with --report`)
  const given = args.positionals.length > 0 || args.given().some((name) => name !== 'report')
  const tests = given ? readTests(args) : undefined
  const path = args.text('report') || `gta-board-${new Date().toISOString().slice(0, 16).replace(/[-:]/g, '')}.json`
  if (!path.endsWith('.json'))
    throw new UsageError(`--report must be given the name of a .json file or none, found "${path}"`)
  if (!tests) say('the standard set: some 6 minutes on a Raspberry Pi 5 (predicted), 1.3 GB of memory')
  const progress = new Phases()
  const signal = interruptSignal(Number.POSITIVE_INFINITY)
  let layout: Columns = []
  let opened: BenchInfo | undefined
  const { report, bytes } = await writeBoardReport(path, () =>
    measureBoard({
      tests,
      // It writes a file: it has all the time that it needs.
      signal,
      onSkip: (model, needed) => {
        progress.end()
        say(`${model} is left out: ${megabytes(needed)} must be free for it; close other programs to have it too`)
      },
      onOpen: (info, names) => {
        progress.end()
        if (!opened) {
          layout = columnsFor(names)
          process.stdout.write(beginTable(info.environment, layout))
        }
        opened = info
      },
      onResult: (result) => {
        progress.end()
        process.stdout.write(rowOf(layout, result, opened as BenchInfo))
      },
      onProgress: progress.update,
    }).finally(() => progress.end()),
  )
  process.stdout.write(
    `\n- wrote ${printable(path)}, ${megabytes(bytes)}: board, processor, memory, system, Node, engine, temperatures, and the results above\n` +
      '- no user, host, path, serial number or network address is in it: it is text, read it before you send it\n',
  )
  if (report.isUnfinished) {
    say('it was stopped: the report holds the tests that were done')
    throw signal.reason
  }
  if (!report.isGood) {
    say('results differ where they must not: please send the report')
    process.exitCode = 1
  }
}

/** Checks reports, whoever wrote them, and sets them side by side; exit code 1 where equal tests computed different things. */
export async function showReports(args: Arguments): Promise<void> {
  if (args.positionals.length === 0) throw new UsageError('--show must be given reports: gta bench --show FILE.json …')
  const other = args.given().find((name) => !['show', 'output', 'json'].includes(name))
  if (other !== undefined) throw new UsageError(`--${other} must be absent with --show`)
  const output = args.oneOf('output', ['md', 'csv', 'json']) ?? (args.flag('json') ? 'json' : 'md')
  const reports: NamedReport[] = []
  for (const [i, path] of args.positionals.entries())
    reports.push({ id: i + 1, file: printable(basename(path)), report: await readBoardReport(path), problems: [] })
  for (const named of reports) named.problems = await inconsistencies(named.report)
  process.stdout.write(boardFormats[output](reports))
  const { problems } = compareHashes(reports)
  for (const problem of problems) say(problem)
  for (const { id, problems } of reports)
    for (const problem of problems) say(`report ${id} does not fit together: ${problem}`)
  const bad = reports.filter(({ report }) => !report.isGood)
  for (const { id } of bad) say(`report ${id} says of itself that results differ where they must not`)
  if (problems.length > 0 || bad.length > 0 || reports.some((one) => one.problems.length > 0)) process.exitCode = 1
}
