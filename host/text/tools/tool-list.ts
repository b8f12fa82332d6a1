/** Tools that a model may call, in the shape of OpenAI's API, and which of them it must. */
import { checking, checkNames, errors } from '../../errors.ts'

export interface Tool {
  type: 'function'
  function: {
    name: string
    description?: string
    /** JSON Schema of an object; default: without properties. */
    parameters?: Record<string, unknown>
    strict?: boolean | null
  }
}

/** Whether tools are called: never, as the model likes, at least one, or this one. */
export type ToolChoice = 'none' | 'auto' | 'required' | { type: 'function'; function: { name: string } }

/** As OpenAI has it: forms of calls have no quotes around some names. */
const NAME = /^[a-zA-Z0-9_.-]{1,64}$/
const MAX_TOOLS = 128

/** Throws BAD_OPTION for what is no list of tools. */
export function checkTools(given: unknown): readonly Tool[] {
  if (given === undefined || given === null) return []
  if (!Array.isArray(given) || given.length > MAX_TOOLS)
    throw errors.badOption('tools', `a list of at most ${MAX_TOOLS}`, Array.isArray(given) ? given.length : given)
  const names = new Set<string>()
  const check = (tool: Tool): Tool => {
    checkNames('a tool', tool, ['type', 'function'])
    if (tool.type !== 'function') throw errors.badOption('the type of a tool', '"function"', tool.type)
    checkNames('the function of a tool', tool.function, ['name', 'description', 'parameters', 'strict'])
    const { name, description, parameters, strict } = tool.function
    if (typeof name !== 'string' || !NAME.test(name))
      throw errors.badOption('the name of a tool', '1 to 64 letters, digits or _.-', name)
    if (names.has(name)) throw errors.badOption('the names of tools', 'different ones', name)
    names.add(name)
    if (description !== undefined && typeof description !== 'string')
      throw errors.badOption(`the description of the tool "${name}"`, 'a text', description)
    if (strict !== undefined && strict !== null && typeof strict !== 'boolean')
      throw errors.badOption(`"strict" of the tool "${name}"`, 'true or false', strict)
    // Arguments are always held to their schema: `strict` says nothing more.
    return {
      type: 'function',
      function: {
        name,
        ...(description === undefined ? {} : { description }),
        parameters: checkParameters(name, parameters),
      },
    }
  }
  return given.map((tool, i) => checking(`tools[${i}]`, () => check(tool)))
}

function checkParameters(name: string, given: unknown): Record<string, unknown> {
  if (given === undefined || given === null) return { type: 'object', properties: {} }
  const schema = given as Record<string, unknown>
  if (typeof given !== 'object' || Array.isArray(given) || (schema.type ?? 'object') !== 'object')
    throw errors.badOption(
      `the parameters of the tool "${name}"`,
      'a JSON Schema of type "object"',
      schema.type ?? given,
    )
  // Templates look at both.
  const { type = 'object', properties = {} } = schema
  return { ...schema, type, properties }
}

/** Throws BAD_OPTION for what is no choice among `tools`. Default: as the model likes. */
export function checkToolChoice(given: unknown, tools: readonly Tool[]): ToolChoice {
  if (given === undefined || given === null) return tools.length > 0 ? 'auto' : 'none'
  const name = (given as { function?: { name?: unknown } }).function?.name
  if (typeof given === 'object' && (given as { type?: unknown }).type === 'function') {
    checkNames('toolChoice', given, ['type', 'function'])
    if (!tools.some((tool) => tool.function.name === name))
      throw errors.badOption(
        'the tool of toolChoice (tool_choice)',
        `one of the tools given (${tools.map((tool) => tool.function.name).join(', ') || 'none'})`,
        name,
      )
    return { type: 'function', function: { name: name as string } }
  }
  if (given !== 'none' && given !== 'auto' && given !== 'required')
    throw errors.badOption('toolChoice (tool_choice)', 'none, auto, required, or a function by name', given)
  if (given === 'required' && tools.length === 0)
    throw errors.badOption('toolChoice (tool_choice)', 'none without tools', given)
  return given
}
