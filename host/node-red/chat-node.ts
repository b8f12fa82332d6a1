/** The node that answers: a message in, the answer out, whole or part by part. */
import type { Answer, Told } from './answer.ts'
import { askedOf, type ChatConfig } from './asked.ts'
import { errors, NodeError } from './errors.ts'
import { type ModelNode, numberOf } from './model-node.ts'
import type { Message, Red, RedNode } from './red.ts'
import { NodeStatus } from './status.ts'

/** Milliseconds that a timer takes at most. */
const LONGEST = 2 ** 31 - 1

type Send = (message: Message) => void

export function registerChatNode(RED: Red): void {
  function open(this: RedNode, config: ChatConfig): void {
    RED.nodes.createNode(this, config)
    const model = RED.nodes.getNode(config.model) as ModelNode | null
    const status = new NodeStatus(this, RED)
    const running = new Set<AbortController>()
    const ended = new Set<Promise<void>>()
    const abort = (reason: NodeError) => {
      for (const one of running) one.abort(reason)
    }
    this.on('input', (message, send, done) => {
      if ('abort' in message || 'reset' in message) {
        abort(errors.aborted())
        done()
        return
      }
      const aborted = new AbortController()
      running.add(aborted)
      const answering = new Answering(RED, config, status, message, send)
      const end = answering.run(model, aborted.signal).then(
        () => done(),
        (error) => done(answering.fail(error)),
      )
      ended.add(end)
      end.finally(() => {
        running.delete(aborted)
        ended.delete(end)
      })
    })
    this.on('close', (done) => {
      abort(errors.closed())
      Promise.all(ended).then(() => {
        status.clear()
        done()
      })
    })
  }
  RED.nodes.registerType('gta-chat', open)
}

/** One message, from its place in the queue to its answer. */
class Answering {
  private readonly RED: Red
  private readonly config: ChatConfig
  private readonly status: NodeStatus
  private readonly message: Message
  private readonly send: Send
  private readonly partsId: string
  private parts = 0
  private tokens = 0
  /** When the first token came. */
  private from = 0

  constructor(RED: Red, config: ChatConfig, status: NodeStatus, message: Message, send: Send) {
    this.RED = RED
    this.config = config
    this.status = status
    this.message = message
    this.send = send
    this.partsId = RED.util.generateId()
  }

  /** Throws NodeError. */
  async run(model: ModelNode | null, aborted: AbortSignal): Promise<void> {
    if (!model) throw errors.noModel()
    const asked = askedOf(this.config, this.message)
    const seconds = numberOf('the timeout', this.config.timeout)
    const timeout = new AbortController()
    const timer = seconds && setTimeout(() => timeout.abort(errors.timeout(seconds)), Math.min(seconds * 1000, LONGEST))
    const signal = AbortSignal.any([aborted, timeout.signal])
    try {
      const giveBack = await model.turns.take(signal, (place) => this.status.show('queued', { place }))
      try {
        const answer = await this.read(model.answerer.ask(asked, signal), signal)
        this.finish(answer, asked.schema !== undefined)
      } finally {
        giveBack()
      }
    } finally {
      clearTimeout(timer)
    }
  }

  /** Tells how far it is, and sends the parts. */
  private async read(told: AsyncGenerator<Told, Answer>, signal: AbortSignal): Promise<Answer> {
    this.status.show('asking')
    try {
      for (;;) {
        const { done, value } = await told.next()
        // What comes after an abort is nobody's.
        signal.throwIfAborted()
        if (done) return value
        this.follow(value)
      }
    } catch (error) {
      throw signal.aborted ? signal.reason : error
    } finally {
      await told.return(undefined as never)
    }
  }

  private follow(told: Told): void {
    if (told.type === 'reading') {
      this.status.follow('reading', { done: told.done, total: told.total })
      return
    }
    if (this.tokens === 0) this.from = performance.now()
    else this.status.follow('writing', { speed: ((1000 * this.tokens) / (performance.now() - this.from)).toFixed(1) })
    this.tokens += told.tokens
    if (this.config.stream && told.text !== '') this.sendPart(told.text, {})
  }

  /** Throws incomplete. */
  private finish({ message, finish, usage }: Answer, isJson: boolean): void {
    const { content } = message
    if (isJson && finish === 'length') throw errors.cutShort(finish)
    const value = isJson && finish === 'stop' ? parse(content) : undefined
    const told = { message, finish_reason: finish, usage }
    if (this.config.stream) this.sendPart('', { ...told, ...(value === undefined ? {} : { value }), complete: true })
    else this.send(Object.assign(this.message, told, { payload: value === undefined ? content : value }))
    this.status.show('done', { tokens: usage?.completion_tokens ?? this.tokens })
  }

  /** As Node-RED's split node does: its join node makes one message of them again. */
  private sendPart(payload: string, more: object): void {
    const outer = this.message.parts === undefined ? {} : { parts: this.message.parts }
    const count = 'complete' in more ? { count: this.parts + 1 } : {}
    const parts = { ...outer, id: this.partsId, type: 'string', ch: '', index: this.parts++, ...count }
    this.send(Object.assign(this.RED.util.cloneMessage(this.message), { payload, parts }, more))
  }

  /** For done(): a catch node gets the sentence and the code, and the status as `msg.statusCode`, as HTTP response wants it. */
  fail(error: unknown): Error {
    const told =
      error instanceof NodeError ? error : new NodeError(500, 'internal_error', String(error), { cause: error })
    this.message.statusCode = told.status
    this.status.show(told.code === 'aborted' ? 'aborted' : 'error', { message: told.message })
    return told
  }
}

/** Of servers that do not hold answers to schemas, too. */
function parse(content: string): unknown {
  try {
    return JSON.parse(content)
  } catch (cause) {
    throw errors.notJson(cause)
  }
}
