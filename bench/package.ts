/**
 * `npm run size`: packs the npm package as it would be published and tells what is in it, part by part. Exit code 1 if it is
 * larger than it may be.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { limit, limitNote } from '../test/harness/limits.ts'
import { readArguments } from './arguments.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const model = 'models/stories/stories.gta'

/** Bytes, packed: with the stories model and without its weights. */
export const limits = { packed: 12e6, withoutModel: 2.5e6 }

export interface Package {
  tarball: string
  /** Where its files lie. */
  folder: string
  size: number
  withoutModel: number
  unpackedSize: number
  files: { path: string; size: number }[]
}

/** Packs into a folder, and unpacks there too. */
export function packPackage(folder: string): Package {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder]
  const [packed] = JSON.parse(run('npm', args, root))
  const tarball = join(folder, packed.filename)
  const unpacked = join(folder, 'package')
  mkdirSync(unpacked, { recursive: true })
  run('tar', ['xzf', tarball, '--strip-components=1', '-C', unpacked], folder)
  run('tar', ['czf', 'without-model.tgz', `--exclude=./${model}`, '-C', unpacked, '.'], folder)
  const withoutModel = statSync(join(folder, 'without-model.tgz')).size
  const { size, unpackedSize, files } = packed
  return { tarball, folder: unpacked, size, withoutModel, unpackedSize, files }
}

function run(command: string, args: string[], cwd: string): string {
  const ended = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: limit(120) })
  if (ended.status !== 0)
    throw new Error(`${command} ${args.join(' ')} failed: ${ended.stderr}${limitNote(ended, 120)}`)
  return ended.stdout
}

const parts: [string, RegExp][] = [
  ['stories model', /^models\/stories\/stories\.gta$/],
  ['modules, kernels inside', /^dist\/[^/]*\.[cm]js$/],
  ['gta.wasm', /\.wasm$/],
  ['source maps', /\.map$/],
  ['declarations', /\.d\.ts$/],
  ['configs of the papers', /^models\/configs\//],
]
const rest = 'texts, licences, unit'

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(3)} MB`

/** A table in markdown; the parts as they lie on the disk. */
export function sizeTable({ files, unpackedSize, size, withoutModel }: Package): string {
  const sizes = new Map([...parts.map(([name]) => name), rest].map((name) => [name, { bytes: 0, files: 0 }]))
  for (const file of files) {
    const part = sizes.get(parts.find(([, pattern]) => pattern.test(file.path))?.[0] ?? rest)
    if (!part) continue
    part.bytes += file.size
    part.files++
  }
  const rows = [...sizes].map(([name, { bytes, files }]) => [name, String(files), megabytes(bytes)])
  rows.push(['**unpacked**', String(files.length), megabytes(unpackedSize)])
  rows.push(['**packed**', '', `${megabytes(size)} of ${megabytes(limits.packed)}`])
  rows.push(['**packed, without the model**', '', `${megabytes(withoutModel)} of ${megabytes(limits.withoutModel)}`])
  return `| part | files | size |\n|---|---|---|\n${rows.map((row) => `| ${row.join(' | ')} |\n`).join('')}`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  readArguments({
    command: 'npm run size',
    about: 'Packs the npm package and tells what it weighs; exit code 1 above the limits.',
  })
  const folder = mkdtempSync(join(tmpdir(), 'gta-package-'))
  try {
    const packed = packPackage(folder)
    process.stdout.write(sizeTable(packed))
    process.exitCode = packed.size <= limits.packed && packed.withoutModel <= limits.withoutModel ? 0 : 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
