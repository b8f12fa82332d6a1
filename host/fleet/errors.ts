/** Errors of batches: of a line, which the output tells in its place, and of the files, which end a run. */
import { GtaError } from '../errors.ts'
import { ApiError } from '../server/errors.ts'

/** What is wrong with a line of requests; its status is never told, only code, message and param. */
export const lineErrors = {
  tooLong: (limit: number) =>
    new ApiError(413, 'line_too_long', `a line must have at most ${limit} bytes, found more: split it`),
  badField: (param: string, expected: string, found: string) =>
    new ApiError(400, 'invalid_value', `${param} must be ${expected}, found ${found}`, { param }),
  unknownField: (param: string, known: readonly string[]) =>
    new ApiError(400, 'unknown_field', `a request must have only ${known.join(', ')}, found ${param}: leave it out`, {
      param,
    }),
  noId: () =>
    new ApiError(400, 'missing_custom_id', 'custom_id must be a text that names the request, found nothing', {
      param: 'custom_id',
    }),
  sameId: (id: string) =>
    new ApiError(
      400,
      'duplicate_custom_id',
      `custom_id must be of one request only, found ${id} on a line before: that one was answered, give this one another`,
      { param: 'custom_id' },
    ),
}

export const fleetErrors = {
  badAddress: (option: string, found: string) =>
    new GtaError('BAD_OPTION', `${option} must be HOST:PORT, such as board1.lan:8080, found "${found.slice(0, 100)}"`),
  sameBoard: (found: string) => new GtaError('BAD_OPTION', `--boards must name each board once, found ${found} twice`),
  badHeader: (found: string) =>
    new GtaError('BAD_OPTION', `--header must be a name of letters, digits and -, found "${found.slice(0, 100)}"`),
}

export const batchErrors = {
  exists: (path: string) =>
    new GtaError(
      'BAD_OPTION',
      `the output must be a new file, found "${path}": go on with it (--resume), write over it (--force), or name another`,
    ),
  sameFile: (path: string) =>
    new GtaError('BAD_OPTION', `input and output must be two files, found "${path}" twice: name another output`),
  notResumable: (path: string) =>
    new GtaError(
      'BAD_OPTION',
      `--resume must have an output that can be read again, found "${path}": name a file, or leave --resume out`,
    ),
  badOutput: (path: string, line: number, found: string) =>
    new GtaError(
      'BAD_FILE',
      `line ${line} of "${path}" must be a result of gta batch, found ${found}: name another output, or cut it off before this line`,
    ),
  otherOrder: (path: string) =>
    new GtaError(
      'BAD_OPTION',
      `--ordered with --resume must go on with results that stand in the order of the input, found another order in "${path}": leave --ordered out, or begin another output`,
    ),
  shared: (path: string) =>
    new GtaError(
      'WRITE_FAILED',
      `"${path}" must be written by one program at a time, found that another has written to it: end that one, then go on with --resume`,
    ),
}
