/** Pages and styles that lie beside the sources: the build has the same ones in it, and no place in a page stays empty. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fillPage } from '../host/tools/analyze/fill-page.ts'
import { reportPage, styles } from '../host/tools/analyze/texts.ts'
import { viewerPage, viewerStyles } from '../host/tools/analyze/viewer/texts.ts'
import { webPage, webStyles } from '../host/web/texts.ts'
import { temporary } from './fixtures/checkpoints.ts'

const root = fileURLToPath(new URL('../', import.meta.url))

test('a part goes to its place as it is, and a place without one is a fault', () => {
  assert.is(fillPage('<p>{{a}}</p>{{b}}', { a: '$& {{b}}', b: '2' }), '<p>$& {{b}}</p>2')
  assert.throws(() => fillPage('{{a}}', { b: '1' }), /\{\{a\}\}/)
})

test('the pages have the places that are filled', () => {
  for (const page of [reportPage, viewerPage, webPage]) {
    assert.ok(page.startsWith('<!doctype html>\n'))
    assert.match(page, '<style>{{styles}}</style>')
  }
  assert.match(reportPage, '{{body}}')
  for (const text of [styles, viewerStyles, webStyles]) assert.match(text, /^[^{}]+\{[\s\S]+\}\n$/)
})

test('the build serves the same page as the sources, and needs no file of theirs', async () => {
  assert.ok(existsSync(join(root, 'dist', 'web.mjs')), 'the build is missing')
  const server = spawn(process.execPath, [join(root, 'dist', 'web.mjs')], {
    cwd: temporary(),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const [line] = await once(server.stdout, 'data')
    const served = await (await fetch(String(line).split('\n')[0] as string)).text()
    assert.is(served, fillPage(webPage, { styles: styles + webStyles }))
  } finally {
    server.kill()
    await once(server, 'exit')
  }
})

test.run()
