/** What calls of some tools look like in a form, as a grammar: the names of the tools, and arguments that their schemas allow. */
import { checking } from '../../errors.ts'
import { Budget, Recent } from '../structured/budget.ts'
import { choice, grammarOf, literal, sequence } from '../structured/compile.ts'
import { type Call, Grammar, type Rule } from '../structured/rule.ts'
import type { CallForm } from './calls.ts'
import type { Tool } from './tool-list.ts'

/** Grammars that are kept, with their masks, for requests that come again with the same tools. */
const kept = new Recent<CallGrammars>(32)

/** Those of the same tools are made once. Throws SchemaError for a schema that cannot be enforced. */
export function callGrammarsOf(
  form: CallForm,
  tools: readonly Tool[],
  isParallel: boolean,
  controls: readonly string[],
): CallGrammars {
  const key = JSON.stringify([form.name, tools.map(({ function: { name, parameters } }) => [name, parameters]), isParallel, controls]) // biome-ignore format: one key
  const budget = new Budget()
  return budget.shared(kept, key, () => new CallGrammars(form, tools, isParallel, controls, budget))
}

export class CallGrammars {
  /** From the beginning to the end: one call, or several if they may be parallel. */
  readonly whole: Grammar
  private readonly form: CallForm
  private readonly controls: readonly string[]
  private readonly calls: { begin: string; rest: Grammar }[]
  private readonly isParallel: boolean
  /** Of calls that have begun in these words. */
  private readonly begun = new Map<string, Grammar | undefined>()

  /** One budget of work for the schemas of all tools. */
  constructor(
    form: CallForm,
    tools: readonly Tool[],
    isParallel: boolean,
    controls: readonly string[],
    budget: Budget,
  ) {
    this.form = form
    this.controls = controls
    this.isParallel = isParallel
    this.calls = tools.map(({ function: { name, parameters } }) => ({
      // The white space before arguments belongs to them.
      begin: form.call(name).trimEnd(),
      // What a tool does not name, it does not take, unless it says so.
      rest: this.joined(
        checking(`tools["${name}"]`, () => grammarOf({ additionalProperties: false, ...parameters }, budget)),
        form.close,
      ),
    }))
    this.whole = this.behind('', true)
  }

  /**
   * Behind what a model has written of a call, from its opener on, up to the end of the calls that stand together. Undefined
   * where no call of these tools goes on like that.
   */
  rest(text: string): Grammar | undefined {
    if (this.begun.has(text)) return this.begun.get(text)
    const written = this.writtenAs(text)
    const grammar = written === undefined ? undefined : this.behind(written, this.standTogether)
    if (this.begun.size < 64) this.begun.set(text, grammar)
    return grammar
  }

  /** Do calls belong together, so that what follows the first one is known? */
  private get standTogether(): boolean {
    return this.form.open !== '' || this.form.isBare === true
  }

  /** A beginning as this form would write it; undefined where it is another one. */
  private writtenAs(text: string): string | undefined {
    const { open, openers } = this.form
    const wholes = this.calls.map(({ begin }) => open + begin)
    const opener = openers.find((each) => text.startsWith(each)) ?? ''
    const isOwn = wholes.some((whole) => whole.startsWith(opener))
    const behind = text.slice(opener.length)
    // Too little of a call without an opener is any JSON.
    if (opener === '' && !/^\{\s*"name"/.test(behind)) return undefined
    // White space behind the opener may be another one.
    const own = isOwn ? opener : ''
    const [whole = ''] = wholes
    const blanks = /^\s*/.exec(whole.slice(own.length))?.[0] ?? ''
    const written = behind === '' ? own : own + blanks + behind.trimStart()
    return wholes.some((each) => each.startsWith(written)) ? written : undefined
  }

  /** Calls, of whose first one `written` is there already. */
  private behind(written: string, isMany: boolean): Grammar {
    const { form, calls } = this
    const firsts = calls
      .filter(({ begin }) => (form.open + begin).startsWith(written))
      .map(({ begin, rest }) => this.joined((form.open + begin).slice(written.length), rest))
    const more = calls.map(({ begin, rest }) => this.joined(form.next + begin, rest))
    return this.joined(choice(firsts), ...(isMany && this.isParallel ? [repeated(choice(more))] : []), form.end)
  }

  /** One after the other; what is empty is left out, so that the end is seen when it is reached. */
  private joined(...parts: (Grammar | string)[]): Grammar {
    const grammars = parts.filter((part) => part !== '')
    return sequence(grammars.map((part) => (typeof part === 'string' ? literal(part, this.controls) : part)))
  }
}

/** Any number of times, none too. */
function repeated(grammar: Grammar): Grammar {
  const again: readonly Call[] = [{ rule: grammar.rule, back: 0 }]
  const rule: Rule = { start: 0, next: () => -1, isEnd: () => true, isFinal: () => false, calls: () => again }
  return new Grammar(rule)
}
