/** The configuration node: where the model is. Nodes that share it share the model, and take turns at it. */
import type { Answerer } from './answer.ts'
import { errors } from './errors.ts'
import { OwnModel } from './own-model.ts'
import type { Red, RedNode } from './red.ts'
import { ServerModel } from './server-model.ts'
import { Turns } from './turns.ts'

/** As the editor saves it: numbers are texts, and what is not given is empty. */
interface ModelConfig {
  where: 'server' | 'process'
  url?: string
  model?: string
  path?: string
  template?: string
  context?: string | number
  memory?: string
  atATime?: string | number
}

export interface ModelNode extends RedNode {
  answerer: Answerer
  turns: Turns
}

/** A number of the editor; undefined for none. */
export function numberOf(what: string, value: unknown): number | undefined {
  if (value === undefined || value === null || value === '') return undefined
  const number = typeof value === 'string' ? Number(value) : value
  if (typeof number !== 'number' || Number.isNaN(number)) throw errors.badValue(what, 'a number', JSON.stringify(value))
  return number
}

export const textOf = (value: string | undefined) => (value === undefined || value.trim() === '' ? undefined : value)

export function registerModelNode(RED: Red): void {
  function open(this: RedNode, config: ModelConfig): void {
    RED.nodes.createNode(this, config)
    const node = Object.assign(this, {
      turns: new Turns(Math.max(1, Math.floor(numberOf('messages at a time', config.atATime) ?? 1))),
      answerer: answererOf(config, this.credentials?.key),
    })
    node.on('close', (done) => {
      node.answerer.close().then(done, done)
    })
  }

  function answererOf(config: ModelConfig, key: string | undefined): Answerer {
    if (config.where === 'server')
      return new ServerModel(textOf(config.url) ?? 'http://127.0.0.1:8080', textOf(key), textOf(config.model))
    return new OwnModel({
      path: textOf(config.path),
      template: textOf(config.template),
      context: numberOf('the context', config.context),
      memory: textOf(config.memory),
      userDir: RED.settings.userDir,
    })
  }

  RED.nodes.registerType('gta-model', open, { credentials: { key: { type: 'password' } } })
}
