/** The papers' figures and tables in bench/figures are what the analyzer computes now; plots are well-formed SVG. */
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { figures } from '../bench/figures/figures.ts'

const folder = new URL('../bench/figures/', import.meta.url)

test('figures and tables are fresh: npm run figures', () => {
  const made = figures()
  for (const [name, content] of made) assert.is(readFileSync(new URL(name, folder), 'utf8'), content, name)
  const others = readdirSync(folder).filter((name) => !made.has(name) && !name.endsWith('.ts'))
  assert.equal(others, [], 'what is no longer made goes away')
})

/** Tags must be closed in order, and no number may be NaN. */
function checkSvg(svg: string): void {
  const open: string[] = []
  for (const [, slash, name, , self] of svg.matchAll(/<(\/?)([a-zA-Z]+)((?:"[^"]*"|[^>"])*?)(\/?)>/g)) {
    if (slash) assert.is(open.pop(), name)
    else if (!self) open.push(name as string)
  }
  assert.equal(open, [])
  assert.not.match(svg, /NaN|undefined|Infinity/)
}

test('figures are well-formed, with a title and a description', () => {
  for (const [name, content] of figures()) {
    if (!name.endsWith('.svg')) continue
    checkSvg(content)
    assert.match(content, /<title>[^<]+<\/title><desc>[^<]+<\/desc>/)
  }
})

test('Table 4: the formulas of the paper are what is counted, but for MLA’s absorbed pairs', () => {
  const lines = figures().get('tables.md')?.split('\n') ?? []
  const start = lines.findIndex((line) => line.startsWith('| kind'))
  const rows = lines.slice(start + 2, start + 8)
  assert.is(rows.length, 6)
  for (const row of rows) {
    const differing = row
      .split('|')
      .slice(2, 5)
      .filter((cell) => cell.includes('/'))
    assert.is(differing.length, row.includes('MLA') ? 1 : 0, row)
  }
  // Absorbed: n_h (2 d_c + d_rope) = 20 · 672.
  assert.match(rows.join(), '3,200 / 13,440')
})

test.run()
