/**
 * The stand-alone command: `gta run` for engines of WebAssembly with WASI, without JavaScript. One thread, memory of its
 * own, files only from directories that the engine was told to give. The rest of this folder is the same engine that the
 * hosts use; wasi/ is the one place that knows files and text.
 *
 *     wasmedge --dir .:. gta-strict.wasm stories.gta -p "Once upon a time" -s 1
 *
 * Exit codes: 0 good, 1 failed, 2 wrong usage.
 */
import { Plan, TYPE_F32 } from './abi'
import { embedding } from './plan'
import { checkWeights, FINISH_CONTEXT, FINISH_EOS, FINISH_LENGTH, feed, openEngine } from './wasi/generate'
import { printHelp } from './wasi/help'
import { now } from './wasi/host'
import { beginMemory, reserve } from './wasi/memory'
import { file, openModel, read, tensorAt } from './wasi/model-file'
import { CACHE_DEFAULT, CACHE_INT8, options, readOptions } from './wasi/options'
import { beginError, byte, bytes, count, endUsageError, flush, isTerminal, STDOUT, text, writeTo } from './wasi/output'
import { contextOf, encodePrompt, Prompt, readPrompt } from './wasi/prompt'
import { isEos, readSettings, Settings, samplingOf } from './wasi/settings'
import { printStatistics, Run } from './wasi/statistics'
import { checkFrequencies, checkPlanTensor, checkTensors } from './wasi/tensor-check'
import { pushToken } from './wasi/tokenizer'
import { beginStream, endStream } from './wasi/utf8'
import { version } from './wasi/version'

export function _start(): void {
  beginMemory()
  readOptions()
  const o = options()
  if (o.wantsVersion) {
    writeTo(STDOUT)
    text(version())
    byte(10)
    flush()
  } else if (o.wantsHelp) printHelp()
  else run()
}

function run(): void {
  const o = options()
  if (!o.model) {
    beginError()
    text('the model must be given: gta.wasm MODEL.gta -p "Once upon a time"')
    endUsageError()
  }
  const prompt = readPrompt()
  openModel(o.model, o.modelLength)
  const checked = readPlan()
  const size = checkTensors(checked)
  const context = contextOf(checked)
  const settings = readSettings(checked.vocabSize)
  encodePrompt(prompt, settings, checked, context)
  const plan = readWeights(checked, size)
  const isCacheInt8 = o.cache == CACHE_DEFAULT ? embedding(plan).type != TYPE_F32 : o.cache == CACHE_INT8
  const stats = changetype<Run>(reserve(offsetof<Run>()))
  stats.weightBytes = size
  stats.isCacheInt8 = isCacheInt8 ? 1 : 0
  openEngine(plan, size, context, isCacheInt8)
  checkWeights()
  write(settings, prompt, context, stats)
  printStatistics(plan, stats)
}

/** The plan alone: it must be known to be good before anything is made from it. */
function readPlan(): Plan {
  checkPlanTensor()
  const bytes = tensorAt(0).bytes
  const at = reserve(bytes)
  read(at, bytes, file().dataStart)
  return changetype<Plan>(at)
}

/** All tensors that the plan names, in one piece behind a copy of the plan: the file may have changed since that was read. */
function readWeights(checked: Plan, bytes: u64): Plan {
  const planBytes = tensorAt(0).bytes
  const at = reserve(bytes)
  memory.copy(at, changetype<usize>(checked), planBytes as usize)
  read(at + (planBytes as usize), bytes - planBytes, file().dataStart + planBytes)
  const plan = changetype<Plan>(at)
  checkFrequencies(plan)
  return plan
}

/** The prompt, then one token after the other, until something ends it. */
function write(settings: Settings, prompt: Prompt, context: u32, stats: Run): void {
  const o = options()
  const sampling = samplingOf(settings)
  const stopsAtEos = o.ignoreEos ? false : o.stopAtEos ? true : prompt.text != 0
  const started = now()
  const one = reserve(4)
  store<u32>(one, feed(prompt.ids, prompt.count, 0, sampling))
  const prefilled = now()
  const isShown = isTerminal(STDOUT)
  writeTo(STDOUT)
  // Shown once it has been accepted and read.
  if (prompt.text) bytes(prompt.text, prompt.length, isShown)
  beginStream(isShown)
  let position = prompt.count
  for (;;) {
    const token = load<u32>(one)
    stats.tokens++
    if (stopsAtEos && isEos(settings, token)) stats.finish = FINISH_EOS
    else show(prompt, token)
    if (!stats.finish && o.maxTokens > 0 && (stats.tokens as f64) >= o.maxTokens) stats.finish = FINISH_LENGTH
    if (!stats.finish && position >= context) stats.finish = FINISH_CONTEXT
    if (stats.finish) break
    flush()
    store<u32>(one, feed(one, 1, position++, sampling))
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
