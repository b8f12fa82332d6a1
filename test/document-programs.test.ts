/**
 * The documents tried out: the programs of README and of docs/*.md are compiled in strict mode and run, their commands are
 * run, in a folder where the packed package is installed; predictions are those of the analyzer. What cannot be run here is
 * listed with the reason.
 */
import { spawn, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packPackage } from '../bench/package.ts'
import { convert } from '../host/files/convert.ts'
import { describeModel } from '../host/files/describe.ts'
import { defaultModel } from '../host/index.ts'
import { paperConfig } from '../host/load.ts'
import { Analysis } from '../host/tools/analyze/analyze.ts'
import { tokensPerSecond } from '../host/tools/analyze/charts.ts'
import { findHardware } from '../host/tools/analyze/hardware.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { blocks, documents, isForPages, programs } from './fixtures/documents.ts'
import { browserTypes, compile, nodeTypes } from './harness/consumer.ts'
import { limit, limitNote } from './harness/limits.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const folder = temporary()
/** Where somebody has installed the package, and has a model and texts. */
const consumer = join(folder, 'consumer')
const installed = join(consumer, 'node_modules/gta-edge')
/** A home with the checkpoint that they convert: the stories model, made for a longer context. */
const home = join(folder, 'home')
const env = {
  ...process.env,
  HOME: home,
  XDG_CACHE_HOME: join(folder, 'cache'),
  PATH: `${folder}/bin:${process.env.PATH}`,
}

test.before(async () => {
  const packed = packPackage(folder)
  mkdirSync(dirname(installed), { recursive: true })
  renameSync(packed.folder, installed)
  const checkpoint = join(home, 'models/my-gta')
  cpSync(`${root}test/golden/stories`, checkpoint, { recursive: true })
  const config = JSON.parse(readFileSync(join(checkpoint, 'config.json'), 'utf8'))
  writeFileSync(join(checkpoint, 'config.json'), JSON.stringify({ ...config, max_position_embeddings: 4096 }))
  // An installed package has no tasks; cli.md says where to put them. Short ones, and a short book: what comes out is for
  // other tests.
  const tasks = join(folder, 'cache/gta-edge/tasks')
  mkdirSync(tasks, { recursive: true })
  for (const name of ['piqa', 'arc_easy', 'winogrande']) {
    const items = readFileSync(`${root}bench/tasks/${name}.jsonl`, 'utf8').split('\n')
    writeFileSync(join(tasks, `${name}.jsonl`), `${items.slice(0, 20).join('\n')}\n`)
  }
  await convert(checkpoint, join(consumer, 'my-gta.gta'))
  writeFileSync(join(checkpoint, 'chat_template.jinja'), '{% for m in messages %}{{ m.content }}\n{% endfor %}')
  await convert(checkpoint, join(consumer, 'my-chat.gta'))
  copyFileSync(defaultModel, join(consumer, 'stories.gta'))
  writeFileSync(join(consumer, 'package.json'), '{ "type": "module" }')
  writeFileSync(
    join(consumer, 'book.txt'),
    readFileSync(`${root}test/golden/stories/valid_slice.txt`).subarray(0, 1000),
  )
  writeFileSync(
    join(consumer, 'requests.jsonl'),
    ['a', 'b', 'c']
      .map((id) => JSON.stringify({ custom_id: id, url: '/v1/completions', body: { prompt: 'Once', max_tokens: 2 } }))
      .join('\n'),
  )
  symlinkSync(join(installed, 'models'), join(consumer, 'models'))
  mkdirSync(join(folder, 'bin'))
  // As npm links it; but a benchmark repeats nothing here.
  writeFileSync(
    join(folder, 'bin/gta'),
    `#!/bin/sh
case "$*" in bench*--show* | bench*-r\\ *) ;; bench*) shift; set -- bench -r 1 "$@" ;; esac
exec "${process.execPath}" "${installed}/dist/gta.mjs" "$@"
`,
    { mode: 0o755 },
  )
})

test('every block of code is a program, commands, or of a kind that nobody runs', () => {
  for (const { document, kind, text } of blocks)
    assert.ok(['ts', 'js', 'sh', ''].includes(kind), `${document}: \`\`\`${kind} ${text.slice(0, 40)}`)
})

test('what README links to in docs/ is in the package', () => {
  const targets = [...(documents.get('README.md') ?? '').matchAll(/\]\((docs\/[^)#]*)/g)].map(([, target]) => target)
  assert.ok(targets.length > 10)
  for (const target of targets) assert.ok(existsSync(join(installed, target as string)), target)
})

test('the programs compile in strict mode', () => {
  const bundler = { module: 'ESNext', moduleResolution: 'bundler' }
  const files = (list: string[]) => Object.fromEntries(list.map((text, i) => [`${i}.ts`, text]))
  const forNode = files(programs.filter((text) => !isForPages(text)))
  assert.ok(Object.keys(forNode).length >= 4)
  assert.is(compile(join(folder, 'strict-node'), installed, forNode, { ...nodeTypes, ...bundler }), '')
  const forPages = files(programs.filter(isForPages))
  assert.is(Object.keys(forPages).length, 1)
  assert.is(compile(join(folder, 'strict-pages'), installed, forPages, { ...browserTypes, ...bundler }), '')
})

test('the programs for Node run', () => {
  for (const [i, text] of programs.filter((text) => !isForPages(text)).entries()) {
    const file = join(consumer, `program-${i}.ts`)
    writeFileSync(file, text)
    const args = ['--disable-warning=ExperimentalWarning', file]
    const ended = spawnSync(process.execPath, args, {
      cwd: consumer,
      env,
      encoding: 'utf8',
      timeout: limit(300),
    })
    assert.is(ended.status, 0, ended.stderr + limitNote(ended, 300))
    assert.ok(ended.stdout.length > 10, `${file}: ${ended.stdout}`)
  }
  assert.ok(existsSync(join(consumer, 'fox.gtas')))
})

const isCommand = (line: string) => /^(gta|echo|npm|npx|node|sudo|hash|wasmedge|curl|lm_eval) /.test(line)
/** The commands, each once, without the comments behind them. */
const commands = [
  ...new Set(
    blocks
      .filter(({ kind, text }) => kind === 'sh' || isCommand(text))
      .flatMap(({ text }) => text.trimEnd().split('\n'))
      .map((line) => line.replace(/\s{2,}#.*$/, '')),
  ),
]

/** What is not run here, each with the reason. */
const notRun: Record<string, string> = {
  'npm install webgpu': 'a download of 60 MB, and a GPU',
  'sudo apt install libvulkan1 mesa-vulkan-drivers': 'changes the system; test/toolchain/lavapipe.sh does the same',
  'gta serve Qwen/Qwen3-0.6B -np 4 --queue 16 --timeout 600': 'needs that download',
  'gta worker my-chat.gta --nats nats://queue.lan:4222 -np 4': 'needs a NATS server; queue.test.ts has workers',
  'gta submit requests.jsonl --nats nats://queue.lan:4222': 'the same',
  'gta collect answers.jsonl --nats nats://queue.lan:4222 --wait': 'the same',
  'gta serve Qwen/Qwen3-0.6B small=my-gta.gta': 'needs that download; server-together.test.ts has several models',
  'gta serve my-gta.gta --host 0.0.0.0 --api-key-file keys.txt': 'listens to others; server-limits.test.ts has keys',
  'gta chat my-gta.gta --recover': 'needs somebody who talks; recovery.test.ts loses engines',
  'curl -N http://127.0.0.1:8080/v1/chat/completions --json \'{"messages":[{"role":"user","content":"Hello"}],"stream":true}\'':
    'needs a server at that port; server.test.ts asks the same',
  'lm_eval --model local-completions --tasks piqa --model_args model=stories,base_url=http://127.0.0.1:8080/v1/completions,tokenizer=DIR':
    'a program of Python that needs a server; server-forms.test.ts has the shape that it reads',
  'curl http://127.0.0.1:8080/v1/completions --json \'{"prompt":"Once upon a time","max_tokens":50}\'': 'the same',
  'npm start': '.ci/start runs it, where nothing is built',
  'npm test': 'runs this file',
  'npm pack && npm install -g ./gta-edge-*.tgz': '.ci/start does, where nothing is built, without changing the system',
  'sudo apt install nodejs npm && sudo npm install -g n && sudo n 24': 'changes the system',
  'hash -r && sudo npm install -g ./gta-edge-*.tgz': 'changes the system; package-nodes.test.ts installs the tarball',
  'gta convert Qwen3-0.6B-Q4_K_M.gguf': 'a model to download; cli.test.ts converts a small one',
  'gta convert ~/models/Qwen3-0.6B qwen3.gguf --type q8_0':
    'a model to download; gguf-export.test.ts writes small ones',
  'gta pull Qwen/Qwen3-0.6B-GGUF:Q8_0': 'a download',
  'gta run Qwen/Qwen3-0.6B -p "Hello"': 'needs that download',
  'gta rm Qwen/Qwen3-0.6B': 'needs that download',
  'gta bench --config models/configs/gta-1b.json -d 0,1536 --explain': 'minutes; bench.test.ts has a small one',
  'gta bench --config models/configs/gta-1b.json --type q4 -p 128,512 -n 64 -d 0,1536 -np 1,8 -t 1,2,4 -r 5': 'an hour',
  'gta bench --report board.json': 'minutes; the smaller report behind it is made',
  'gta pull Qwen/Qwen3-0.6B': 'downloads 1.5 GB',
  'gta run Qwen/Qwen3-0.6B -p "Why is the sky blue?"': 'needs that download',
  'gta convert Qwen/Qwen3-0.6B qwen3.gta --type q4': 'needs that download',
  'gta chat qwen3.gta': 'needs that download, and somebody who talks',
  'npm run conformance:gpu -- --adapter swiftshader,lavapipe,chromium --results gpu.jsonl':
    'an hour; conformance-table.test.ts has the table',
  'npm run conformance:gpu -- --results gpu.jsonl --write': 'needs what that computes',
  'npm run identity': 'an hour; .ci/run has the quick one',
  'npm run identity -- --quick': 'a lane of .ci/run',
  'npm run identity -- --only a76 -o json': 'minutes; identity-table.test.ts has the table',
  'wasmedge --enable-jit --dir .:. dist/gta-strict.wasm stories.gta -p "Once upon a time" -n 100 -s 1':
    'wasi-wasmedge.test.ts runs it where WasmEdge is installed',
}
/** They serve a page until they are told to end; those of npm run the same file in a clone. */
const servers: Record<string, string> = {
  'gta view': 'gta view --port 0',
  'gta serve': 'gta serve --port 0',
  'gta serve --chat-template chatml': 'gta serve --chat-template chatml --port 0',
  'npm run web': `node ${root}dist/web.mjs`,
  'npm run web -- --no-isolation': `node ${root}dist/web.mjs --no-isolation`,
}

test('every command is run, served, or listed with the reason why not; no reason is without a command', () => {
  for (const line of commands) assert.ok(isCommand(line), line)
  for (const line of [...Object.keys(notRun), ...Object.keys(servers)]) assert.ok(commands.includes(line), line)
})

test('the commands do what they say', () => {
  const run = commands.filter((line) => !(line in notRun) && !(line in servers))
  assert.ok(run.length >= 17, run.join('\n'))
  for (const line of run) {
    // It is a new file for whoever follows the documents, and is not replaced.
    if (line.startsWith('gta convert')) rmSync(join(consumer, 'my-gta.gta'))
    const ended = spawnSync('sh', ['-c', line], { cwd: consumer, env, encoding: 'utf8', timeout: limit(300) })
    assert.is(ended.status, 0, `${line}: ${ended.stderr}${limitNote(ended, 300)}`)
  }
  assert.match(readFileSync(join(consumer, 'report.html'), 'utf8'), '<svg')
  assert.match(readFileSync(join(consumer, 'results.jsonl'), 'utf8'), '"test":"pp512"')
})

test('the commands that serve a page tell where, and end when they are told to', async () => {
  for (const line of Object.values(servers)) {
    const child = spawn('sh', ['-c', `exec ${line}`], {
      cwd: consumer,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: limit(300),
    })
    const ended = new Promise((resolve) => child.on('close', resolve))
    const output = await new Promise<string>((resolve) => child.stdout.once('data', (data) => resolve(String(data))))
    const url = /http:\/\/127\.0\.0\.1:\d+\S*/.exec(output)?.[0]
    assert.ok(url, `${line}: ${output}`)
    assert.is((await fetch(url)).status, 200)
    child.kill('SIGTERM')
    await ended
  }
})

test('the predictions for a Raspberry Pi are those of the analyzer', async () => {
  const hardware = findHardware('bcm2712')
  const rows = [
    ['GTA-1B q8', 'gta-1b', 'q8'],
    ['GTA-1B q4', 'gta-1b', 'q4'],
    ['160M GTA q8', '160m-gta1', 'q8'],
  ] as const
  for (const [label, name, type] of rows) {
    const { model } = await describeModel(paperConfig(name))
    const analysis = new Analysis(model, hardware, { type, cache: 'int8', rowsPerStep: 64 })
    const rate = (stage: 'prefill' | 'decode', batch: number) => tokensPerSecond(analysis.pass(stage, batch, 128))
    const cells = documents
      .get('docs/raspberry-pi.md')
      ?.match(new RegExp(`^\\| ${label} \\|(.*)\\|$`, 'm'))?.[1]
      ?.split('|')
      .map((cell) => Number(cell.replace(',', '')))
    for (const [i, expected] of [
      rate('prefill', 1),
      Number.NaN,
      rate('decode', 1),
      Number.NaN,
      rate('decode', 4),
    ].entries())
      if (!Number.isNaN(expected))
        assert.ok(Math.abs((cells?.[i] ?? 0) / expected - 1) < 0.01, `${label}: ${cells} ${expected}`)
  }
})

test.run()
