/** The documents as texts: README is short, links and references lead somewhere, files that are named exist. */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openGguf } from '../host/files/gguf/model.ts'
import { families } from '../models/index.ts'
import { golden, readJson } from './fixtures/goldens.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const read = (file: string) => readFileSync(join(root, file), 'utf8')

/** Files of the working tree, as git knows them: new ones too, ignored ones not. */
const files = spawnSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .stdout.split('\n')
  .filter((file) => file !== '' && existsSync(join(root, file)))
const documents = files.filter((file) => file.endsWith('.md'))
/** Logs and dated decisions tell what was: files that they name may be gone. */
const isHistory = (file: string) => /^(bench\/LOG|CHANGELOG)\.md$|^docs\/decisions\//.test(file)

const withoutCode = (text: string) => text.replaceAll(/^( *)```.*?^\1```/gms, '')
/** The anchor that a heading gets in a page. */
const slug = (heading: string) =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')
const headings = (text: string) => [...withoutCode(text).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading)

test('README has at most 1,500 words', () => {
  const words = read('README.md').split(/\s+/).filter(Boolean).length
  assert.ok(words > 500 && words <= 1500, `${words} words`)
})

test('every link in a document leads to a file, and to a heading of it', () => {
  let count = 0
  const dead: string[] = []
  for (const document of documents)
    for (const [, target = ''] of withoutCode(read(document)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue
      count++
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? document : join(dirname(document), path)
      const leads =
        existsSync(join(root, file)) && (anchor === undefined || headings(read(file)).map(slug).includes(anchor))
      if (!leads) dead.push(`${document}: ${target}`)
    }
  assert.equal(dead, [])
  assert.ok(count > 50, `${count} links`)
})

test('every file that a document names in its text exists', () => {
  let count = 0
  const missing: string[] = []
  for (const document of documents.filter((file) => !isHistory(file)))
    for (const [, path = ''] of withoutCode(read(document)).matchAll(/`((?:[\w@.-]+\/)+(?:[\w@-]+\.[\w.]+)?)`/g)) {
      // Built, generated or fetched, and so not in a clone.
      if (/^(dist|docs\/api|node_modules|runs)\//.test(path)) continue
      count++
      const places = [join(root, path), join(root, dirname(document), path)]
      if (!places.some(existsSync)) missing.push(`${document}: ${path}`)
    }
  assert.equal(missing, [])
  assert.ok(count > 50, `${count} files`)
})

test('architecture.md has a place for every room', () => {
  const text = read('docs/architecture.md')
  const rooms = readdirSync(`${root}host`, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  assert.ok(rooms.length > 8)
  for (const { name } of rooms) assert.ok(text.includes(`\`host/${name}/\``), name)
})

test('the walks of a token and of a weight have at most eight stops, each with a file', () => {
  const walks = read('docs/architecture.md')
    .split(/^## The walk of /m)
    .slice(1)
  assert.is(walks.length, 2)
  for (const walk of walks) {
    const stops = walk.split('\n## ')[0]?.match(/^\d\. .*(\n {3}.*)*/gm) ?? []
    assert.ok(stops.length > 4 && stops.length <= 8, `${stops.length} stops`)
    for (const stop of stops) assert.match(stop, /^\d\. `[\w/.-]+\.ts`/)
  }
})

test('every reference to SPEC is a section of docs/spec.md', () => {
  const sections = headings(read('docs/spec.md')).map((heading) => heading.split(' ')[0])
  let count = 0
  for (const file of files.filter((name) => /\.(ts|mjs|py|md)$/.test(name) && name !== 'docs/spec.md')) {
    const text = read(file).replaceAll(/\n\s*(\*|\/\/|#)?\s*/g, ' ')
    for (const [list] of text.matchAll(/SPEC(?: §\d+(?:\.\d+)?,?)+/g))
      for (const [section] of list.matchAll(/§\d+(\.\d+)?/g)) {
        assert.ok(sections.includes(section), `${file}: ${list}`)
        count++
      }
  }
  assert.ok(count >= 28, `${count} references`)
})

test('the API reference of npm run docs has every entry of the package', () => {
  const { exports } = JSON.parse(read('package.json'))
  const types = (JSON.stringify(exports).match(/dist\/types\/[\w/]+\.d\.ts/g) ?? []).map((path) =>
    path.replace('dist/types/', '../').replace('.d.ts', '.ts'),
  )
  assert.equal(JSON.parse(read('docs/typedoc.json')).entryPoints.toSorted(), types.toSorted())
})

test('kinds.md names every kind and architecture that is recognised', () => {
  const text = read('docs/kinds.md')
  const table = text.slice(text.indexOf('## Families'))
  for (const { architectures, kinds } of families)
    for (const name of [...architectures.map((architecture) => `\`${architecture}\``), ...kinds])
      assert.ok(table.includes(name), name)
})

/** Names of the families that these configs are of. */
function familiesOf(configs: { architectures?: string[]; attention_kind?: string }[]): Set<string> {
  const found = configs.map((config) =>
    families.find(({ architectures, kinds }) =>
      config.attention_kind === undefined
        ? architectures.includes(config.architectures?.[0] ?? '')
        : kinds.includes(config.attention_kind),
    ),
  )
  return new Set(found.flatMap((family) => family?.name ?? []))
}

test('the table of what was verified is what there is in test/golden', async () => {
  const configsIn = (folder: string) =>
    readdirSync(golden(folder))
      .map((name) => golden(`${folder}/${name}/config.json`))
      .filter(existsSync)
      .map(readJson)
  const { tiny } = readJson(golden('gguf/expected.json'))
  const files = ['stories260K-f32', ...Object.keys(tiny).map((name) => `tiny-${name}`)]
  const opened = await Promise.all(files.map((name) => openGguf(golden(`gguf/${name}.gguf`))))
  await Promise.all(opened.map(({ store }) => store.close()))
  const columns = [
    familiesOf([...configsIn('.'), ...configsIn('families')]),
    familiesOf(opened.map(({ files: { config } }) => config as object)),
    familiesOf(['stories', 'stories260K'].map((name) => readJson(golden(`${name}/config.json`)))),
  ]
  const rows = families.map(
    ({ name }) => `| ${name} | ${columns.map((own) => (own.has(name) ? 'yes' : '–')).join(' | ')} |`,
  )
  const [, section = ''] = read('docs/kinds.md').split('| family | float64 evaluation')
  const found = section.split('\n').slice(2)
  assert.equal(found.slice(0, found.indexOf('')), rows)
})

test('every command is shown', () => {
  const { stdout } = spawnSync(process.execPath, [`${root}host/cli/gta.ts`, '--help'], { encoding: 'utf8' })
  const commands = [...stdout.matchAll(/^ {2}(\w+) {2,}/gm)].map(([, name]) => name)
  assert.ok(commands.length >= 12, stdout)
  const shown = read('docs/cli.md') + read('docs/wasi.md')
  for (const name of commands) assert.match(shown, new RegExp(`^gta ${name}\\b`, 'm'), name)
})

test('documents say nothing of machines that they were written on', () => {
  for (const file of documents) assert.not.match(read(file), /\/(work|root|home\/\w+)\//, file)
})

test('the documents that README lists are all there are, and each folder of sources has its own', () => {
  const readme = read('README.md')
  for (const file of documents.filter((name) => /^docs\/[\w-]+\.md$/.test(name)))
    assert.ok(readme.includes(`](${file}`), file)
  for (const folder of ['assembly', 'models', 'bench', 'test'])
    assert.ok(statSync(join(root, folder, 'README.md')).isFile())
})

test.run()
