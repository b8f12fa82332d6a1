/** Packed .gta files: what was written is read again, and what was changed is refused. */
import { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Checkpoint } from '../host/files/checkpoint.ts'
import { convert } from '../host/files/convert.ts'
import { describeModel } from '../host/files/describe.ts'
import { openPacked } from '../host/files/files.ts'
import { packTensors } from '../host/files/tensors.ts'
import { GtaError, load } from '../host/index.ts'
import { ModelError, PLAN_VERSION, planModel, type WeightType } from '../models/index.ts'
import {
  type Config,
  failure,
  gqaConfig,
  gtaConfig,
  openFiles,
  randomTensors,
  safetensors,
  temporary,
  writeCheckpoint,
} from './fixtures/checkpoints.ts'
import { weightsInto } from './harness/engine-memory.ts'

const folder = temporary()

interface Entry {
  dtype: string
  shape: number[]
  data_offsets: [number, number]
}
interface Parts {
  metadata: Record<string, unknown>
  entries: Record<string, Entry>
  data: Buffer
}

/** The smallest that can be used: it is packed byte for byte. */
const tokenizerJson =
  '{"model": {"type": "BPE", "vocab": {"ü": 0}, "merges": []}, "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "ByteLevel"}}'

function directoryOf(config: Config): string {
  const directory = writeCheckpoint(config, randomTensors(config))
  writeFileSync(join(directory, 'tokenizer.json'), tokenizerJson)
  writeFileSync(join(directory, 'generation_config.json'), '{"temperature": 0.25}')
  writeFileSync(join(directory, 'tokenizer_config.json'), '{"add_bos_token": false}')
  return directory
}

const directory = directoryOf(gtaConfig)

async function packedBytes(type: WeightType): Promise<Buffer> {
  const path = join(folder, `good-${type}.gta`)
  await convert(directory, path, { type, force: true })
  return readFileSync(path)
}

/** The same file with its parts changed; the header is written as it comes, nothing is checked. */
function rewrite(bytes: Buffer, change: (parts: Parts) => void): Buffer {
  const length = Number(bytes.readBigUInt64LE())
  const { __metadata__: metadata, ...entries } = JSON.parse(bytes.subarray(8, 8 + length).toString())
  const parts: Parts = { metadata, entries, data: Buffer.from(bytes.subarray(8 + length)) }
  change(parts)
  const json = Buffer.from(JSON.stringify({ __metadata__: parts.metadata, ...parts.entries }))
  const padded = Buffer.concat([json, Buffer.alloc((64 - ((json.length + 8) % 64)) % 64, 0x20)])
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(padded.length))
  return Buffer.concat([prefix, padded, parts.data])
}

const entryOf = ({ entries }: Parts, name: string): Entry => {
  const entry = entries[name]
  if (!entry) throw new Error(`there is no tensor ${name}`)
  return entry
}

/** Position of a tensor's first byte in the data. */
const at = (parts: Parts, name: string) => entryOf(parts, name).data_offsets[0]

const path = join(folder, 'changed.gta')

async function opens(bytes: Uint8Array): Promise<void> {
  writeFileSync(path, bytes)
  await (await openPacked(path)).close()
}

/** The file must be refused with this code and these words, and not stay open. */
async function refused(bytes: Uint8Array, code: string, ...words: string[]): Promise<void> {
  const error = await failure(opens(bytes))
  if (code === 'ModelError') assert.instance(error, ModelError, error.stack)
  else {
    assert.instance(error, GtaError, error.stack)
    assert.is(error.code, code, error.message)
    assert.ok(error.message.includes(path))
  }
  for (const word of words) assert.ok(error.message.includes(word), `"${word}" is not in: ${error.message}`)
  assert.equal(openFiles(folder) ?? [], [])
}

const q8 = await packedBytes('q8')
const f32 = await packedBytes('f32')
const changed = (change: (parts: Parts) => void, bytes = q8) => rewrite(bytes, change)

for (const [name, config] of Object.entries({ gqa: gqaConfig, gta: gtaConfig }))
  for (const type of ['q8', 'f32'] as const)
    test(`${name} ${type}: the weights of the file are those that a directory gives in memory`, async () => {
      const directory = directoryOf(config)
      const checkpoint = await Checkpoint.open(directory)
      const plan = planModel(checkpoint.model, type)
      const expected = new Uint8Array(plan.bytes)
      await packTensors(checkpoint, plan, (offset, bytes) => expected.set(bytes, offset))
      await checkpoint.close()

      const path = join(folder, `${name}-${type}.gta`)
      await convert(directory, path, { type })
      const packed = await openPacked(path)
      try {
        assert.equal(packed.plan, plan)
        assert.equal(packed.model.spec, checkpoint.model.spec)
        assert.equal(packed.files.config, config)
        assert.equal(packed.files.generation, { temperature: 0.25 })
        assert.equal(packed.files.tokenizerConfig, { add_bos_token: false })
        const tokenizer = Buffer.from(packed.files.tokenizer ?? []).toString()
        assert.is(tokenizer.trimEnd(), tokenizerJson)
        const target = new Uint8Array(plan.bytes).fill(255)
        const done: number[] = []
        await packed.readWeights(weightsInto(target), { onProgress: (progress) => done.push(progress.done) })
        assert.ok(Buffer.from(expected).equals(target))
        assert.is(done.at(-1), plan.bytes)
        assert.equal(new Uint32Array(target.buffer, 0, plan.words.length), plan.words)
      } finally {
        await packed.close()
      }
    })

test('a file that rewrite() only copies opens; the tests below change one thing each', async () => {
  const copy = rewrite(q8, () => undefined)
  await opens(copy)
  assert.ok(copy.subarray(-1000).equals(q8.subarray(-1000)))
  await opens(rewrite(f32, () => undefined))
})

test('describeModel tells what it is and closes the file', async () => {
  writeFileSync(path, q8)
  const { model, plan } = await describeModel(path)
  assert.is(model.spec.kind, 'gta')
  assert.is(plan?.type, 'q8')
  assert.equal(openFiles(folder) ?? [], [])
})

test('another version is refused with advice', async () => {
  for (const version of ['0', String(PLAN_VERSION + 1), '1.0', '', '01', 'x']) {
    const bytes = changed(({ metadata }) => {
      metadata.version = version
    })
    const versions = [`version ${PLAN_VERSION}`, `found version ${version}`]
    await refused(bytes, 'OTHER_VERSION', ...versions, 'convert the original model again')
  }
  const none = changed(({ metadata }) => {
    delete metadata.version
  })
  await refused(none, 'OTHER_VERSION')
  // What a later version changed may be anything: its number is looked at first.
  const later = changed((parts) => {
    parts.metadata = { format: parts.metadata.format, version: String(PLAN_VERSION + 1), type: 'q3' }
    parts.entries = {}
    parts.data = Buffer.alloc(0)
  })
  await refused(later, 'OTHER_VERSION')
})

test('a safetensors file that is not packed is refused', async () => {
  await refused(safetensors(randomTensors(gqaConfig)), 'NOT_A_MODEL', 'gta convert')
  await refused(safetensors(randomTensors(gqaConfig), { format: 'pt' }), 'NOT_A_MODEL')
  await refused(Buffer.from('\u0002\0\0\0\0\0\0\0{}'), 'NOT_A_MODEL')
  await refused(Buffer.from('this is a text, not a model'), 'BAD_FILE')
  await refused(Buffer.alloc(0), 'BAD_FILE')
})

test('an unknown weight type', async () => {
  for (const type of ['q5', 'Q8', '', 'constructor', undefined]) {
    const bytes = changed(({ metadata }) => {
      metadata.type = type
    })
    await refused(bytes, 'BAD_FILE', 'weight type', 'f32, q8')
  }
  const other = changed(({ metadata }) => {
    metadata.type = 'f32'
  })
  await refused(other, 'BAD_FILE', 'tensor "embed"')
})

test('any changed word of the plan', async () => {
  const words = entryOf(headerOf(q8), 'plan').shape[0] as number
  assert.ok(words > 100)
  for (let word = 0; word < words; word++) {
    const bytes = changed((parts) => {
      const position = at(parts, 'plan') + word * 4 + (word & 3)
      parts.data[position] = (parts.data[position] as number) ^ (1 << (word & 7))
    })
    await refused(bytes, 'BAD_FILE', 'tensor "plan"')
  }
})

function headerOf(bytes: Buffer): Parts {
  let found: Parts | undefined
  rewrite(bytes, (parts) => {
    found = parts
  })
  return found as Parts
}

test('changed frequencies, be it by the last bit', async () => {
  const withFrequency = (index: number, value: (old: number) => number) =>
    changed((parts) => {
      const position = at(parts, 'rotations.0.inv_freq') + index * 8
      parts.data.writeDoubleLE(value(parts.data.readDoubleLE(position)), position)
    })
  assert.equal(entryOf(headerOf(q8), 'rotations.0.inv_freq').shape, [8])
  const wrong = [(x: number) => x * (1 + 1e-9), (x: number) => -x, () => 0, () => Number.NaN, () => Infinity]
  for (const index of [0, 3])
    for (const value of wrong) await refused(withFrequency(index, value), 'BAD_FILE', 'rotations.0.inv_freq')
  // head_dim 8 has four; the rest of the row is padding.
  for (const index of [4, 7]) {
    await refused(
      withFrequency(index, () => 1e-300),
      'BAD_FILE',
      'rotations.0.inv_freq',
    )
    await refused(
      withFrequency(index, () => Number.NaN),
      'BAD_FILE',
      'rotations.0.inv_freq',
    )
  }
  await refused(
    withFrequency(3, (x) => x * (1 + 2 ** -52)),
    'BAD_FILE',
    'rotations.0.inv_freq',
  )
})

test('a tensor that is renamed, gone, reshaped, of another type, or elsewhere', async () => {
  for (const name of [
    'plan',
    'rotations.0.inv_freq',
    'embed',
    'embed.scale',
    'layers.0.in',
    'layers.1.decoder',
    'norm',
  ]) {
    const renamed = changed((parts) => {
      parts.entries[`${name}x`] = entryOf(parts, name)
      delete parts.entries[name]
    })
    await refused(renamed, 'BAD_FILE', `tensor "${name}"`, 'nothing')
    const flat = changed((parts) => {
      const entry = entryOf(parts, name)
      entry.shape = [1, entry.shape.reduce((n, m) => n * m, 1)]
    })
    await refused(flat, 'BAD_FILE', `tensor "${name}"`)
    const other = changed((parts) => {
      const entry = entryOf(parts, name)
      entry.dtype = { U8: 'I8', F32: 'I32', U32: 'I32', F64: 'I64' }[entry.dtype] ?? ''
    })
    await refused(other, 'BAD_FILE', `tensor "${name}"`, 'I')
  }
  const swapped = changed((parts) => {
    const [a, b] = [entryOf(parts, 'layers.0.in'), entryOf(parts, 'layers.1.in')]
    ;[a.data_offsets, b.data_offsets] = [b.data_offsets, a.data_offsets]
  })
  await refused(swapped, 'BAD_FILE', 'tensor "layers.0.in"', 'at offset')
  const transposed = changed((parts) => {
    const entry = entryOf(parts, 'layers.0.in')
    entry.shape.reverse()
  })
  await refused(transposed, 'BAD_FILE', 'tensor "layers.0.in"')
  const pushed = changed((parts) => {
    for (const { data_offsets: offsets } of Object.values(parts.entries)) {
      offsets[0] += 64
      offsets[1] += 64
    }
    parts.entries.first = { dtype: 'U8', shape: [64], data_offsets: [0, 64] }
    parts.data = Buffer.concat([Buffer.alloc(64), parts.data])
  })
  await refused(pushed, 'BAD_FILE', 'tensor "plan"')
})

test('a file cut short or too long', async () => {
  for (const size of [0, 7, 8, 9, 100, q8.length >> 1, q8.length - 64, q8.length - 1])
    await refused(q8.subarray(0, size), 'BAD_FILE')
  await refused(Buffer.concat([q8, Buffer.alloc(1)]), 'BAD_FILE')
})

test('a file cut short while it is open', async () => {
  writeFileSync(path, q8)
  const packed = await openPacked(path)
  try {
    truncateSync(path, q8.length >> 1)
    const error = await failure(packed.readWeights(weightsInto(new Uint8Array(packed.plan.bytes))))
    assert.is(error.code, 'BAD_FILE')
  } finally {
    await packed.close()
  }
})

test('a config that is broken, gone, or another one', async () => {
  const withConfig = (text: string | undefined) =>
    changed(({ metadata }) => {
      metadata.config = text
    })
  for (const text of ['', '{', 'x', '{"a":1,}']) await refused(withConfig(text), 'BAD_FILE', 'config', 'JSON')
  for (const text of [undefined, 'null', '7', '[]', '"x"']) await refused(withConfig(text), 'ModelError', 'config.json')
  const edited = (change: Config) => withConfig(JSON.stringify({ ...gtaConfig, ...change }))
  await refused(edited({ num_query_heads: 5 }), 'ModelError', 'num_query_heads')
  await refused(edited({ num_hidden_layers: 3 }), 'BAD_FILE', 'tensor "plan"')
  await refused(edited({ vocab_size: 97 }), 'BAD_FILE', 'tensor "embed"')
  await refused(edited({ rms_norm_eps: 1e-6 }), 'BAD_FILE', 'tensor "plan"')
  await refused(edited({ max_position_embeddings: 65 }), 'BAD_FILE', 'tensor "plan"')
  await refused(edited({ rope_theta: 10001 }), 'BAD_FILE', 'tensor "rotations.0.inv_freq"')
  await refused(edited({ tie_word_embeddings: false }), 'BAD_FILE', 'tensor "head"')
  await refused(edited({ num_hidden_layers: 1024, vocab_size: 2 ** 24 }), 'BAD_FILE')
  // What does not change the model is not looked at.
  await opens(edited({ torch_dtype: 'bfloat16' }))
  for (const name of ['generation', 'tokenizer_config']) {
    const broken = changed(({ metadata }) => {
      metadata[name] = '{'
    })
    await refused(broken, 'BAD_FILE', name, 'JSON')
  }
})

test('a config nested too deep to print is a typed error', async () => {
  const deep = '['.repeat(200_000) + ']'.repeat(200_000)
  const text = `${JSON.stringify(gtaConfig).slice(0, -1)},"vocab_size":${deep}}`
  const bytes = changed(({ metadata }) => {
    metadata.config = text
  })
  await refused(bytes, 'BAD_FILE', 'nested')
})

test('a tokenizer is optional; one of gigabytes is not read', async () => {
  const none = changed((parts) => {
    const [from] = entryOf(parts, 'tokenizer.json').data_offsets
    delete parts.entries['tokenizer.json']
    // Neither are the tables behind it.
    delete parts.entries['tokenizer.tables']
    delete parts.entries.sha256
    parts.data = parts.data.subarray(0, from)
  })
  writeFileSync(path, none)
  const packed = await openPacked(path)
  assert.is(packed.files.tokenizer, undefined)
  await packed.close()

  const size = 2 ** 30
  const large = changed((parts) => {
    const entry = entryOf(parts, 'tokenizer.json')
    delete parts.entries['tokenizer.tables']
    delete parts.entries.sha256
    entry.shape = [size]
    entry.data_offsets[1] = entry.data_offsets[0] + size
    parts.data = parts.data.subarray(0, entry.data_offsets[0])
  })
  // A hole in the file stands for the gigabyte.
  const file = openSync(path, 'w')
  writeSync(file, large)
  closeSync(file)
  truncateSync(path, large.length + size)
  const error = await failure(openPacked(path))
  assert.is(error.code, 'BAD_FILE', error.message)
  assert.match(error.message, 'tokenizer')
  truncateSync(path, 0)
})

test('what is not there, and a directory', async () => {
  assert.is((await failure(openPacked(join(folder, 'missing.gta')))).code, 'NOT_FOUND')
  assert.is((await failure(load(join(folder, 'missing.gta')))).code, 'NOT_FOUND')
  assert.is((await failure(openPacked(folder))).code, 'BAD_FILE')
})

test('load: another weight type than the file has is refused, and the file is closed', async () => {
  const good = join(folder, 'good-q8.gta')
  const error = await failure(load(good, { type: 'f32' }))
  assert.is(error.code, 'BAD_OPTION')
  assert.match(error.message, /must be q8/)
  assert.equal(openFiles(folder) ?? [], [])
})

test('load: an abort is heard, from a packed file as from a directory', async () => {
  const reason = new Error('enough')
  const bare = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  const packed = join(folder, 'bare.gta')
  await convert(bare, packed)
  for (const source of [bare, packed]) {
    const outcome = await load(source, { signal: AbortSignal.abort(reason) }).catch((error) => error)
    if (outcome !== reason) await outcome.close?.()
    assert.ok(outcome === reason, `${source} was loaded all the same`)
    assert.equal([...(openFiles(folder) ?? []), ...(openFiles(bare) ?? [])], [])
  }
})

test.run()
