/**
 * The stand-alone command: `gta run` for engines of WebAssembly with WASI, without JavaScript. One thread, memory of its
 * own, files only from directories that the engine was told to give. The rest of this folder is the same engine that the
 * hosts use; wasi/ is the one place that knows files and text.
 *
 *     wasmedge --dir .:. gta-strict.wasm stories.gta -p "Once upon a time" -s 1
 *
 * Exit codes: 0 good, 1 failed, 2 wrong usage.
 */
import { TYPE_F32 } from './abi'
import { embedding } from './plan'
import { lengthOf } from './wasi/bytes'
import { pushToken } from './wasi/decode'
import { checkWeights, FINISH_CONTEXT, FINISH_EOS, FINISH_LENGTH, feed, openEngine } from './wasi/generate'
import { now } from './wasi/host'
import { beginMemory, reserve } from './wasi/memory'
import { openModel } from './wasi/model-file'
import { isGiven, options, printHelp, printVersion, readOptions, textOf } from './wasi/options'
import { beginError, byte, bytes, count, endUsageError, flush, isTerminal, STDOUT, text, writeTo } from './wasi/output'
import { contextOf, encodePrompt, Prompt, readPrompt } from './wasi/prompt'
import { checkTokens, isEos, sampling } from './wasi/settings'
import { printStatistics, Run } from './wasi/statistics'
import { beginStream, endStream } from './wasi/utf8'
import { readPlan, readWeights, weightBytes } from './wasi/weights'

/** The second choice of --cache. */
const CACHE_INT8: f64 = 1

export function _start(): void {
  beginMemory()
  readOptions()
  const o = options()
  if (isGiven(o.version)) printVersion()
  else if (isGiven(o.help)) printHelp()
  else run()
}

function run(): void {
  const o = options()
  if (!isGiven(o.model)) {
    beginError()
    text('the model must be given: gta.wasm MODEL.gta -p "Once upon a time"')
    endUsageError()
  }
  const prompt = readPrompt()
  openModel(textOf(o.model), lengthOf(textOf(o.model)))
  const checked = readPlan()
  const context = contextOf(checked)
  checkTokens(checked.vocabSize)
  encodePrompt(prompt, checked, context)
  const plan = readWeights(checked)
  const isCacheInt8 = isGiven(o.cache) ? o.cache == CACHE_INT8 : embedding(plan).type != TYPE_F32
  const stats = changetype<Run>(reserve(offsetof<Run>()))
  stats.weightBytes = weightBytes()
  stats.isCacheInt8 = isCacheInt8 ? 1 : 0
  openEngine(plan, weightBytes(), context, isCacheInt8)
  checkWeights()
  write(prompt, context, stats)
  printStatistics(plan, stats)
}

/** The prompt, then one token after the other, until something ends it. */
function write(prompt: Prompt, context: u32, stats: Run): void {
  const o = options()
  const settings = sampling()
  settings.generatedFrom = prompt.count
  const stopsAtEos = !isGiven(o.ignoreEos) && (isGiven(o.stopEos) || prompt.text != 0)
  const started = now()
  const one = reserve(4)
  store<u32>(one, feed(prompt.ids, prompt.count, 0, settings))
  const prefilled = now()
  const isShown = isTerminal(STDOUT)
  writeTo(STDOUT)
  // Shown once it has been accepted and read.
  if (prompt.text) bytes(prompt.text, prompt.length, isShown)
  beginStream(isShown)
  let position = prompt.count
  // Only the prompt is wanted; an option that is not given is no number.
  if (o.maxTokens == 0) stats.finish = FINISH_LENGTH
  while (!stats.finish) {
    const token = load<u32>(one)
    stats.tokens++
    if (stopsAtEos && isEos(token)) stats.finish = FINISH_EOS
    else show(prompt, token)
    if (!stats.finish && (stats.tokens as f64) >= o.maxTokens) stats.finish = FINISH_LENGTH
    if (!stats.finish && position >= context) stats.finish = FINISH_CONTEXT
    if (stats.finish) break
    flush()
    store<u32>(one, feed(one, 1, position++, settings))
  }
  stats.promptTokens = prompt.count
  stats.prefill = prefilled - started
  stats.decode = now() - prefilled
  endStream()
  byte(10)
  flush()
}

/** Text; without a tokenizer there is none, so the ids are shown. */
function show(prompt: Prompt, token: u32): void {
  if (prompt.hasText) {
    pushToken(token)
    return
  }
  count(token)
  byte(32)
}
