/** Nodes for Node-RED, which calls this as it starts. */
import { registerChatNode } from './chat-node.ts'
import { registerModelNode } from './model-node.ts'
import type { Red } from './red.ts'

export default function register(RED: Red): void {
  registerModelNode(RED)
  registerChatNode(RED)
}
