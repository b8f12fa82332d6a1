/** gta eval: how good a model is by texts and by questions, and what cheaper weights and caches change. */
import { cacheTypes, packingTypes } from '../../models/index.ts'
import { helpOf, settings } from '../settings.ts'
import { evaluateQuestions } from './eval-tasks.ts'
import { evaluateText } from './eval-text.ts'
import { type Arguments, type Command, common, flagAs, modelOptions, UsageError } from './options.ts'
import { tableFormats } from './table.ts'

/** What is evaluated: one of these must be given. */
const subjects = ['text', 'tokens', 'tokens-file', 'tasks']

export const evaluate: Command = {
  usage:
    'eval [MODEL] --text FILE [--type f32,q8,q4] [--cache f32,int8] [--against MODEL] | --tasks piqa,arc_easy [--limit N] [-o md|csv|json]',
  options: {
    ...modelOptions,
    ...flagAs('type', {
      value: packingTypes.join(','),
      check: undefined,
      help: `weight type of a directory (default ${settings.type.default}); several with commas: compare them with the most exact one`,
    }),
    ...flagAs('cache', {
      value: cacheTypes.join(','),
      check: undefined,
      help: `${helpOf(settings.cache)}; several with commas, as with --type`,
    }),
    text: { type: 'string', value: 'FILE', help: 'UTF-8 text; control tokens written out in it are themselves' },
    ...flagAs('tokens', { help: 'token ids instead of a text' }),
    'tokens-file': { type: 'string', value: 'FILE', help: 'token ids in a file, with commas or white space between' },
    against: {
      type: 'string',
      value: 'MODEL',
      help: 'compare with this model, of the same vocabulary; f32 cache, and f32 weights if it is a directory',
    },
    tasks: {
      type: 'string',
      value: 'NAME,…',
      help: 'multiple-choice tasks of lm-evaluation-harness by name, or paths of .jsonl files',
    },
    'task-dir': {
      type: 'string',
      value: 'DIR',
      help: 'where NAME.jsonl are (default: $XDG_CACHE_HOME/gta-edge/tasks, then bench/tasks of a clone)',
    },
    limit: { type: 'string', value: 'N', help: 'only the first N items of each task' },
    resume: {
      type: 'string',
      value: 'FILE',
      help: 'keep the result of every item in this file, and compute none that is in it',
    },
    samples: { type: 'string', value: 'FILE', help: 'write every item and what came of it, one JSON object a line' },
    output: { type: 'string', short: 'o', value: tableFormats.join('|'), help: 'what to print (default md)' },
    ...common,
    json: { type: 'boolean', help: 'as -o json: one JSON document on stdout' },
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  const given = subjects.filter((name) => args.text(name) !== undefined)
  if (given.length !== 1)
    throw new UsageError(`one of --text FILE, --tokens, --tokens-file and --tasks must be given, found ${given.length}`)
  const output = args.oneOf('output', tableFormats) ?? (args.flag('json') ? 'json' : 'md')
  if (args.flag('json') && output !== 'json')
    throw new UsageError(`one output must be given, found --json and -o ${output}`)
  const isTasks = given[0] === 'tasks'
  const others = isTasks ? ['against'] : ['task-dir', 'limit', 'resume', 'samples']
  const wrong = others.find((name) => args.text(name) !== undefined)
  if (wrong !== undefined) throw new UsageError(`--${wrong} must go ${isTasks ? 'with a text' : 'with --tasks'}`)
  await (isTasks ? evaluateQuestions(args, output) : evaluateText(args, output))
}
