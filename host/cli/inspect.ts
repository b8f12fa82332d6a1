/** gta inspect: what a model is and what it costs, without loading it. */
import { fileURLToPath } from 'node:url'
import {
  type AttentionSpec,
  attentionOf,
  type CacheType,
  type Cost,
  cacheBytes,
  cacheElements,
  convChannels,
  cost,
  countedLayers,
  disassemble,
  type LayerCost,
  type LayerSpec,
  longestContext,
  type ModelSpec,
  nLayers,
  type PackingType,
  planModel,
  projectionWidths,
  ropeDim,
  type StateSpec,
  stateBytes,
  stateInWidth,
  type View,
} from '../../models/index.ts'
import { largestContext } from '../engine/fit.ts'
import { errors, megabytes } from '../errors.ts'
import { type About, aboutNames } from '../files/about.ts'
import { describeModel } from '../files/describe.ts'
import { defaultModel } from '../load.ts'
import { defaultCache, settings } from '../settings.ts'
import { interruptSignal } from './interrupt.ts'
import { namesOf } from './open.ts'
import { type Arguments, type Command, common, flagAs, flagsOf } from './options.ts'
import { ProgressLine } from './progress.ts'
import { printable, printJson } from './terminal.ts'

export const inspect: Command = {
  usage: 'inspect [MODEL|config.json] [-c N] [--cache f32|int8] [--plan] [--json]',
  options: {
    ...flagsOf('model', 'cache'),
    ...flagAs('context', { help: "context to count the cache for (default: the model's)" }),
    ...flagAs('type', { help: `weight type of the plan (default ${settings.type.default}, or that of the file)` }),
    plan: { type: 'boolean', help: 'print the plan that the engine executes' },
    ...flagAs('verify', { help: 'read a .gta file to its end and check that every tensor is as it was written' }),
    ...common,
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  const path = args.modelPath() ?? fileURLToPath(defaultModel)
  const progress = new ProgressLine('verifying', megabytes)
  const verify = args.value('verify')
  const facts = await describeModel(path, {
    verify,
    type: args.value('type'),
    signal: interruptSignal(),
    onProgress: progress.update,
  }).finally(() => progress.end())
  const { spec } = facts.model
  const type = args.value('type') ?? facts.plan?.type ?? settings.type.default
  if (facts.plan && facts.plan.type !== type)
    throw errors.badOption('--type', `${facts.plan.type}, the type of the file`, type)
  if (!facts.plan && type === 'keep') throw errors.nothingToKeep(path)
  const plan = facts.plan ?? planModel(facts.model, type)
  if (args.flag('plan')) {
    const lines = disassemble(plan)
    if (args.flag('json')) printJson('plan', { plan: lines })
    else process.stdout.write(`${lines.join('\n')}\n`)
    return
  }
  const cache = args.value('cache') ?? defaultCache(type)
  const context = args.value('context') ?? spec.maxContext
  const counted = cost(facts.model)
  const kv = cacheBytes(spec, cache, context)
  const document = {
    about: facts.about ?? null,
    kind: spec.kind,
    maps: spec.layers.map(attentionOf).find((attention) => attention)?.maps,
    ...counted,
    parametersMi: counted.parameters / 2 ** 20,
    cacheType: cache,
    context,
    cacheBytes: kv.elements,
    cacheScaleBytes: kv.scales,
    cacheStateBytes: kv.states,
    cacheAt: CONTEXTS.map((tokens) => ({ context: tokens, ...cacheBytes(spec, cache, tokens) })),
    fits: await Promise.all(
      MEMORIES.map(async (memoryBytes) => ({
        memoryBytes,
        type,
        context: await largestContext(facts.model, plan, cache, memoryBytes),
      })),
    ),
    packedType: facts.plan?.type ?? null,
    leftOut: facts.leftOut,
    hashes: facts.hashes === undefined ? null : { tensors: facts.hashes, verified: verify === true },
    spec,
  }
  if (args.flag('json')) printJson('inspect', document)
  else process.stdout.write(`${describeForPeople(path, spec, document).join('\n')}\n`)
}

/** Contexts to count the cache for, and memories of boards. */
const CONTEXTS = [512, 2048, 8192, 32768]
const MEMORIES = [2, 4, 8, 16].map((gibibytes) => gibibytes * 2 ** 30)

interface Counted extends Cost {
  about: About | null
  cacheType: CacheType
  context: number
  cacheBytes: number
  cacheScaleBytes: number
  cacheStateBytes: number
  cacheAt: { context: number; elements: number; scales: number; states: number }[]
  fits: { memoryBytes: number; type: PackingType; context: number }[]
  hashes: { tensors: number; verified: boolean } | null
  leftOut: string[]
}

function describeForPeople(path: string, spec: ModelSpec, counted: Counted): string[] {
  const number = (n: number) => n.toLocaleString('en')
  const total = (value: (layer: LayerCost) => number) =>
    counted.layers.reduce((sum, layer) => sum + layer.count * value(layer), 0)
  const perToken = total((layer) => layer.attentionLinearMacs + layer.ffnMacs) + counted.headMacs
  const widths = [...new Set(spec.layers.map(({ ffn }) => ffn.width))].join(' or ')
  const rows: [string, string][] = [
    ['model', path],
    ...aboutNames.flatMap((name): [string, string][] => {
      const text = counted.about?.[name]
      return text === undefined ? [] : [[name, printable(text)]]
    }),
    ...countedLayers(spec).flatMap(({ layer, count }) => describeLayer(spec, layer, count)),
    [
      'shape',
      `${nLayers(spec)} layers, hidden ${spec.hiddenDim}, feed-forward ${widths}, vocabulary ${spec.vocabSize}, context ${spec.maxContext}`,
    ],
    ...describeContext(spec),
    [
      'parameters',
      `${number(counted.parameters)} (${(counted.parameters / 2 ** 20).toFixed(2)} Mi, as the paper prints them)`,
    ],
    [
      'weights',
      Object.entries(counted.weightBytes)
        .map(([type, bytes]) => `${type} ${megabytes(bytes)}`)
        .join(', '),
    ],
    [
      'work',
      `${number(perToken)} multiply-adds per token, and ${number(total((layer) => layer.attentionPairMacs))} for each token before it`,
    ],
    ...counted.layers.map((layer): [string, string] => [
      '',
      `per ${counted.layers.length > 1 ? `layer, ${layer.count} of them` : 'layer'}: attention ${number(layer.attentionLinearMacs)}, feed-forward ${number(layer.ffnMacs)}, ${number(layer.attentionPairMacs)} per token pair`,
    ]),
    [
      'cache',
      `${counted.cacheType}, ${megabytes(counted.cacheBytes)} and ${megabytes(counted.cacheScaleBytes)} of scales${counted.cacheStateBytes > 0 ? `, ${megabytes(counted.cacheStateBytes)} of states,` : ''} at ${number(counted.context)} tokens`,
    ],
    [
      '',
      counted.cacheAt
        .map((at) => `${number(at.context)}: ${megabytes(at.elements + at.scales + at.states)}`)
        .join('   '),
    ],
    [
      'room for',
      `${counted.fits.map(describeFit).join('   ')}   (the model is made for ${number(longestContext(spec))})`,
    ],
    ...(counted.leftOut.length > 0 ? [['left out', namesOf(counted.leftOut)] as [string, string]] : []),
    ...(counted.hashes ? [['hashes', describeHashes(counted.hashes)] as [string, string]] : []),
  ]
  return rows.map(([name, value]) => `${name.padEnd(12)}${value}`)
}

/** Where a longer context changes the numbers. */
function describeContext({ maxContext, longContext }: ModelSpec): [string, string][] {
  if (longContext === undefined) return []
  const [first, most] = [maxContext, longContext].map((tokens) => tokens.toLocaleString('en'))
  return [
    ['', `${first} is what it was first trained for; -c up to ${most} chooses other frequencies, for the whole text`],
  ]
}

/** Its attention and what that keeps, or its state; which layers are meant where they differ. */
function describeLayer(spec: ModelSpec, { mixer }: LayerSpec, count: number): [string, string][] {
  const which = spec.layers.length > 1 ? `${count} layers: ` : ''
  if (mixer.is !== 'attention') return describeState(mixer, which)
  const { q, row, gate } = projectionWidths(mixer)
  return [
    ['attention', `${which}${spec.kind}: ${mixer.maps} maps ${describeViews(mixer)}`],
    ['cache row', drawRow(mixer)],
    ['', `${cacheElements(mixer)} numbers per token and layer`],
    ['projection', `${mixer.query ? 'low-rank ' : ''}q ${q} | row ${row}${gate ? ` | gate ${gate}` : ''}`],
  ]
}

function describeState(mixer: StateSpec, which: string): [string, string][] {
  const { taps } = mixer
  const convolution = `convolution of ${taps} tokens, ${convChannels(mixer)} channels`
  const heads = mixer.is === 'conv' ? 0 : mixer.valueHeads
  return [
    ['mixer', `${which}${mixer.is === 'conv' ? 'short ' : 'gated delta net behind a '}${convolution}`],
    [
      'state',
      mixer.is === 'conv'
        ? `${taps - 1} × ${convChannels(mixer)}`
        : `${taps - 1} × ${convChannels(mixer)} and ${heads} × ${mixer.keyDim} × ${mixer.valueDim}, ${mixer.keyHeads} key heads`,
    ],
    ['', `${stateBytes(mixer).toLocaleString('en')} bytes per conversation and layer, and for each snapshot`],
    ['projection', `${stateInWidth(mixer)}`],
  ]
}

function describeHashes({ tensors, verified }: NonNullable<Counted['hashes']>): string {
  if (tensors === 0) return 'none: converted by an older version'
  return `of ${tensors} tensors, ${verified ? 'verified: all are as they were written' : 'checked with --verify'}`
}

function describeFit({ memoryBytes, type, context }: Counted['fits'][number]): string {
  const memory = `${memoryBytes / 2 ** 30}Gi:`
  return context === 0 ? `${memory} not the ${type} weights` : `${memory} ${context.toLocaleString('en')} tokens`
}

const normNames = {
  head: 'normed queries',
  all: 'queries normed as one',
  turned: 'queries normed behind their rotation',
}

/** 'score k[64], average latent[128], value decoder × 2, sigmoid gate' */
function describeViews(attention: AttentionSpec): string {
  const { key, value, query, queryNorm, encoder, decoder, gate, outDim, window, softcap } = attention
  const view = ({ slot, dim }: View) => `${slot}[${dim}]`
  const parts = [`score ${key.map(view).join(' + ')}`, `average ${view(value)}`]
  if (query) parts.unshift(`low-rank query of ${query.rank}`)
  if (queryNorm) parts.unshift(normNames[queryNorm.spans])
  if (window !== undefined) parts.push(`window ${window}`)
  if (softcap !== undefined) parts.push(`scores capped at ${softcap}`)
  if (encoder) parts.push(`encoder ${encoder.inDim} → ${key[0]?.dim}`)
  if (decoder)
    parts.push(
      `value decoder ${value.dim} → ${outDim}${decoder.repeat ? ` with ${decoder.repeat} cop${decoder.repeat > 1 ? 'ies' : 'y'}` : ''}`,
    )
  if (gate) parts.push(`${gate} gate`)
  return parts.join(', ')
}

/** ┃ k 1 × 64 rope ┃ latent 1 × 128 ┃ */
function drawRow(attention: AttentionSpec): string {
  const drawn = Object.entries(attention.slots).map(([name, slot]) =>
    [`${name} ${slot.heads} × ${slot.dim}`, slot.norm && 'norm', ropeDim(attention, slot) && 'rope']
      .filter(Boolean)
      .join(' '),
  )
  return `┃ ${drawn.join(' ┃ ')} ┃`
}
