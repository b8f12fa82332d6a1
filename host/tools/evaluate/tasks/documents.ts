/**
 * Files of multiple-choice questions: one JSON object a line, {"ctx": text, "choices": [text, …], "gold": index}. Tasks may
 * want more of it, see formats.ts; fields of other names are left alone. A file is hostile until all of it is checked.
 */
import { readFile, stat } from 'node:fs/promises'
import { show } from '../../../../models/index.ts'
import { errors, megabytes } from '../../../errors.ts'
import { toolErrors } from '../../errors.ts'

export interface TaskDocument {
  ctx: string
  choices: string[]
  /** Which of them is right. */
  gold: number
  passage?: string
  mc2_true?: string[]
  mc2_false?: string[]
}

/** The largest of the usual ones, HellaSwag's 10,000 items, has 10 MB. */
const MAX_FILE = 64e6
const MAX_LINE = 1e6
/** TruthfulQA has up to 13. */
const MAX_CHOICES = 100

/** What a format wants of a document besides: the field, what it must be and what was found; undefined: all is there. */
export type Missing = readonly [field: string, expected: string, found: unknown] | undefined

/** Reads a file whole; throws GtaError with the number of the first line that is wrong. */
export async function readDocuments(
  path: string,
  check: (document: TaskDocument) => Missing = () => undefined,
): Promise<TaskDocument[]> {
  const bytes = await readBytes(path)
  const documents: TaskDocument[] = []
  for (let from = 0, line = 1; from < bytes.length; line++) {
    const newline = bytes.indexOf(10, from)
    const end = newline < 0 ? bytes.length : newline
    const text = decodeLine(path, line, bytes.subarray(from, end))
    if (text.trim() !== '') documents.push(parseLine(path, line, text, check))
    from = end + 1
  }
  if (documents.length === 0) throw errors.badFile(path, 'the content', 'at least one line of JSON', 'none')
  return documents
}

async function readBytes(path: string): Promise<Buffer> {
  try {
    const found = await stat(path)
    // Anything but a file, a pipe among others, may never end.
    if (!found.isFile()) throw errors.badFile(path, 'the path', 'that of a file', 'something else there')
    if (found.size > MAX_FILE)
      throw errors.badFile(path, 'the size', `at most ${megabytes(MAX_FILE)}`, megabytes(found.size))
    return await readFile(path)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT') throw errors.noFile(path)
    throw code === 'BAD_FILE' ? cause : errors.unreadable(path, cause)
  }
}

function decodeLine(path: string, line: number, bytes: Uint8Array): string {
  if (bytes.length > MAX_LINE)
    throw toolErrors.badTaskLine(path, line, 'it', `at most ${MAX_LINE} bytes long`, `${bytes.length}`)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw toolErrors.badTaskLine(path, line, 'it', 'UTF-8 text', 'other bytes')
  }
}

function parseLine(path: string, line: number, text: string, check: (document: TaskDocument) => Missing): TaskDocument {
  const fail = (field: string, expected: string, found: unknown) =>
    toolErrors.badTaskLine(path, line, field, expected, show(found))
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw toolErrors.badTaskLine(path, line, 'it', 'valid JSON', cause instanceof Error ? cause.message : `${cause}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw fail('it', 'a JSON object', value)
  const document = value as TaskDocument
  const { ctx, choices, gold } = document
  if (typeof ctx !== 'string') throw fail('ctx', 'a text', ctx)
  if (!areChoices(choices, 2)) throw fail('choices', `a list of 2 to ${MAX_CHOICES} texts, none of them blank`, choices)
  if (!Number.isInteger(gold) || gold < 0 || gold >= choices.length)
    throw fail('gold', `a whole number from 0 to ${choices.length - 1}`, gold)
  const missing = check(document)
  if (missing) throw fail(...missing)
  return document
}

/** Is it a list of texts to choose from? */
export function areChoices(value: unknown, least: number): value is string[] {
  const isText = (text: unknown) => typeof text === 'string' && text.trim() !== ''
  return Array.isArray(value) && value.length >= least && value.length <= MAX_CHOICES && value.every(isText)
}
