/**
 * The operations of one pass, as a list: what the engine's plan does, split where people and papers split it (the plan
 * projects query, row and gate with one matrix; here they are q_proj, k_proj, v_proj, g_proj). Read by whoever counts:
 * the analyzer walks this list with one cost convention or another, and draws the layer from it.
 *
 * Names are those of LLM-Viewer where it has one. Sizes are per token, bytes are those of the plan. Order is that of
 * execution; `inputs` make a graph of it. A model whose layers differ has the operations of each distinct layer once, with
 * how many there are of it; those of the second are called q_proj@1, and so on.
 */
import { countedLayers, type ModelSpec, type Plan } from '../../../models/index.ts'
import { LayerOperations } from './layer-operations.ts'
import { type ElementwiseWork, elementwise, norm, type Operation, PackedSizes } from './operation.ts'

/** Every operation of the model in the order of execution. `isFused`: scores never leave the processor. */
export function operationsOf(spec: ModelSpec, plan: Plan, isFused = true): Operation[] {
  const { hiddenDim, vocabSize, embedding, head } = spec
  const file = new PackedSizes(plan)
  const once = (name: string, rows: Operation['rows'], inputs: string[], work: Operation['work']): Operation => ({
    name,
    part: work.is === 'matrix' ? 'linear' : 'rest',
    count: 1,
    rows,
    inputs,
    work,
  })
  const lookup = (matrix: string, reads: number, operations: number): ElementwiseWork => ({
    ...elementwise(reads, hiddenDim, operations),
    weights: hiddenDim,
    bytes: file.matrixBytes(matrix, 0, 1),
    isLookup: true,
  })
  const list = [once('embed', 'tokens', [], lookup('embed', 0, embedding.scale === 1 ? 0 : hiddenDim))]
  if (embedding.positions !== undefined)
    list.push(once('positions', 'tokens', ['embed'], lookup('positions', hiddenDim, hiddenDim)))
  let last = 'input'
  for (const [index, { layer, count }] of countedLayers(spec).entries()) {
    const operations = new LayerOperations(
      layer,
      spec,
      file,
      { index, first: spec.order.indexOf(index), count },
      isFused,
    )
    list.push(...operations.after(last))
    last = list.at(-1)?.name as string
  }
  const matrix = head.isTied ? 'embed' : 'head'
  list.push(once('final_norm', 'logits', [last], norm(hiddenDim, head.norm.kind)))
  list.push(
    once('lm_head', 'logits', ['final_norm'], {
      is: 'matrix',
      inDim: hiddenDim,
      outDim: vocabSize,
      blocks: 1,
      hasBias: head.bias,
      type: file.matrixType(matrix),
      bytes: file.matrixBytes(matrix, 0, vocabSize) + (head.bias ? 4 * vocabSize : 0),
      result: 'activations',
    }),
  )
  if (head.softcap !== undefined)
    list.push(once('logit_cap', 'logits', ['lm_head'], elementwise(vocabSize, vocabSize, 3 * vocabSize)))
  return list
}
