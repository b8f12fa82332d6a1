/** How commands that write choose tokens, and when they end. */
import type { GenerateOptions } from '../runtime/generate.ts'
import type { Arguments, Options } from './options.ts'

export const samplingOptions: Options = {
  'n-predict': {
    type: 'string',
    short: 'n',
    value: 'N',
    help: 'tokens to write at most (default: until the text ends or the context is full)',
  },
  seed: { type: 'string', short: 's', value: 'N', help: 'same seed, same text (default: another one each time)' },
  temp: {
    type: 'string',
    value: 'T',
    help: 'temperature; 0: always the most likely token (default: what the model recommends, else 0.8)',
  },
  'top-k': { type: 'string', value: 'K', help: 'choose among the K most likely tokens; 0: all (else 40)' },
  'top-p': {
    type: 'string',
    value: 'P',
    help: 'choose among the tokens that hold this share of probability (else 0.95)',
  },
  'min-p': {
    type: 'string',
    value: 'P',
    help: 'drop tokens less likely than this, in relation to the best (else 0.05)',
  },
  'repeat-penalty': {
    type: 'string',
    value: 'X',
    help: 'make tokens of the recent text less likely; 1: off (else 1)',
  },
  'repeat-last-n': { type: 'string', value: 'N', help: 'how many tokens the penalty looks at (default 64)' },
  speculate: {
    type: 'string',
    value: 'N',
    help: 'guess up to N tokens from what followed earlier, and check them in one step (default 0; the text is the same)',
  },
  stop: { type: 'string', multiple: true, value: 'TEXT', help: 'end before this text; may be given several times' },
}

/** Settings of the flags above; what is not given is not set. */
export function samplingOf(args: Arguments): GenerateOptions {
  return {
    maxTokens: args.whole('n-predict', 1, { none: -1 }),
    seed: args.whole('seed', 0, { none: -1 }),
    temperature: args.number('temp'),
    topK: args.whole('top-k', 0),
    topP: args.number('top-p'),
    minP: args.number('min-p'),
    repeatPenalty: args.number('repeat-penalty'),
    repeatLastN: args.whole('repeat-last-n', 0),
    speculate: args.whole('speculate', 0),
    stop: args.texts('stop'),
  }
}
