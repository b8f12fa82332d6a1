/** As much of Node-RED as these nodes use; its own types are no part of it. */

export interface Message {
  _msgid?: string
  payload?: unknown
  parts?: object
  [property: string]: unknown
}

export interface Status {
  fill?: 'red' | 'green' | 'yellow' | 'blue' | 'grey'
  shape?: 'ring' | 'dot'
  text?: string
}

export interface RedNode {
  id: string
  credentials?: Record<string, string | undefined>
  status(status: Status): void
  on(event: 'input', run: (message: Message, send: (message: Message) => void, done: (error?: Error) => void) => void): void // biome-ignore format: one line
  on(event: 'close', run: (done: () => void) => void): void
}

/** What Node-RED gives to a package as it loads it. */
export interface Red {
  settings: { userDir?: string }
  nodes: {
    createNode(node: RedNode, config: object): void
    getNode(id: string): RedNode | null
    registerType<C>(
      name: string,
      make: (this: RedNode, config: C) => void,
      options?: { credentials?: Record<string, { type: 'text' | 'password' }> },
    ): void
  }
  util: { cloneMessage(message: Message): Message; generateId(): string }
  /** A text of locales/, in the language of the server. */
  _(key: string, values?: Record<string, string | number>): string
}
