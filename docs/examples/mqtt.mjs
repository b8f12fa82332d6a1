/**
 * Answers prompts over MQTT (npm install mqtt).
 *
 *     node mqtt.mjs [MODEL.gta]              MQTT_URL=mqtt://127.0.0.1 and TOPIC=gta unless the environment says otherwise
 *     mosquitto_rr -t gta/ask -e gta/answer/kitchen -m 'The fox said'
 *
 * A message on gta/ask is a prompt; its answer, {"text":"…"} or {"error":{"code","message"}}, is published on the response topic
 * of the message with its correlation data, as MQTT 5 has it. Response topics must begin with gta/answer/, lest who may ask
 * could have anything published. Without one, gta/ask/NAME is answered on gta/answer/NAME; so it is with MQTT 3.1.1
 * (MQTT_VERSION=4). One prompt after the other for each topic of answers, several topics together. At most WAITING prompts wait;
 * further ones are answered with the code BUSY. The retained gta/status is online, or offline: the last will.
 */
import { defaultModel, GtaError, load } from 'gta-edge'
import { connectAsync } from 'mqtt'

const WAITING = 16
const MAX_BYTES = 4000
const topic = process.env.TOPIC ?? 'gta'

const model = await load(process.argv[2] ?? defaultModel)
const status = { topic: `${topic}/status`, qos: 1, retain: true }
const client = await connectAsync(process.env.MQTT_URL ?? 'mqtt://127.0.0.1', {
  connectTimeout: 10_000,
  protocolVersion: Number(process.env.MQTT_VERSION ?? 5),
  will: { ...status, payload: Buffer.from('offline') },
})
const stop = new AbortController()
/** The last answer that is under way, by the topic of its answer. */
const last = new Map()
let waiting = 0

client.on('error', (error) => console.error(`mqtt: ${error.message}`)) // it connects again by itself
client.on('connect', () => void publish(status.topic, 'online', status)) // after the first time
client.on('message', (from, message, { properties = {} }) => {
  const { responseTopic, correlationData } = properties
  const to = responseTopic ?? from.replace(`${topic}/ask`, `${topic}/answer`)
  const options = { qos: 1, ...(correlationData && { properties: { correlationData } }) }
  const refuse = (to, code, message) => void publish(to, JSON.stringify({ error: { code, message } }), options)
  if (!`${to}/`.startsWith(`${topic}/answer/`) || /[+#]/.test(to)) {
    refuse(`${topic}/answer`, 'BAD_RESPONSE_TOPIC', `the response topic must begin with ${topic}/answer/`)
    return
  }
  if (waiting >= WAITING) {
    refuse(to, 'BUSY', `${WAITING} prompts are waiting: ask again later`)
    return
  }
  waiting++
  const turn = (last.get(to) ?? Promise.resolve())
    .then(() => answer(message))
    .then((told) => publish(to, JSON.stringify(told), options))
    .finally(() => {
      waiting--
      if (last.get(to) === turn) last.delete(to)
    })
  last.set(to, turn)
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

async function publish(to, payload, options) {
  try {
    await client.publishAsync(to, payload, options)
  } catch (error) {
    console.error(`mqtt: nothing could be published on ${to}: ${error.message}`)
  }
}

for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, async () => {
    stop.abort()
    await Promise.all(last.values())
    // An end in order sends no will.
    await publish(status.topic, 'offline', status)
    await client.endAsync()
    await model.close()
  })

await client.subscribeAsync(`${topic}/ask/#`, { qos: 1 })
await publish(status.topic, 'online', status)
console.log(`answering on ${topic}/ask`)
