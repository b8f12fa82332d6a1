/** Projects of people who use the package: compiled against it as it is packed. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { limit, limitNote } from './limits.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** What people in Node have besides. */
export const nodeTypes = { lib: ['ES2024', 'ESNext.Disposable'], types: ['node'] }
/** … and in pages. */
export const browserTypes = { lib: ['ES2024', 'ESNext.Disposable', 'DOM', 'DOM.Iterable'], types: [] }

/**
 * Compiles files in strict mode, declarations of the package in the folder `installed` included, in a new folder; what the
 * compiler complains about, empty if nothing.
 */
export function compile(project: string, installed: string, files: Record<string, string>, options: object): string {
  mkdirSync(join(project, 'node_modules/@types'), { recursive: true })
  symlinkSync(installed, join(project, 'node_modules/gta-edge'))
  for (const type of ['@types/node', 'undici-types'])
    symlinkSync(`${root}node_modules/${type}`, join(project, 'node_modules', type))
  for (const [file, text] of Object.entries(files)) writeFileSync(join(project, file), text)
  const compilerOptions = { strict: true, noEmit: true, skipLibCheck: false, target: 'ES2022', ...options }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: Object.keys(files) }))
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }')
  const ended = spawnSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', project], {
    encoding: 'utf8',
    timeout: limit(300),
  })
  return ended.status === 0 ? '' : ended.stdout + limitNote(ended, 300)
}
