/** Operations of one layer: see operations.ts. */
import {
  type Activation,
  type AttentionSpec,
  attentionOf,
  cacheElements,
  cacheHeads,
  convChannels,
  keyDim,
  type LayerSpec,
  type ModelSpec,
  type NormPlace,
  projectionWidths,
  queryDim,
  ropeDim,
  type StateSpec,
  slotOf,
  stateMacs,
  stateNumbers,
  stateOutWidth,
} from '../../../models/index.ts'
import {
  type ElementwiseWork,
  elementwise,
  type MatrixWork,
  norm,
  type Operation,
  type OperationPart,
  type PackedSizes,
  type SweepWork,
} from './operation.ts'

const slotProjections: Record<string, string> = { k: 'k_proj', v: 'v_proj', latent: 'v_proj', c: 'latent_proj' }

/** Operations per number; an exponential counts as one. */
const activationOperations: Record<Activation, number> = { silu: 4, gelu: 8, 'gelu-tanh': 8, relu2: 2 }

interface Place {
  /** Among the distinct layers. */
  index: number
  /** The first layer of the model that is such a one. */
  first: number
  count: number
}

export class LayerOperations {
  private readonly layer: LayerSpec
  private readonly hiddenDim: number
  private readonly file: PackedSizes
  private readonly place: Place
  private readonly isFused: boolean
  private readonly list: Operation[] = []

  constructor(layer: LayerSpec, { hiddenDim }: ModelSpec, file: PackedSizes, place: Place, isFused: boolean) {
    this.layer = layer
    this.hiddenDim = hiddenDim
    this.file = file
    this.place = place
    this.isFused = isFused
  }

  /** Behind what is called `input`. */
  after(input: string): Operation[] {
    const { hiddenDim } = this
    const { isParallel, mixer } = this.layer
    const add = (name: string, inputs: string[]) =>
      this.rest(name, inputs, elementwise(2 * hiddenDim, hiddenDim, hiddenDim))
    const entering = this.normed('mixerIn', 'attn_norm', input)
    const mixed = mixer.is === 'attention' ? this.attention(entering) : this.state(mixer, entering)
    const attended = this.normed('mixerOut', 'attn_out_norm', mixed)
    const added = add('attn_add', [input, attended])
    const fed = this.feedForward(this.normed('ffnIn', 'mlp_norm', isParallel ? input : added))
    add('mlp_add', [added, this.normed('ffnOut', 'mlp_out_norm', fed)])
    return this.list
  }

  private push(operation: Omit<Operation, 'count' | 'rows'>): string {
    const { index, count } = this.place
    const name = index === 0 ? operation.name : `${operation.name}@${index}`
    this.list.push({ ...operation, name, count, rows: 'tokens', inputs: [...new Set(operation.inputs)] })
    return name
  }

  private rest(name: string, inputs: string[], work: ElementwiseWork, part: OperationPart = 'rest'): string {
    return this.push({ name, part, inputs, work })
  }

  /** What a norm makes of `input`, or that itself. */
  private normed(place: NormPlace, name: string, input: string): string {
    const kind = this.layer.norms[place]?.kind
    return kind === undefined ? input : this.rest(name, [input], norm(this.hiddenDim, kind))
  }

  /** Rows `from` … of a packed matrix; a bias belongs to as many rows. */
  private linear(
    name: string,
    tensor: string,
    input: string,
    shape: { inDim: number; from: number; outDim: number; blocks?: number; result?: MatrixWork['result'] },
    part: OperationPart = 'linear',
  ): string {
    const { inDim, from, outDim, blocks = 1, result = 'activations' } = shape
    const { file } = this
    const packed = `layers.${this.place.first}.${tensor}`
    const hasBias = file.has(`${packed}_bias`)
    const bytes = file.matrixBytes(packed, from, from + outDim) + (hasBias ? 4 * outDim : 0)
    const type = file.matrixType(packed)
    return this.push({
      name,
      part,
      inputs: [input],
      work: { is: 'matrix', inDim, outDim, blocks, hasBias, type, bytes, result },
    })
  }

  private feedForward(input: string): string {
    const { hiddenDim } = this
    const { width, activation, isGated } = this.layer.ffn
    const shape = { inDim: hiddenDim, outDim: width }
    const inputs = isGated ? [this.linear('gate_proj', 'gate_up', input, { ...shape, from: 0 })] : []
    inputs.push(this.linear('up_proj', 'gate_up', input, { ...shape, from: isGated ? width : 0 }))
    const each = activationOperations[activation] + (isGated ? 1 : 0)
    const activated = this.rest('mlp_act', inputs, elementwise(inputs.length * width, width, each * width))
    return this.linear('down_proj', 'down', activated, { inDim: width, from: 0, outDim: hiddenDim })
  }

  /** The attention, where the layer has one. */
  private get attends(): AttentionSpec {
    const attention = attentionOf(this.layer)
    if (!attention) throw new RangeError('the layer has no attention')
    return attention
  }

  /** [ B | C | x ], or all that a delta net reads; the state one token on; back to the hidden width. */
  private state(mixer: StateSpec, input: string): string {
    const { hiddenDim } = this
    const channels = convChannels(mixer)
    const width = stateOutWidth(mixer)
    const isConv = mixer.is === 'conv'
    const fromIn = (name: string, from: number, outDim: number) =>
      this.linear(name, 'in', input, { inDim: hiddenDim, from, outDim })
    const inputs = isConv
      ? ['b_proj', 'c_proj', 'x_proj'].map((name, i) => fromIn(name, i * channels, channels))
      : [
          fromIn('qkv_proj', 0, channels),
          fromIn('z_proj', channels, width),
          fromIn('gates_proj', channels + width, 2 * mixer.valueHeads),
        ]
    const { columns, matrices } = stateNumbers(mixer)
    const weights =
      (mixer.taps + (isConv && mixer.bias ? 1 : 0)) * channels + (isConv ? 0 : mixer.valueHeads + mixer.valueDim)
    const work = {
      is: 'state' as const,
      macs: stateMacs(mixer),
      // Two gates; or silu of all, lengths of q and k, a norm and a gate of what comes out, and S that fades.
      operations: isConv ? 2 * channels : 4 * channels + 3 * (channels - width) + 12 * width + matrices,
      numbers: columns + matrices,
      reads: isConv ? 3 * channels : channels + width + 2 * mixer.valueHeads,
      writes: width,
      ...{ weights, bytes: 4 * weights },
    }
    const mixed = this.push({ name: isConv ? 'short_conv' : 'delta_net', part: 'attention', inputs, work })
    return this.linear('out_proj', 'out', mixed, { inDim: width, from: 0, outDim: hiddenDim })
  }

  private attention(input: string): string {
    const mixer = this.attends
    const { maps, query, gate, outDim } = mixer
    const { q, row, gate: gateWidth } = projectionWidths(mixer)
    const fromIn = (name: string, from: number, outDim: number, result?: MatrixWork['result']) =>
      this.linear(name, 'in', input, { inDim: this.hiddenDim, from, outDim, result })
    let queries = fromIn(query ? 'q_down_proj' : 'q_proj', 0, q)
    const { rotating, cached } = this.cacheRow(q, fromIn)
    const gated = gate ? fromIn('g_proj', q + row, gateWidth) : undefined
    queries = this.raisedQueries(queries)
    const rotated = rotatedWidth(mixer)
    if (rotated > 0) {
      queries = this.rest('rope', [queries, ...rotating], elementwise(rotated, rotated, 3 * rotated))
      cached.unshift(queries)
    }
    const averages = this.decodedValues(this.sweep(this.encodedQueries(queries), cached))
    const width = maps * outDim
    const gateAct = elementwise(2 * width, width, 5 * width)
    const entering = gated ? this.rest('gate_act', [averages, gated], gateAct, 'valueDecoder') : averages
    return this.linear('out_proj', 'out', entering, { inDim: width, from: 0, outDim: this.hiddenDim })
  }

  /** Projects the slots, and norms some of them; what is left to be rotated, and what goes to the cache as it is. */
  private cacheRow(
    first: number,
    fromIn: (name: string, from: number, outDim: number, result: MatrixWork['result']) => string,
  ) {
    const mixer = this.attends
    const rotating: string[] = []
    const cached: string[] = []
    let at = first
    for (const [name, slot] of Object.entries(mixer.slots)) {
      const { heads, dim } = slot
      let last = fromIn(slotProjections[name] ?? `${name}_proj`, at, heads * dim, { slot: name, heads })
      // Between the projection and the cache: the row is on its way, so only the weights are read.
      if (slot.norm) {
        const work = norm(heads * dim, 'rms')
        last = this.rest(`${name}_norm`, [last], { ...work, reads: 0, writes: 0 })
      }
      const list = ropeDim(mixer, slot) > 0 ? rotating : cached
      list.push(last)
      at += heads * dim
    }
    return { rotating, cached }
  }

  /** From the low side up, where there is one, and normed. */
  private raisedQueries(input: string): string {
    const mixer = this.attends
    const { query, queryNorm, maps } = mixer
    const width = maps * queryDim(mixer)
    let queries = input
    if (query) {
      const low = this.rest('q_down_norm', [queries], norm(query.rank, 'rms'))
      queries = this.linear('q_up_proj', 'query', low, { inDim: query.rank, from: 0, outDim: width })
    }
    return queryNorm ? this.rest('q_norm', [queries], norm(width, 'rms')) : queries
  }

  private encodedQueries(queries: string): string {
    const { maps, encoder, key } = this.attends
    if (!encoder) return queries
    const shape = { inDim: encoder.inDim, from: 0, outDim: maps * (key[0]?.dim ?? 0), blocks: maps }
    return this.linear('q_encode', 'encoder', queries, shape, 'rest')
  }

  /** Scores, softmax and average, or all of it at once. */
  private sweep(queries: string, cached: string[]): string {
    const mixer = this.attends
    const { maps, key, value, softcap } = mixer
    const work = {
      maps,
      keyDim: keyDim(mixer),
      valueDim: value.dim,
      keyElements: key.reduce((sum, view) => sum + slotOf(mixer, view).heads * view.dim, 0),
      valueElements: slotOf(mixer, value).heads * value.dim,
      rowElements: cacheElements(mixer),
      rowHeads: cacheHeads(mixer),
      layer: this.layer,
      operationsPerScore: softcap === undefined ? 5 : 8,
    }
    const step = (name: string, is: SweepWork['is'], inputs: string[]) =>
      this.push({ name, part: 'attention', inputs, work: { is, ...work } })
    if (this.isFused) return step('fused_attention', 'fused', [queries, ...cached])
    const scores = step('qk_matmul', 'scores', [queries, ...cached])
    return step('sv_matmul', 'average', [step('softmax', 'softmax', [scores]), ...cached])
  }

  private decodedValues(averages: string): string {
    const { maps, value, decoder, outDim } = this.attends
    if (!decoder) return averages
    const width = maps * outDim
    const shape = { inDim: value.dim, from: 0, outDim: width, blocks: maps }
    const decoded = this.linear('v2o_proj', 'decoder', averages, shape, 'valueDecoder')
    if (decoder.repeat === 0) return decoded
    const work = elementwise(width + maps * value.dim, width, width)
    return this.rest('output_add', [averages, decoded], work, 'valueDecoder')
  }
}

/** Numbers of a query and a row that RoPE turns. */
function rotatedWidth(attention: AttentionSpec): number {
  const { maps, key, encoder, slots } = attention
  const viewRope = (index: number) => {
    const view = key[index]
    return view ? ropeDim(attention, slotOf(attention, view)) : 0
  }
  const query = maps * ((encoder ? 0 : viewRope(0)) + viewRope(1))
  return query + Object.values(slots).reduce((sum, slot) => sum + slot.heads * ropeDim(attention, slot), 0)
}
