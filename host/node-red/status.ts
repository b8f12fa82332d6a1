/** What stands below a node in the editor. */
import type { Red, RedNode, Status } from './red.ts'

/** Milliseconds between two texts on how far a message is: each goes to every editor that is open. */
const PAUSE = 250

const looks = {
  queued: { fill: 'grey', shape: 'ring' },
  asking: { fill: 'yellow', shape: 'ring' },
  reading: { fill: 'yellow', shape: 'ring' },
  writing: { fill: 'blue', shape: 'dot' },
  done: { fill: 'green', shape: 'dot' },
  aborted: { fill: 'grey', shape: 'dot' },
  error: { fill: 'red', shape: 'ring' },
} as const satisfies Record<string, Status>

export class NodeStatus {
  private readonly node: RedNode
  private readonly RED: Red
  private last = 0

  constructor(node: RedNode, RED: Red) {
    this.node = node
    this.RED = RED
  }

  show(state: keyof typeof looks, values: Record<string, string | number> = {}): void {
    this.node.status({ ...looks[state], text: this.RED._(`status.${state}`, values) })
  }

  /** The same for what changes all the time. */
  follow(state: 'reading' | 'writing', values: Record<string, string | number>): void {
    if (performance.now() - this.last < PAUSE) return
    this.last = performance.now()
    this.show(state, values)
  }

  clear(): void {
    this.node.status({})
  }
}
