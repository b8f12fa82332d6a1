/**
 * Schemas that hold at once, with all that they refer to: each $ref and allOf joins them, each anyOf and oneOf makes a choice.
 * What is left are lists of schemas whose other keywords all hold.
 */
import type { Budget } from './budget.ts'
import { SchemaError, Words } from './errors.ts'
import { checkKeywords, type Member, placeBelow, type Schema, type SchemaObject } from './keywords.ts'

const MOST_ALTERNATIVES = 2000
const LONGEST_CHAIN = 500
/** Steps of a budget for each schema that is looked at. */
export const WORK_OF_MEMBER = 60

/** Schemas of a document, each of them one member, whoever comes to it. */
export class Members {
  /** Of the work with them. */
  readonly budget: Budget
  private readonly root: Schema
  private readonly known = new Map<object, Member>()
  private readonly parted = new Map<string, Member>()
  private readonly ofValues = new Map<object, Member>()
  private count = 0

  constructor(root: Schema, budget: Budget) {
    this.budget = budget
    this.root = root
  }

  /** undefined: true, which says nothing; null: false. */
  of(schema: Schema, place: string): Member | undefined | null {
    if (typeof schema === 'boolean') return schema ? undefined : null
    let member = this.known.get(schema)
    if (!member) {
      member = this.add(schema, place)
      checkKeywords(member)
    }
    return member
  }

  /** A schema without some of its keywords. */
  without(member: Member, keywords: readonly string[]): Member {
    if (!keywords.some((keyword) => keyword in member.schema)) return member
    this.budget.spend(WORK_OF_MEMBER)
    const key = `${member.id} ${keywords}`
    let other = this.parted.get(key)
    if (!other) {
      const left = Object.entries(member.schema).filter(([keyword]) => !keywords.includes(keyword))
      other = this.add(Object.fromEntries(left), member.place)
      this.parted.set(key, other)
    }
    return other
  }

  /** What a list or an object must be to equal a value of the schema. */
  ofValue(value: object, { place }: Member): Member {
    const known = this.ofValues.get(value)
    if (known) return known
    const member = this.add(schemaOfValue(value), place)
    this.ofValues.set(value, member)
    return member
  }

  private add(schema: SchemaObject, place: string): Member {
    const member = { id: this.count++, schema, place }
    this.known.set(schema, member)
    return member
  }

  /** Where a reference leads. */
  target(reference: string, from: Member): Member | undefined | null {
    const wrong = () => new SchemaError(from.place, '$ref', 'a reference to a schema of this document', reference)
    this.budget.spend(WORK_OF_MEMBER + reference.length)
    let names: string[]
    try {
      names = decodeURIComponent(reference.slice(1)).split('/').slice(1)
    } catch {
      throw wrong()
    }
    let at: unknown = this.root
    for (const name of names) {
      const key = name.replaceAll('~1', '/').replaceAll('~0', '~')
      if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) throw wrong()
      at = (at as Record<string, unknown>)[key]
    }
    if (typeof at !== 'boolean' && (typeof at !== 'object' || at === null || Array.isArray(at))) throw wrong()
    return this.of(at as Schema, names.length === 0 ? '' : `/${names.join('/')}`)
  }
}

function schemaOfValue(value: object): SchemaObject {
  if (Array.isArray(value)) {
    const same = { type: 'array', minItems: value.length, maxItems: value.length }
    return value.length === 0 ? same : { ...same, prefixItems: value.map((part) => ({ const: part })) }
  }
  const properties = Object.fromEntries(Object.entries(value).map(([name, part]) => [name, { const: part }]))
  return { type: 'object', properties, required: Object.keys(value), additionalProperties: false }
}

/** A member, and those that led to it without a value between them. */
interface Link {
  readonly member: Member
  readonly from: Link | undefined
  readonly length: number
}

interface Open {
  readonly waiting: readonly Link[]
  readonly choices: readonly (readonly Link[])[]
  readonly chosen: ReadonlySet<Member>
}

/** Told of the alternatives of each oneOf: only one of them may hold. */
export type OnOneOf = (member: Member, alternatives: readonly Member[]) => void

export function alternativesOf(start: readonly Member[], members: Members, onOneOf: OnOneOf): Member[][] {
  const found: Member[][] = []
  const open: Open[] = [
    { waiting: start.map((member) => ({ member, from: undefined, length: 0 })), choices: [], chosen: new Set() },
  ]
  for (let next = open.pop(); next; next = open.pop()) {
    const all = resolve(next, members, onOneOf)
    if (!all) continue
    const [choice, ...choices] = all.choices
    if (!choice) found.push([...all.chosen])
    else for (const link of choice.toReversed()) open.push({ waiting: [link], choices, chosen: all.chosen })
    if (found.length + open.length > MOST_ALTERNATIVES)
      throw new SchemaError(
        start[0]?.place ?? '',
        '',
        `of at most ${MOST_ALTERNATIVES} alternatives at one place`,
        new Words('more'),
      )
  }
  return found
}

/** Takes in all that waits, up to the next choices; undefined if something of it is never true. */
function resolve({ waiting, choices, chosen }: Open, members: Members, onOneOf: OnOneOf): Open | undefined {
  members.budget.spend(WORK_OF_MEMBER * (1 + waiting.length + chosen.size) + choices.length)
  const all = new Set(chosen)
  const links = [...waiting]
  const more = [...choices]
  for (let link = links.pop(); link; link = links.pop()) {
    members.budget.spend(WORK_OF_MEMBER + link.length)
    checkCircle(link)
    const { member } = link
    if (all.has(member)) continue
    all.add(member)
    for (const [keyword, parts] of partsOf(member, members)) {
      const followed = parts.map((part) => part && { member: part, from: link, length: (link as Link).length + 1 })
      if (keyword === '$ref' || keyword === 'allOf') {
        if (followed.includes(null)) return undefined
        links.push(...followed.filter((part) => part !== undefined && part !== null))
        continue
      }
      const possible = followed.filter((part) => part !== null)
      if (possible.length === 0) return undefined
      const isAny = possible.includes(undefined)
      if (keyword === 'oneOf' && possible.length > 1) {
        if (isAny) throw notExclusive(member)
        onOneOf(member, parts.filter((part) => part !== null) as Member[])
      }
      // Where one alternative is always true, there is nothing to choose.
      if (!isAny) more.push(possible.filter((part) => part !== undefined))
    }
  }
  return { waiting: [], choices: more, chosen: all }
}

function partsOf(member: Member, members: Members): [keyword: string, parts: (Member | undefined | null)[]][] {
  const { schema, place } = member
  const lists = ['allOf', 'anyOf', 'oneOf'].flatMap((keyword): [string, (Member | undefined | null)[]][] => {
    const list = schema[keyword] as Schema[] | undefined
    members.budget.spend(WORK_OF_MEMBER * (list?.length ?? 0))
    return list ? [[keyword, list.map((part, i) => members.of(part, placeBelow(place, keyword, i)))]] : []
  })
  if (schema.$ref !== undefined) lists.push(['$ref', [members.target(schema.$ref as string, member)]])
  return lists
}

export function notExclusive({ place }: Member): SchemaError {
  return new SchemaError(
    place,
    'oneOf',
    'a choice of schemas that exclude each other, such as by their types or by a required property that is a "const"',
    new Words('two that one value could satisfy; use anyOf if it may'),
  )
}

function checkCircle({ member, from, length }: Link): void {
  if (length > LONGEST_CHAIN)
    throw new SchemaError(member.place, '', `reached over at most ${LONGEST_CHAIN} references`, new Words('more'))
  for (let link = from; link; link = link.from)
    if (link.member === member)
      throw new SchemaError(
        member.place,
        '',
        'free of references that lead back to it without a value between them',
        new Words('a circle'),
      )
}
