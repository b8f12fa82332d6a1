/** Files of requests and of results, for commands that read or write them. */
import { type FileHandle, open } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { errors } from '../errors.ts'
import { batchErrors } from '../fleet/errors.ts'
import { type Output, OutputFile, OutputStream } from '../fleet/output.ts'
import { type Arguments, type Options, UsageError } from './options.ts'
import { say } from './terminal.ts'

/** The exit code where all is done, but some requests were refused or failed. */
export const SOME_FAILED = 3

export const outputOptions: Options = {
  resume: { type: 'boolean', help: 'go on with an output that is there: what has a result is not asked again' },
  force: { type: 'boolean', help: 'write over an output that is there' },
}

export interface Input {
  stream: Readable
  /** Of a file: how long it is. */
  bytes: number | undefined
  handle: FileHandle | undefined
}

export async function openInput(path: string): Promise<Input> {
  if (path === '-') return { stream: process.stdin, bytes: undefined, handle: undefined }
  const handle = await open(path, 'r').catch((cause) => {
    throw cause?.code === 'ENOENT' ? errors.noFile(path) : errors.unreadable(path, cause)
  })
  const found = await handle.stat()
  if (found.isDirectory()) {
    await handle.close()
    throw errors.unreadable(path, new Error('it is a directory'))
  }
  return { stream: handle.createReadStream(), bytes: found.isFile() ? found.size : undefined, handle }
}

/** What `outputOptions` say of it; `input` must be another file. */
export async function openOutput(args: Arguments, path: string, input?: Input): Promise<Output> {
  checkFlags(args, path)
  if (path === '-') return new OutputStream(process.stdout)
  const output = await OutputFile.open(path, {
    isResumed: args.flag('resume'),
    isForced: args.flag('force'),
    onCut: (bytes) => say(`cut ${bytes} bytes off ${path}: a result that was being written`),
  })
  if (!input?.handle || !(await output.isSame(input.handle))) return output
  await output.close()
  throw batchErrors.sameFile(path)
}

function checkFlags(args: Arguments, path: string): void {
  if (args.flag('resume') && args.flag('force')) throw new UsageError('only one of --resume, --force must be given')
  if (path !== '-') return
  for (const name of ['resume', 'force', 'json'])
    if (args.flag(name)) throw new UsageError(`--${name} must be left out where results go to stdout`)
}
