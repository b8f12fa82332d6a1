/** Errors of servers on this machine. */
import { GtaError } from '../errors.ts'

export const serverErrors = {
  notLoopback: (host: string) =>
    new GtaError(
      'BAD_OPTION',
      `--host must be a loopback address such as 127.0.0.1, found "${host}": add --public to let other machines read the page`,
    ),
  cannotListen: (host: string, port: number, cause: Error) =>
    new GtaError('BAD_OPTION', `--host and --port must be free to listen on, found ${host}:${port}: ${cause.message}`, {
      cause,
    }),
}
