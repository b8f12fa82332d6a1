/** What the parser of @huggingface/jinja makes of a template; its package does not export these types. */
import { parse } from '@huggingface/jinja'
import type { Token } from './lexer.ts'
import { TemplateError } from './values.ts'

export type Node =
  | { type: 'Comment'; value: string }
  | { type: 'If'; test: Node; body: Node[]; alternate: Node[] }
  | { type: 'For'; loopvar: Node; iterable: Node; body: Node[]; defaultBlock: Node[] }
  | { type: 'Break' }
  | { type: 'Continue' }
  | { type: 'Set'; assignee: Node; value: Node | null; body: Node[] }
  | { type: 'Macro'; name: Identifier; args: Parameter[]; body: Node[] }
  | { type: 'CallStatement'; call: CallNode; callerArgs: Parameter[] | null; body: Node[] }
  | { type: 'FilterStatement'; filter: Node; body: Node[] }
  | { type: 'MemberExpression'; object: Node; property: Node; computed: boolean }
  | CallNode
  | Identifier
  | { type: 'IntegerLiteral' | 'FloatLiteral'; value: number }
  | { type: 'StringLiteral'; value: string }
  | { type: 'ArrayLiteral' | 'TupleLiteral'; value: Node[] }
  | { type: 'ObjectLiteral'; value: Map<Node, Node> }
  | { type: 'BinaryExpression'; operator: { value: string }; left: Node; right: Node }
  | { type: 'UnaryExpression'; operator: { value: string }; argument: Node }
  | { type: 'FilterExpression'; operand: Node; filter: Node }
  | { type: 'SelectExpression'; lhs: Node; test: Node }
  | { type: 'Ternary'; condition: Node; trueExpr: Node; falseExpr: Node }
  | { type: 'SliceExpression'; start?: Node; stop?: Node; step?: Node }
  | KeywordArgument
  | { type: 'SpreadExpression' | 'KeywordSpreadExpression'; argument: Node }

export interface Identifier {
  type: 'Identifier'
  value: string
}

export interface CallNode {
  type: 'CallExpression'
  callee: Node
  args: Node[]
}

export interface KeywordArgument {
  type: 'KeywordArgumentExpression'
  key: Identifier
  value: Node
}

export type Parameter = Identifier | KeywordArgument

/** Parses a template. Throws TemplateError; the parser says no place, but how far it has looked is one. */
export function parseTokens(tokens: Token[]): Node[] {
  let furthest = 0
  const watched = new Proxy(tokens, {
    get(target, key) {
      if (typeof key === 'string' && Number(key) > furthest) furthest = Number(key)
      return Reflect.get(target, key)
    },
  })
  try {
    return parse(watched as unknown as Parameters<typeof parse>[0]).body as unknown as Node[]
  } catch (error) {
    if (error instanceof RangeError) throw error
    const token = tokens[furthest]
    if (!token) throw new TemplateError(`no end of what is begun before line ${tokens.at(-1)?.line}`)
    throw new TemplateError(`${JSON.stringify(token.value)} where it is not understood in line ${token.line}`)
  }
}

/** Whether a name is used anywhere in a macro, which is then one that takes a caller or any arguments. */
export function mentions(node: unknown, name: string): boolean {
  if (node instanceof Map) return mentions([...node], name)
  if (node === null || typeof node !== 'object') return false
  const { type, value } = node as { type?: unknown; value?: unknown }
  return (type === 'Identifier' && value === name) || Object.values(node).some((child) => mentions(child, name))
}
