/** What the nodes of host/node-red are made of, without a Node-RED: servers' streams, turns, the editor's half. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ServerModel } from '../host/node-red/server-model.ts'
import { Turns } from '../host/node-red/turns.ts'

const root = fileURLToPath(new URL('../', import.meta.url))

// biome-ignore lint/suspicious/noExplicitAny: what an editor's program gives
type Any = any

test('servers that are none, or break off, are told apart', async () => {
  const event = (data: object) => `data: ${JSON.stringify(data)}\n\n`
  const word = event({ choices: [{ delta: { content: 'a' } }] })
  const end = event({ choices: [{ delta: {}, finish_reason: 'stop' }] })
  let body = ''
  const stub = createServer((_, response) => response.setHeader('content-type', 'text/event-stream').end(body))
  stub.listen(0, '127.0.0.1')
  await once(stub, 'listening')
  const model = new ServerModel(
    `http://127.0.0.1:${(stub.address() as { port: number }).port}/v1`,
    undefined,
    undefined,
  )
  const answerTo = async (text: string) => {
    body = text
    const told = model.ask({ input: { prompt: 'Once' } }, new AbortController().signal)
    for (;;) {
      const { done, value } = await told.next()
      if (done) return value.message.content
    }
  }
  assert.is(await answerTo(`: prompt 1/2\n\n${word}${word}${end}data: [DONE]\n\n`), 'aa')
  const cases = [['', 'broken_off'], [word, 'broken_off'], [`${word}data: {"cho`, 'broken_off'], [`data: no\n\n${end}`, 'broken_off'], [word + event({ error: { message: 'm', code: 'engine_failed' } }), 'engine_failed']] as const // biome-ignore format: one line
  for (const [text, code] of cases)
    await answerTo(text).then(
      () => assert.unreachable(text),
      (error) => assert.is(error.code, code),
    )
  stub.close()
})

test('the editor: each node has its fields, each field its input and its texts, each node its help', () => {
  const read = (name: string) => readFileSync(`${root}host/node-red/package/${name}`, 'utf8')
  const html = read('gta-edge.html')
  const texts = JSON.parse(read('locales/en-US/gta-edge.json'))
  const textOf = (key: string) => key.split('.').reduce((at, name) => at?.[name], texts)
  const keys = [...html.matchAll(/data-i18n="(?:\[\w+\])?([\w.]+)"/g)].map(([, name]) => name as string)
  assert.ok(keys.length > 30)
  for (const name of keys) assert.type(textOf(name), 'string', name)
  const types = new Map<string, Any>()
  const [, program] = /<script type="text\/javascript">(.*?)<\/script>/s.exec(html) ?? []
  new Function('RED', program as string)({
    nodes: { registerType: (name: string, type: Any) => types.set(name, type) },
  })
  assert.equal([...types.keys()], ['gta-model', 'gta-chat'])
  for (const [name, { defaults, credentials = {}, category }] of types) {
    const prefix = category === 'config' ? 'node-config-input-' : 'node-input-'
    const [, form = ''] = new RegExp(`data-template-name="${name}">(.*?)</script>`, 's').exec(html) ?? []
    const fields = [...form.matchAll(/<(?:input|select|textarea)[^>]* id="([\w-]+)"/g)].map(([, id]) => id)
    assert.equal(fields.sort(), [...Object.keys(defaults), ...Object.keys(credentials)].map((field) => prefix + field).sort()) // biome-ignore format: one line
    assert.match(read('locales/en-US/gta-edge.html'), `data-help-name="${name}"`)
    for (const { value, validate } of Object.values<Any>(defaults)) assert.ok(validate?.(value) ?? true)
  }
  const { schema, temperature } = types.get('gta-chat').defaults
  assert.equal(['{"a":1}', '{', '7'].map(schema.validate), [true, false, false])
  assert.equal(['0.5', '-1', 'hot'].map(temperature.validate), [true, false, false])
})

test('turns: in order, at most so many at a time and 100 behind them; who leaves is passed over', async () => {
  const turns = new Turns(2)
  const never = new AbortController().signal
  const places: string[] = []
  const take = (name: string, signal = never) => turns.take(signal, (place) => places.push(`${name} ${place}`))
  const [first, second] = await Promise.all([take('a'), take('b')])
  const leaving = new AbortController()
  const left = take('c', leaving.signal)
  const begun: string[] = []
  const fourth = take('d').then((giveBack) => {
    begun.push('d')
    return giveBack
  })
  const fifth = take('e').then(() => begun.push('e'))
  leaving.abort(new Error('left'))
  await left.then(
    () => assert.unreachable(),
    (error) => assert.is(error.message, 'left'),
  )
  first?.()
  await fourth
  assert.equal(begun, ['d'])
  second?.()
  await fifth
  assert.equal(places, ['c 1', 'd 2', 'e 3', 'd 1', 'e 2', 'e 1'])
  for (let i = 0; i < 100; i++) take('x').catch(() => undefined)
  await take('y').then(
    () => assert.unreachable(),
    ({ code, status }) => assert.equal([code, status], ['queue_full', 429]),
  )
})

test.run()
