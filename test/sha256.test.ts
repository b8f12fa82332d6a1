/** SHA-256 of browsers: what node:crypto says, whatever the length and however it comes. */
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Sha256 } from '../host/platform/sha256.ts'

const expected = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex')

test('texts and bytes of every length around a block', () => {
  for (const text of ['', 'abc', 'ä🦊', 'x'.repeat(1000)])
    assert.is(new Sha256().update(text).digest('hex'), expected(text))
  for (let length = 0; length < 200; length++) {
    const bytes = randomBytes(length)
    assert.is(new Sha256().update(bytes).digest('hex'), expected(bytes), `${length} bytes`)
  }
})

test('in pieces, and of numbers that are not bytes', () => {
  const bytes = randomBytes(5000)
  const hash = new Sha256()
  for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 7) % 97)
    hash.update(bytes.subarray(at, at + size))
  assert.is(hash.digest('hex'), expected(bytes))
  const words = Uint32Array.of(1, 2 ** 31, 7)
  const asBytes = new Uint8Array(words.buffer)
  assert.is(new Sha256().update(asBytes.subarray(3)).digest('hex'), expected(asBytes.subarray(3)))
})

test.run()
