/** `gta-edge/evaluate`: how good a model is by texts and by questions, and what cheaper weights and caches change. */
export type { Evaluation, Predictions, PredictOptions } from '../../runtime/api.ts'
export { type Comparison, compare, type Difference, type LabelledModel } from './compare.ts'
export type { TaskDocument } from './tasks/documents.ts'
export { evaluateTasks, type TaskOptions, type TaskResults, type TaskSample } from './tasks/evaluate-tasks.ts'
export { findTasks, type Task } from './tasks/find.ts'
export type { TaskFormat } from './tasks/formats.ts'
