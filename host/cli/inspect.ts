/** gta inspect: what a model is and what it costs, without loading it. */
import {
  cacheBytes,
  cost,
  disassemble,
  type ModelSpec,
  planModel,
  projectionWidths,
  slotOf,
} from '../../models/index.ts'
import { cacheTypes, defaultModel, describeModel, weightTypes } from '../index.ts'
import { printJson } from './open.ts'
import { type Arguments, type Command, common, modelOptions } from './options.ts'
import { megabytes } from './progress.ts'

export const inspect: Command = {
  name: 'inspect',
  summary: 'what a model is and what it costs: a .gta file, a directory, or a config.json alone',
  usage: 'inspect [MODEL|config.json] [-c N] [--cache f32|int8] [--plan] [--json]',
  options: {
    model: modelOptions.model as Command['options'][string],
    cache: { type: 'string', value: 'f32|int8', help: 'element type of the KV cache (default int8)' },
    'ctx-size': {
      type: 'string',
      short: 'c',
      value: 'N',
      help: "context to count the cache for (default: the model's)",
    },
    type: { type: 'string', value: 'f32|q8', help: 'weight type of the plan (default q8, or that of the file)' },
    plan: { type: 'boolean', help: 'print the plan that the engine executes' },
    ...common,
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  const path = args.modelPath() ?? decodeURIComponent(defaultModel.pathname)
  const facts = await describeModel(path)
  const { spec } = facts.model
  const type = args.oneOf('type', weightTypes) ?? facts.plan?.type ?? 'q8'
  if (args.flag('plan')) {
    process.stdout.write(`${disassemble(facts.plan ?? planModel(facts.model, type)).join('\n')}\n`)
    return
  }
  const cache = args.oneOf('cache', cacheTypes) ?? 'int8'
  const context = args.whole('ctx-size', 1, 2 ** 31) ?? spec.maxContext
  const counted = cost(facts.model)
  const kv = cacheBytes(spec, cache, context)
  const document = {
    kind: spec.kind,
    ...counted,
    parametersMi: counted.parameters / 2 ** 20,
    cacheType: cache,
    context,
    cacheBytes: kv.elements,
    cacheScaleBytes: kv.scales,
    packedType: facts.plan?.type ?? null,
    spec,
  }
  if (args.flag('json')) printJson(document)
  else process.stdout.write(`${describeForPeople(path, spec, document).join('\n')}\n`)
}

interface Counted extends ReturnType<typeof cost> {
  cacheType: string
  context: number
  cacheBytes: number
  cacheScaleBytes: number
}

function describeForPeople(path: string, spec: ModelSpec, counted: Counted): string[] {
  const { attention } = spec
  const { q, row, gate } = projectionWidths(attention)
  const slots = Object.entries(attention.slots).map(([name, { heads, dim }]) => `${name} ${heads} × ${dim}`)
  const rows: [string, string][] = [
    ['model', path],
    [
      'attention',
      `${spec.kind}: ${attention.maps} maps, key ${slotOf(attention, attention.key).heads} × ${attention.key.dim}, value ${slotOf(attention, attention.value).heads} × ${attention.value.dim}`,
    ],
    ['cache row', `┃ ${slots.join(' ┃ ')} ┃  ${counted.cacheElements} numbers per token and layer`],
    ['projection', `q ${q} | row ${row}${gate ? ` | gate ${gate}` : ''}`],
    [
      'shape',
      `${spec.nLayers} layers, hidden ${spec.hiddenDim}, feed-forward ${spec.ffnDim}, vocabulary ${spec.vocabSize}, context ${spec.maxContext}`,
    ],
    ['parameters', `${counted.parameters.toLocaleString('en')} (${(counted.parameters / 2 ** 20).toFixed(2)} Mi)`],
    [
      'weights',
      Object.entries(counted.weightBytes)
        .map(([type, bytes]) => `${type} ${megabytes(bytes)}`)
        .join(', '),
    ],
    [
      'cache',
      `${counted.cacheType} at ${counted.context} tokens ${megabytes(counted.cacheBytes)} and ${megabytes(counted.cacheScaleBytes)} of scales`,
    ],
    [
      'work',
      `${(counted.attentionLinearMacs + counted.ffnMacs).toLocaleString('en')} MAC per token and layer, ${counted.attentionPairMacs} per token pair`,
    ],
  ]
  return rows.map(([name, value]) => `${name.padEnd(12)}${value}`)
}
