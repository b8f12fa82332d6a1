/** gta.wasm under WasmEdge, interpreter and JIT: the same tokens and the same logits as the library, in both builds. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { prompts } from './fixtures/prompts.ts'
import { args, expectSame, generate, stories, storiesFolder } from './fixtures/wasi-stories.ts'
import { toolTest } from './harness/tools.ts'
import { type CommandBuild, runOnWasmEdge } from './harness/wasi-engines.ts'

const directory = ['--dir', `.:${storiesFolder}`]

toolTest('wasmedge', 'WasmEdge, interpreter: strict and relaxed', async () => {
  for (const [prompt, build] of [
    [prompts[0], 'strict'],
    [prompts[11], 'strict'],
    [prompts[1], 'relaxed'],
  ] as [string, CommandBuild][]) {
    const options = { maxTokens: 16, seed: 4 }
    const flags = ['--force-interpreter', '--enable-relaxed-simd', ...directory]
    const found = runOnWasmEdge(args(prompt, options), flags, build)
    expectSame(found, prompt, await generate(stories, prompt, options), prompt)
  }
})

toolTest('wasmedge', 'WasmEdge, JIT: strict and relaxed', async () => {
  for (const [i, prompt] of prompts.slice(0, 6).entries()) {
    const options = i % 2 ? { maxTokens: 64, seed: 5 } : { maxTokens: 64, temperature: 0, seed: 5 }
    const flags = ['--enable-jit', '--enable-relaxed-simd', ...directory]
    const found = runOnWasmEdge(args(prompt, options), flags, i < 3 ? 'strict' : 'relaxed')
    expectSame(found, prompt, await generate(stories, prompt, options), prompt)
  }
})

toolTest('wasmedge', 'WasmEdge: too little memory, and no SIMD, are errors', () => {
  const few = runOnWasmEdge(['stories.gta', '-p', 'a'], ['--memory-page-limit', '80', ...directory], 'strict')
  assert.is(few.status, 1)
  assert.match(few.stderr, /^gta: the engine must give the command \d+\.\d MB of memory, it refused: .*\n$/)
  assert.is.not(runOnWasmEdge(['--version'], ['--disable-simd'], 'strict').status, 0)
})

test.after(() => stories.close())
test.run()
