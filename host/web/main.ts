/** npm run web: serves the page until Ctrl-C. */
import { parseArgs } from 'node:util'
import { openWeb } from './server.ts'

const usage = `Usage: npm run web -- [--port N] [--no-isolation]

      --port N        from 0 to 65535; 0: any that is free (default)
      --no-isolation  as a page that may not share memory: one thread
  -h, --help          this text`

function fail(message: string): never {
  console.error(`${message}\n\n${usage}`)
  process.exit(2)
}

function readOptions(): { port: number; isIsolated: boolean } {
  try {
    const { values } = parseArgs({
      options: {
        port: { type: 'string', default: '0' },
        'no-isolation': { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
    if (values.help) {
      console.log(usage)
      process.exit()
    }
    const port = Number(values.port || Number.NaN)
    if (!Number.isInteger(port) || port < 0 || port > 65535)
      fail(`--port must be a whole number from 0 to 65535, found "${values.port}": choose another one`)
    return { port, isIsolated: !values['no-isolation'] }
  } catch (error) {
    return fail((error as Error).message)
  }
}

const server = await openWeb(readOptions()).catch((error: Error) => fail(error.message))
console.log(`${server.url}\nCtrl-C ends it`)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => server.close())
