/** How an answer to a prompt is written and read: what is shown of its control tokens, what ends it, what holds it. */
import { choice, literal, sequence } from '../structured/compile.ts'
import { constraintOf } from '../structured/constrain.ts'
import type { Constraint } from '../structured/constraint.ts'
import type { Grammar } from '../structured/rule.ts'
import { setBit } from '../structured/vocabulary.ts'
import { TextStream } from '../text-stream.ts'
import type { Tokenizer } from '../tokenizer.ts'
import { type CallGrammars, callGrammarsOf } from './call-grammar.ts'
import type { CallForm } from './calls.ts'
import { AnswerParser, type ParserOptions } from './parser.ts'
import type { ReasoningForm } from './reasoning.ts'
import type { Tool, ToolChoice } from './tool-list.ts'

/** What an answer follows from. */
export interface AnswerOptions {
  tokenizer: Tokenizer
  calls: CallForm
  reasoning: ReasoningForm | undefined
  isReasoningOpen: boolean
  tools: readonly Tool[]
  choice: ToolChoice
  /** May several calls stand in one answer? */
  isParallel: boolean
  /** What the answer has to be where it calls nothing. */
  response?: Grammar | undefined
  /** Texts that end what the model says. */
  stop?: readonly string[]
  /** Texts that the template puts behind an answer: they end thoughts, too. */
  ending?: readonly string[]
}

/** Of the engine that writes it. */
export interface WriterParts {
  tokenizer: Tokenizer | undefined
  vocabSize: number
  ends: ReadonlySet<number>
}

/** Tokens that end a call's answer, because a result follows: a model that does not stop there makes one up. */
const RESULTS = ['<|eom_id|>', '<start_function_response>', '<|tool_response>', '<|tool_response_start|>']

export class AnswerForm {
  /** Control tokens that have to be written out, or the parser would not see them. */
  readonly shownTokens: number[]
  /** Further tokens that end the answer. */
  readonly stopTokens: number[]
  /** Texts that end the answer wherever they come; others are the parser's, which knows where they count. */
  readonly stop: string[]
  private readonly options: AnswerOptions
  private readonly parsing: ParserOptions
  private readonly grammars: CallGrammars | undefined
  private readonly isMany: boolean
  private readonly hasStops: boolean

  /** Throws SchemaError for a tool whose arguments cannot be held to their schema. */
  constructor(options: AnswerOptions) {
    const { tokenizer, calls, reasoning, isReasoningOpen, choice: chosen, isParallel, stop = [] } = options
    this.options = options
    const name = typeof chosen === 'object' ? chosen.function.name : undefined
    const tools = options.tools.filter((tool) => name === undefined || tool.function.name === name)
    const isCalling = tools.length > 0 && chosen !== 'none'
    const schemas = tools.map((tool) => [tool.function.name, tool.function.parameters] as const)
    // What holds all of an answer says where it ends: a text that ends what a template writes may be a part of it.
    const ending = this.isWhollyHeld ? [] : [...(options.ending ?? [])]
    const stops = { content: [...ending, ...stop], reasoning: ending }
    this.hasStops = (isCalling && stops.content.length > 0) || (reasoning !== undefined && stop.length > 0)
    this.stop = this.hasStops ? [] : stops.content
    this.parsing = {
      ...{ reasoning, isReasoningOpen },
      ...(this.hasStops ? { stop: stops } : {}),
      ...(isCalling ? { calls, tools: new Map<string, unknown>(schemas) } : {}),
    }
    this.isMany = isParallel && name === undefined
    if (isCalling) this.grammars = callGrammarsOf(calls, tools, this.isMany, tokenizer.controlNames(true))
    const thoughts = reasoning ? [reasoning.open, reasoning.close] : []
    // The control tokens that these texts begin with.
    const idsOf = (texts: readonly string[]) => texts.flatMap((text) => tokenizer.controlAt(text) ?? [])
    this.shownTokens = idsOf([...thoughts, ...(isCalling ? [...calls.openers, ...calls.marks] : [])])
    this.stopTokens = idsOf(isCalling ? RESULTS : [])
  }

  /** What takes an answer apart; one for each. */
  parser(): AnswerParser {
    return new AnswerParser(this.parsing)
  }

  /** Is all of it held to a form, which then says where it ends? */
  private get isWhollyHeld(): boolean {
    return this.isForced || this.options.response !== undefined
  }

  private get isForced(): boolean {
    const { choice } = this.options
    return choice === 'required' || typeof choice === 'object'
  }

  /** Is it held to anything, at least once it calls, or ended by what only its parser sees? */
  get isHeld(): boolean {
    return this.grammars !== undefined || this.options.response !== undefined || this.hasStops
  }

  /** What holds an answer, one for each. Only where it is held. */
  constraint(parts: WriterParts): Constraint {
    const { grammars, isMany } = this
    const { response } = this.options
    const all = [...(grammars ? [grammars.whole] : []), ...(response && !this.isForced ? [response] : [])]
    const whole = all.length <= 1 ? all[0] : choice(all)
    // Without a form of its own, an answer that may call is free until it does.
    const forced = this.isWhollyHeld ? whole : undefined
    const hold = { forced, grammars, isMany, opensThoughts: this.opensThoughts() }
    return new HeldAnswer(parts, this.parser(), hold, new Set(this.shownTokens))
  }

  private opensThoughts(): number | undefined {
    const { reasoning, isReasoningOpen, tokenizer } = this.options
    return reasoning && !isReasoningOpen ? tokenizer.controlAt(reasoning.open) : undefined
  }
}

interface Hold {
  /** What the answer is, behind its thoughts. */
  forced: Grammar | undefined
  /** What calls are, once one has begun. */
  grammars: CallGrammars | undefined
  /** May it call more than once? */
  isMany: boolean
  /** The token with which thoughts begin that the prompt has not opened. */
  opensThoughts: number | undefined
}

const blanks = choice(['', '\n', '\n\n'].map((text) => literal(text)))
const behindThoughts = new WeakMap<Grammar, Grammar>()

/** Behind thoughts, models write line breaks. One for each grammar: masks are kept with it. */
function withBlanks(grammar: Grammar): Grammar {
  const known = behindThoughts.get(grammar) ?? sequence([blanks, grammar])
  behindThoughts.set(grammar, known)
  return known
}

class HeldAnswer implements Constraint {
  private readonly parts: WriterParts & { tokenizer: Tokenizer }
  private readonly parser: AnswerParser
  private readonly hold: Hold
  private readonly stream: TextStream
  private held: Constraint | undefined
  private isFirst = true
  /** Its only call has been made. */
  private isDone = false
  private first: Uint32Array | undefined

  constructor(parts: WriterParts, parser: AnswerParser, hold: Hold, shown: ReadonlySet<number>) {
    // An answer of a chat has text.
    this.parts = { ...parts, tokenizer: parts.tokenizer as Tokenizer }
    this.parser = parser
    this.hold = hold
    this.stream = new TextStream(this.parts.tokenizer, shown)
    if (!parser.isThinking) this.begin(hold.forced)
  }

  get isComplete(): boolean {
    if (this.parser.isStopped) return true
    return this.isDone || (this.hold.forced !== undefined && (this.held?.isComplete ?? false))
  }

  allowed(): Uint32Array | undefined {
    const mask = this.held?.allowed()
    const { opensThoughts } = this.hold
    if (!mask || !this.isFirst || opensThoughts === undefined) return mask
    this.first ??= mask.slice()
    setBit(this.first, opensThoughts)
    return this.first
  }

  push(token: number): void {
    const isThought = this.isFirst && token === this.hold.opensThoughts
    this.isFirst = false
    if (isThought) this.held = undefined
    this.held?.push(token)
    const wasThinking = this.parser.isThinking || isThought
    this.parser.push(this.stream.push(token))
    if (this.hold.forced) {
      if (wasThinking && !this.parser.isThinking) this.begin(withBlanks(this.hold.forced))
      return
    }
    if (this.held?.isComplete) {
      this.isDone = !this.hold.isMany
      this.held = undefined
    }
    const begun = this.held ? undefined : this.parser.callText
    if (begun !== undefined) this.begin(this.hold.grammars?.rest(begun))
  }

  private begin(grammar: Grammar | undefined): void {
    this.held = grammar && constraintOf(grammar, this.parts)
  }
}
