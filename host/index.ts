/** The public API of gta-edge. Everything that the CLI does, it does through this file. */

export {
  type CacheType,
  cacheTypes,
  ModelError,
  type ModelSpec,
  type WeightType,
  weightTypes,
} from '../models/index.ts'
export { amount, duration, percent, tokensInWords } from './analyze/amounts.ts'
export {
  Analysis,
  type AnalyzeSettings,
  cacheBytesPerToken,
  type MemoryUse,
  type Mode as AnalysisMode,
  modes as analysisModes,
} from './analyze/analyze.ts'
export { memoryBoundShare, tokensPerSecond } from './analyze/charts.ts'
export {
  breakEven,
  type Comparison as SpeedComparison,
  compareAll,
  comparisonSentences,
  contextSteps,
  conversationsIn,
  speedRatio,
} from './analyze/compare.ts'
export { type Formats, widthsOf } from './analyze/exact.ts'
export { type Explanation, explainBench, explanationText } from './analyze/explain.ts'
export { findHardware, type Hardware, hardwareTable, type MeasuredRates } from './analyze/hardware.ts'
export type { Widths } from './analyze/llm-viewer.ts'
export { machineFile, measureThis } from './analyze/measure.ts'
export { type Flat, generationRecord, recordsOf } from './analyze/records.ts'
export { type ReportInput, renderReport, renderRooflines } from './analyze/report.ts'
export { readConfigs, viewerModels } from './analyze/viewer/models.ts'
export { openViewer, type Viewer, type ViewerOptions } from './analyze/viewer/server.ts'
export { type OperationResult, type PassResult, type Stage, stages } from './analyze/walk.ts'
export { bench } from './bench/bench.ts'
export { readBoardReport, writeBoardReport } from './bench/board/file.ts'
export { type BoardOptions, measureBoard, standardSet } from './bench/board/measure.ts'
export type { BoardReport, BoardResult, BoardRun } from './bench/board/report.ts'
export { benchOffload, type OffloadBenchOptions, type OffloadResult } from './bench/offload.ts'
export type { BenchEnvironment, BenchInfo, BenchReport, BenchResult } from './bench/report.ts'
export type { Spread } from './bench/runner.ts'
export { type BenchOptions, type BenchProgress, benchDefaults } from './bench/settings.ts'
export { Chat, type ChatOptions, type TemplateOptions } from './chat/chat.ts'
export { type ChatMessage, roles } from './chat/template.ts'
export { builtInTemplates } from './chat/templates.ts'
export { type Comparison, compare, type Difference, type Subject } from './compare.ts'
export { Conversation, type ConversationOptions, type SavedConversation } from './conversation.ts'
export { type Conversion, type ConvertOptions, convert, describeModel, type ModelFacts } from './convert/convert.ts'
export { type Diagnosis, diagnose } from './diagnose.ts'
export { type Engine, greedy, type Row, type Sampling, type StepProfile, type ThreadCounts } from './engine.ts'
export { type ErrorCode, errors, GtaError, megabytes, OutOfMemoryError } from './errors.ts'
export type { Evaluation, Predictions, PredictOptions } from './evaluate.ts'
export { type Fit, type FitQuestion, fit, largestContext } from './fit.ts'
export type { Finish, GenerateOptions, Generation, Speculation } from './generate.ts'
export { checkModelPath, defaultModel, type LoadOptions, load, paperConfig } from './load.ts'
export { isLoopback } from './local-server.ts'
export type { Model, Prompt } from './model.ts'
export { defaultSampling } from './sampling.ts'
export { type ContextPolicy, contextPolicies } from './scheduler.ts'
export type { Sensors } from './sensors.ts'
export { SessionStore } from './session/store.ts'
export type { TaskDocument } from './tasks/documents.ts'
export { evaluateTasks, type TaskOptions, type TaskResults, type TaskSample } from './tasks/evaluate-tasks.ts'
export { findTasks, type Task } from './tasks/find.ts'
export type { TaskFormat } from './tasks/formats.ts'
export { TextStream, Tokenizer } from './tokenizer/tokenizer.ts'
export { commit, version } from './version.ts'
export { type CommandOptions, commandBuilds, runCommand } from './wasm/command.ts'
export { optimizeFromTheStart } from './wasm/optimize.ts'
