/** gta logits: the raw output after a prompt, for comparisons. */
import { errors } from '../errors.ts'
import { runtimeOf } from '../runtime/model.ts'
import { interruptSignal } from './interrupt.ts'
import { loadModel, readPrompt } from './open.ts'
import { type Arguments, type Command, common, modelOptions, promptOptions } from './options.ts'
import { printJson } from './terminal.ts'

export const logits: Command = {
  usage: 'logits [MODEL] --tokens 1,5,9 [--json]',
  options: {
    ...modelOptions,
    ...promptOptions,
    top: { type: 'string', value: 'N', help: 'how many to print without --json (default 20)' },
    ...common,
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  const prompt = await readPrompt(args)
  if (prompt === undefined || prompt.length === 0) throw errors.emptyPrompt()
  const top = args.whole('top', 1) ?? 20
  const model = await loadModel(args, interruptSignal())
  try {
    const values = await model.logits(prompt)
    const position = runtimeOf(model).promptIds(prompt).length - 1
    if (args.flag('json')) {
      printJson('logits', { position, logits: Array.from(values) })
      return
    }
    const ranked = Array.from(values, (value, id) => ({ id, value })).sort((a, b) => b.value - a.value || a.id - b.id)
    for (const { id, value } of ranked.slice(0, top)) {
      const text = model.tokenizer ? `  ${JSON.stringify(model.tokenizer.decode([id]))}` : ''
      process.stdout.write(`${String(id).padStart(7)} ${value.toFixed(6).padStart(12)}${text}\n`)
    }
  } finally {
    await model.close()
  }
}
