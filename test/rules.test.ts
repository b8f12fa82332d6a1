/** Rules of the source tree: who may import whom, and what must not be in the engine. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sectionsOf } from './harness/wasm-sections.ts'

const root = fileURLToPath(new URL('../', import.meta.url))

function sources(folder: string): { file: string; text: string }[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.includes('node_modules'))
    .map((name) => ({ file: join(folder, name), text: readFileSync(join(root, folder, name), 'utf8') }))
}

/** An import or export of another file: `{ names }`, what it is from, or where a dynamic import leads. */
const IMPORT =
  /(?:^(?:import|export)\s+(?:(type\s+)?(\{[^}]*\}|\*(?: as \w+)?|\w+)\s+from\s+)?|\b(import)\()'([^'\s]+)'/gm

/** What a file imports, as paths from the root; packages as they are. `isLoaded`: is it there before the file runs? */
function importsIn({ file, text }: { file: string; text: string }): { target: string; isLoaded: boolean }[] {
  return [...text.matchAll(IMPORT)].map(([, type, names, dynamic, target]) => {
    const only = names?.startsWith('{') ? names.slice(1, -1).split(',') : []
    const isType = Boolean(type) || (only.length > 0 && only.every((name) => /^\s*(type\s|$)/.test(name)))
    const path = target as string
    // asc needs no .ts at the end.
    const full = path.startsWith('assembly/') || path.endsWith('.ts') || !path.startsWith('.') ? path : `${path}.ts`
    const place = full.startsWith('.') ? normalize(join(dirname(file), full)) : full
    return { target: place === '#platform' ? 'host/platform/node.ts' : place, isLoaded: !isType && !dynamic }
  })
}

function importsOf(source: { file: string; text: string }): string[] {
  return importsIn(source).map(({ target }) => target)
}

function expectImports(folder: string, isAllowed: (target: string, file: string) => boolean): void {
  const files = sources(folder)
  assert.ok(files.length > 0)
  for (const source of files)
    for (const target of importsOf(source))
      assert.ok(isAllowed(target, source.file), `${source.file} imports ${target}`)
}

const isCommand = (file: string) => file.startsWith('assembly/wasi')

/** What the engine, and the command for WASI, have in common with all that is around them; they import nothing. */
const abi = 'assembly/abi.ts'
const commandAbi = 'assembly/wasi/abi.ts'

test('assembly/ and models/ import only themselves, and models/ the ABI', () => {
  expectImports('assembly', (target, file) => target.startsWith('assembly/') && file !== abi && file !== commandAbi)
  expectImports('models', (target) => target.startsWith('models/') || target === abi)
})

test('host/ imports itself, models/, the ABI and packages; nothing imports bench/ or test/', () => {
  expectImports('host', (target) => target === abi || target === commandAbi || !/^(assembly|bench|test)\//.test(target))
})

/** From the ground up: a room imports only rooms that stand below it. Those of one floor do not know each other. */
const floors = [
  ['sizes.ts', 'json.ts'],
  ['settings.ts'],
  ['errors.ts'],
  ['platform'],
  ['engine', 'text'],
  ['cache'],
  ['files'],
  ['runtime'],
  ['sessions'],
  ['load.ts'],
  ['server', 'wasi', 'browser'],
  ['tools', 'fleet'],
  ['web', 'cli', 'index.ts'],
  ['node-red'],
]

/** A folder of host/, or a file that lies beside them; undefined for what is not in host/. */
const roomOf = (file: string) => /^host\/([^/]+)/.exec(file)?.[1]
const floorOf = (room: string) => floors.findIndex((rooms) => rooms.includes(room))

test('rooms of host/ import only those that stand below them, types too', () => {
  const standing = new Set<string>()
  for (const source of sources('host')) {
    const room = roomOf(source.file) as string
    standing.add(room)
    assert.ok(floorOf(room) >= 0, `"${room}" has no place in floors`)
    for (const target of importsOf(source)) {
      const other = roomOf(target)
      if (other === undefined || other === room) continue
      assert.ok(floorOf(other) < floorOf(room), `${source.file} imports ${target}, which stands no lower`)
    }
  }
  assert.equal([...standing].sort(), floors.flat().sort(), 'no place is for a room that is not there')
})

/** A circle of files that load each other, if there is one. */
function circleIn(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>()
  const path: string[] = []
  const visit = (file: string): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
    if (done.has(file)) return undefined
    done.add(file)
    path.push(file)
    for (const target of graph.get(file) ?? []) {
      const circle = visit(target)
      if (circle) return circle
    }
    path.pop()
    return undefined
  }
  for (const file of graph.keys()) {
    const circle = visit(file)
    if (circle) return circle
  }
  return undefined
}

test('every kind and every family is a file, and all of them are registered', () => {
  const { text } = sources('models').find(({ file }) => file === 'models/registry.ts') ?? { text: '' }
  const files = ['kinds', 'families'].flatMap((folder) => sources(`models/${folder}`).map(({ file }) => file))
  assert.ok(files.length > 8)
  for (const file of files)
    assert.ok(text.includes(`'./${file.slice('models/'.length)}'`), `${file}: run npm run build`)
  assert.is([...text.matchAll(/^import \{ family as/gm)].length, files.length)
})

test('no files load each other in a circle', () => {
  assert.equal(circleIn(new Map([['a', ['b', 'c']], ['b', []], ['c', ['b', 'a']]])), ['a', 'c', 'a']) // biome-ignore format: one line
  const graph = new Map(
    ['assembly', 'host', 'models', 'bench'].flatMap(sources).map((source) => {
      // In host/, types make no circle either.
      const known = importsIn(source).filter(({ isLoaded }) => isLoaded || source.file.startsWith('host/'))
      return [source.file, known.map(({ target }) => target)] as const
    }),
  )
  assert.ok((graph.get('host/runtime/model.ts')?.length ?? 0) > 2)
  assert.is(circleIn(graph)?.join(' → '), undefined)
})

test('the root has at most 36 names, types among them', () => {
  const text = readFileSync(join(root, 'host/index.ts'), 'utf8')
  const names = [...text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap(([, list]) => list?.split(',') ?? [])
  const exports = [...text.matchAll(/^export /gm)]
  assert.is(exports.length, [...text.matchAll(/^export (?:type )?\{/gm)].length, 'names are listed one by one')
  assert.ok(names.length >= 20 && names.length <= 36, `${names.length} names`)
})

/** Files of dist/types/ that a declaration there is made of. */
function declarationsOf(file: string, found = new Set<string>()): Set<string> {
  if (found.has(file)) return found
  found.add(file)
  const text = readFileSync(join(root, 'dist/types', file), 'utf8')
  for (const [, target] of text.matchAll(/(?:from |import\()['"](\.[^'"]+)\.ts['"]/g))
    declarationsOf(normalize(join(dirname(file), `${target}.d.ts`)), found)
  return found
}

test('users see of models, conversations and chats what is theirs', () => {
  const membersOf = (name: string) => {
    const text = readFileSync(join(root, `dist/types/host/runtime/${name.toLowerCase()}.d.ts`), 'utf8')
    const [, body = ''] = new RegExp(`^export declare class ${name} \\{\n(.*?)^\\}`, 'ms').exec(text) ?? []
    assert.not.match(text, /^export (?!declare class)/m, 'nothing but the class')
    return [...body.matchAll(/^ {4}((?!\/?\*| |\}).*)/gm)].map(
      ([, line = '']) => /^(?:get |set |readonly )*([#\w ]+|\[.*?\])/.exec(line)?.[1],
    )
  }
  const common = ['#private', 'private constructor']
  assert.equal(membersOf('Model'), [
    ...['#private', 'path', 'spec', 'weightType', 'cacheType', 'context', 'recommended', 'tokenizer', 'unusedTensors'],
    ...[
      'unusedSettings',
      'weightBytes',
      'bytesPerToken',
      'private constructor',
      'engineName',
      'promptIds',
      'corpusIds',
      'open',
      'restore',
      'generate',
    ],
    ...['chat', 'restoreChat', 'applyChatTemplate', 'logits', 'embed', 'evaluate', 'predict', 'close'],
    '[Symbol.asyncDispose]',
  ])
  assert.equal(membersOf('Conversation'), [
    ...[...common, 'id', 'length', 'dropped', 'tokens', 'notes', 'generate', 'logits', 'fork', 'rewind', 'save'],
    ...['close', '[Symbol.dispose]'],
  ])
  assert.equal(membersOf('Chat'), [
    ...['#private', 'conversation', 'system', 'private constructor', 'messages', 'send', 'reset', 'save', 'close'],
    '[Symbol.dispose]',
  ])
  const files = [...declarationsOf('host/index.d.ts')]
  assert.ok(files.length > 10)
  const inside = /host\/(cache|sessions\/(?!store)|runtime\/(?!api|model|conversation|stream|chat\.|chat-prompt))/
  assert.equal(
    files.filter((file) => inside.test(file)),
    [],
    'what is inside is no part of the declarations',
  )
})

test('nothing of host/ imports a server as it starts: it takes as long as all the rest', () => {
  for (const { file, text } of sources('host')) assert.not.match(text, /^import (?!type ).*'node:https?'/m, file)
})

test('kernels know numbers and addresses, not the engine around them', () => {
  expectImports('assembly/kernels', (target) => /^assembly\/(kernels\/|abi\.ts$)/.test(target))
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
    ({ file }) => reached.includes(file) && !/^host\/platform\/(kernels|read-text)\.ts$/.test(file),
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
        // In the build, what they read is inside.
        name: 'embedded',
        setup: ({ onLoad }) =>
          onLoad({ filter: /(kernels|read-text)\.ts$/ }, () => ({
            contents: 'export const readKernel = null, readText = () => ""',
          })),
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

test('the cache knows engines by their interface, and nobody who uses it', () => {
  for (const source of sources('host/cache'))
    for (const target of importsOf(source).filter((file) => file.startsWith('host/')))
      assert.match(target, /^host\/(cache\/|engine\/engine\.ts|errors\.ts|platform\/)/, source.file)
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

test('tests look for tools through test/harness/tools.ts, which .ci/bare and .ci/run know too', () => {
  const others = ['test', 'bench'].flatMap(sources).filter(({ text }) => /SKIPPED|\/usr\/bin|apt-get/.test(text))
  // The table of identity.ts has rows that are skipped; run.test.ts is about these lines.
  const known = ['test/harness/tools.ts', 'test/identity/identity.ts', 'test/rules.test.ts', 'test/run.test.ts']
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
