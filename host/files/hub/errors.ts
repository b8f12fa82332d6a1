/** Errors of models that come from a hub. The token is in none of them, nor is what a server says. */
import { GtaError } from '../../errors.ts'

export const hubErrors = {
  badName: (name: string) =>
    new GtaError(
      'BAD_OPTION',
      `the model to pull must be named as OWNER/NAME, OWNER/NAME:FILE or OWNER/NAME@REVISION, found "${name.slice(0, 200)}": for example Qwen/Qwen3-0.6B`,
    ),
  badEndpoint: (expected: string, found: string) =>
    new GtaError(
      'BAD_OPTION',
      `HF_ENDPOINT (endpoint) must be ${expected}, found ${found}: for example https://huggingface.co`,
    ),
  badToken: () =>
    new GtaError(
      'BAD_OPTION',
      'HF_TOKEN (token) must be printable ASCII without blanks, found other characters: copy the token again',
    ),
  unreachable: (host: string, cause: unknown) =>
    new GtaError(
      'FETCH_FAILED',
      `${host} must be reachable, found ${because(cause)}: check the network and HF_ENDPOINT. What is in the cache runs without it`,
      { cause },
    ),
  interrupted: (what: string, cause: unknown) =>
    new GtaError(
      'FETCH_FAILED',
      `${what} must arrive whole, found again and again ${because(cause)}: check the network; the same command goes on where this one ended`,
      { cause },
    ),
  busyFor: (host: string, seconds: number) =>
    new GtaError(
      'FETCH_FAILED',
      `${host} must answer, found that it asks to wait for ${Math.ceil(seconds)} s: give the same command again then, it goes on`,
    ),
  gated: (id: string, endpoint: string, hasToken: boolean) =>
    new GtaError(
      'FETCH_FAILED',
      `"${id}" must be open to you, found that its owner asks for terms to be accepted: ${hasToken ? 'the account of HF_TOKEN has not been let in' : 'no HF_TOKEN is set'}. Accept them at ${endpoint}/${id}, and set HF_TOKEN to a token of that account`,
    ),
  noRepository: (id: string, hasToken: boolean) =>
    new GtaError(
      'NOT_FOUND',
      `"${id}" must be a repository of the hub, found none of that name, or a private one: check the name; for a private one ${hasToken ? 'HF_TOKEN must be of an account that may read it' : 'set HF_TOKEN'}`,
    ),
  noRevision: (id: string, revision: string) =>
    new GtaError(
      'NOT_FOUND',
      `"${id}" must have the revision "${revision}", found none of that name: leave it out for main`,
    ),
  badStatus: (what: string, host: string, status: number) =>
    new GtaError(
      status === 404 ? 'NOT_FOUND' : 'FETCH_FAILED',
      `${what} must be answered by ${host}, found status ${status}: ${status === 401 || status === 403 ? 'check HF_TOKEN and what it may read' : 'check the name and HF_ENDPOINT'}`,
    ),
  badRedirect: (what: string, found: string) =>
    new GtaError(
      'FETCH_FAILED',
      `${what} must be on a server with https, found a redirection ${found}: nothing was read from there. Check HF_ENDPOINT`,
    ),
  badListing: (id: string, what: string, expected: string, found: unknown) =>
    new GtaError(
      'BAD_FILE',
      `${what} in the hub's list of "${id}" must be ${expected}, found ${String(found).slice(0, 200)}: nothing was downloaded. Is HF_ENDPOINT a hub?`,
    ),
  wrongBytes: (path: string, what: string, expected: unknown, found: unknown) =>
    new GtaError(
      'BAD_FILE',
      `${what} of "${path}" must be ${expected}, as the hub's list says, found ${found}: what had arrived is deleted, pull again`,
    ),
  changed: (path: string) =>
    new GtaError(
      'FETCH_FAILED',
      `"${path}" must stay the same while it is pulled, found another version on the hub: pull again`,
    ),
  noFile: (name: string, file: string, known: string[]) =>
    new GtaError(
      'NOT_FOUND',
      `"${name}" must hold the file "${file}", found ${known.length > 0 ? `${known.join(', ')}: give one of these` : 'no .gguf or .gta file at all: leave ":FILE" out for a Hugging Face directory'}`,
    ),
  severalFiles: (name: string, count: number, lines: string[]) =>
    new GtaError(
      'BAD_OPTION',
      `one of ${count} files must be chosen, as ${name}:FILE or by its type, ${name}:Q4_K_M; found none named. There are:\n${lines.join('\n')}`,
    ),
  split: (file: string) =>
    new GtaError(
      'NOT_A_MODEL',
      `"${file}" must be one file, found a part of a model that is split into several: choose a file that is whole, or join them with llama-gguf-split --merge`,
    ),
  pickles: (name: string, file: string) =>
    new GtaError(
      'NOT_A_MODEL',
      `"${name}" must have weights as .safetensors or .gguf, found "${file}": a file of that kind is a program that runs when it is opened, so it is not downloaded. Look for a conversion of the model`,
    ),
  noWeights: (name: string) =>
    new GtaError(
      'NOT_A_MODEL',
      `"${name}" must hold config.json and model.safetensors, or a .gguf file, found neither: choose another repository`,
    ),
  doesNotFit: (name: string, lines: string) =>
    new GtaError(
      'TOO_LARGE',
      `"${name}" must fit in this machine's memory, found that it does not:\n${lines}choose a smaller one, or download it for another machine with --force`,
    ),
  locked: (name: string, who: string, path: string) =>
    new GtaError(
      'BUSY',
      `"${name}" must be pulled by one program at a time, found ${who}: wait for it. Its mark: ${path}`,
    ),
}

function because(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause)
  // fetch() says only that it failed.
  return cause.cause instanceof Error ? cause.cause.message || cause.message : cause.message
}
