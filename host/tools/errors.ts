/** Errors of the tools: analyze, bench and evaluate. */
import { GtaError, megabytes } from '../errors.ts'

export const toolErrors = {
  badTaskLine: (path: string, line: number, what: string, expected: string, found: unknown) =>
    new GtaError(
      'BAD_FILE',
      `line ${line} of "${path}" must be a question: ${what} must be ${expected}, found ${found}. Mend the file, or get it again`,
    ),
  noTask: (name: string, places: readonly string[], known: readonly string[]) =>
    new GtaError(
      'NOT_FOUND',
      `the task "${name}" must be a file ${name}.jsonl in ${places.join(' or ')}, found none there: give --task-dir DIR or the path of a .jsonl file. Tasks with a format of their own: ${known.join(', ')}`,
    ),
  generativeTask: (name: string) =>
    new GtaError(
      'BAD_OPTION',
      `a task must be one of multiple choice, found "${name}", whose answers are texts that a model writes: this version cannot rate them, choose another task`,
    ),
  badContinuation: (text: string, tokens: number, context: number) =>
    new GtaError(
      'BAD_PROMPT',
      `a choice must have from 1 to ${context} tokens of its own, and one before them, found ${tokens} in "${text.slice(0, 80)}": leave the item out or raise -c`,
    ),
  badResults: (path: string, line: number, what: string) =>
    new GtaError(
      'BAD_FILE',
      `line ${line} of "${path}" must be what "gta eval --resume" wrote, found ${what}: use another file, or cut it off before this line`,
    ),
  otherResults: (path: string, what: string) =>
    new GtaError(
      'OTHER_MODEL',
      `the results in "${path}" must be ${what}, found others: resume with what they were begun with, or begin another file`,
    ),
  unknownHardware: (name: string, near: string[]) =>
    new GtaError(
      'BAD_OPTION',
      `--hardware must be a known device, found "${name}": did you mean ${near.join(', ')}? All: gta analyze --list`,
    ),
  noPeak: (device: string, format: string, known: string[]) =>
    new GtaError(
      'BAD_OPTION',
      `widths must be ones that ${device} computes with (${known.join(', ')}), found ${format}: choose other widths or another device`,
    ),
  unaddressable: (model: string, bytes: number, batch: number, seqlen: number) =>
    new GtaError(
      'BAD_OPTION',
      `${model} with ${batch} × ${seqlen} tokens must fit in the 4.3 GB that one engine addresses, it takes ${megabytes(bytes)}: use smaller --seqlen or --batch, --type q4, or --w-bit, --a-bit and --kv-bit for another engine`,
    ),
  otherReportVersion: (path: string, found: string, expected: string) =>
    new GtaError(
      'OTHER_VERSION',
      `"${path}" must be a report of form ${expected}, found ${found}: read it with the version of gta that wrote it`,
    ),
}
