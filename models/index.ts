/** What a model is, as pure data: no I/O, usable from a browser. Start with attention.ts. */
export * from './attention.ts'
export { configs } from './configs.ts'
export * from './cost.ts'
export { type ErrorCode, GtaError } from './errors.ts'
export { describe, families } from './families/index.ts'
export * from './operations.ts'
export * from './plan.ts'
export * from './spec.ts'
