#!/usr/bin/env node
/** The command `gta` as a process. */
import { gainsByOptimizing, optimizeFromTheStart } from '../platform/optimize.ts'
import { main } from './main.ts'
import { say } from './terminal.ts'

for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // `gta run | head`: the reader has enough. Anything else, such as a full disk, is a failure.
    if (error.code === 'EPIPE') process.exit(stream === process.stdout ? 0 : undefined)
    if (stream === process.stdout) say(`the output cannot be written: ${error.message}`)
    process.exit(1)
  })
if (gainsByOptimizing()) optimizeFromTheStart()
process.exitCode = await main(process.argv.slice(2))
