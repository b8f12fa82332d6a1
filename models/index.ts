/** What a model is, as pure data: no I/O, usable from a browser. Start with attention.ts, then layer.ts. */
export { largest } from './arithmetic.ts'
export * from './attention.ts'
export * from './cache.ts'
export { configs } from './configs.ts'
export * from './cost.ts'
export { describe } from './describe.ts'
export { disassemble } from './disassemble.ts'
export { type ErrorCode, GtaError } from './errors.ts'
export type { Family } from './family.ts'
export * from './layer.ts'
export { forContext, longestContext } from './long-context.ts'
export {
  isInBlocks,
  isKeptType,
  type KeptType,
  keptTypes,
  type MatrixType,
  matrixBytes,
  type PackedTensor,
  type PackingType,
  packingTypes,
  Q4_BYTES,
  Q4_COLS,
  Q4_ROWS,
  roundUp,
  SPAN_BLOCKS,
  SPAN_BYTES,
  stripeBytes,
  type WeightType,
  weightTypes,
} from './packed.ts'
export { derivedBytes, type KeptTypes, PLAN_VERSION, type Plan, planModel } from './plan.ts'
export { families } from './registry.ts'
export * from './spec.ts'
export * from './state.ts'
