/** Hashes of a packed file: a bit that flips anywhere in it is found, and its tensor named. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { convert } from '../host/files/convert.ts'
import { describeModel } from '../host/files/describe.ts'
import { openPacked, openSafetensors } from '../host/files/files.ts'
import { HASH_TENSOR, hashTableBytes } from '../host/files/hash-table.ts'
import { TensorHashes } from '../host/files/hashes.ts'
import { GtaError, load } from '../host/index.ts'
import { weightTypes } from '../models/index.ts'
import { failure, gtaConfig, randomTensors, temporary, writeCheckpoint } from './fixtures/checkpoints.ts'

const folder = temporary()
const directory = writeCheckpoint(gtaConfig, randomTensors(gtaConfig))
writeFileSync(join(directory, 'generation_config.json'), '{"temperature": 0.25}')

const changed = join(folder, 'changed.gta')

/** The file with some bits flipped: what verifying it says. */
async function verifyFlipped(bytes: Buffer, ...places: number[]): Promise<Error> {
  const damaged = Buffer.from(bytes)
  for (const [i, place] of places.entries()) damaged[place] = (damaged[place] as number) ^ (1 << ((place + i) % 8))
  writeFileSync(changed, damaged)
  return await failure(describeModel(changed, { verify: true }))
}

async function tensorsOf(path: string) {
  const { tensors, file, dataStart } = await openSafetensors(path)
  await file.close()
  return { dataStart, tensors: [...tensors.values()].sort((a, b) => a.begin - b.begin) }
}

for (const type of weightTypes)
  test(`${type}: a whole file is verified, and any flipped bit is found with the name of its tensor`, async () => {
    const path = join(folder, `${type}.gta`)
    await convert(directory, path, { type })
    const { dataStart, tensors } = await tensorsOf(path)
    assert.is(tensors.at(-1)?.name, HASH_TENSOR)
    assert.is(tensors.at(-1)?.bytes, hashTableBytes(tensors.length - 1))
    const facts = await describeModel(path, { verify: true })
    assert.is(facts.hashes, tensors.length - 1)
    const bytes = readFileSync(path)
    for (const { name, begin, bytes: size } of tensors.slice(0, -1))
      for (const place of [begin, begin + size - 1, begin + Math.floor(Math.random() * size)]) {
        const { message } = await verifyFlipped(bytes, place)
        assert.ok(message.includes(name), `${name}, byte ${place - begin} of ${size}: ${message}`)
      }
    // Spaces behind the JSON of the header: nobody else looks at them. A space becomes a tab, which is JSON's too.
    const spaces = Buffer.from(bytes)
    if (spaces[dataStart - 1] === 0x20) {
      spaces[dataStart - 1] = 0x09
      writeFileSync(changed, spaces)
      assert.match(
        (await failure(describeModel(changed, { verify: true }))).message,
        /found other bytes in the header:/,
      )
    }
  })

test('all damaged tensors are named, the first five at least; a table that was hit is damage too', async () => {
  const path = join(folder, 'q4.gta')
  const bytes = readFileSync(path)
  const { tensors } = await tensorsOf(path)
  const names = tensors.slice(3, 10)
  const one = await verifyFlipped(bytes, names[0]?.begin as number, names[1]?.begin as number)
  assert.match(one.message, `found other bytes in ${names[0]?.name}, ${names[1]?.name}: `)
  const many = await verifyFlipped(bytes, ...names.map(({ begin }) => begin))
  assert.match(many.message, `${names[4]?.name} and 2 more: the file is damaged`)
  const table = tensors.at(-1)?.begin as number
  assert.match((await verifyFlipped(bytes, table + 64 * 4)).message, `found other bytes in ${tensors[3]?.name}: `)
})

test('load() with verify refuses a damaged file before it runs; without, it loads', async () => {
  const path = join(folder, 'q8.gta')
  await (await load(path, { verify: true, threads: 1 })).close()
  const { tensors } = await tensorsOf(path)
  const bytes = readFileSync(path)
  const last = tensors.findLast(({ name }) => name.endsWith('scale')) as (typeof tensors)[number]
  bytes[last.begin] = (bytes[last.begin] as number) ^ 1
  writeFileSync(changed, bytes)
  const error = await failure(load(changed, { verify: true, threads: 1 }))
  assert.is(error.code, 'BAD_FILE')
  assert.match(error.message, last.name)
  await (await load(changed, { threads: 1 })).close()
})

test('what has no hashes cannot be verified, and says what to do', async () => {
  const other = await failure(describeModel(directory, { verify: true }))
  assert.is(other.code, 'BAD_OPTION')
  assert.match((await failure(load(directory, { verify: true }))).message, other.message)
  assert.match(
    (await failure(describeModel(join(directory, 'config.json'), { verify: true }))).message,
    '--verify (verify)',
  )
  // The same file without its last tensor, as an older version wrote it.
  const bytes = readFileSync(join(folder, 'q8.gta'))
  const length = Number(bytes.readBigUInt64LE())
  const { [HASH_TENSOR]: table, ...entries } = JSON.parse(bytes.subarray(8, 8 + length).toString())
  const json = Buffer.alloc(length, 0x20)
  json.write(JSON.stringify(entries))
  const [begin, end] = table.data_offsets
  writeFileSync(
    changed,
    Buffer.concat([bytes.subarray(0, 8), json, bytes.subarray(8 + length, bytes.length - (end - begin))]),
  )
  assert.is((await describeModel(changed)).hashes, 0)
  const error = await failure(describeModel(changed, { verify: true }))
  assert.is(error.code, 'OTHER_VERSION')
  assert.match(error.message, 'convert the original model again')
})

test('an abort ends a verification', async () => {
  const packed = await openPacked(join(folder, 'q8.gta'))
  const controller = new AbortController()
  const steps: number[] = []
  const verified = packed.verify({
    signal: controller.signal,
    onProgress: ({ done }) => steps.push(done) === 3 && controller.abort(new GtaError('CLOSED', 'enough')),
  })
  assert.is((await failure(verified)).message, 'enough')
  assert.is(steps.length, 3)
  await packed.close()
})

test('progress comes to the end of the file', async () => {
  const path = join(folder, 'q8.gta')
  const steps: { done: number; total: number }[] = []
  await describeModel(path, { verify: true, onProgress: (step) => steps.push(step) })
  assert.ok(steps.every(({ done }, i) => done > (steps[i - 1]?.done ?? 0)))
  assert.is(steps.at(-1)?.done, steps.at(-1)?.total)
  assert.is(steps.at(-1)?.total, (await tensorsOf(path)).tensors.at(-1)?.begin)
})

test('bytes out of order, beyond a tensor, or missing are a fault of the writer', () => {
  const tensors = [
    { offset: 0, bytes: 8 },
    { offset: 8, bytes: 4 },
  ]
  const hashes = new TensorHashes(tensors)
  hashes.update(8, new Uint8Array(4))
  hashes.update(0, new Uint8Array(4))
  assert.throws(() => hashes.update(0, new Uint8Array(4)), /offset 0/)
  assert.throws(() => hashes.update(4, new Uint8Array(5)), /offset 4/)
  assert.throws(() => hashes.table(new Uint8Array(1)), /offset 0 was not written/)
  hashes.update(4, new Uint8Array(4))
  assert.is(hashes.table(new Uint8Array(1)).length, hashTableBytes(2))
})

test.run()
