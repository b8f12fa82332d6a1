/**
 * Writes models/registry.ts: an import for each file of models/kinds/ and models/families/, so that a kind or a family is
 * one file and nothing else. Browsers and bundlers need static imports, which is why the list is not read at run time.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'

const models = new URL('../../models/', import.meta.url)

/** The text that the file must have. */
export function registryText() {
  const files = ['kinds', 'families'].flatMap((folder) =>
    readdirSync(new URL(folder, models))
      .filter((file) => file.endsWith('.ts'))
      .sort()
      .map((file) => ({ path: `./${folder}/${file}`, name: file.slice(0, -3).replaceAll('-', '_') })),
  )
  const imports = [
    ...files.map(({ path, name }) => ({ path, line: `import { family as ${name} } from '${path}'` })),
    { path: './family.ts', line: "import type { Family } from './family.ts'" },
  ]
  return `/** Every kind and family: the files of kinds/ and families/. The build writes this list; it is not edited by hand. */
${imports
  .sort((a, b) => (a.path < b.path ? -1 : 1))
  .map(({ line }) => line)
  .join('\n')}

// biome-ignore format: written by a program
export const families: readonly Family[] = [
${files.map(({ name }) => `  ${name},`).join('\n')}
]
`
}

export function writeRegistry() {
  const file = new URL('registry.ts', models)
  const text = registryText()
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text)
}
