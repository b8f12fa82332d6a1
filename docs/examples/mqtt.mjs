/**
 * Answers prompts over MQTT (npm install mqtt).
 *
 *     node mqtt.mjs [MODEL.gta]              MQTT_URL=mqtt://127.0.0.1 and TOPIC=gta unless the environment says otherwise
 *     mosquitto_sub -t 'gta/answer/#' -v &
 *     mosquitto_pub -t gta/ask/kitchen -m 'The fox said'
 *
 * A message on gta/ask/NAME is a prompt; its answer is published on gta/answer/NAME as {"text":"…"} or {"error":{"code",
 * "message"}}. One prompt after the other for each NAME, several NAMEs together. At most WAITING prompts wait; further ones are
 * answered with the code BUSY.
 */
import { defaultModel, GtaError, load } from 'gta-edge'
import { connectAsync } from 'mqtt'

const WAITING = 16
const MAX_BYTES = 4000
const topic = process.env.TOPIC ?? 'gta'

const model = await load(process.argv[2] ?? defaultModel)
const client = await connectAsync(process.env.MQTT_URL ?? 'mqtt://127.0.0.1', { connectTimeout: 10_000 })
const stop = new AbortController()
/** The last answer that is under way, by name. */
const last = new Map()
let waiting = 0

client.on('error', (error) => console.error(`mqtt: ${error.message}`)) // it connects again by itself
client.on('message', (from, message) => {
  const name = from.slice(`${topic}/ask/`.length)
  if (waiting >= WAITING) {
    void publish(name, { error: { code: 'BUSY', message: `${WAITING} prompts are waiting: ask again later` } })
    return
  }
  waiting++
  const turn = (last.get(name) ?? Promise.resolve())
    .then(() => answer(message))
    .then((told) => publish(name, told))
    .finally(() => {
      waiting--
      if (last.get(name) === turn) last.delete(name)
    })
  last.set(name, turn)
})

/** Never throws: what went wrong is the answer. */
async function answer(message) {
  try {
    if (message.length > MAX_BYTES) return { error: { code: 'TOO_LONG', message: `at most ${MAX_BYTES} bytes` } }
    let text = ''
    for await (const piece of model.generate(message.toString(), { maxTokens: 100, signal: stop.signal })) text += piece
    return { text }
  } catch (error) {
    if (stop.signal.aborted) return { error: { code: 'CLOSED', message: 'the responder ends' } }
    if (error instanceof GtaError) return { error: { code: error.code, message: error.message } }
    console.error(error)
    return { error: { code: 'INTERNAL', message: 'failed' } }
  }
}

async function publish(name, told) {
  try {
    await client.publishAsync(`${topic}/answer/${name}`, JSON.stringify(told), { qos: 1 })
  } catch (error) {
    console.error(`mqtt: ${name} has no answer: ${error.message}`)
  }
}

await client.subscribeAsync(`${topic}/ask/+`, { qos: 1 })
console.log(`answering on ${topic}/ask/+`)
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, async () => {
    stop.abort()
    await Promise.all(last.values())
    await client.endAsync()
    await model.close()
  })
