/**
 * What compiling schemas costs: those of about 2 kB, those that are made to hurt, and bodies of requests that are. Part of
 * `node bench/structured.ts`; `node bench/structured-compile.ts NAME` compiles one once, in a process that has done nothing else.
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { MAX_BODY, parseObject } from '../host/server/body.ts'
import { Budget } from '../host/text/structured/budget.ts'
import { compileSchema } from '../host/text/structured/compile.ts'
import { hostileSchemas } from '../test/fixtures/hostile-schemas.ts'
import { schemas } from './structured-schemas.ts'

/** Milliseconds, and what was said. */
function timed(work: () => unknown): [ms: number, said: string] {
  const start = performance.now()
  let said = 'taken'
  try {
    work()
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error
    said = error.message.slice(0, 120)
  }
  return [performance.now() - start, said]
}

function figures(times: readonly number[]): string {
  const sorted = [...times].sort((a, b) => a - b)
  return `median ${sorted[sorted.length >> 1]?.toFixed(1)} ms, most ${sorted.at(-1)?.toFixed(1)} ms`
}

/** A name stands for other patterns and words each time: nothing of them is kept from the last. */
export function showCompilations(rounds: number): void {
  const all = { cold: [] as number[], warm: [] as number[] }
  for (const [name, make] of Object.entries(schemas)) {
    const cold = Array.from({ length: Math.min(rounds, 3) }, () => Number(inNewProcess(name)))
    const warm = Array.from({ length: rounds + 3 }, (_, i) => make(i + 1))
      .map((schema) => timed(() => compileSchema(schema))[0])
      .slice(3)
    all.cold.push(...cold)
    all.warm.push(...warm)
    const bytes = JSON.stringify(make(0)).length
    const budget = new Budget()
    compileSchema(make(0), {}, budget)
    console.log(`${name}: ${bytes} bytes, ${budget.spent} steps: cold ${figures(cold)}; warm ${figures(warm)}`)
  }
  console.log(`all schemas of 2 kB: cold ${figures(all.cold)}; warm ${figures(all.warm)}`)
}

function inNewProcess(name: string): string {
  const environment = { ...process.env, NODE_COMPILE_CACHE: '', NODE_NO_WARNINGS: '1' }
  return execFileSync(process.execPath, [fileURLToPath(import.meta.url), name], { env: environment, encoding: 'utf8' })
}

export function showHostile(): void {
  for (const [name, make] of Object.entries(hostileSchemas)) {
    const schema = make(1_000_000)
    const [ms, said] = timed(() => compileSchema(schema))
    console.log(`${name}: ${ms.toFixed(0)} ms: ${said}`)
  }
}

/** As many bytes as a body may have, of one kind each: as gta serve takes it, and what JSON.parse alone would take. */
export function showBodies(): void {
  const kinds: Record<string, (i: number) => string> = {
    properties: (i) => `"p${i}":{}`,
    'objects of other names': (i) => `"p${i}":{"q${i}":1}`,
    'lists in lists': (i) => `"p${i}":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]`,
    texts: (i) => `"p${i}":["a","b","c","d","e","f"]`,
    'numbers of one list': (i) => (i === 0 ? `"p":[1${',1'.repeat(MAX_BODY / 2 - 50)}]` : ''),
    'one text': (i) => (i === 0 ? `"p":"${'\\n'.repeat(MAX_BODY / 2 - 50)}"` : ''),
  }
  for (const [name, part] of Object.entries(kinds)) {
    const text = bodyOf(part)
    const bytes = new TextEncoder().encode(text)
    const [ms, said] = timed(() => parseObject(bytes))
    const [parse] = timed(() => JSON.parse(text))
    console.log(
      `body of ${name}, ${bytes.length} bytes: ${ms.toFixed(0)} ms, JSON.parse ${parse.toFixed(0)} ms: ${said}`,
    )
  }
}

function bodyOf(part: (i: number) => string): string {
  const parts: string[] = []
  let length = 30
  for (let i = 0; ; i++) {
    const text = part(i)
    length += text.length + 1
    if (text === '' || length > MAX_BODY) return `{"json_schema":{${parts}}}`
    parts.push(text)
  }
}

if (import.meta.main) {
  const schema = schemas[process.argv[2] ?? '']?.(0)
  if (schema === undefined) throw new Error(`the name must be one of ${Object.keys(schemas).join(', ')}`)
  console.log(timed(() => compileSchema(schema))[0].toFixed(2))
}
