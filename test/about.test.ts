/** A model's name, licence and source: from README.md or the keys of a GGUF file into the packed file, and onto a terminal. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { aboutOf } from '../host/files/about.ts'
import { convert } from '../host/files/convert.ts'
import { describeModel } from '../host/files/describe.ts'
import { gqaConfig, randomTensors, temporary, writeCheckpoint } from './fixtures/checkpoints.ts'
import { runHere } from './harness/command.ts'

const readme = `---
# what it is
license: other
license_name: "gemma" # theirs
license_link: https://example.org/terms
language:
- en
base_model:
  - 'some/base'
  - some/other
tags: [a, b]
---
license: mit
`

function directory(text: string | undefined, config = {}): string {
  const path = writeCheckpoint({ ...gqaConfig, ...config }, randomTensors(gqaConfig))
  if (text !== undefined) writeFileSync(join(path, 'README.md'), text)
  return path
}

const aboutIn = async (path: string) => (await describeModel(path)).about

test('the head of a README.md and the name of a repository', async () => {
  const about = { name: 'tiny', license: 'gemma', source: 'some/base' }
  const path = directory(readme, { _name_or_path: 'somebody/tiny' })
  assert.equal(await aboutIn(path), about)
  const packed = join(temporary(), 'tiny.gta')
  await convert(path, packed)
  assert.equal(await aboutIn(packed), about)
  const gguf = join(temporary(), 'tiny.gguf')
  await convert(path, gguf)
  assert.equal(await aboutIn(gguf), about)
})

test('what says nothing of it has none', async () => {
  for (const text of [
    undefined,
    '',
    '# A model\n---\nlicense: mit\n---\n',
    '---\nlicense: mit',
    '---\nlicense:\n---\n',
  ])
    assert.is(await aboutIn(directory(text, { _name_or_path: '/home/somebody/checkpoint-12' })), undefined, text)
  const path = directory(undefined)
  mkdirSync(join(path, 'README.md'))
  assert.is(await aboutIn(path), undefined)
  assert.equal(await aboutIn(directory('---\r\nlicense: apache-2.0\r\n---\r\n')), { license: 'apache-2.0' })
})

test('texts are one line and bounded, whatever a file holds', () => {
  assert.equal(aboutOf({ name: ' a\n b\t', license: 7, source: 'x'.repeat(1000) }), {
    name: 'a b',
    source: `${'x'.repeat(199)}…`,
  })
  for (const value of ['about', 5, [], ['name'], true]) assert.is(aboutOf(value as object), undefined)
})

test('control characters are shown, not obeyed', async () => {
  const path = directory(`---\nlicense: "\u001b[2Jmit\u0007"\n---\n`)
  const { stdout } = await runHere(path, 'inspect', path)
  assert.match(stdout, /^license {5}\ufffd\[2Jmit\ufffd$/m)
})

test.run()
