/** What the tests of sessions do with conversations: generate, compare, and write sessions of their own making. */
import { createHash } from 'node:crypto'
import * as assert from 'uvu/assert'
import type { Conversation, GenerateOptions, Generation, Prompt } from '../host/index.ts'
import { openSession } from '../host/sessions/read.ts'
import { saveSession } from '../host/sessions/save.ts'

/** Settings that look at the past in every way: what was said lately, and how many tokens ago it began. */
export const lively = { temperature: 0.9, topK: 50, repeatPenalty: 1.3, repeatLastN: 70, seed: 7, stopAtEos: false }

/** All of a generation. */
export async function finish(pieces: AsyncGenerator<string, Generation>): Promise<Generation> {
  for (;;) {
    const { done, value } = await pieces.next()
    if (done) return value
  }
}

export const say = (it: Conversation, maxTokens: number, prompt?: Prompt, more: GenerateOptions = {}) =>
  finish(it.generate(prompt, { ...(prompt === undefined ? { stopAtEos: false } : lively), maxTokens, ...more }))

/** Tokens and the last logits, to the last bit. */
export const trace = ({ tokens, logitsHash }: Generation) => ({ tokens, logitsHash })

/** Both must go on alike: at once, behind a prompt, and behind another few tokens. */
export async function goOnAlike(found: Conversation, expected: Conversation, what: string, prompt?: number[]) {
  assert.equal(found.tokens, expected.tokens, what)
  assert.equal([found.length, found.dropped], [expected.length, expected.dropped], what)
  for (const [i, words] of [undefined, prompt, undefined].entries()) {
    const [a, b] = [await say(found, 5, words), await say(expected, 5, words)]
    assert.equal(trace(a), trace(b), `${what}, part ${i}`)
    assert.equal(a.sampling, b.sampling, `${what}, part ${i}`)
  }
}

export interface OpenedSession {
  state: Record<string, unknown>
  pages: Uint8Array[]
}

/** State and pages of a session, to be changed and written again. */
export async function takeApart(path: string): Promise<OpenedSession> {
  await using reader = await openSession(path)
  const pages: Uint8Array[] = []
  for (let i = 0; i < reader.pageCount; i++) {
    const page = new Uint8Array(reader.pageBytes)
    await reader.readPage(i, page)
    pages.push(page)
  }
  return { state: reader.state, pages }
}

/** Writes a session whose checksums are right, whatever is in it. */
export async function putTogether(path: string, { state, pages }: OpenedSession): Promise<void> {
  await saveSession(
    path,
    state,
    pages.map((bytes) => ({ bytes })),
  )
}

export const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex').slice(0, 16)
