/**
 * The page: a chat with one of the server's models. It uses the API as any client would, and whatever a model writes is shown
 * as text only. A model without a chat template continues the text instead.
 */
import { readEvents } from './events.ts'

interface Message {
  role: 'user' | 'assistant'
  content: string
}

interface Delta {
  content?: string
  reasoning_content?: string
}

interface Chunk {
  choices?: { delta?: Delta; text?: string; finish_reason?: string | null }[]
  timings?: { predicted_n: number; predicted_per_second: number; prompt_n: number }
  error?: { message?: string }
}

interface ListedModel {
  id: string
  context_length?: number
}

/** An answer of the API that is none: its status, and what it says. */
class Refusal extends Error {
  readonly status: number
  readonly code: string
  constructor(status: number, message: string, code: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

const place = <T extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as T
const talk = place('talk')
const status = place('status')
const problem = place('problem')
const models = place<HTMLSelectElement>('model')
const message = place<HTMLTextAreaElement>('message')
const entry = place<HTMLFormElement>('entry')
const buttons = {
  send: place<HTMLButtonElement>('send'),
  stop: place<HTMLButtonElement>('stop'),
  again: place<HTMLButtonElement>('again'),
}

/** Of this tab only. */
const KEY = 'gta-edge-key'
/** Milliseconds until a server that loads its model is asked again. */
const PATIENCE = 1000

let messages: Message[] = []
/** Models that have no chat template: what is said to them is continued. */
const plain = new Set<string>()
let running: AbortController | undefined

talk.dataset.hint = 'What is said stays on this server.'
place('ask').addEventListener('submit', (event) => {
  event.preventDefault()
  send()
})
message.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
  event.preventDefault()
  send()
})
addEventListener('keydown', (event) => {
  if (event.key === 'Escape') running?.abort()
})
buttons.stop.addEventListener('click', () => running?.abort())
buttons.again.addEventListener('click', () => answerAgain())
place('new').addEventListener('click', () => {
  running?.abort()
  messages = []
  talk.replaceChildren()
  complain('')
  showState()
  message.focus()
})
models.addEventListener('change', showState)
entry.addEventListener('submit', (event) => {
  event.preventDefault()
  sessionStorage.setItem(KEY, place<HTMLInputElement>('key').value.trim())
  entry.hidden = true
  start()
})
start()

function headers(): Record<string, string> {
  const key = sessionStorage.getItem(KEY)
  return { 'content-type': 'application/json', ...(key ? { authorization: `Bearer ${key}` } : {}) }
}

async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(path, { ...init, headers: headers() })
  if (response.ok) return response
  const body = (await response.json().catch(() => ({}))) as { error?: { message?: string; code?: string } }
  throw new Refusal(
    response.status,
    body.error?.message ?? `the server answered ${response.status}`,
    body.error?.code ?? '',
  )
}

async function start(): Promise<void> {
  complain('')
  status.textContent = 'Looking for models …'
  try {
    const { data } = (await (await ask('/v1/models')).json()) as { data: ListedModel[] }
    models.replaceChildren(
      ...data.map(({ id, context_length }) => new Option(context_length ? `${id} (${context_length} tokens)` : id, id)),
    )
    models.disabled = data.length < 2
    status.textContent = ''
    document.documentElement.dataset.ready = 'yes'
    message.focus()
  } catch (error) {
    status.textContent = ''
    fail(error)
  }
  showState()
}

function send(): void {
  const content = message.value.trim()
  if (content === '' || running || models.value === '') return
  messages.push({ role: 'user', content })
  show('user', content)
  message.value = ''
  answer()
}

function answerAgain(): void {
  if (running) return
  if (messages.at(-1)?.role === 'assistant') messages.pop()
  talk.querySelector('.said:last-child.assistant')?.remove()
  if (messages.length > 0) answer()
}

/** Asks for the answer to what was said so far, and shows it as it comes. */
async function answer(): Promise<void> {
  complain('')
  running = new AbortController()
  showState()
  const shown = show('assistant', '')
  shown.said.setAttribute('aria-busy', 'true')
  let content = ''
  try {
    const response = await request(running.signal)
    for await (const item of readEvents(response.body as ReadableStream<Uint8Array>)) {
      if ('comment' in item) {
        showPrefill(item.comment)
        continue
      }
      if (item.data === '[DONE]') break
      const chunk = JSON.parse(item.data) as Chunk
      if (chunk.error) throw new Error(chunk.error.message)
      const [choice] = chunk.choices ?? []
      const piece = choice?.delta?.content ?? choice?.text ?? ''
      if (choice?.delta?.reasoning_content) shown.think(choice.delta.reasoning_content)
      if (piece !== '' || choice?.delta?.reasoning_content) status.textContent = ''
      content += piece
      shown.text.textContent = content
      if (choice?.finish_reason === 'length') shown.tell('cut at its length')
      if (chunk.timings) shown.tell(speedOf(chunk.timings))
      keepInSight()
    }
  } catch (error) {
    if (running.signal.aborted) shown.tell('stopped')
    else fail(error)
  }
  status.textContent = ''
  shown.said.removeAttribute('aria-busy')
  if (content === '') shown.said.remove()
  else {
    messages.push({ role: 'assistant', content })
    shown.offerCopy(() => content)
  }
  running = undefined
  showState()
  message.focus()
}

async function request(signal: AbortSignal): Promise<Response> {
  const model = models.value
  const temperature = place<HTMLInputElement>('temperature').value
  const shared = {
    ...{ model, stream: true, stream_options: { include_usage: true } },
    max_tokens: Number(place<HTMLInputElement>('length').value) || 512,
    ...(temperature === '' ? {} : { temperature: Number(temperature) }),
  }
  const system = place<HTMLTextAreaElement>('system').value.trim()
  const post = (path: string, body: object) =>
    askWhenLoaded(path, { method: 'POST', signal, body: JSON.stringify({ ...shared, ...body }) }, signal)
  const text = () => post('/v1/completions', { prompt: messages.map(({ content }) => content).join('') })
  if (plain.has(model)) return await text()
  try {
    const before = system === '' ? [] : [{ role: 'system', content: system }]
    return await post('/v1/chat/completions', { messages: [...before, ...messages] })
  } catch (error) {
    if (!(error instanceof Refusal) || !error.code.includes('template')) throw error
    plain.add(model)
    return await text()
  }
}

/** A server that is still loading says so: it is asked again. One that is full is the user's to ask again. */
async function askWhenLoaded(path: string, init: RequestInit, signal: AbortSignal): Promise<Response> {
  for (;;) {
    try {
      return await ask(path, init)
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 503 || !/load/i.test(error.message)) throw error
      status.textContent = 'The model is being loaded …'
      await new Promise((resolve) => setTimeout(resolve, PATIENCE))
      signal.throwIfAborted()
    }
  }
}

function showPrefill(comment: string): void {
  const [, done, total] = /(\d+)\/(\d+)/.exec(comment) ?? []
  if (total !== undefined) status.textContent = `Reading: ${done} of ${total} tokens`
}

function speedOf({ predicted_n, predicted_per_second, prompt_n }: NonNullable<Chunk['timings']>): string {
  return `${predicted_n} tokens, ${predicted_per_second.toFixed(1)} tokens/s, ${prompt_n} read`
}

/** Puts something that was said at the end of the page; returns what changes while it is written. */
function show(role: Message['role'], content: string) {
  const said = document.createElement('article')
  said.className = `said ${role}`
  const title = document.createElement('h2')
  title.textContent = role === 'user' ? 'You' : models.value
  const text = document.createElement('div')
  text.className = 'text'
  text.textContent = content
  const facts = document.createElement('div')
  facts.className = 'facts'
  said.append(title, text, facts)
  talk.append(said)
  keepInSight(true)
  let thoughts: HTMLElement | undefined
  return {
    said,
    text,
    tell(fact: string) {
      const part = document.createElement('span')
      part.textContent = fact
      facts.append(part)
    },
    think(piece: string) {
      if (!thoughts) {
        const details = document.createElement('details')
        const summary = document.createElement('summary')
        summary.textContent = 'Thoughts'
        thoughts = document.createElement('div')
        thoughts.className = 'text'
        details.append(summary, thoughts)
        said.insertBefore(details, text)
      }
      thoughts.textContent += piece
    },
    offerCopy(read: () => string) {
      const copy = document.createElement('button')
      copy.type = 'button'
      copy.textContent = 'Copy'
      copy.addEventListener('click', async () => {
        // Only pages of this machine, and those by https, may write to the clipboard.
        const isDone = await navigator.clipboard?.writeText(read()).then(
          () => true,
          () => false,
        )
        copy.textContent = isDone ? 'Copied' : 'Select the text to copy it'
      })
      facts.append(copy)
    },
  }
}

/** Follows the text unless somebody reads further up. */
function keepInSight(isForced = false): void {
  const main = talk.parentElement as HTMLElement
  const distance = main.scrollHeight - main.scrollTop - main.clientHeight
  if (isForced || distance < 120) main.scrollTop = main.scrollHeight
}

function fail(error: unknown): void {
  if (error instanceof Refusal && error.status === 401) {
    entry.hidden = false
    complain(sessionStorage.getItem(KEY) === null ? '' : 'This key is not one of the server.')
    place('key').focus()
    return
  }
  complain(error instanceof TypeError ? 'The server cannot be reached: is it still running?' : (error as Error).message)
}

function complain(text: string): void {
  problem.textContent = text
  problem.hidden = text === ''
}

function showState(): void {
  const isBusy = running !== undefined
  buttons.send.disabled = isBusy || models.value === '' || models.value === '…'
  buttons.stop.disabled = !isBusy
  buttons.again.disabled = isBusy || messages.length === 0
  place('label').textContent = plain.has(models.value) ? 'A text that the model continues' : 'Your message'
}
