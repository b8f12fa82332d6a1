/**
 * Board reports: what `gta bench --report` writes about a machine, that it names nobody, and that whoever gets such files
 * from strangers can believe what `gta bench --show` makes of them.
 */
import { execFile, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { hostname, networkInterfaces, userInfo } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fit } from '../host/engine/fit.ts'
import { defaultModel, GtaError } from '../host/index.ts'
import { inconsistencies } from '../host/tools/bench/board/consistency.ts'
import { publicKernel } from '../host/tools/bench/board/facts.ts'
import { readBoardReport } from '../host/tools/bench/board/file.ts'
import { publicName, standardSet } from '../host/tools/bench/board/measure.ts'
import type { BoardReport, BoardResult, BoardRun } from '../host/tools/bench/board/report.ts'
import { describe, planModel } from '../models/index.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { limit, limitNote } from './harness/limits.ts'

const command = fileURLToPath(new URL('../dist/gta.mjs', import.meta.url))
const quick = ['-p', '8', '-n', '4', '-r', '1', '-t', '1']
const folder = temporary()

interface Ended {
  code: number
  stdout: string
  stderr: string
}

/** Runs `gta bench` in a folder; what it remembers about threads stays there. */
function bench(args: string[], env: NodeJS.ProcessEnv = {}, cwd = folder, node: string[] = []): Promise<Ended> {
  const options = { cwd, timeout: limit(300), env: { ...process.env, XDG_CACHE_HOME: folder, ...env } }
  const all = [...node, command, 'bench', ...args]
  return new Promise((resolve) => {
    execFile(process.execPath, all, options, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? -1) : 0, stdout, stderr: stderr + limitNote(error, 300) }),
    )
  })
}

const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
const text = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8').replaceAll('\0', '').trim() : '')

const good = join(folder, 'good.json')
test.before(async () => {
  const { code, stderr } = await bench(['--report', good, ...quick.with(-1, '1,2')])
  assert.is(code, 0, stderr)
})

test('a report has what is needed to believe it', async () => {
  const report = await readBoardReport(good)
  assert.equal([report.schema, report.set, report.isGood], ['gta-board/1', 'flags', true])
  assert.match(report.date, /^\d{4}-\d\d-\d\d$/)
  const { software, machine } = report
  assert.equal([software.node, software.v8], [process.version, process.versions.v8])
  assert.is(software.tiers, process.arch === 'arm64' ? 'optimising' : 'quick, then optimising')
  assert.match(software.build, /^(relaxed|strict)-simd$/)
  assert.ok(machine.cores > 0 && machine.memoryBytes > 1e8)
  const [run] = report.runs
  assert.equal([run?.model, run?.weights, run?.weightType, report.runs.length], ['stories', 'embedded', 'q8', 1])
  assert.equal(
    run?.results.map(({ test, threads, isTuned }) => [test, threads, isTuned]),
    [['pp8', 1, false], ['pp8', 2, false], ['tg4', 1, false], ['tg4', 2, false]], // biome-ignore format: a table
  )
  assert.ok(run?.bandwidth.every(({ bytesPerSecond }) => bytesPerSecond > 0))
})

test('nothing personal is in it: no user, host, path, serial, address, environment or command line', async () => {
  const secret = 'mallory-7f3a'
  const home = join(folder, secret)
  mkdirSync(join(home, 'models'), { recursive: true })
  const model = join(home, 'models', 'fox.gta')
  copyFileSync(defaultModel, model)
  writeFileSync(join(home, `${secret}.mjs`), '')
  const people = ['HOME', 'USER', 'LOGNAME', 'HOSTNAME', 'GIT_AUTHOR_NAME', 'GIT_AUTHOR_EMAIL', 'EMAIL', 'GTA_TOKEN']
  const env = {
    ...Object.fromEntries(people.map((name) => [name, secret])),
    HOME: home,
    NODE_OPTIONS: `--max-old-space-size=4000 --import=${join(home, `${secret}.mjs`)} --title=${secret}`,
  }
  const { code, stdout, stderr } = await bench(['--report', 'mine.json', model, ...quick], env, home)
  assert.is(code, 0, stderr)
  assert.match(stdout, /wrote mine\.json, \d\.\d kB: board, .*\n- no user, host, path, serial number or network/)
  const written = readFileSync(join(home, 'mine.json'), 'utf8')
  const { runs, software } = JSON.parse(written) as BoardReport
  assert.equal([runs[0]?.model, runs[0]?.weights], ['fox', 'own'])
  assert.equal(software.flags, ['--max-old-space-size=4000'])
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  const personal = [
    secret,
    folder,
    process.cwd(),
    hostname(),
    userInfo().homedir,
    text('/etc/machine-id'),
    text('/proc/device-tree/serial-number'),
    text('/proc/cpuinfo').match(/^Serial\s*:\s*(\S+)/m)?.[1],
    ...addresses.flatMap(({ address, mac }) => [address, mac]),
  ]
  for (const found of personal.filter((value) => value && value.length > 3))
    assert.not.ok(written.includes(found as string), found)
})

test('names that people give to kernels, folders and files stay at home', () => {
  assert.is(publicKernel('linux 6.12.47+rpt-rpi-2712 arm64'), 'linux 6.12.47 arm64')
  assert.is(publicKernel('linux 6.6.31-of-john-doe x64'), 'linux 6.6.31 x64')
  assert.is(publicKernel('linux john x64'), undefined)
  assert.is(publicName('/home/john/models/fox-1.5.gta'), 'fox-1.5')
  assert.is(publicName('/home/john/config.json'), 'config')
  for (const path of ['/home/john', '.', '/home/john/', '/x/john doe.gta', '/x/\u001b[2J.gta', '/x/.gta'])
    assert.is(publicName(path), undefined, path)
})

test('a new file or none: what is there stays, and is told before anything is measured', async () => {
  const taken = join(folder, 'taken.json')
  writeFileSync(taken, 'mine')
  symlinkSync('nowhere', join(folder, 'link.json'))
  const [exists, link, model, absent] = await Promise.all([
    bench(['--report', taken, ...quick]),
    bench(['--report=link.json', ...quick]),
    bench(['--report', fileURLToPath(defaultModel)]),
    bench(['--report', 'no/such/folder.json']),
  ])
  assert.equal([exists.code, exists.stdout, readFileSync(taken, 'utf8')], [2, '', 'mine'])
  assert.match(exists.stderr, 'must be a new file, found one that is there already: give another name, or remove it')
  assert.equal([link.code, existsSync(join(folder, 'nowhere'))], [2, false])
  assert.is(model.code, 2)
  assert.match(model.stderr, 'the name of a .json file or none')
  assert.equal([absent.code, absent.stdout], [1, ''])
  assert.match(absent.stderr, /"no\/such\/folder\.json" cannot be written: .*Nothing was left behind/)
  assert.equal(readdirSync(folder).filter((name) => name.includes('.tmp-')), []) // biome-ignore format: one line
})

test('without a name: one with the time in it, in the folder where it runs', async () => {
  const here = temporary()
  const { code, stdout } = await bench([...quick, '--report'], {}, here)
  assert.is(code, 0)
  const [name = '', ...others] = readdirSync(here)
  assert.match(name, /^gta-board-\d{8}T\d{4}\.json$/)
  assert.equal(others, [])
  assert.match(stdout, `wrote ${name}`)
})

test('the standard set fits a board of 4 GB, and leaves out what memory has no room for', async () => {
  for (const { config, type, conversations = [1], depth = [0], predict = [0] } of standardSet()) {
    if (!config) continue
    const question = { memoryBytes: 4e9, context: Math.max(...depth) + Math.max(...predict), cache: 'int8' as const }
    const model = describe(read(config))
    const found = await fit(model, planModel(model, type ?? 'q8'), {
      ...question,
      conversations: Math.max(...conversations),
    })
    assert.ok(found.fits, config)
  }
  const full = join(folder, 'full.mjs')
  writeFileSync(
    full,
    `import os from 'node:os'
    import { syncBuiltinESMExports } from 'node:module'
    os.freemem = () => 1e8
    syncBuiltinESMExports()`,
  )
  const { code, stderr } = await bench(['--report=full.json'], {}, folder, ['--import', full])
  assert.is(code, 0, stderr)
  assert.match(stderr, /gta-1b is left out: 1\.\d+ GB must be free for it/)
  const report = await readBoardReport(join(folder, 'full.json'))
  assert.is(report.set, 'standard-1')
  assert.equal(report.runs.map(({ model, results }) => [model, results.map(({ test }) => test)]), [['stories', ['pp128', 'tg128']]]) // biome-ignore format: one line
  assert.ok(report.runs[0]?.results.every(({ isTuned }) => isTuned))
  assert.equal(
    report.skipped.map(({ model, weightType }) => `${model} ${weightType}`),
    ['160m-gta1 q8', 'gta-1b q8', 'gta-1b q8', 'gqa-1b q8', 'gta-1b q4'],
  )
})

/** All places of a document, as paths to what holds them. */
function* places(value: unknown): Generator<{ holder: Record<string, unknown>; key: string }> {
  if (typeof value !== 'object' || value === null) return
  for (const key of Object.keys(value)) {
    yield { holder: value as Record<string, unknown>, key }
    yield* places((value as Record<string, unknown>)[key])
  }
}

async function refusal(content: string): Promise<GtaError | undefined> {
  const path = join(folder, 'hostile.json')
  writeFileSync(path, content)
  return readBoardReport(path).then(
    () => undefined,
    (error) => {
      assert.instance(error, GtaError, `${error?.stack}`)
      return error as GtaError
    },
  )
}

test('a report with a field too many, or something else in any place, is refused with the place', async () => {
  const report = read(good)
  const bad = [null, {}, 'x'.repeat(200), '\u001b[2J', '=1+1', '| a |', -1, 1e300, '<b>']
  for (const { holder, key } of [...places(report)]) {
    const kept = holder[key]
    for (const value of bad) {
      // Nobody need know how hot it was.
      if (key === 'heat' && JSON.stringify(value) === '{}') continue
      holder[key] = value
      const error = await refusal(JSON.stringify(report))
      assert.ok(error, `${key}: ${JSON.stringify(value)}`)
      if (key !== 'schema') assert.match(error.message, Array.isArray(holder) ? `[${key}]` : key)
      assert.ok(error.message.length < 1200, error.message)
    }
    holder[key] = kept
    if (Array.isArray(holder)) continue
    holder.__extra = 1
    assert.match((await refusal(JSON.stringify(report)))?.message ?? '', '__extra')
    delete holder.__extra
  }
  const own = JSON.stringify(report).replace('{', '{"__proto__": {"isGood": true},')
  assert.match((await refusal(own))?.message ?? '', '__proto__')
  assert.is(await refusal(JSON.stringify(report)), undefined)
})

test('what is no report at all', async () => {
  for (const [content, message] of [
    ['', 'must be valid JSON'],
    ['null', 'must be an object, found null'],
    ['[]', 'must be an object, found []'],
    ['{"schema": "gta-board/2"}', 'must be a report of form gta-board/1, found gta-board/2: read it with the version'],
    ['{"schema": "gta-bench/1"}', 'report.'],
    ['['.repeat(1e6), 'must be'],
    [' '.repeat(2_000_001), 'the size of'],
  ] as const)
    assert.match((await refusal(content))?.message ?? '', message)
  const pipe = join(folder, 'pipe.json')
  assert.is(spawnSync('mkfifo', [pipe]).status, 0)
  for (const [path, message] of [
    [pipe, 'a regular file'],
    [folder, 'a regular file'],
    [join(folder, 'absent.json'), 'found nothing there'],
  ] as const)
    await readBoardReport(path).then(
      () => assert.unreachable(path),
      (error) => assert.match(error.message, message),
    )
})

test('several reports side by side; one that computed something else is found', async () => {
  const other = read(good) as BoardReport
  other.machine.board = 'Raspberry Pi 5 Model B Rev 1.0'
  other.heat = { before: 41.2, highest: 82, after: 60, throttled: ['throttled'], throttledSinceStart: ['throttled'] }
  const friend = join(folder, 'friend.json')
  writeFileSync(friend, JSON.stringify(other))
  const [same, csv, json] = await Promise.all([
    bench(['--show', good, friend]),
    bench(['--show', friend, '-o', 'csv']),
    bench(['--show', good, friend, '--json']),
  ])
  assert.equal([same.code, same.stderr], [0, ''])
  assert.match(
    same.stdout,
    /^\| +2 \| Raspberry Pi 5 Model B Rev 1\.0 .*\| 41\/82\/60 .*throttled, throttled since start/m,
  )
  assert.is(same.stdout.match(/^\| +2 \| stories/gm)?.length, 4)
  assert.match(
    same.stdout,
    '2 tests were run with different threads or in several reports; the hashes of all are the same',
  )
  const [head = '', ...rows] = csv.stdout.trimEnd().split('\n')
  assert.is(rows.length, 4)
  assert.ok(head.includes('tok_s_median') && rows.every((row) => row.includes('stories')))
  const shown = JSON.parse(json.stdout)
  assert.equal([shown.schema, shown.compared, shown.problems], ['gta-boards/1', 2, []])
  assert.equal(shown.reports.map(({ id, file }: { id: number; file: string }) => [id, file]), [[1, 'good.json'], [2, 'friend.json']]) // biome-ignore format: one line

  for (const result of other.runs[0]?.results ?? []) if (result.test === 'tg4') result.hash = '0123456789abcdef'
  writeFileSync(friend, JSON.stringify(other))
  const differs = await bench(['--show', good, friend])
  assert.is(differs.code, 1)
  assert.match(
    differs.stderr,
    /^gta: stories q8 tg4: [0-9a-f]{16} in report 1 .*, 0123456789abcdef in report 2 with 1 thread, /,
  )
  assert.match(differs.stdout, '1 DIFFER')
  writeFileSync(friend, JSON.stringify({ ...read(good), isGood: false }))
  const owned = await bench(['--show', friend])
  assert.equal(
    [owned.code, owned.stderr],
    [1, 'gta: report 1 says of itself that results differ where they must not\n'],
  )
})

/** What `--show` says of the good report after `change`. */
async function afterChange(change: (report: BoardReport) => void): Promise<string[]> {
  const report = read(good) as BoardReport
  change(report)
  return inconsistencies(report)
}
const resultsOf = ({ runs }: BoardReport) => runs[0]?.results as BoardResult[]

test('a report whose figures do not fit together: which, and why', async () => {
  assert.equal(await afterChange(() => undefined), [])
  const first = (change: (result: BoardResult, report: BoardReport) => void) =>
    afterChange((report) => change(resultsOf(report)[0] as BoardResult, report))
  const cases: [Promise<string[]>, RegExp][] = [
    [first(({ tokensPerSecond: speed }) => { speed.max = speed.median / 2 }), /pp8 with threads 1: the median .* must lie in its range/],
    [first(({ tokensPerSecond: speed }) => { speed.min = 0 }), /must lie in its range, 0 to/],
    // Faster than it was, and all that follows from it left as it is.
    [first(({ tokensPerSecond: speed }) => { speed.median *= 3; speed.max *= 3 }), /tok\/s read .* GB\/s, found/],
    [first((result) => { result.bytesPerSecond *= 2; result.bandwidthShare *= 2 }), /tok\/s read .* GB\/s, found/],
    [first((result) => { result.operationsPerSecond *= 1.01 }), /tok\/s are .* GOP\/s, found/],
    [first((result) => { result.bandwidthShare = 0.99 }), /GB\/s of .* must be .* %, found 99 %/],
    [first((result) => { result.hash = '0000000000000000' }), /the hash is missing: 0000000000000000/],
    [first(({ parts }) => { parts.linear += 100 }), /its parts take 100\S* s together/],
    [first((result) => { result.foreignShare = 0.01; for (const part of Object.keys(result.parts)) result.parts[part as 'rest'] /= 9 }), /its parts take/],
    [first(({ parts }) => { for (const part of Object.keys(parts)) parts[part as 'rest'] = 0 }), /its parts take 0 s together/],
    [first((result) => { result.barrierShare = 0.5 }), /waiting is .* % of its parts, found 50 %/],
    [first((_, report) => { (report.runs[0] as BoardRun).bandwidth = [] }), /the bandwidth of 1 threads is missing/],
    [first((result) => { result.differs = true }), /says that all results are good, but some differ/],
    // Of a model that nobody else has, tests are compared with each other.
    [first((result, report) => {
      (report.runs[0] as BoardRun).weights = 'own'
      result.bytesPerSecond *= 2
      result.bandwidthShare *= 2
    }), /pp8: with threads 2 a token reads .* MB, with others/],
  ] // biome-ignore format: a table
  for (const [found, expected] of cases) assert.match((await found).join('\n'), expected)
})

test('one report compares nothing, unless a test ran with several threads; what spoils it is said', async () => {
  const alone = read(good) as BoardReport
  const [run] = alone.runs as [BoardRun]
  run.results = run.results.filter(({ threads }) => threads === 1).map((result) => ({ ...result, foreignShare: 0.42 }))
  const path = join(folder, 'alone.json')
  writeFileSync(path, JSON.stringify({ ...alone, isUnfinished: true }))
  const { code, stdout, stderr } = await bench(['--show', path])
  assert.equal([code, stderr], [0, ''])
  assert.match(stdout, '- nothing was compared: no test was run with different threads or in several reports')
  assert.match(stdout, '- 1: other programs took up to 42 % of the processors')
  assert.match(stdout, '- 1: it was stopped before all tests were run')
  const [result] = run.results as [BoardResult]
  result.tokensPerSecond.median *= 2
  writeFileSync(path, JSON.stringify(alone))
  const wrong = await bench(['--show', path])
  assert.is(wrong.code, 1)
  assert.match(wrong.stdout, '- 1: ITS FIGURES DO NOT FIT TOGETHER in ')
  assert.match(wrong.stderr, /^gta: report 1 does not fit together: stories q8 pp8 with threads 1: the median /m)
})

test('wrong usage', async () => {
  const cases: [string[], string][] = [
    [['--show'], 'must be given reports'],
    [['--show', good, '-p', '8'], '--n-prompt must be absent with --show'],
    [['--show', good, '-o', 'html'], '--output'],
    [['--report', '-o', 'json'], '--output must be absent with --report'],
    [['--report', '--offload', '64M'], '--offload must be absent with --report'],
  ]
  const ended = await Promise.all(cases.map(([args]) => bench(args)))
  for (const [i, { code, stdout, stderr }] of ended.entries()) {
    assert.equal([code, stdout], [2, ''], stderr)
    assert.match(stderr, cases[i]?.[1] as string)
  }
})

test.run()
