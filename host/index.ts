/** The public API of gta-edge. Everything that the CLI does, it does through this file. */

export {
  type CacheType,
  cacheTypes,
  ModelError,
  type ModelSpec,
  type WeightType,
  weightTypes,
} from '../models/index.ts'
export { type Engine, greedy, type Row, type Sampling, type StepProfile, type ThreadCounts } from './engine/engine.ts'
export { type Fit, type FitQuestion, fit, largestContext } from './engine/fit.ts'
export { optimizeFromTheStart } from './engine/wasm/optimize.ts'
export { type ErrorCode, errors, GtaError, megabytes, OutOfMemoryError } from './errors.ts'
export { type Conversion, type ConvertOptions, convert, describeModel, type ModelFacts } from './files/convert.ts'
export { commit, version } from './platform/version.ts'
export { Chat, type ChatOptions, type TemplateOptions } from './runtime/chat.ts'
export { Conversation, type ConversationOptions, type SavedConversation } from './runtime/conversation.ts'
export type { Evaluation, Predictions, PredictOptions } from './runtime/evaluate.ts'
export type { Finish, GenerateOptions, Generation, Speculation } from './runtime/generate.ts'
export { checkModelPath, defaultModel, type LoadOptions, load, paperConfig } from './runtime/load.ts'
export type { Model, Prompt } from './runtime/model.ts'
export { defaultSampling } from './runtime/sampling.ts'
export type { ContextPolicy } from './runtime/scheduler.ts'
export { isLoopback } from './server/local-server.ts'
export { SessionStore } from './sessions/store.ts'
export { type ChatMessage, roles } from './text/template/template.ts'
export { builtInTemplates } from './text/template/templates.ts'
export { TextStream, Tokenizer } from './text/tokenizer.ts'
export { amount, duration, percent, tokensInWords } from './tools/analyze/amounts.ts'
export {
  Analysis,
  type AnalyzeSettings,
  cacheBytesPerToken,
  type MemoryUse,
  type Mode as AnalysisMode,
  modes as analysisModes,
} from './tools/analyze/analyze.ts'
export { memoryBoundShare, tokensPerSecond } from './tools/analyze/charts.ts'
export {
  breakEven,
  type Comparison as SpeedComparison,
  compareAll,
  comparisonSentences,
  contextSteps,
  conversationsIn,
  speedRatio,
} from './tools/analyze/compare.ts'
export { type Formats, widthsOf } from './tools/analyze/exact.ts'
export { type Explanation, explainBench, explanationText } from './tools/analyze/explain.ts'
export { findHardware, type Hardware, hardwareTable, type MeasuredRates } from './tools/analyze/hardware.ts'
export type { Widths } from './tools/analyze/llm-viewer.ts'
export { machineFile, measureThis } from './tools/analyze/measure.ts'
export { type Flat, generationRecord, recordsOf } from './tools/analyze/records.ts'
export { type ReportInput, renderReport, renderRooflines } from './tools/analyze/report.ts'
export { readConfigs, viewerModels } from './tools/analyze/viewer/models.ts'
export { openViewer, type Viewer, type ViewerOptions } from './tools/analyze/viewer/server.ts'
export { type OperationResult, type PassResult, type Stage, stages } from './tools/analyze/walk.ts'
export { bench } from './tools/bench/bench.ts'
export { readBoardReport, writeBoardReport } from './tools/bench/board/file.ts'
export { type BoardOptions, measureBoard, standardSet } from './tools/bench/board/measure.ts'
export type { BoardReport, BoardResult, BoardRun } from './tools/bench/board/report.ts'
export { benchOffload, type OffloadBenchOptions, type OffloadResult } from './tools/bench/offload.ts'
export type { BenchEnvironment, BenchInfo, BenchReport, BenchResult } from './tools/bench/report.ts'
export type { Spread } from './tools/bench/runner.ts'
export type { Sensors } from './tools/bench/sensors.ts'
export { type BenchOptions, type BenchProgress, benchDefaults } from './tools/bench/settings.ts'
export { type Diagnosis, diagnose } from './tools/diagnose.ts'
export { type Comparison, compare, type Difference, type Subject } from './tools/evaluate/compare.ts'
export type { TaskDocument } from './tools/evaluate/tasks/documents.ts'
export {
  evaluateTasks,
  type TaskOptions,
  type TaskResults,
  type TaskSample,
} from './tools/evaluate/tasks/evaluate-tasks.ts'
export { findTasks, type Task } from './tools/evaluate/tasks/find.ts'
export type { TaskFormat } from './tools/evaluate/tasks/formats.ts'
export { type CommandOptions, commandBuilds, runCommand } from './wasi/command.ts'
