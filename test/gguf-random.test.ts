/** GGUF files that nobody wrote by hand: right ones against Hugging Face's own reader, wrong ones by test/harness/fuzz-gguf.ts. */
import { gguf as readByHuggingFace } from '@huggingface/gguf'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readGguf } from '../host/files/gguf/file.ts'
import { random } from './fixtures/checkpoints.ts'
import { bytesInMemory } from './fixtures/gguf.ts'
import { randomGguf } from './fixtures/gguf-random.ts'
import { fuzzGguf } from './harness/fuzz-gguf.ts'

/** Answers ranges of a file. */
const serving = (bytes: Buffer) =>
  (async (_url: unknown, { headers }: { headers: Record<string, string> }) => {
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(headers.Range ?? '') ?? []
    return new Response(new Uint8Array(bytes.subarray(Number(from), Number(to) + 1)), { status: 206 })
  }) as unknown as typeof fetch

/** Lists of any kind as lists, numbers of any width as they are. */
const plain = (value: unknown): unknown =>
  ArrayBuffer.isView(value) ? Array.from(value as unknown as ArrayLike<unknown>) : value

test('1,000 random files: values, and names, shapes, types and places of tensors, as @huggingface/gguf reads them', async () => {
  const next = random(16)
  const seen = new Set<string>()
  for (let i = 0; i < 1000; i++) {
    const bytes = randomGguf(next)
    const { metadata, tensorInfos, tensorDataOffset } = await readByHuggingFace('https://gguf', {
      fetch: serving(bytes),
    })
    const { version, values, tensors } = await readGguf(`${i}`, bytesInMemory(bytes))
    const { version: theirVersion, tensor_count, kv_count, ...theirs } = metadata as Record<string, unknown>
    assert.equal([version, BigInt(tensors.size), BigInt(values.size)], [theirVersion, tensor_count, kv_count], `${i}`)
    for (const [key, value] of Object.entries(theirs)) {
      const found = values.get(key)
      // Truth values in lists are bytes here.
      const expected = Array.isArray(value) && typeof value[0] === 'boolean' ? value.map(Number) : value
      assert.equal(plain(found), expected, `${i}: ${key}`)
      seen.add(Array.isArray(value) ? `list of ${typeof value[0]}` : typeof value)
    }
    const ours = [...tensors.values()].map(({ name, shape, begin }) => [name, shape.map(BigInt), BigInt(begin)])
    assert.equal(
      ours,
      tensorInfos.map(({ name, shape, offset }) => [name, shape.toReversed(), tensorDataOffset + offset]),
      `${i}`,
    )
    for (const { name, dtype } of tensorInfos) seen.add(`${dtype} ${tensors.get(name)?.type.name}`)
  }
  assert.ok(seen.size >= 16, [...seen].join(', '))
})

test('200 mutated files: typed errors, in time, in little memory', async () => {
  const { refused, read, codes } = await fuzzGguf({ files: 200, seed: 1, few: true })
  assert.is(refused + read, 200)
  assert.ok(read > 5 && refused > 50, JSON.stringify(codes))
})

test.run()
