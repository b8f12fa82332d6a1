/** The page's side of the messages to its worker: numbered requests; whatever ends the worker fails all that wait. */
import { errors } from '../errors.ts'
import type { Progress } from '../runtime/api.ts'
import { fetchErrors } from './errors.ts'
import { type Answer, type Message, type Methods, receiveError } from './protocol.ts'

interface Question {
  resolve(result: unknown): void
  reject(error: Error): void
  onProgress: ((progress: Progress) => void) | undefined
}

export class Connection {
  private readonly worker: Worker
  private readonly questions = new Map<number, Question>()
  private last = 0
  private failure: Error | undefined

  /** `url`: of its script, for the message where there is none. */
  constructor(worker: Worker, url: string) {
    this.worker = worker
    worker.onmessage = ({ data }: MessageEvent<Answer>) => this.receive(data)
    worker.onerror = ({ message }) => this.end(message ? errors.engineFailed(message) : fetchErrors.noWorker(url))
  }

  async ask<M extends keyof Methods>(
    method: M,
    args: Parameters<Methods[M]>,
    onProgress?: (progress: Progress) => void,
  ): Promise<ReturnType<Methods[M]>> {
    if (this.failure) throw this.failure
    const id = ++this.last
    const result = new Promise((resolve, reject) => this.questions.set(id, { resolve, reject, onProgress }))
    this.send({ id, method, args })
    return (await result) as ReturnType<Methods[M]>
  }

  send(message: Message): void {
    if (!this.failure) this.worker.postMessage(message)
  }

  /** The worker and all that it has is gone; what waits fails with the error, and so does what comes later. */
  end(error: Error): void {
    this.failure ??= error
    this.worker.terminate()
    for (const { reject } of this.questions.values()) reject(this.failure)
    this.questions.clear()
  }

  private receive(answer: Answer): void {
    const question = this.questions.get(answer.id)
    if (!('progress' in answer)) this.questions.delete(answer.id)
    if ('progress' in answer) question?.onProgress?.(answer.progress)
    else if ('error' in answer) question?.reject(receiveError(answer.error))
    else question?.resolve(answer.result)
  }
}
