/**
 * Runs what the parser of @huggingface/jinja makes of a template, as Jinja runs it for transformers: in an immutable sandbox
 * that breaks loops and drops line feeds behind statements. That package's own interpreter loses what an iteration has
 * written before `continue`, and has JavaScript's texts, numbers and truth in many places. What is not understood here
 * is refused by name; nothing is left to be rendered otherwise.
 */
import { attributeOf, itemAt, sliceOf } from './attributes.ts'
import { applyFilter, applyTest } from './filters.ts'
import { globals, Scope } from './globals.ts'
import type { Token } from './lexer.ts'
import { operate } from './numbers.ts'
import { type CallNode, mentions, type Node, type Parameter, parseTokens } from './parser.ts'
import {
  type Call,
  isText,
  isTrue,
  isWhole,
  itemsOf,
  keyOf,
  Loop,
  type Named,
  Namespace,
  refuse,
  TemplateError,
  Tuple,
  textOf,
  typeOf,
  Undefined,
  type Value,
} from './values.ts'

/** How a block was left. */
type Exit = 'Break' | 'Continue' | undefined

/** The text of a template. Throws TemplateError, with the line. */
export function renderTokens(tokens: Token[], variables: Record<string, Value>): string {
  return new Interpreter().run(parseTokens(tokens), new Map(Object.entries(variables)))
}

class Interpreter {
  private line = 1

  run(body: Node[], variables: Named): string {
    const out: string[] = []
    try {
      if (this.block(body, new Scope(variables, new Scope(globals)), out))
        refuse('"break" or "continue" without a loop')
    } catch (error) {
      if (error instanceof TemplateError) error.message += ` in line ${this.line}`
      throw error
    }
    return out.join('')
  }

  /** Runs statements; what they write stays written however they are left. */
  private block(nodes: Node[], scope: Scope, out: string[]): Exit {
    for (const node of nodes) {
      const exit = this.statement(node, scope, out)
      if (exit) return exit
    }
    return undefined
  }

  private statement(node: Node, scope: Scope, out: string[]): Exit {
    switch (node.type) {
      case 'Comment':
        this.line = Number(node.value)
        return undefined
      case 'If':
        return this.block(isTrue(this.value(node.test, scope)) ? node.body : node.alternate, scope, out)
      case 'For':
        return this.loop(node, scope, out)
      case 'Break':
      case 'Continue':
        return node.type
      case 'Set': {
        const inner: string[] = []
        const exit = node.value ? undefined : this.block(node.body, scope.inner(), inner)
        // Left by a control, a block is not set, and its text is dropped.
        if (exit) return exit
        this.assign(node.assignee, node.value ? this.value(node.value, scope) : inner.join(''), scope)
        return undefined
      }
      case 'Macro':
        scope.set(node.name.value, this.macro(node.name.value, node.args, node.body, scope))
        return undefined
      case 'CallStatement':
        out.push(textOf(this.callBlock(node.call, node.callerArgs ?? [], node.body, scope)))
        return undefined
      case 'FilterStatement': {
        const inner: string[] = []
        const exit = this.block(node.body, scope.inner(), inner)
        if (!exit) out.push(textOf(this.filter(node.filter, inner.join(''), scope)))
        return exit
      }
    }
    out.push(textOf(this.value(node, scope)))
    return undefined
  }

  private loop(node: Extract<Node, { type: 'For' }>, scope: Scope, out: string[]): Exit {
    const { iterable } = node
    const filter = iterable.type === 'SelectExpression' ? iterable : undefined
    let items = itemsOf(this.value(filter ? filter.lhs : iterable, scope))
    if (filter)
      items = items.filter((item) => {
        const inner = scope.inner()
        this.assign(node.loopvar, item, inner)
        return isTrue(this.value(filter.test, inner))
      })
    // Jinja runs `else` also where each iteration was left by a control before its end.
    let isDone = false
    const loop = new Loop(items)
    for (; loop.at < items.length; loop.at++) {
      // Each iteration has names of its own.
      const inner = scope.inner()
      inner.set('loop', loop)
      this.assign(node.loopvar, items[loop.at] as Value, inner)
      const exit = this.block(node.body, inner, out)
      if (exit === 'Break') break
      if (!exit) isDone = true
    }
    return isDone ? undefined : this.block(node.defaultBlock, scope.inner(), out)
  }

  private assign(target: Node, value: Value, scope: Scope): void {
    if (target.type === 'Identifier') {
      if (constants.has(target.value) || target.value === 'loop') refuse(`"${target.value}" as the name of a variable`)
      scope.set(target.value, value)
    } else if (target.type === 'TupleLiteral') {
      const items = itemsOf(value)
      if (items.length !== target.value.length) refuse(`${items.length} items for ${target.value.length} names`)
      for (const [i, name] of target.value.entries()) this.assign(name, items[i] as Value, scope)
    } else if (target.type === 'MemberExpression' && !target.computed && target.property.type === 'Identifier') {
      const space = this.value(target.object, scope)
      if (!(space instanceof Namespace)) refuse(`an attribute set of ${typeOf(space)}, which is no namespace,`)
      ;(space as Namespace).attributes.set(target.property.value, value)
    } else refuse('"set" of what is neither a name nor an attribute')
  }

  /** A macro, or what `caller` is in a call block. It sees the names where it stands, not those where it is called. */
  private macro(name: string, parameters: Parameter[], body: Node[], scope: Scope, hasCaller = true): Call {
    const used = new Set(['caller', 'varargs', 'kwargs'].filter((special) => mentions(body, special)))
    const names = parameters.map((parameter) => (parameter.type === 'Identifier' ? parameter : parameter.key).value)
    return (args, named) => {
      const given = new Map(named)
      const inner = scope.inner()
      if (args.length > names.length && !used.has('varargs')) refuse(`${args.length} arguments of the macro "${name}"`)
      for (const [i, parameter] of parameters.entries()) {
        const key = names[i] as string
        if (i < args.length && given.has(key)) refuse(`two values of the argument "${key}" of the macro "${name}"`)
        const none = parameter.type === 'Identifier' ? new Undefined(key) : undefined
        const value = i < args.length ? args[i] : given.get(key)
        given.delete(key)
        inner.set(
          key,
          value ?? (value === null ? null : (none ?? this.value((parameter as { value: Node }).value, inner))),
        )
      }
      if (used.has('varargs')) inner.set('varargs', Tuple.from(args.slice(names.length)))
      if (used.has('caller') && hasCaller && !names.includes('caller')) {
        inner.set('caller', given.get('caller') ?? new Undefined('caller'))
        given.delete('caller')
      }
      if (used.has('kwargs')) inner.set('kwargs', new Map(given))
      else for (const key of given.keys()) refuse(`the argument "${key}" of the macro "${name}"`)
      const out: string[] = []
      if (this.block(body, inner, out)) refuse(`"break" or "continue" without a loop in the macro "${name}"`)
      return out.join('')
    }
  }

  private callBlock(call: CallNode, parameters: Parameter[], body: Node[], scope: Scope): Value {
    const caller = this.macro('caller', parameters, body, scope, false)
    if ((call.callee as { value?: unknown }).value === 'generation block') return caller([], new Map())
    const { args, named } = this.given(call.args, scope)
    named.set('caller', caller)
    return this.call(this.value(call.callee, scope), args, named)
  }

  private call(callee: Value, args: Value[], named: Named): Value {
    return typeof callee === 'function' ? callee(args, named) : refuse(`a call of ${typeOf(callee)}`)
  }

  private given(nodes: Node[], scope: Scope): { args: Value[]; named: Named } {
    const args: Value[] = []
    const named: Named = new Map()
    const name = (key: Value, value: Value) => {
      if (!isText(key) || named.has(key)) return refuse(`the argument ${textOf(key)} twice`)
      named.set(key, value)
    }
    for (const node of nodes) {
      if (node.type === 'KeywordArgumentExpression') name(node.key.value, this.value(node.value, scope))
      else if (node.type === 'SpreadExpression') args.push(...itemsOf(this.value(node.argument, scope)))
      else if (node.type === 'KeywordSpreadExpression') {
        const all = this.value(node.argument, scope)
        if (!(all instanceof Map)) return refuse(`** of ${typeOf(all)}`)
        for (const [key, value] of all) name(key, value)
      } else args.push(this.value(node, scope))
    }
    return { args, named }
  }

  /** A filter, or a test that the lexer has written as one. */
  private filter(node: Node, operand: Value, scope: Scope): Value {
    const callee = node.type === 'CallExpression' ? node.callee : node
    if (callee.type !== 'Identifier') return refuse('what stands behind a filter')
    const { args, named } = this.given(node.type === 'CallExpression' ? node.args : [], scope)
    const test = /^is (not )?(.+)/.exec(callee.value)
    if (!test) return applyFilter(callee.value, operand, args, named)
    return applyTest(test[2] as string, operand, args, named) === (test[1] === undefined)
  }

  private value(node: Node, scope: Scope): Value {
    switch (node.type) {
      case 'Identifier':
        return constants.get(node.value) ?? (constants.has(node.value) ? null : scope.get(node.value))
      case 'StringLiteral':
      case 'FloatLiteral':
        return node.value
      case 'IntegerLiteral':
        return BigInt(node.value)
      case 'ArrayLiteral':
        return node.value.map((item) => this.value(item, scope))
      case 'TupleLiteral':
        return Tuple.from(node.value, (item) => this.value(item, scope))
      case 'ObjectLiteral':
        return new Map(
          Array.from(node.value, ([key, item]) => [keyOf(this.value(key, scope)), this.value(item, scope)]),
        )
      case 'MemberExpression':
        return this.member(node, scope)
      case 'CallExpression': {
        const callee = this.value(node.callee, scope)
        const { args, named } = this.given(node.args, scope)
        return this.call(callee, args, named)
      }
      case 'FilterExpression':
        return this.filter(node.filter, this.value(node.operand, scope), scope)
      case 'UnaryExpression':
        return this.unary(node.operator.value, this.value(node.argument, scope))
      case 'BinaryExpression':
        return this.binary(node, scope)
      case 'Ternary':
        return this.value(isTrue(this.value(node.condition, scope)) ? node.trueExpr : node.falseExpr, scope)
      case 'SelectExpression':
        return isTrue(this.value(node.test, scope))
          ? this.value(node.lhs, scope)
          : new Undefined('an "if" without "else"')
    }
    return refuse(`"${node.type}", which is not understood,`)
  }

  private unary(operator: string, value: Value): Value {
    if (operator === 'not') return !isTrue(value)
    if (isWhole(value)) return operator === '-' ? -BigInt(value) : BigInt(value)
    if (typeof value !== 'number') return refuse(`"${operator}" before ${typeOf(value)}`)
    return operator === '-' ? -value : value
  }

  private binary(node: Extract<Node, { type: 'BinaryExpression' }>, scope: Scope): Value {
    const operator = node.operator.value
    const left = this.value(node.left, scope)
    if (operator === 'and') return isTrue(left) ? this.value(node.right, scope) : left
    if (operator === 'or') return isTrue(left) ? left : this.value(node.right, scope)
    const right = this.value(node.right, scope)
    return operate(operator, left, right)
  }

  private member(node: Extract<Node, { type: 'MemberExpression' }>, scope: Scope): Value {
    const object = this.value(node.object, scope)
    const { property } = node
    if (!node.computed && property.type === 'Identifier') return attributeOf(object, property.value)
    if (property.type !== 'SliceExpression') return itemAt(object, this.value(property, scope))
    const places = [property.start, property.stop, property.step].map((part) => (part ? this.value(part, scope) : null))
    return sliceOf(object, places)
  }
}

const constants = new Map<string, Value>([
  ['true', true],
  ['True', true],
  ['false', false],
  ['False', false],
  ['none', null],
  ['None', null],
])
