/** The page: loads the model, streams a story into the page, tells how fast. It uses the library as any app would. */
import { type Conversation, GtaError, type LoadOptions, load, type Model } from '../browser/index.ts'

const place = <T extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as T
const form = place<HTMLFormElement>('tell')
const prompt = place<HTMLTextAreaElement>('prompt')
const story = place('story')
const loading = place('loading')
const problem = document.querySelector('.problem') as HTMLElement
const go = place<HTMLButtonElement>('go')
const stop = place<HTMLButtonElement>('stop')
const fresh = place<HTMLButtonElement>('new')
const field = (name: string) => form.elements.namedItem(name) as HTMLInputElement

const DEFAULT_PROMPT = 'Once upon a time'

let model: Model | undefined
let conversation: Conversation | undefined
/** The story has come to its end: what follows is another one. */
let isEnded = false
/** Under way: the load, or a generation. */
let running: AbortController | undefined

form.addEventListener('submit', (event) => {
  event.preventDefault()
  tell()
})
prompt.addEventListener('keydown', (event) => {
  // Enter alone: a prompt is a sentence. With shift it is a new line.
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
  event.preventDefault()
  tell()
})
addEventListener('keydown', (event) => {
  if (event.key === 'Escape') running?.abort()
})
stop.addEventListener('click', () => running?.abort())
fresh.addEventListener('click', begin)
place('again').addEventListener('click', start)
const examples = document.querySelectorAll<HTMLButtonElement>('.examples button')
for (const example of examples)
  example.addEventListener('click', async () => {
    await begin()
    prompt.value = example.textContent ?? ''
    tell()
  })
field('gpu').addEventListener('change', changeEngine)
form.addEventListener('input', showSettings)
field('temperature').addEventListener('input', showSettings)
field('length').addEventListener('input', showSettings)
showSettings()
start()

function showSettings(): void {
  place('degrees').textContent = Number(field('temperature').value).toFixed(2)
  place('most').textContent = `${field('length').value} tokens`
}

async function start(): Promise<void> {
  problem.hidden = true
  loading.hidden = false
  running = new AbortController()
  showNothing()
  showState()
  try {
    model = await load('/stories.gta', {
      signal: running.signal,
      onProgress: showProgress,
      ...askedThreads(),
      ...askedGpu(),
    })
    showModel(model)
    document.documentElement.dataset.ready = 'yes'
  } catch (error) {
    complain(error, true)
    // Without it, "Load again" does.
    field('gpu').checked = false
  }
  running = undefined
  loading.hidden = true
  showState()
}

/** ?threads=1 in the address, to compare. */
function askedThreads(): Pick<LoadOptions, 'threads'> {
  const threads = Number(new URLSearchParams(location.search).get('threads'))
  return threads > 0 ? { threads } : {}
}

/** ?gpu=force in the address: also one that the CPU computes, for tests. */
function askedGpu(): Pick<LoadOptions, 'gpu' | 'gpuForce'> {
  if (!field('gpu').checked) return {}
  return { gpu: 'on', gpuForce: new URLSearchParams(location.search).get('gpu') === 'force' }
}

/** Another engine: the model is loaded again, and the story is forgotten. */
async function changeEngine(): Promise<void> {
  delete document.documentElement.dataset.ready
  await begin()
  const before = model
  model = undefined
  await before?.close()
  await start()
}

function showProgress({ done, total }: { done: number; total: number }): void {
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1)
  const isGpu = field('gpu').checked
  const starting = isGpu ? 'Starting the engine on the GPU …' : 'Starting the engine, trying thread counts …'
  showLoading(done < total ? `Loading ${megabytes(done)} of ${megabytes(total)} MB` : starting, done / total)
}

/** `part`: of 1. */
function showLoading(what: string, part: number): void {
  ;(loading.querySelector('p') as HTMLElement).textContent = what
  ;(loading.querySelector('progress') as HTMLProgressElement).value = part
}

/** What is told of an engine is not that of the next one, which compiles before it reads. */
function showNothing(): void {
  for (const id of ['speed', 'tokens', 'first', 'memory', 'weights', 'engine', 'threads']) place(id).textContent = '–'
  place('why').textContent = ''
  showLoading(field('gpu').checked ? 'Asking for a GPU, compiling shaders …' : 'Starting …', 0)
}

function showModel({ engine, spec, weightType, bytesPerToken }: Model): void {
  place('memory').textContent = `${(engine.memoryBytes / 1e6).toFixed(1)} MB`
  place('weights').textContent = `${weightType}, ${(bytesPerToken / 1e6).toFixed(1)} MB/token`
  place('engine').textContent = engine.build.replace(' single', '').replace('-simd', ' SIMD')
  const { decode, prefill } = engine.threads
  place('threads').textContent = decode === prefill ? `${decode}` : `${decode}, prompt ${prefill}`
  const why = place('why')
  const isGpu = engine.name.startsWith('webgpu')
  if (isGpu) place('threads').textContent = '–'
  why.classList.toggle('single', !isGpu && engine.singleBecause !== undefined)
  why.textContent = isGpu
    ? `Everything is computed on the GPU, by the same weights. ${spec.order.length} layers, ${spec.kind.toUpperCase()} attention.`
    : engine.singleBecause
      ? `One thread, because ${engine.singleBecause}.`
      : `The page is isolated: a team of web workers may share memory, and how many of them are fastest was measured. ${spec.order.length} layers, ${spec.kind.toUpperCase()} attention.`
}

/** Forgets the story. */
async function begin(): Promise<void> {
  running?.abort()
  while (running) await new Promise((resolve) => setTimeout(resolve))
  conversation?.close().catch(() => undefined)
  conversation = undefined
  isEnded = false
  story.textContent = ''
  showState()
  prompt.focus()
}

async function tell(): Promise<void> {
  if (!model || running) return
  const isBegun = conversation !== undefined
  const typed = prompt.value.trim()
  const words = typed || (isBegun ? undefined : DEFAULT_PROMPT)
  const controller = new AbortController()
  running = controller
  problem.hidden = true
  // Words go on in the line; a text that is begun anew has none to go on with.
  const told = words && (isBegun && !isEnded ? ` ${words}` : words)
  if (told) append(told, 'told')
  prompt.value = ''
  story.ariaBusy = 'true'
  if (!isBegun && field('fresh').checked)
    field('seed').value = String((crypto.getRandomValues(new Uint32Array(1))[0] as number) % 1_000_000)
  showState()
  try {
    conversation ??= await model.open({ contextPolicy: 'shift' })
    isEnded = (await stream(conversation, told, controller.signal)) === 'eos'
    if (isEnded) append('· · ·', 'end')
  } catch (error) {
    if (!controller.signal.aborted)
      complain(error, error instanceof GtaError && ['ENGINE_FAILED', 'GPU_LOST'].includes(error.code))
  }
  story.ariaBusy = 'false'
  running = undefined
  showState()
}

async function stream(told: Conversation, words: string | undefined, signal: AbortSignal): Promise<string> {
  const asked = performance.now()
  let first = 0
  let count = 0
  const onToken = () => {
    count++
    const now = performance.now()
    if (count === 1) {
      first = now
      place('first').textContent = `${(first - asked).toFixed(0)} ms`
    } else place('speed').textContent = String(Math.round(((count - 1) * 1000) / (now - first)))
    place('tokens').textContent = String(count)
  }
  const generation = told.generate(words, {
    temperature: Number(field('temperature').value),
    seed: Number(field('seed').value) || 0,
    maxTokens: Number(field('length').value),
    stopAtEos: true,
    signal,
    onToken,
  })
  for (;;) {
    const { done, value } = await generation.next()
    if (done) return value.finish
    append(value, '')
  }
}

/** Adds text to the story, to its last part if that is of the same kind. */
function append(text: string, kind: string): void {
  const last = story.lastElementChild
  const part = last?.className === kind ? last : story.appendChild(document.createElement('span'))
  part.className = kind
  part.append(text)
  part.normalize()
  const bottom = story.getBoundingClientRect().bottom
  if (bottom > innerHeight) scrollBy(0, Math.min(bottom - innerHeight + 40, 60))
}

/** The library's sentences name options; a page has a switch. */
function sentenceOf(error: Error): string {
  if (!(error instanceof GtaError && error.code === 'NO_GPU'))
    return `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`
  const [, found = error.message] = /found (.*?)(?:: load without gpu.*)?$/s.exec(error.message) ?? []
  return `There is no GPU to use, found ${found}. Load again to go on on the CPU.`
}

function complain(error: unknown, isLost: boolean): void {
  ;(problem.querySelector('p') as HTMLElement).textContent =
    running?.signal.aborted && isLost ? 'Loading was stopped.' : sentenceOf(error as Error)
  // Trying again does not help a browser that lacks a feature.
  place('again').hidden = !isLost || (error instanceof GtaError && error.code === 'NO_BUILD')
  problem.hidden = false
}

function showState(): void {
  const isTelling = running !== undefined && model !== undefined
  const isBegun = conversation !== undefined
  go.disabled = !model || isTelling
  ;(go.firstChild as Text).data = isBegun ? 'Go on' : 'Tell'
  stop.disabled = running === undefined
  for (const example of examples) example.disabled = !model
  fresh.disabled = !isBegun
  prompt.placeholder = isBegun ? '…' : DEFAULT_PROMPT
  ;(document.querySelector('label[for=prompt]') as HTMLElement).textContent = isBegun
    ? 'How does it go on? (Leave it empty, and the story knows.)'
    : 'How does it begin?'
}
