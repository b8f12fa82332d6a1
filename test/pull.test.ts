/** gta pull against a hub on this machine that breaks off, lies, asks for patience, and sends elsewhere. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { help } from '../host/cli/options.ts'
import { pull as command } from '../host/cli/pull.ts'
import { fit } from '../host/engine/fit.ts'
import { convert } from '../host/files/convert.ts'
import { describeModel } from '../host/files/describe.ts'
import { askedToWait, Hub } from '../host/files/hub/hub.ts'
import { listPulled, removePulled } from '../host/files/hub/models.ts'
import type { PullOptions } from '../host/files/hub/options.ts'
import { pull } from '../host/files/hub/pull.ts'
import { isSafePath, parseRepository, repositoryName } from '../host/files/hub/repository.ts'
import { load } from '../host/load.ts'
import { failure, gqaConfig, randomTensors, sourcesOf, temporary, writeCheckpoint } from './fixtures/checkpoints.ts'
import { type Behave, commit, entryOf, HubServer, type SendOptions, send } from './fixtures/hub.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const golden = (name: string) => readFileSync(join(root, 'test/golden', name))
const q8 = golden('gguf/stories260K-v3-q8_0.gguf')
const q4 = golden('gguf/stories260K-v3-q4_k_m.gguf')
const stories = {
  'config.json': golden('stories260K/config.json'),
  'model.safetensors': golden('stories260K/model.safetensors'),
}
const token = 'hf_secretsecretsecretsecretsecretsecr'

type Request = Parameters<Behave>[0]
type Response = Parameters<Behave>[1]

const hub = new HubServer()
const waits: number[] = []
const notices: string[] = []
let models = ''

test.before(() => hub.start())
test.after(() => hub.stop())
test.before.each(() => {
  const cache = temporary()
  process.env.XDG_CACHE_HOME = cache
  models = join(cache, 'gta-edge/models')
  for (const name of ['HF_TOKEN', 'HF_ENDPOINT', 'HF_HUB_OFFLINE']) delete process.env[name]
  waits.length = 0
  notices.length = 0
})

const options = (more: PullOptions = {}): PullOptions => ({
  endpoint: hub.endpoint,
  delays: [1, 2, 3],
  wait: async (milliseconds) => {
    waits.push(milliseconds)
  },
  onNotice: (text) => notices.push(text),
  ...more,
})
const get = (name: string, more?: PullOptions) => pull(name, options(more))
const fails = async (code: string, message: RegExp, promise: Promise<unknown>) => {
  const error = await failure(promise)
  assert.ok(error.code === code && message.test(error.message), `${error.code} ${error.stack}`)
  assert.not.match(error.stack as string, token)
  return error
}
/** All that a repository left behind, by path. */
const left = () => (existsSync(models) ? readdirSync(models, { recursive: true, encoding: 'utf8' }).sort() : [])
const one = (bytes = q8) => ({ 'o/m': { 'm-Q8_0.gguf': bytes } })
const partOf = (id: string, name: string) => join(models, id, `${name}.part`)
/** Sends so many bytes, and cuts the connection when they are written. */
const sendPart = (request: Request, response: Response, body: Buffer, more: SendOptions) =>
  send(request, response, body, {
    hasArrived: (bytes) =>
      existsSync(partOf('o/m', 'm-Q8_0.gguf')) && statSync(partOf('o/m', 'm-Q8_0.gguf')).size >= bytes,
    ...more,
  })
/** A test's own way to send files; lists and errors stay as they are. */
const sendAs =
  (how: (request: Request, response: Response, body: Buffer, n: number) => void): Behave =>
  (request, response, body, n) => {
    if (body) how(request, response, body, n)
    return body !== undefined
  }

test('a checkpoint: what it is made of and nothing else, found by its name, listed, removed', async () => {
  hub.reset({
    'o/stories': {
      ...stories,
      'README.md': Buffer.from('#'),
      'pytorch_model.bin': Buffer.from('pickle'),
      'consolidated.safetensors': Buffer.from('other'),
      'chat_template.jinja': Buffer.from('{{ x }}'),
      'onnx/config.json': Buffer.from('{}'),
    },
  })
  hub.pageSize = 2
  const progress: number[] = []
  const found = await get('o/stories', { onProgress: ({ done, total }) => progress.push(done / total) })
  const folder = join(models, 'o/stories')
  assert.equal([found.name, found.path, found.type], ['o/stories', folder, 'F32'])
  assert.is(found.bytes, found.downloaded)
  assert.is(progress.at(-1), 1)
  assert.equal(readdirSync(folder).sort(), [
    'README.md',
    'chat_template.jinja',
    'config.json',
    'gta-pull.json',
    'model.safetensors',
  ])
  assert.equal(readFileSync(join(folder, 'model.safetensors')), stories['model.safetensors'])
  const { model } = await describeModel('o/stories')
  assert.is(model.spec.vocabSize, 512)
  await (await load('o/stories', { threads: 1 })).close()
  const [listed, ...others] = await listPulled(assert.unreachable)
  assert.equal(
    [listed?.name, listed?.format, listed?.bytes, listed?.commit],
    ['o/stories', 'safetensors', found.bytes, commit],
  )
  assert.ok(Date.now() - Date.parse(listed?.pulled as string) < 60_000)
  assert.equal(others, [])
  assert.is((await get('o/stories')).downloaded, 0)
  assert.equal((await removePulled('o/stories', async () => false)).length, 0)
  assert.ok(existsSync(folder))
  assert.equal(
    (await removePulled('o/stories', async ([one]) => one?.path === folder)).map(({ name }) => name),
    ['o/stories'],
  )
  assert.equal(left(), [])
  await fails('NOT_FOUND', /gta pull o\/stories/, describeModel('o/stories'))
  await fails(
    'NOT_FOUND',
    /none at all/,
    removePulled('o/stories', async () => true),
  )
})

test('shards: those that the index names, and no others', async () => {
  const tensors = randomTensors(gqaConfig)
  const names = [...tensors.keys()]
  const folder = writeCheckpoint(gqaConfig, tensors)
  const files = {
    'config.json': readFileSync(join(folder, 'config.json')),
    'a.safetensors': readFileSync(join(folder, 'model.safetensors')),
  }
  const index = (shard: string) =>
    Buffer.from(JSON.stringify({ weight_map: Object.fromEntries(names.map((name) => [name, shard])) }))
  hub.reset({
    'o/s': {
      ...files,
      'b.safetensors': Buffer.from('no shard'),
      'model.safetensors.index.json': index('a.safetensors'),
    },
  })
  await get('o/s')
  assert.equal(sourcesOf(gqaConfig).length, names.length)
  assert.equal(
    readdirSync(join(models, 'o/s')).filter((name) => /safetensors$/.test(name)),
    ['a.safetensors'],
  )
  for (const bad of ['../a.safetensors', 'c.safetensors', 'config.json']) {
    hub.reset({ 'o/bad': { ...files, 'model.safetensors.index.json': index(bad) } })
    await fails('BAD_FILE', /must be a \.safetensors file beside it/, get('o/bad'))
  }
  assert.equal(
    left().filter((path) => path.startsWith('o/bad')),
    [],
  )
})

test('a GGUF file: its header first; what does not fit is refused with the numbers of gta fit, and nothing stays', async () => {
  // More than the header: zeros that no tensor has.
  const large = Buffer.concat([q8, Buffer.alloc(6e6)])
  hub.reset(
    one(large),
    sendAs((request, response, body) => send(request, response, body, { bytes: 2 ** 21 })),
  )
  const { model } = await describeModel(join(root, 'test/golden/gguf/stories260K-v3-q8_0.gguf'))
  const { neededBytes } = await fit(model, 'q4', { memoryBytes: 1e6, context: 512, conversations: 1, cache: 'int8' })
  const error = await fails('TOO_LARGE', /not even the weights fit/, get('o/m', { memoryBytes: 1e6 }))
  assert.match(error.message, `needs ${(neededBytes / 1e6).toFixed(1)} MB`)
  assert.is(hub.ranges('m-Q8_0.gguf').length, 1, 'the rest was not asked for')
  assert.equal(left(), [])
  hub.reset(one(large))
  await get('o/m', { memoryBytes: 1e6, force: true })
  assert.equal(left(), ['o', 'o/m', 'o/m/gta-pull.json', 'o/m/m-Q8_0.gguf'])
})

test('which file: the only one, the only usual one, the one that is named; else a question with sizes and what fits', async () => {
  const all = { 'a-Q8_0.gguf': q8, 'sub/a-Q4_K_M.gguf': q4, 'a-F16.gguf': q8, 'mmproj-F16.gguf': q8, 'a.bin': q4 }
  hub.reset({ 'o/m': all })
  const error = await fails('BAD_OPTION', /one of 3 files must be chosen/, get('o/m'))
  for (const words of ['  a-Q8_0.gguf          0.4 MB', 'sub/a-Q4_K_M.gguf', 'q8 weights', 'yes'])
    assert.ok(error.message.includes(words), words)
  assert.equal(left(), [])
  assert.is((await get('o/m:q4_k_m')).name, 'o/m:sub/a-Q4_K_M.gguf')
  assert.is((await get('o/m:a-F16.gguf')).type, 'Q8_0')
  await fails('BAD_OPTION', /o\/m:sub\/a-Q4_K_M\.gguf, o\/m:a-F16\.gguf/, load('o/m'))
  assert.is((await describeModel('o/m:Q4_K_M')).path, join(models, 'o/m/sub/a-Q4_K_M.gguf'))
  await removePulled('o/m:Q4_K_M', async () => true)
  assert.equal(left(), ['o', 'o/m', 'o/m/a-F16.gguf', 'o/m/gta-pull.json'])
  await fails('NOT_FOUND', /found sub\/a-Q4_K_M|found a-Q8_0/, get('o/m:Q6_K'))
  await fails('NOT_A_MODEL', /a program that runs/, get('o/m:a.bin'))
  hub.reset({
    'o/n': { 'a-Q8_0.gguf': q8, 'a-Q2_K.gguf': q4 },
    'o/p': { 'm-00001-of-00002.gguf': q8 },
    'o/q': { 'x.pt': q8 },
    'o/r': {},
  })
  assert.is((await get('o/n')).name, 'o/n:a-Q8_0.gguf')
  await fails('NOT_A_MODEL', /llama-gguf-split --merge/, get('o/p'))
  await fails('NOT_A_MODEL', /"x\.pt": a file of that kind is a program/, get('o/q'))
  await fails('NOT_A_MODEL', /found neither/, get('o/r'))
})

test('a packed file, at a revision', async () => {
  const path = join(temporary(), 's.gta')
  await convert(join(root, 'test/golden/stories260K'), path)
  hub.reset({ 'o/g': { 's.gta': readFileSync(path) } })
  const found = await get('o/g@refs/pr/1')
  assert.equal([found.name, found.type], ['o/g@refs/pr/1:s.gta', 'q8'])
  assert.ok(hub.asked.every(({ path }) => path.includes('/refs/pr/1')))
  assert.is((await describeModel('o/g@refs/pr/1')).plan?.type, 'q8')
})

test('cut again and again: each connection goes on where the last one broke, if it is the same version', async () => {
  hub.reset(
    one(),
    sendAs((request, response, body) => sendPart(request, response, body, { bytes: 100_000 })),
  )
  await get('o/m')
  const ranges = hub.ranges('m-Q8_0.gguf')
  assert.equal(ranges, [undefined, 'bytes=100000-', 'bytes=200000-', 'bytes=300000-'])
  assert.match(hub.asked.at(-1)?.headers['if-range'] as string, /^"[0-9a-f]{20}"$/)
  assert.equal(waits, [1, 2, 3])
  hub.reset(
    one(),
    sendAs((request, response, body) => sendPart(request, response, body, { bytes: 50_000 })),
  )
  await removePulled('o/m', async () => true)
  await fails('FETCH_FAILED', /must arrive whole/, get('o/m'))
  assert.is(statSync(partOf('o/m', 'm-Q8_0.gguf')).size, 200_000, 'what has arrived stays')
})

test('a server that ignores ranges starts again, and so does one with another version; both are said', async () => {
  hub.reset(
    one(),
    sendAs((request, response, body, n) =>
      sendPart(request, response, body, { bytes: n < 2 ? 100_000 : body.length, hasRanges: false }),
    ),
  )
  await get('o/m')
  assert.match(notices.join(), /does not go on in the middle/)
  await removePulled('o/m', async () => true)
  notices.length = 0
  hub.reset(
    one(),
    sendAs((request, response, body, n) =>
      sendPart(request, response, body, { bytes: n < 2 ? 100_000 : body.length, etag: `"${n}"` }),
    ),
  )
  await get('o/m')
  assert.match(notices.join(), /another version \(ETag\)/)
  assert.equal(readFileSync(join(models, 'o/m/m-Q8_0.gguf')), q8)
})

test('a server that ignores If-Range, or sends other bytes than were asked for, is not believed', async () => {
  for (const lie of ['etag', 'place', 'total', '416'] as const) {
    hub.reset(
      one(),
      sendAs((request, response, body, n) => {
        if (n !== 2) return sendPart(request, response, body, n === 1 ? { bytes: 100_000 } : {})
        if (lie === '416') return response.writeHead(416).end()
        const [from, total] = [lie === 'place' ? 99_000 : 100_000, lie === 'total' ? 5e5 : body.length]
        response.writeHead(206, {
          'content-range': `bytes ${from}-${body.length - 1}/${total}`,
          ...(lie === 'etag' ? { etag: '"x"' } : {}),
        })
        response.end(body.subarray(from))
      }),
    )
    await get('o/m')
    assert.is(notices.length, 1, lie)
    assert.equal(hub.ranges('m-Q8_0.gguf'), [undefined, 'bytes=100000-', undefined], lie)
    await removePulled('o/m', async () => true)
    notices.length = 0
  }
})

test('lies about lengths and bytes: refused, and deleted', async () => {
  const tail = (length: number) =>
    sendAs((_, response, body) =>
      response.writeHead(200, { 'content-length': length }).end(Buffer.concat([body, body]).subarray(0, length)),
    )
  const chunked: Behave = sendAs((_, response, body) => {
    response.writeHead(200)
    response.end(Buffer.concat([body, body]))
  })
  const other = Buffer.from(q8)
  other[other.length - 1] = (other[other.length - 1] as number) ^ 1
  const damaged = sendAs((request, response) => send(request, response, other))
  for (const [behave, message] of [
    [tail(q8.length - 1), /the length of "m-Q8_0.gguf" must be 379168 bytes.*found 379167/],
    [tail(q8.length + 1), /found 379169/],
    [chunked, /the length of "m-Q8_0.gguf".*found more/],
    [damaged, /the hash of "m-Q8_0.gguf" must be [0-9a-f]{64}/],
  ] as const) {
    hub.reset(one(), behave)
    await fails('BAD_FILE', message, get('o/m'))
    assert.equal(
      left().filter((path) => /part$|gguf$/.test(path)),
      [],
      `${message}`,
    )
  }
  // Fewer, and a connection that ends well.
  hub.reset(
    one(),
    sendAs((_, response, body) => {
      response.writeHead(200)
      response.end(body.subarray(0, 1000))
    }),
  )
  await fails('FETCH_FAILED', /ends after 1\.0 kB of 0\.4 MB/, get('o/m'))
})

test('a list that lies, is too long, or names files that would lie elsewhere', async () => {
  const entry = entryOf('m.gguf', q8)
  const list = (...entries: unknown[]) => {
    hub.reset(one(), (_, response, body) => {
      if (!body) response.end(JSON.stringify(entries))
      return !body
    })
    return get('o/m')
  }
  for (const size of [-1, 1.5, 2 ** 60, '5'])
    await fails(
      'BAD_FILE',
      /the size of "m\.gguf" in the hub's list/,
      list({ ...entry, lfs: { oid: 'a'.repeat(64), size } }),
    )
  await fails('BAD_FILE', /the hash of "m\.gguf"/, list({ ...entry, lfs: { oid: 'x', size: 5 } }))
  await fails('BAD_FILE', /there once/, list(entry, entry))
  await fails('BAD_FILE', /a list of files/, list(1))
  await fails(
    'BAD_FILE',
    /at most 10000/,
    list(...Array.from({ length: 10_001 }, (_, i) => ({ ...entry, path: `${i}.gguf` }))),
  )
  const names = [
    '../m.gguf',
    '/m.gguf',
    'a/../../m.gguf',
    'a\\m.gguf',
    'a\u0000m.gguf',
    'a\nm.gguf',
    'C:m.gguf',
    `${'a'.repeat(300)}.gguf`,
    'a//m.gguf',
    '\u202em.gguf',
  ]
  await fails('NOT_A_MODEL', /found neither/, list(...names.map((path) => ({ ...entry, path }))))
  assert.match(notices.at(-1) as string, /^10 files of "o\/m" are left out/)
  // A hundred thousand files that are none of a model are read past; pages without an end are not.
  hub.reset(one(), (request, response) => {
    const page = Number(/cursor=(\d+)/.exec(request.url as string)?.[1] ?? 0)
    response.setHeader('link', `</api?cursor=${page + 1}>; rel="next"`)
    response.end(
      page > 0 ? '[]' : JSON.stringify(Array.from({ length: 100_000 }, (_, i) => ({ type: 'file', path: `${i}.png` }))),
    )
    return true
  })
  await fails('BAD_FILE', /the number of pages.*at most 100/, get('o/m'))
  assert.is(hub.asked.length, 100)
  hub.reset(one(), (_, response) => {
    response.setHeader('link', '<https://elsewhere.example/more>; rel="next"')
    return Boolean(response.end('[]'))
  })
  await fails('BAD_FILE', /the link to the next page.*found https:\/\/elsewhere/, get('o/m'))
  hub.reset(one(), (_, response) => Boolean(response.end(`["${'a'.repeat(2 ** 24)}"]`)))
  await fails('BAD_FILE', /at most 16777216 bytes/, get('o/m'))
  assert.equal(left(), [])
})

test('names of repositories and files', () => {
  assert.equal(parseRepository('o/n@v1:a/b.gguf'), { id: 'o/n', revision: 'v1', file: 'a/b.gguf' })
  assert.is(repositoryName({ id: 'o/n', revision: 'v1' }, 'b'), 'o/n@v1:b')
  for (const bad of [
    'n',
    'o/n/m',
    '../n',
    'o/..',
    'o/n@../x',
    'o/n:../x',
    'o/n:/x',
    'o/n:',
    'o/n@',
    'o/a..b',
    'o/n:a\\b',
    'o n/m',
    '-o/n',
  ])
    assert.is(parseRepository(bad), undefined, bad)
  assert.ok(isSafePath('Ünïcode ok/Q4_K_M/model-1.5b.gguf'))
})

test('no access, no repository, no revision, no file: each by its name, and the token in none of it', async () => {
  const answer = (status: number, code?: string) => {
    hub.reset(one(), (_, response) =>
      Boolean(response.writeHead(status, code ? { 'x-error-code': code } : {}).end(token)),
    )
    return get('o/m', { token })
  }
  await fails(
    'FETCH_FAILED',
    /terms to be accepted: the account of HF_TOKEN.*Accept them at http.*\/o\/m/,
    answer(403, 'GatedRepo'),
  )
  await fails('FETCH_FAILED', /check HF_TOKEN/, answer(401))
  hub.reset(one(), (_, response) => Boolean(response.writeHead(401).end()))
  await fails('NOT_FOUND', /or a private one/, get('o/m'))
  await fails('NOT_FOUND', /or a private one/, answer(404, 'RepoNotFound'))
  await fails('NOT_FOUND', /the revision "main"/, answer(404, 'RevisionNotFound'))
  await fails('FETCH_FAILED', /status 403: check HF_TOKEN/, answer(403))
  // A list that everybody may read, of files that not everybody may.
  hub.reset(
    one(),
    sendAs((_, response) => response.writeHead(401, { 'x-error-code': 'GatedRepo' }).end()),
  )
  await fails('FETCH_FAILED', /no HF_TOKEN is set/, get('o/m'))
  assert.equal(left(), [])
  await fails('BAD_OPTION', /HF_TOKEN/, get('o/m', { token: `${token}\n${token}` }))
  await fails('BAD_OPTION', /OWNER\/NAME/, get('nonsense'))
})

test('a busy server is asked again when it says so, but not for ever', async () => {
  hub.reset(one(), (_, response, _body, n) => {
    if (n === 0) response.writeHead(429, { 'retry-after': '7' }).end()
    if (n === 1) response.writeHead(429, { ratelimit: '"api";r=0;t=55' }).end()
    if (n === 2) response.writeHead(503).end()
    return n < 3
  })
  await get('o/m')
  assert.equal(waits, [7000, 55_000, 3])
  assert.match(notices.join(), /asks to wait for 7 s,.*for 55 s/)
  hub.reset(one(), (_, response) => Boolean(response.writeHead(429, { 'retry-after': '9000' }).end()))
  await fails('FETCH_FAILED', /asks to wait for 9000 s/, get('o/m'))
  hub.reset(one(), (_, response) => Boolean(response.writeHead(500).end()))
  await fails('FETCH_FAILED', /again and again status 500/, get('o/m'))
  assert.is(hub.asked.length, 4)
  const date = new Headers({ 'retry-after': new Date(1_000_000).toUTCString() })
  assert.equal([askedToWait(date, 990_000), askedToWait(new Headers())], [10_000, 0])
})

test('a connection that says nothing is a broken one', async () => {
  const more = options()
  more.wait = async () => {
    delete more.patience
  }
  // Impatient once all that comes is there: how long it takes to come is not what is asked here.
  const fallSilent = (response: Response) => {
    const part = partOf('o/m', 'm-Q8_0.gguf')
    if (!existsSync(part) || statSync(part).size < 1000) return setTimeout(() => fallSilent(response), 1)
    more.patience = 1
    return response.write(q8.subarray(1000, 1001))
  }
  hub.reset(
    one(),
    sendAs((request, response, body, n) => {
      if (n > 1) return send(request, response, body, { etag: '"1"' })
      response.writeHead(200, { etag: '"1"', 'content-length': body.length })
      response.write(body.subarray(0, 1000), () => fallSilent(response))
    }),
  )
  await pull('o/m', more)
  assert.match(hub.ranges('m-Q8_0.gguf')[1] as string, /^bytes=100[01]-$/)
})

test('large files lie on another host, which sees no token; what the hub says of them is checked', async () => {
  hub.reset(one())
  hub.hasOther = true
  process.env.HF_TOKEN = token
  process.env.HF_ENDPOINT = hub.endpoint
  await get('o/m', { endpoint: undefined })
  assert.ok(hub.asked.length === 2 && hub.asked.every(({ headers }) => headers.authorization === `Bearer ${token}`))
  assert.is(hub.otherAsked.length, 1)
  assert.is(hub.otherAsked[0]?.headers.authorization, undefined)
  assert.not.match(readFileSync(join(models, 'o/m/gta-pull.json'), 'utf8'), token)
  // Its addresses are good for a while: then the hub gives another one.
  await removePulled('o/m', async () => true)
  hub.otherStatuses = [403]
  await get('o/m')
  assert.equal([hub.otherAsked.length, waits.length], [3, 1])
  hub.reset({ 'o/n': { 'n.gguf': q8 } }, (_, response, body) => {
    if (body) response.writeHead(200, { 'x-linked-etag': `"${'0'.repeat(64)}"` }).end(body)
    return body !== undefined
  })
  await fails('FETCH_FAILED', /another version on the hub/, get('o/n'))
})

test('a list without the hashes of large files: the hub says them with the file', async () => {
  hub.reset({ 'o/n': { 'n.gguf': q8 } }, (_, response, body) => {
    if (!body) response.end(JSON.stringify([{ ...entryOf('n.gguf', q8), lfs: undefined }]))
    return !body
  })
  await fails('BAD_FILE', /the hash/, get('o/n'))
  hub.hasOther = true
  await get('o/n')
  assert.equal(readFileSync(join(models, 'o/n/n.gguf')), q8)
})

test('no http, unless the endpoint says so; no token to it; no redirection from https to it', async () => {
  for (const bad of ['huggingface.co', 'ftp://x', 'https://a:b@x', 'https://x/?y']) {
    const error = await failure(get('o/m', { endpoint: bad }))
    assert.match(`${error.code} ${error.message}`, /^BAD_OPTION HF_ENDPOINT/)
  }
  new Hub(options({ endpoint: 'http://mirror.example', token }))
  assert.match(notices.join(), /HF_TOKEN is not sent to mirror\.example/)
  const real = globalThis.fetch
  const seen: string[] = []
  try {
    globalThis.fetch = async (url) => {
      seen.push(String(url))
      return new Response(null, { status: 302, headers: { location: 'http://127.0.0.1:1/x' } })
    }
    await fails('FETCH_FAILED', /without https/, get('o/m', { endpoint: 'https://hub.example/prefix/' }))
    assert.equal(seen, ['https://hub.example/prefix/api/models/o/m/tree/main?recursive=true'])
    globalThis.fetch = async () => {
      throw new TypeError('fetch failed', { cause: new Error('getaddrinfo ENOTFOUND hub.example') })
    }
    await fails(
      'FETCH_FAILED',
      /hub\.example must be reachable, found getaddrinfo ENOTFOUND/,
      get('o/m', { endpoint: 'https://hub.example' }),
    )
    assert.equal(waits, [], 'whoever was never reached is not waited for')
  } finally {
    globalThis.fetch = real
  }
})

test('Ctrl-C leaves a part, which the next pull goes on with; a damaged one is told and fetched anew', async () => {
  const half = sendAs((request, response, body, n) => {
    if (n > 1) return send(request, response, body)
    response.writeHead(200, { etag: `"${1}"`, 'content-length': body.length })
    response.write(body.subarray(0, 200_000))
  })
  const stop = async () => {
    const controller = new AbortController()
    hub.reset(one(), half)
    const part = partOf('o/m', 'm-Q8_0.gguf')
    let isOver = false
    const promise = failure(get('o/m', { signal: controller.signal })).finally(() => {
      isOver = true
    })
    while (!isOver && (!existsSync(part) || statSync(part).size < 200_000))
      await new Promise((resolve) => setTimeout(resolve, 2))
    const reason = new Error('stopped')
    controller.abort(reason)
    assert.is(await promise, reason)
    return part
  }
  await stop()
  // Another one that is refused takes nothing of it away.
  hub.reset({ 'o/m': { 'm-Q8_0.gguf': q8, 'n.gguf': q4 } })
  await fails('TOO_LARGE', /not even the weights/, get('o/m:n.gguf', { memoryBytes: 1e6 }))
  const [unfinished, ...others] = await listPulled(assert.unreachable)
  assert.equal(others, [])
  assert.equal([unfinished?.pulled, unfinished?.done, unfinished?.bytes], [null, 200_000, q8.length])
  await fails('NOT_FOUND', /found 0\.2 MB of 0\.4 MB: finish it with gta pull o\/m/, load('o/m'))
  await fails('NOT_FOUND', /m-Q8_0\.gguf \(200000 of 379168 bytes are there\)/, get('o/m', { offline: true }))
  hub.reset(
    one(),
    sendAs((request, response, body) => send(request, response, body, { etag: '"1"' })),
  )
  const found = await get('o/m')
  assert.is(found.downloaded, q8.length - 200_000)
  assert.equal(hub.ranges('m-Q8_0.gguf'), ['bytes=200000-'])
  await removePulled('o/m', async () => true)
  const part = await stop()
  const bytes = readFileSync(part)
  bytes.fill(0, 199_000)
  writeFileSync(part, bytes)
  hub.reset(
    one(),
    sendAs((request, response, body) => send(request, response, body, { etag: '"1"' })),
  )
  await get('o/m')
  assert.match(notices.join(), /is damaged: it is downloaded anew/)
  assert.equal(readFileSync(join(models, 'o/m/m-Q8_0.gguf')), q8)
})

test('one pull at a time; a program that is gone does not hold another up', async () => {
  hub.reset(one())
  const ended = await Promise.allSettled([get('o/m'), get('o/m')])
  assert.equal(ended.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  const { reason } = ended.find(({ status }) => status === 'rejected') as PromiseRejectedResult
  assert.match(`${reason.code} ${reason.message}`, /^BUSY .*process \d+: wait for it/)
  const mark = join(models, 'o/m/.lock')
  assert.not.ok(existsSync(mark))
  const gone = spawnSync(process.execPath, ['-e', '']).pid
  const { hostname } = await import('node:os')
  writeFileSync(mark, JSON.stringify({ process: gone, started: null, host: hostname(), id: 'x' }))
  await get('o/m')
  writeFileSync(mark, JSON.stringify({ process: gone, started: null, host: 'another', id: 'x' }))
  await fails('BUSY', /the machine another/, get('o/m'))
})

test('weights that are not those of the config are refused before they are fetched', async () => {
  const config = JSON.parse(stories['config.json'].toString())
  const changed = (fields: object) => Buffer.from(JSON.stringify({ ...config, ...fields }))
  for (const [fields, message] of [
    [{ num_hidden_layers: 99 }, /must hold \d+ more tensors/],
    [{ intermediate_size: 999 }, /tensor "model\.layers\.0\.mlp\.gate_proj\.weight" must be \(999, 64\)/],
  ] as const) {
    hub.reset({ 'o/stories': { ...stories, 'config.json': changed(fields) } })
    await fails('BAD_TENSOR', message, get('o/stories'))
    assert.not.ok(
      left().some((path) => path.endsWith('model.safetensors')),
      left().join(),
    )
  }
  hub.reset({ 'o/stories': stories })
  await get('o/stories')
  assert.ok(
    notices.some((text) => text.includes('token ids only')),
    notices.join(),
  )
})

test('offline: a file that is gone is missed', async () => {
  hub.reset({ 'o/stories': stories })
  await get('o/stories')
  rmSync(join(models, 'o/stories/model.safetensors'))
  await fails(
    'NOT_FOUND',
    /missing: model\.safetensors \(0 of \d+ bytes are there\)/,
    get('o/stories', { offline: true }),
  )
  const [listed] = await listPulled(assert.unreachable)
  assert.ok(listed && listed.done < listed.bytes)
})

test('offline: no network is touched', async () => {
  hub.reset({ 'o/stories': stories })
  await fails('NOT_FOUND', /found missing: all of it/, get('o/stories', { offline: true }))
  assert.is(hub.asked.length, 0)
  await get('o/stories')
  hub.asked.length = 0
  process.env.HF_HUB_OFFLINE = '1'
  assert.equal((await get('o/stories')).path, join(models, 'o/stories'))
  assert.is(hub.asked.length, 0)
})

test('a newer version: only what has changed is fetched, and it takes the place of the older one whole', async () => {
  hub.reset({ 'o/stories': { ...stories, 'added_tokens.json': Buffer.from('{}') } })
  await get('o/stories')
  const config = Buffer.from(`${stories['config.json']} `)
  hub.reset({ 'o/stories': { ...stories, 'config.json': config } })
  const found = await get('o/stories')
  assert.is(found.downloaded, config.length)
  assert.equal(readdirSync(found.path).sort(), ['config.json', 'gta-pull.json', 'model.safetensors'])
  // Without what was noted, files are known by their hashes.
  writeFileSync(join(found.path, 'gta-pull.json'), '{}')
  await fails('BAD_FILE', /must be what gta pull wrote/, load('o/stories'))
  const { rmSync } = await import('node:fs')
  rmSync(join(found.path, 'gta-pull.json'))
  assert.is((await get('o/stories')).downloaded, 0)
})

test('a full disk: seen before, or told with what stays', async () => {
  const size = 2 ** 41
  hub.reset(one(), (_, response, body) => {
    if (!body) response.end(JSON.stringify([{ ...entryOf('m.gguf', q8), lfs: { oid: 'a'.repeat(64), size } }]))
    else response.writeHead(200, { 'content-length': size }).write(body)
    return true
  })
  hub.repositories = { 'o/m': { 'm.gguf': Buffer.concat([q8, Buffer.alloc(2 ** 21)]) } }
  await fails('TOO_LARGE', /must fit in .* GB, it needs 2199\.\d+ GB: that is what the disk/, get('o/m'))
  assert.equal(left(), [])
  if (!existsSync('/dev/full')) return
  hub.reset(one())
  mkdirSync(join(models, 'o/m'), { recursive: true })
  symlinkSync('/dev/full', partOf('o/m', 'm-Q8_0.gguf'))
  await fails('WRITE_FAILED', /the disk is full: make room\. What has arrived stays/, get('o/m'))
})

test('the commands: a killed pull goes on, models lists it, rm asks', async () => {
  const gta = join(root, 'dist/gta.mjs')
  const env = { ...process.env, HF_ENDPOINT: hub.endpoint, HF_TOKEN: token }
  const run = (...args: string[]) =>
    new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
      const child = spawn(process.execPath, [gta, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
      let [stdout, stderr] = ['', '']
      child.stdout.on('data', (text) => {
        stdout += text
      })
      child.stderr.on('data', (text) => {
        stderr += text
      })
      child.on('close', (code) => resolve({ code, stdout, stderr }))
    })
  hub.reset(
    one(),
    sendAs((_, response, body) => {
      response.writeHead(200, { etag: '"1"', 'content-length': body.length })
      response.write(body.subarray(0, 100_000))
    }),
  )
  const child = spawn(process.execPath, [gta, 'pull', 'o/m'], { env, stdio: 'ignore' })
  const part = partOf('o/m', 'm-Q8_0.gguf')
  let isRunning = true
  child.on('close', () => {
    isRunning = false
  })
  while (isRunning && (!existsSync(part) || statSync(part).size < 100_000))
    await new Promise((resolve) => setTimeout(resolve, 5))
  assert.ok(child.kill('SIGKILL'), 'it was still at work')
  hub.reset(
    one(),
    sendAs((request, response, body) => send(request, response, body, { etag: '"1"' })),
  )
  const pulled = await run('pull', 'o/m')
  assert.is(pulled.code, 0, pulled.stderr)
  assert.match(
    pulled.stdout,
    /^yes {2}q8 weights .*\nyes {2}q4 .*\no\/m:m-Q8_0\.gguf: 0\.4 MB in .*, 0\.3 MB downloaded\nNow: gta run o\/m:m-Q8_0\.gguf/,
  )
  assert.equal(hub.ranges('m-Q8_0.gguf'), ['bytes=100000-'])
  const [listed, told, refused] = await Promise.all([
    run('models'),
    run('run', 'o/m', '-n', '1', '-p', 'Once', '--json'),
    run('rm', 'o/m'),
  ])
  assert.match(listed.stdout, /\| o\/m:m-Q8_0\.gguf \| 0\.4 MB \| gguf Q8_0 \| \d{4}-/)
  assert.is(told.code, 0, told.stderr)
  assert.equal([refused.code, /--force must be given/.test(refused.stderr)], [2, true])
  assert.match(help(command), '--offline')
})

test.run()
