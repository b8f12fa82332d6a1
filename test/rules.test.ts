/** Rules of the source tree: who may import whom, and what must not be in the engine. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sectionsOf } from './wasm-sections.ts'

const root = fileURLToPath(new URL('../', import.meta.url))

function sources(folder: string): { file: string; text: string }[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => ({ file: join(folder, name), text: readFileSync(join(root, folder, name), 'utf8') }))
}

/** Relative imports of a file, as paths from the root; packages as they are. */
function importsOf({ file, text }: { file: string; text: string }): string[] {
  return [...text.matchAll(/(?:from|import) '([^'\s()]+)'/g)].map(([, target]) =>
    target?.startsWith('.') ? normalize(join(dirname(file), target)) : (target as string),
  )
}

function expectImports(folder: string, isAllowed: (target: string, file: string) => boolean): void {
  const files = sources(folder)
  assert.ok(files.length > 0)
  for (const source of files)
    for (const target of importsOf(source))
      assert.ok(isAllowed(target, source.file), `${source.file} imports ${target}`)
}

const isCommand = (file: string) => file.startsWith('assembly/wasi')

test('assembly/ and models/ import only themselves', () => {
  expectImports('assembly', (target) => target.startsWith('assembly/'))
  expectImports('models', (target) => target.startsWith('models/'))
})

test('host/ imports itself, models/ and packages; nothing imports bench/ or test/', () => {
  expectImports('host', (target) => !/^(assembly|bench|test)\//.test(target))
})

test('cli/ imports only host/index, the table of settings and models/', () => {
  expectImports('host/cli', (target) => /^(node:|host\/cli\/|models\/|host\/(index|settings)\.ts)/.test(target))
})

test('what browsers run reaches Node in host/platform/node.ts only', async () => {
  const { inputs } = await browserInputs()
  const reached = Object.keys(inputs)
  for (const file of [
    'host/runtime/model.ts',
    'host/runtime/scheduler.ts',
    'host/runtime/generate.ts',
    'host/engine/wasm/engine.ts',
    'host/files/packed.ts',
  ])
    assert.ok(reached.includes(file), file)
  for (const source of sources('host').filter(
    ({ file }) => reached.includes(file) && file !== 'host/platform/kernels.ts',
  ))
    for (const target of importsOf(source))
      assert.not.ok(target.startsWith('node:'), `${source.file} imports ${target}`)
})

/** What the worker of browsers is made of; fails where a module of Node is among it. */
async function browserInputs(): Promise<{ inputs: Record<string, unknown> }> {
  const { build } = await import('esbuild')
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: ['host/browser/worker.ts'],
    bundle: true,
    write: false,
    metafile: true,
    platform: 'browser',
    format: 'esm',
    plugins: [
      {
        name: 'kernels',
        setup: ({ onLoad }) =>
          onLoad({ filter: /kernels\.ts$/ }, () => ({ contents: 'export const readKernel = null' })),
      },
    ],
  })
  return metafile
}

test('only host/engine/wasm/ touches the loader and the exports of the engine', () => {
  for (const source of sources('host').filter(({ file }) => !file.startsWith('host/engine/wasm/'))) {
    assert.not.match(source.text, '@assemblyscript/loader')
    assert.not.ok(importsOf(source).includes('host/engine/wasm/instance.ts'), source.file)
  }
})

test('the engine names no attention kind outside comments', () => {
  // The command's own name, in its texts, is none of a kind.
  for (const { file, text } of sources('assembly'))
    for (const line of (isCommand(file) ? text.replaceAll('gta', '') : text)
      .split('\n')
      .filter((candidate) => !/^\s*(\/\/|\*|\/\*)/.test(candidate)))
      assert.not.match(line, /\b(mha|mqa|gqa|gva|gha|gta|mla|gla|tied)\b/i, file)
})

test('the engine has no top-level decorators but @unmanaged classes', () => {
  for (const { file, text } of sources('assembly'))
    for (const [decorator] of text.matchAll(/^@\w+/gm)) assert.is(decorator, '@unmanaged', file)
})

/** Data segments are section 11, their count section 12. */
const sectionIds = (file: string) => sectionsOf(readFileSync(join(root, file))).map(({ id }) => id)

test('no string and no array made a data segment: each instantiation would write it again', () => {
  for (const build of ['strict', 'relaxed', 'strict-single', 'relaxed-single', 'debug']) {
    const ids = sectionIds(`dist/engine-${build}.wasm`)
    assert.ok(ids.includes(10), 'there is code')
    assert.not.ok(ids.includes(11), `${build} has a data section`)
    assert.not.ok(ids.includes(12), `${build} has a data count`)
  }
})

/** Globals of a wasm module that can change; section 6: type, mutability, initial value. */
function mutableGlobals(bytes: Uint8Array): number {
  const text = Buffer.from(bytes).toString('latin1')
  let at = 8
  const number = () => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = text.charCodeAt(at++)
      value += (byte & 127) * 2 ** shift
      if (byte < 128) return value
    }
  }
  while (at < bytes.length) {
    const id = number()
    const end = number() + at
    if (id === 6) {
      let found = 0
      for (let count = number(); count > 0; count--) {
        at++
        if (text.charCodeAt(at++) === 1) found++
        // i32.const or i64.const, the value, end: all that asc writes.
        at++
        number()
        at++
      }
      return found
    }
    at = end
  }
  return 0
}

test('the command for WASI keeps its state in memory too; its texts are constants, written once, as it starts', () => {
  for (const build of ['strict', 'relaxed']) {
    const bytes = readFileSync(join(root, `dist/gta-${build}.wasm`))
    assert.is(mutableGlobals(bytes), 0, build)
    assert.ok(sectionIds(`dist/gta-${build}.wasm`).includes(11), 'there are texts')
  }
})

test('tests look for tools through test/tools.ts, which .ci/bare and .ci/run know too', () => {
  const others = ['test', 'bench'].flatMap(sources).filter(({ text }) => /SKIPPED|\/usr\/bin|apt-get/.test(text))
  // The table of identity.ts has rows that are skipped; run.test.ts is about these lines.
  const known = ['test/identity/identity.ts', 'test/rules.test.ts', 'test/run.test.ts', 'test/tools.ts']
  assert.equal(others.map(({ file }) => file).sort(), known)
})

test('only assembly/wasi knows files and text', () => {
  for (const { file, text } of sources('assembly')) {
    if (isCommand(file)) continue
    assert.not.match(text, /from '\.\/wasi/, file)
    assert.not.match(text, /: string\b/, file)
  }
})

test('the engine has no state of its own: no global that changes', () => {
  const text = readFileSync(join(root, 'dist/engine-debug.wat'), 'utf8')
  assert.match(text, '(module')
  assert.not.match(text, '(mut ')
})

test('the engine imports its memory, its rank and a clock, and nothing else', () => {
  for (const build of ['strict', 'relaxed', 'strict-single', 'relaxed-single']) {
    const module = new WebAssembly.Module(readFileSync(join(root, `dist/engine-${build}.wasm`)))
    assert.equal(
      WebAssembly.Module.imports(module)
        .map(({ module, name, kind }) => `${module}.${name} ${kind}`)
        .sort(),
      ['env.memory memory', 'host.now function', 'host.rank global'],
    )
  }
})

test.run()
