/**
 * node-llama-cpp's JavaScript API as a subject: what a Node user would write. Greedy sampling, and the defaults of the
 * package but for threads and context; a token costs several hops between threads and the sampling of llama.cpp.
 */
import { importPeer, llamaCppVersion, packageVersion } from './install.ts'
import { contextOf, readTask, run } from './measure.ts'

/** What is used of the package. */
interface Package {
  getLlama(options: object): Promise<{
    loadModel(options: object): Promise<{
      createContext(options: object): Promise<{ currentThreads: number; getSequence(): Sequence }>
    }>
  }>
}
interface Sequence {
  readonly nextTokenIndex: number
  evaluate(tokens: number[], options: object): AsyncIterable<number>
  evaluateWithoutGeneratingNewTokens(tokens: number[]): Promise<void>
  eraseContextTokenRanges(ranges: { start: number; end: number }[]): Promise<void>
}

const task = readTask()
const { threads } = task
const { getLlama } = await importPeer<Package>()
const llama = await getLlama({
  gpu: false,
  build: 'never',
  maxThreads: threads,
  logLevel: 'error',
  progressLogs: false,
})
const model = await llama.loadModel({ modelPath: task.gguf })
const context = await model.createContext({ contextSize: contextOf(task), threads })
const sequence = context.getSequence()

await run(
  {
    name: `node-llama-cpp ${packageVersion()} (llama.cpp ${llamaCppVersion()}), JavaScript API`,
    threads,
    prefill: (_, tokens) => sequence.evaluateWithoutGeneratingNewTokens(tokens),
    async decode(_, token, count) {
      let left = count
      for await (const _ of sequence.evaluate([token], { temperature: 0, yieldEogToken: true })) if (--left === 0) break
      if (left > 0) throw new Error('node-llama-cpp generated too few tokens')
    },
    async rewind(length) {
      const end = sequence.nextTokenIndex
      if (length < end) await sequence.eraseContextTokenRanges([{ start: length, end }])
    },
  },
  task,
)
