/** `gta-edge/analyze`: what a model will do on a device, before it runs, and why it took as long as it did. */
export { type Fit, type FitQuestion, fit, largestContext } from '../../engine/fit.ts'
export { describeModel, type ModelFacts } from '../../files/describe.ts'
export { amount, duration, percent, tokensInWords } from './amounts.ts'
export {
  Analysis,
  type AnalysisMode,
  type AnalyzeSettings,
  analysisModes,
  cacheBytesPerToken,
  type MemoryUse,
} from './analyze.ts'
export { memoryBoundShare, tokensPerSecond } from './charts.ts'
export {
  breakEven,
  compareAll,
  comparisonSentences,
  contextSteps,
  conversationsIn,
  type SpeedComparison,
  speedRatio,
} from './compare.ts'
export { type Formats, widthsOf } from './exact.ts'
export { type Explanation, explainBench, explanationText } from './explain.ts'
export { findHardware, type Hardware, hardwareTable, type MeasuredRates } from './hardware.ts'
export type { Widths } from './llm-viewer.ts'
export { type MeasureOptions, measureThis } from './measure.ts'
export { type Flat, generationRecord, recordsOf } from './records.ts'
export { type ReportInput, renderReport, renderRooflines } from './report.ts'
export { readConfigs, viewerModels } from './viewer/models.ts'
export { openViewer, type Viewer, type ViewerOptions } from './viewer/server.ts'
export { type OperationResult, type PassResult, type Stage, stages } from './walk.ts'
