/** Formats of strings that are held: patterns of the whole text, as their RFCs have them, without what is obsolete. */
import { Budget } from './budget.ts'
import { PatternError } from './errors.ts'
import { automatonOf, type TableCharacters } from './pattern-automaton.ts'
import { parsePattern } from './pattern-parser.ts'

// RFC 3339, 5.6 and 5.7. Seconds end at 59: leap seconds come in the last minute of a day of UTC only.
const MONTHS =
  '(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8])'
const LEAP_YEARS = '\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00'
const DATE = `(?:\\d{4}-(?:${MONTHS})|(?:${LEAP_YEARS})-02-29)`
const HOURS = '(?:[01]\\d|2[0-3]):[0-5]\\d'
const TIME = `${HOURS}:[0-5]\\d(?:\\.\\d{1,9})?(?:[Zz]|[+-]${HOURS})`
const BYTE = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const LABEL = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?'
// RFC 5321, 4.1.2: a Dot-string before the @, of 64 characters at most, and a Domain of several labels behind it.
const ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\-]{1,20}"

const patterns: Record<string, string> = {
  date: DATE,
  time: TIME,
  'date-time': `${DATE}[Tt]${TIME}`,
  uuid: '[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}',
  ipv4: `${BYTE}(?:\\.${BYTE}){3}`,
  email: `${ATOM}(?:\\.${ATOM}){0,2}@${LABEL}(?:\\.${LABEL}){1,4}`,
}

export const formatNames = Object.keys(patterns)

const automata = new Map<string, TableCharacters>()

/** Made when a format is first used, and kept. Throws PatternError for one that is not known. */
export function formatOf(name: string): TableCharacters {
  const known = automata.get(name)
  if (known) return known
  const pattern = Object.hasOwn(patterns, name) ? patterns[name] : undefined
  if (pattern === undefined) throw new PatternError(`one of ${formatNames.join(', ')}`, JSON.stringify(name))
  // Work of its own: it is done once.
  const budget = new Budget('format')
  const automaton = automatonOf(parsePattern(pattern, budget), budget) as TableCharacters
  automata.set(name, automaton)
  return automaton
}
