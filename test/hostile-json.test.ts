/** JSON of strangers: what would take more memory or stack than there is, is refused before it is parsed, by name. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type GtaError, load } from '../host/index.ts'
import { parseJson } from '../host/json.ts'
import { readBoardReport } from '../host/tools/bench/index.ts'
import { largest } from '../models/index.ts'

const folder = mkdtempSync(join(tmpdir(), 'gta-edge-json-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

const bytes = (text: string) => new TextEncoder().encode(text)
const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

test('what is JSON is what JSON.parse makes of it; quotes and escapes hide what they hold', () => {
  for (const text of [
    'null',
    '{}',
    '[1,2,{"a":[]}]',
    '"[{,"',
    `"${'\\"[{'.repeat(9)}"`,
    '{"\\\\":"\\\\\\"[","b":"é😀"}',
    nested(999),
  ])
    assert.equal(parseJson(bytes(text)), JSON.parse(text))
  const listed = JSON.stringify(`${'[{'.repeat(2_000_000)}"`)
  assert.is((parseJson(bytes(listed)) as string).length, 4_000_001)
})

test('what has too many values, or too deep ones, is refused without being parsed', () => {
  for (const [text, message] of [
    [`[${'{},'.repeat(1_000_000)}0]`, /more than 1000000 lists and objects/],
    [`[${'0,'.repeat(8_000_010)}0]`, /more than 8000000 values/],
    [nested(1001), /nested more than 1000 deep/],
    ['['.repeat(5_000_000), /nested more than 1000 deep/],
    [`["${'\\'.repeat(1_000_001)}`, /./],
    ['[1', /./],
  ] as const)
    assert.throws(
      () => parseJson(bytes(text)),
      (error: Error) => message.test(error.message),
    )
  assert.throws(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22)))
})

test('files of that kind: a header, a config, a report', async () => {
  const header = bytes(`{"a":[${'{},'.repeat(1_000_000)}0]}`)
  const file = new Uint8Array(8 + header.length)
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true)
  file.set(header, 8)
  const [packed, report] = [join(folder, 'a.gta'), join(folder, 'report.json')]
  writeFileSync(packed, file)
  writeFileSync(join(folder, 'config.json'), nested(100_000))
  writeFileSync(report, nested(900_000))
  for (const [call, code] of [
    [() => load(packed), 'BAD_FILE'],
    [() => load(folder), 'BAD_FILE'],
    [() => readBoardReport(report), 'BAD_FILE'],
  ] as const) {
    const error = (await (call() as Promise<unknown>).then(
      () => undefined,
      (thrown) => thrown,
    )) as GtaError
    assert.equal([error.name, error.code], ['GtaError', code], error.message)
  }
})

test('the largest of more numbers than a call has room for', () => {
  assert.is(largest(Array.from({ length: 500_000 }, (_, i) => i)), 499_999)
  assert.equal([largest([]), largest([-3, -2])], [-Infinity, -2])
  assert.ok(Number.isNaN(largest([1, Number.NaN, 2])))
})

test.run()
