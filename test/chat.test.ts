/** Chats: what a turn computes, and that it makes no difference to computing all of it. */
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Chat, type GenerateOptions, type Generation, load } from '../host/index.ts'
import { findEnding } from '../host/runtime/chat.ts'
import { renderTemplate } from '../host/text/template/render.ts'
import { ChatTemplate } from '../host/text/template/template.ts'
import { Tokenizer } from '../host/text/tokenizer.ts'
import { bytes, chatModel, controls, tokenizerJson } from './fixtures/chats.ts'
import { failure, temporary } from './fixtures/checkpoints.ts'

const model = await load(chatModel(), { type: 'f32', threads: 1, cacheMemory: 4e6 })
const { '<|im_start|>': start, '<|im_end|>': end } = controls
const settings: GenerateOptions = {
  maxTokens: 12,
  seed: 1,
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repeatPenalty: 1,
}

async function finish(pieces: AsyncGenerator<string, Generation>): Promise<Generation> {
  for (;;) {
    const { done, value } = await pieces.next()
    if (done) return value
  }
}

const say = (chat: Chat, content: string, more: GenerateOptions = {}) =>
  finish(chat.send(content, { ...settings, ...more }))

const turn = (role: string, content: string) => [start, ...bytes(`${role}\n${content}`)]
const close = [end, ...bytes('\n')]

/** The answer must be the one, bit for bit, that a prompt of these tokens gets. */
async function expectAnswer(answer: Generation, prompt: number[], more: GenerateOptions = {}): Promise<void> {
  const whole = await finish(model.generate(prompt, { ...settings, ...more, stopAtEos: true }))
  assert.equal(answer.tokens, whole.tokens)
  assert.is(answer.logitsHash, whole.logitsHash)
  assert.is(answer.promptTokens, prompt.length)
}

test('a turn computes what is new, and answers as if all had been computed', async () => {
  const chat = await model.chat({ system: 'Be brief.' })
  const first = [...turn('system', 'Be brief.'), ...close, ...turn('user', 'Hi'), ...close, ...turn('assistant', '')]
  const one = await say(chat, 'Hi')
  await expectAnswer(one, first)
  assert.is(one.finish, 'length')
  // The answer, random bytes of which some are no text, is what was generated, not what its text would be cut into.
  assert.ok(one.text.includes('\u{fffd}'))
  const second = [...first, ...one.tokens, ...close, ...turn('user', 'What?'), ...close, ...turn('assistant', '')]
  const two = await say(chat, 'What?')
  await expectAnswer(two, second)
  // The last token of an answer is computed with what follows it.
  assert.is(two.cachedTokens, first.length + one.tokens.length - 1)
  assert.equal(
    chat.messages.map(({ role, content }) => `${role}: ${content}`),
    ['user: Hi', `assistant: ${one.text}`, 'user: What?', `assistant: ${two.text}`],
  )
  chat.close()
})

test('other instructions change all that follows them', async () => {
  const chat = await model.chat({ system: 'Be brief.' })
  const { text } = await say(chat, 'Hi')
  chat.system = 'Be brave.'
  const answer = await say(chat, 'What?')
  const prompt = [
    ...[...turn('system', 'Be brave.'), ...close, ...turn('user', 'Hi'), ...close],
    ...[...turn('assistant', text), ...close, ...turn('user', 'What?'), ...close, ...turn('assistant', '')],
  ]
  await expectAnswer(answer, prompt)
  assert.is(answer.cachedTokens, turn('system', 'Be br').length - 1)
  chat.close()
})

test('a template that writes an answer in another way has it computed again from there', async () => {
  const chat = await model.chat({ template: 'llama2' })
  await say(chat, 'Hi')
  const { tokens } = await model.applyChatTemplate([...chat.messages, { role: 'user', content: 'What?' }], {
    template: 'llama2',
  })
  const answer = await say(chat, 'What?')
  await expectAnswer(answer, tokens)
  assert.ok(answer.cachedTokens > 0 && answer.cachedTokens < tokens.length)
  chat.close()
})

test('an answer ends at the token that the template puts behind it', async () => {
  const tokenizer = await Tokenizer.open('t', new TextEncoder().encode(JSON.stringify(tokenizerJson)), {})
  const endingOf = (template: string, config = { bos_token: '<s>', eos_token: '</s>' }) =>
    findEnding(new ChatTemplate('t', config, tokenizer, template, renderTemplate), tokenizer)
  assert.equal(await endingOf('chatml'), { stopTokens: [end], stop: [] })
  assert.equal(await endingOf('llama2'), { stopTokens: [controls['</s>']], stop: [] })
  // Where it is no control token, it is a text; and a template may have none.
  const plain = '{% for m in messages %}{{ m.role ~ ": " ~ m.content ~ "\n%s" }}{% endfor %}'
  assert.equal(await endingOf(plain.replace('%s', '### ')), { stopTokens: [], stop: ['###'] })
  assert.equal(await endingOf(plain.replace('%s', '')), { stopTokens: [], stop: [] })
  const silent = await failure(endingOf('{{ messages[0].content }}'))
  assert.is(silent.code, 'BAD_TEMPLATE')
  assert.match(silent.message, 'repeat what was answered')
})

test('stopTokens end a text whatever stopAtEos says', async () => {
  const free = await finish(model.generate([1, 2, 3], settings))
  const stopped = await finish(model.generate([1, 2, 3], { ...settings, stopTokens: [free.tokens[3] as number] }))
  assert.is(stopped.finish, 'eos')
  assert.equal(stopped.tokens, free.tokens.slice(0, free.tokens.indexOf(free.tokens[3] as number) + 1))
  assert.is((await failure(finish(model.generate([1], { stopTokens: [264] })))).code, 'BAD_PROMPT')
})

test('an answer that is stopped stays as far as it was heard', async () => {
  const chat = await model.chat()
  const controller = new AbortController()
  const onToken = () => controller.abort(new Error('enough'))
  assert.is((await failure(say(chat, 'Hi', { onToken, signal: controller.signal }))).message, 'enough')
  assert.equal(chat.messages.length, 2)
  // A caller who hears no more stops it too.
  for await (const piece of chat.send('And?', settings)) {
    assert.is(chat.conversation.tokens.length > 0, piece !== '')
    break
  }
  assert.is(chat.messages.length, 4)
  const answer = await say(chat, 'So?')
  assert.ok(answer.cachedTokens > turn('user', 'Hi').length)
  chat.close()
})

test('where there is no answer, nothing was said', async () => {
  const chat = await model.chat()
  await say(chat, 'Hi')
  const before = chat.messages
  const tooLong = await failure(say(chat, 'x'.repeat(600)))
  assert.is(tooLong.code, 'CONTEXT_FULL')
  assert.is((await failure(say(chat, 'x', { signal: AbortSignal.abort(new Error('no')) }))).message, 'no')
  assert.is((await failure(say(chat, 'x', { temperature: -1 }))).code, 'BAD_OPTION')
  assert.is((await failure(say(chat, 7 as unknown as string))).code, 'BAD_OPTION')
  assert.equal(chat.messages, before)
  const answer = await say(chat, 'What?')
  assert.ok(answer.cachedTokens > 0)
  chat.close()
})

test('two answers at a time are refused', async () => {
  const chat = await model.chat()
  let heard = 0
  const onToken = () => heard++
  const first = say(chat, 'one', { onToken })
  assert.is((await failure(say(chat, 'two'))).code, 'BUSY')
  // At once, before there is anything that could be disturbed.
  assert.is(heard, 0)
  assert.throws(() => chat.reset(), /a generation under way/)
  await first
  assert.is(chat.messages.length, 2)
  chat.close()
})

test('reset() forgets what was said, but not the instructions', async () => {
  const chat = await model.chat({ system: 'S' })
  const one = await say(chat, 'Hi')
  chat.reset()
  assert.equal(chat.messages, [])
  assert.is(chat.conversation.tokens.length, 0)
  const again = await say(chat, 'Hi')
  assert.equal(again.tokens, one.tokens)
  chat.close()
})

test('a context that forgets lets a chat go on, each turn with what is new', async () => {
  for (const contextPolicy of ['window', 'shift'] as const) {
    const chat = await model.chat({ contextPolicy })
    let behind = 0
    for (let i = 0; i < 5; i++) {
      const { promptTokens, cachedTokens, tokens } = await say(chat, 'x'.repeat(120))
      const said = [...turn('user', 'x'.repeat(120)), ...close, ...turn('assistant', '')].length
      // The first finds the pages of earlier chats.
      if (i > 0) assert.is(promptTokens - cachedTokens, behind + said)
      // What ends an answer, and its last token, unless it is that.
      behind = tokens.at(-1) === end ? close.length : 1 + close.length
    }
    assert.ok(chat.conversation.dropped > 0)
    chat.close()
  }
})

test('a saved chat goes on, bit for bit', async () => {
  const path = join(temporary(), 'chat.gtas')
  const chat = await model.chat({ system: 'S' })
  await say(chat, 'Hi')
  await chat.save(path)
  const restored = await model.restoreChat(path)
  assert.equal(restored.messages, chat.messages)
  assert.is(restored.system, 'S')
  // Its answer was no text in part: that part, as text, is computed again.
  const next = [...restored.messages, { role: 'user' as const, content: 'What?' }]
  const { tokens } = await model.applyChatTemplate([{ role: 'system', content: 'S' }, ...next])
  const answer = await say(restored, 'What?')
  await expectAnswer(answer, tokens)
  assert.ok(answer.cachedTokens > turn('system', 'S').length)
  restored.close()
  const other = await model.restoreChat(path, { system: 'T' })
  assert.is(other.system, 'T')
  other.close()
  chat.close()
})

test('a chat with a template that was given goes on with it, or with another one', async () => {
  const path = join(temporary(), 'chat.gtas')
  const own = '{% for message in messages %}[{{ message.content }}]{% endfor %}'
  for (const template of ['llama3', own]) {
    const chat = await model.chat({ template })
    await say(chat, 'Hi')
    await chat.save(path)
    chat.close()
    const next = [...chat.messages, { role: 'user' as const, content: 'What?' }]
    for (const other of [undefined, 'llama2']) {
      const restored = await model.restoreChat(path, { template: other })
      assert.equal(restored.messages, chat.messages)
      const { tokens } = await model.applyChatTemplate(next, { template: other ?? template })
      await expectAnswer(await say(restored, 'What?'), tokens)
      restored.close()
    }
  }
})

test('a template of a session that does not work is BAD_TEMPLATE, and no conversation stays open', async () => {
  const path = join(temporary(), 'session.gtas')
  const conversation = model.open()
  await conversation.logits([1, 2, 3])
  for (const template of ['{% if %}', 'x'.repeat(250_001)]) {
    await conversation.save(path, { notes: { chat: { messages: [{ role: 'user', content: 'x' }], template } } })
    // One more would be refused if they stayed.
    for (let i = 0; i < (template === '{% if %}' ? 1 : 33); i++)
      assert.is((await failure(model.restoreChat(path))).code, 'BAD_TEMPLATE')
  }
  conversation.close()
})

test('a session without messages, or with others, is no chat', async () => {
  const path = join(temporary(), 'session.gtas')
  const message = { role: 'user', content: 'x' }
  const wrong = [
    undefined,
    null,
    7,
    {},
    { chat: { messages: [] } },
    { chat: { messages: 'x' } },
    { chat: { messages: [{ ...message, role: 'root' }] } },
    { chat: { messages: [message], system: 7 } },
    { chat: { messages: [message], template: 7 } },
    { chat: { messages: [message], template: '' } },
  ]
  const conversation = model.open()
  await conversation.logits([1, 2, 3])
  for (const notes of wrong) {
    await conversation.save(path, { notes })
    const error = await failure(model.restoreChat(path))
    assert.is(error.code, 'BAD_SESSION', JSON.stringify(notes))
    assert.match(error.message, 'what was said of')
  }
  conversation.close()
})

test('options are checked before anything is opened', async () => {
  const open = (options: object) => failure(model.chat(options))
  for (const options of [{ sytem: 'x' }, { system: 7 }, { template: 7 }, { keep: -1 }, { contextPolicy: 'x' }])
    assert.is((await open(options)).code, 'BAD_OPTION', JSON.stringify(options))
  assert.is((await open({ template: '{% if %}' })).code, 'BAD_TEMPLATE')
  assert.is((await failure(model.restoreChat('/nowhere'))).code, 'NOT_FOUND')
})

test.after(() => model.close())
test.run()
