/** What a Hugging Face directory says of itself to people: about.ts. */
import { join } from 'node:path'
import { type About, aboutOf } from './about.ts'
import { openFile } from './files.ts'

/** What is read of a README.md: its head stands at its beginning. */
const MAX_README = 65_536

/** Of a Hugging Face directory: the head of its README.md, and `_name_or_path` of its config.json. */
export async function aboutDirectory(directory: string, config: unknown): Promise<About | undefined> {
  const fields = frontMatter(await beginningOf(join(directory, 'README.md')))
  const path = (config as { _name_or_path?: unknown } | undefined)?._name_or_path
  // A repository's name; others are of the machine where it was trained.
  const repository = typeof path === 'string' && /^[\w.-]+\/[\w.-]+$/.test(path) ? path : undefined
  const license = fields.get('license')
  return aboutOf({
    name: fields.get('model_name') ?? repository?.split('/')[1],
    license: license === 'other' ? (fields.get('license_name') ?? fields.get('license_link') ?? license) : license,
    source: fields.get('base_model') ?? repository,
  })
}

async function beginningOf(path: string): Promise<string> {
  const file = await openFile(path).catch(() => undefined)
  if (!file) return ''
  try {
    const bytes = new Uint8Array(Math.min(file.size, MAX_README))
    await file.read(bytes, 0)
    return new TextDecoder().decode(bytes)
  } finally {
    await file.close()
  }
}

/** Scalars of YAML between the first two lines of `---`, and the first item of a list. */
function frontMatter(text: string): Map<string, string> {
  const fields = new Map<string, string>()
  const [, head] = /^\u{feff}?---[ \t]*\r?\n(.*?)\r?\n---/su.exec(text) ?? []
  let open: string | undefined
  for (const line of head?.split(/\r?\n/) ?? []) {
    const [, key, value = ''] = /^(\w+):(.*)$/.exec(line) ?? []
    const item = /^\s*-\s+(.+)$/.exec(line)?.[1]
    if (key !== undefined) {
      const said = scalar(value)
      open = said === '' ? key : undefined
      if (said !== '') fields.set(key, said)
    } else if (item !== undefined && open !== undefined && !fields.has(open)) fields.set(open, scalar(item))
  }
  return fields
}

/** Without quotes, and without a comment. */
function scalar(text: string): string {
  const [, quoted] = /^\s*(?:"([^"]*)"|'[^']*')\s*(?:#.*)?$/.exec(text) ?? []
  return (quoted ?? text.replace(/\s#.*$/, '')).trim().replace(/^'(.*)'$/, '$1')
}
