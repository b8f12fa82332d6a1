/** The scripts of bench/ and npm run identity: --help is help, and what is wrong is one line and exit code 2. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { temporary } from './fixtures/checkpoints.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const folder = temporary()

function run(script: string, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const command = ['--disable-warning=ExperimentalWarning', root + script, ...args]
  return new Promise((resolve) => {
    execFile(process.execPath, command, { cwd: folder }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? -1) : 0, stdout, stderr }),
    )
  })
}

const scripts = [
  'bench/capacity.ts',
  'bench/compare.ts',
  'bench/fleet.ts',
  'bench/gpu.ts',
  'bench/load.ts',
  'bench/package.ts',
  'bench/predict.ts',
  'bench/serve.ts',
  'bench/session.ts',
  'bench/tokenizers.ts',
  'bench/a76/a76.ts',
  'bench/figures/figures.ts',
  'bench/peers/run.ts',
  'bench/peers/ours.ts',
  'test/identity/identity.ts',
]

for (const script of scripts)
  test(`${script} --help, and a flag that there is not`, async () => {
    const [help, wrong] = await Promise.all([run(script, '--help'), run(script, '--bogus')])
    assert.is(help.code, 0, help.stderr)
    assert.match(help.stdout, /^Usage: n(pm run|ode) \S+.*\n\S.+\n\n {2}/)
    assert.match(help.stdout, /^ {2}-h, --help +this text\n$/m)
    assert.is(help.stderr, '')
    assert.is(wrong.code, 2)
    assert.is(wrong.stdout, '')
    assert.match(wrong.stderr, /^[^\n]*'--bogus'[^\n]* See --help\n$/)
  })

test('wrong values and operands: one line, exit code 2', async () => {
  const cases: [string, string[], string][] = [
    ['bench/capacity.ts', ['0'], 'MEGABYTES must be a whole number from 1 to 3000, found "0"'],
    ['bench/capacity.ts', ['1', '2'], 'there is an argument too many: "2"'],
    ['bench/compare.ts', [], 'REF must be given, found nothing'],
    ['bench/compare.ts', ['HEAD', '--rounds', '0'], '--rounds must be a whole number of at least 1, found "0"'],
    ['bench/compare.ts', ['HEAD', '--', '--json'], '--json must be absent'],
    ['bench/load.ts', ['--type', 'q5'], '--type must be f32, q8 or q4, found "q5"'],
    ['bench/load.ts', ['--repeat'], '--repeat'],
    ['bench/predict.ts', ['--models', 'gta-9b'], '--models must be'],
    [
      'bench/serve.ts',
      ['rest'],
      'TRIAL must be soak, flood, disconnects, sockets, prompts, throughput or overhead, found "rest"',
    ],
    ['bench/tokenizers.ts', ['one'], 'DIRECTORY TEXT… must be given, found 1'],
    ['bench/figures/figures.ts', ['x'], 'there is an argument too many: "x"'],
    ['bench/peers/run.ts', ['-o', 'csv'], '-o must be md or json, found "csv"'],
    ['bench/peers/run.ts', ['--threads', '1,x'], '--threads must be'],
    ['test/identity/identity.ts', ['--only', 'nowhere'], '--only must be parts of'],
  ]
  await Promise.all(
    cases.map(async ([script, args, words]) => {
      const { code, stdout, stderr } = await run(script, ...args)
      assert.is(code, 2, `${script} ${args}: ${stderr}`)
      assert.is(stdout, '')
      assert.match(stderr, /^[^\n]+ See --help\n$/)
      assert.ok(stderr.includes(words), stderr)
    }),
  )
})

test.run()
