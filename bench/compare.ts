/**
 * The working tree against a commit, so that a claim of speed rests on more than two runs at different times:
 *
 *     npm run bench:compare -- REF [--rounds 5] [-- ARGUMENTS OF gta bench]
 *
 * Builds REF in a temporary worktree, then runs `gta bench` of both in fresh processes, in turns and in reversed order
 * every other round. What slows the machine down for a while so slows both; what counts is the ratio within a round.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { BenchReport } from '../host/tools/bench/report.ts'
import { readArguments, refuse, wholeOf } from './arguments.ts'

const root = fileURLToPath(new URL('../', import.meta.url))

/** For people, without a stack. */
class Refusal extends Error {}

/** Reports of one round: of the commit and of the working tree. */
export type Round = [before: BenchReport, after: BenchReport]

export interface Comparison {
  /** Name of the test and its threads, or what else was measured. */
  name: string
  /** In every round, in their order. */
  before: number[]
  after: number[]
  /** Median of after / before within a round. */
  ratio: number
  /** Do all runs of both have one hash? Undefined where there is none. */
  isSame?: boolean
}

export function compareRounds(rounds: Round[]): Comparison[] {
  const tests = rounds[0]?.[0].results.map(({ test, threads }) => ({ test, threads })) ?? []
  const speeds = tests.map(({ test, threads }) => {
    const results = rounds.map((round) => round.map((report) => resultOf(report, test, threads)))
    const values = (side: number) => results.map((pair) => pair[side]?.tokensPerSecond.median ?? Number.NaN)
    const hashes = new Set(results.flat().map((result) => result?.hash))
    return {
      ...compared(`${test}, ${threads} thread${threads === 1 ? '' : 's'}: tok/s`, values(0), values(1)),
      isSame: hashes.size === 1,
    }
  })
  const both = (name: string, value: (report: BenchReport) => number) =>
    compared(
      name,
      rounds.map(([before]) => value(before)),
      rounds.map(([, after]) => value(after)),
    )
  return [
    ...speeds,
    both('load: s', ({ loadSeconds }) => loadSeconds),
    both('peak memory: MB', ({ peakRssBytes }) => peakRssBytes / 1e6),
  ]
}

function resultOf(report: BenchReport, test: string, threads: number) {
  return report.results.find((result) => result.test === test && result.threads === threads)
}

function compared(name: string, before: number[], after: number[]): Comparison {
  return { name, before, after, ratio: median(after.map((value, i) => value / (before[i] as number))) }
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const half = (sorted.length - 1) / 2
  return ((sorted[Math.floor(half)] as number) + (sorted[Math.ceil(half)] as number)) / 2
}

/** A Markdown table: median (min … max) of the rounds. */
export function comparisonTable(before: string, after: string, rows: Comparison[]): string {
  const digits = (n: number) => n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0)
  const spread = (list: number[]) =>
    `${digits(median(list))} (${digits(Math.min(...list))} … ${digits(Math.max(...list))})`
  const same = ({ isSame }: Comparison) => (isSame === undefined ? '' : isSame ? 'same' : 'DIFFERS')
  const cells = [
    ['measured', before, after, 'ratio', 'hash'],
    ...rows.map((row) => [row.name, spread(row.before), spread(row.after), row.ratio.toFixed(3), same(row)]),
  ]
  const widths = cells[0]?.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0))) ?? []
  const line = (list: string[]) => `| ${list.map((cell, i) => cell.padEnd(widths[i] as number)).join(' | ')} |`
  const [head = [], ...body] = cells
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...body.map(line), ''].join('\n')
}

async function main(args: string[]): Promise<void> {
  const { ref, rounds, benchArguments } = read(args)
  const commit = git('rev-parse', '--verify', '--quiet', `${ref}^{commit}`)
  if (!commit) throw new Refusal(`REF must be a commit, a branch or a tag, found "${ref}": see git log`)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => stop.abort(new Refusal(`stopped by ${signal}`)))
  const folder = mkdtempSync(join(tmpdir(), 'gta-compare-'))
  const tree = join(folder, 'tree')
  try {
    if (git('worktree', 'add', '--detach', tree, commit) === undefined)
      throw new Refusal(`git could not make a worktree of "${ref}" in ${folder}: is there room?`)
    await prepare(tree, ref, stop.signal)
    const found: Round[] = []
    for (let i = 0; i < rounds; i++) {
      process.stderr.write(`round ${i + 1} of ${rounds}\n`)
      const measure = (where: string) => bench(where, benchArguments, stop.signal)
      if (i % 2 === 0) found.push([await measure(tree), await measure(root)])
      else {
        const after = await measure(root)
        found.push([await measure(tree), after])
      }
    }
    process.stdout.write(comparisonTable(`${ref} (${commit.slice(0, 7)})`, 'working tree', compareRounds(found)))
    if (!found.flat().every(({ isGood }) => isGood))
      throw new Refusal(
        'a run had results that differ within itself: run gta bench with the same arguments to see them',
      )
  } finally {
    // The symbolic link first, so that removing the folder cannot reach the packages behind it.
    rmSync(join(tree, 'node_modules'), { recursive: true, force: true })
    git('worktree', 'remove', '--force', tree)
    rmSync(folder, { recursive: true, force: true })
    git('worktree', 'prune')
  }
}

function read(args: string[]) {
  const end = args.includes('--') ? args.indexOf('--') : args.length
  const benchArguments = args.slice(end + 1)
  const taken = benchArguments.find((arg) => /^(-o|--output|--json)/.test(arg))
  if (taken !== undefined) refuse(`${taken} must be absent: this prints a table of its own`)
  const { values, positionals } = readArguments(
    {
      command: 'npm run bench:compare --',
      about:
        'Sets the working tree against a commit: gta bench of both, in turns, with the arguments behind a further "--".',
      operands: { value: 'REF', least: 1, most: 1 },
      flags: { rounds: { type: 'string', value: 'N', default: '5', help: 'how often both run' } },
    },
    args.slice(0, end),
  )
  return { ref: positionals[0] as string, rounds: wholeOf('--rounds', values.rounds), benchArguments }
}

/** Output of a git command without the newline; undefined if it fails. */
function git(...args: string[]): string | undefined {
  const { status, stdout } = spawnSync('git', args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return status === 0 ? stdout.trim() : undefined
}

/** Installs and builds both. Packages of the same lock file are the same: they are linked, not installed again. */
async function prepare(tree: string, ref: string, signal: AbortSignal): Promise<void> {
  const lock = (where: string) => readFileSync(join(where, 'package-lock.json'), 'utf8')
  if (lock(tree) === lock(root)) symlinkSync(join(root, 'node_modules'), join(tree, 'node_modules'))
  for (const where of [root, tree]) {
    // Commits before the build had a place at the root keep it elsewhere.
    const script = existsSync(join(where, 'build.mjs')) ? 'build.mjs' : 'test/toolchain/build.mjs'
    const { code, stderr } = await run([script], where, signal)
    if (code !== 0) throw new Refusal(`the build of ${where === root ? 'the working tree' : ref} failed:\n${stderr}`)
  }
  const { code } = await run([join(tree, 'dist/gta.mjs'), 'bench', '--help'], root, signal)
  if (code !== 0) throw new Refusal(`"${ref}" must have the command gta bench, found none: it is older than that`)
}

/** One fresh process; paths in the arguments are those of the working tree for both. */
async function bench(where: string, args: string[], signal: AbortSignal): Promise<BenchReport> {
  const { code, stdout, stderr } = await run(
    [join(where, 'dist/gta.mjs'), 'bench', ...args, '-o', 'json'],
    root,
    signal,
  )
  try {
    return JSON.parse(stdout)
  } catch {
    throw new Refusal(`gta bench of ${where === root ? 'the working tree' : 'the commit'} failed (${code}): ${stderr}`)
  }
}

function run(args: string[], cwd: string, signal: AbortSignal) {
  return new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve, reject) => {
    signal.throwIfAborted()
    const child = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], signal })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (chunk) => {
      stdout += chunk
    })
    child.stderr.on('data', (chunk) => {
      stderr += chunk
    })
    child.on('error', (error) => reject(signal.aborted ? signal.reason : error))
    child.on('close', (code) => (signal.aborted ? reject(signal.reason) : resolve({ code, stdout, stderr })))
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await main(process.argv.slice(2)).catch((error) => {
    process.stderr.write(`${error instanceof Refusal ? error.message : (error.stack ?? error)}\n`)
    process.exitCode = 1
  })
