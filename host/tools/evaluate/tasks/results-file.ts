/**
 * Log-likelihoods in a file, one item a line as it is computed, so that a run that was killed goes on where it was.
 *
 *     digest {"format":"gta-edge eval","version":1,"model":fingerprint}
 *     digest {"task":"piqa","item":0,"of":digest of the tokens that were scored,"logLikelihoods":[-41.2,-43.7]}
 *
 * A digest in front of a line is that of the digest before it and of the line itself, so nothing in the file can be changed,
 * left out or moved without a trace. A last line without an end is one that was being written: it is cut off. The
 * tokens stand for all that a result depends on besides the model: question, format, tokenizer, context.
 */
import { createHash } from 'node:crypto'
import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
import { errors, megabytes } from '../../../errors.ts'
import { toolErrors } from '../../errors.ts'
import type { ScoredText } from './likelihood.ts'

const FORMAT = { format: 'gta-edge eval', version: 1 }
const MAX_FILE = 500e6
/** A logarithm of a probability is not above 0, but for its last digits. */
const ROUNDING = 1e-6
/** Hexadecimal digits of a digest: against accidents, not against forgers. */
const DIGITS = 16

interface Entry {
  task: string
  item: number
  of: string
  logLikelihoods: number[]
}

export class ResultsFile {
  private readonly path: string
  private readonly file: number
  private readonly entries = new Map<string, Entry>()
  private digest = ''
  private size = 0

  /** Opens or begins a file for a model's results; throws GtaError for any other file, which it leaves as it is. */
  constructor(path: string, fingerprint: string) {
    this.path = path
    const head = JSON.stringify({ ...FORMAT, model: fingerprint })
    try {
      this.file = openSync(path, 'a+', 0o644)
    } catch (cause) {
      throw errors.writeFailed(path, cause)
    }
    try {
      this.read(head)
      if (this.size === 0) this.append(head)
    } catch (error) {
      closeSync(this.file)
      throw error
    }
  }

  /** What is known of an item; throws OTHER_MODEL if that was another question. */
  find(task: string, item: number, texts: readonly ScoredText[]): number[] | undefined {
    const entry = this.entries.get(keyOf(task, item))
    const isSame = entry?.of === digestOf(texts) && entry.logLikelihoods.length === texts.length
    if (entry && !isSame) throw toolErrors.otherResults(this.path, `of these questions of ${task}`)
    return entry?.logLikelihoods
  }

  add(task: string, item: number, texts: readonly ScoredText[], logLikelihoods: number[]): void {
    const entry: Entry = { task, item, of: digestOf(texts), logLikelihoods }
    this.append(JSON.stringify(entry))
    this.entries.set(keyOf(task, item), entry)
  }

  close(): void {
    closeSync(this.file)
  }

  private append(json: string): void {
    if (fstatSync(this.file).size !== this.size)
      throw toolErrors.otherResults(this.path, 'written by one program at a time')
    const digest = sha256(this.digest + json)
    const line = Buffer.from(`${digest} ${json}\n`)
    try {
      for (let done = 0; done < line.length; ) done += writeSync(this.file, line, done)
    } catch (cause) {
      throw errors.writeFailed(this.path, cause)
    }
    this.digest = digest
    this.size += line.length
  }

  private read(head: string): void {
    const found = fstatSync(this.file)
    if (!found.isFile() || found.size > MAX_FILE)
      throw errors.badFile(this.path, 'it', `a file of at most ${megabytes(MAX_FILE)}`, 'something else')
    const bytes = readFileSync(this.file)
    const end = bytes.lastIndexOf(10) + 1
    // A first line that has no end must be the beginning of ours: whatever else somebody named is not to be lost.
    if (end === 0 && !`${sha256(head)} ${head}`.startsWith(bytes.toString('latin1')))
      throw toolErrors.badResults(this.path, 1, 'something else')
    const lines = bytes.toString('utf8', 0, end).split('\n').slice(0, -1)
    for (const [i, line] of lines.entries()) {
      const json = line.slice(DIGITS + 1)
      if (line !== `${sha256(this.digest + json)} ${json}`) throw toolErrors.badResults(this.path, i + 1, 'damage')
      this.digest = line.slice(0, DIGITS)
      if (i > 0) this.keep(json, i + 1)
      else if (json !== head) throw this.foreign(json)
    }
    if (end < bytes.length) ftruncateSync(this.file, end)
    this.size = end
  }

  private keep(json: string, line: number): void {
    const entry = entryOf(json)
    if (!entry) throw toolErrors.badResults(this.path, line, 'something else')
    const key = keyOf(entry.task, entry.item)
    if (this.entries.has(key)) throw toolErrors.badResults(this.path, line, 'a second result of one item')
    this.entries.set(key, entry)
  }

  private foreign(head: string): Error {
    const { format, version } = (parsed(head) ?? {}) as Record<string, unknown>
    if (format !== FORMAT.format || version !== FORMAT.version)
      return toolErrors.badResults(this.path, 1, `format version ${version}`)
    return toolErrors.otherResults(this.path, 'of this model, its weights, their type and the type of its cache')
  }
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

/** Undefined for what no run has written: a digest can be made by anybody, and a score is made of these numbers. */
function entryOf(json: string): Entry | undefined {
  const { task, item, of, logLikelihoods } = (parsed(json) ?? {}) as Partial<Record<keyof Entry, unknown>>
  if (typeof task !== 'string' || typeof of !== 'string' || !Array.isArray(logLikelihoods)) return undefined
  if (typeof item !== 'number' || !Number.isSafeInteger(item) || item < 0) return undefined
  const isLog = (value: unknown) => typeof value === 'number' && Number.isFinite(value) && value < ROUNDING
  return logLikelihoods.every(isLog) ? { task, item, of, logLikelihoods } : undefined
}

const keyOf = (task: string, item: number) => `${item} ${task}`
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, DIGITS)
const digestOf = (texts: readonly ScoredText[]) => sha256(JSON.stringify(texts.map(({ ids, from }) => [from, ids])))
