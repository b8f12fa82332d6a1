/** npm run web: serves the page until Ctrl-C. */
import { parseArgs } from 'node:util'
import { openWeb } from './server.ts'

const { values } = parseArgs({
  options: { port: { type: 'string', default: '0' }, 'no-isolation': { type: 'boolean', default: false } },
})
const port = Number(values.port)
if (!Number.isInteger(port) || port < 0 || port > 65535) {
  console.error(`--port must be a whole number from 0 to 65535, found "${values.port}": choose another one`)
  process.exit(2)
}
const server = await openWeb({ port, isIsolated: !values['no-isolation'] })
console.log(`${server.url}\nCtrl-C ends it`)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => server.close())
