/**
 * Runs a grammar: which bytes may come next, and where they lead. A frame is a rule in a state, above the frame that waits
 * for it; frames are shared, so a stack is one reference. A state of the machine is the set of frames that are possible;
 * states are shared too, and know where they have led: what has been walked once is a look-up.
 *
 *     {"a": [1, 2        object (behind the key) ← array (1 element read) ← number (one digit read)
 */
import type { Grammar, Rule } from './rule.ts'

export interface Frame {
  readonly rule: Rule
  /** Of the rule; while a frame above it is at work: the state behind that. */
  readonly state: number
  /** undefined: below it is the end of the text. */
  readonly parent: Frame | undefined
  readonly id: number
  /** Frames above this one, by rule and state. */
  readonly above: Map<Rule, Map<number, Frame>>
}

export interface MachineState {
  /** All that may read the next byte, or end. */
  readonly frames: readonly Frame[]
  /** Can the text end here? */
  readonly isEnd: boolean
  /** By byte; null: nothing. */
  readonly next: Map<number, MachineState | null>
  /** By byte: 0 where it cannot come. Made when it is first asked for. */
  readable: Uint8Array | undefined
}

/** Frames and states that are kept for reuse; beyond it they are made anew (about 1 kB each). */
const MOST_STATES = 8192
/** Frames of one state: a grammar in which more things are possible at once is too ambiguous to be read. */
const MOST_FRAMES = 4096

export class Machine {
  private readonly rule: Rule
  private ground: Frame
  private states = new Map<string, MachineState>()
  private frameCount = 0

  constructor(grammar: Grammar) {
    this.rule = grammar.rule
    this.ground = this.newGround()
  }

  get start(): MachineState {
    return this.stateOf([this.frameAbove(this.ground, this.rule, this.rule.start)])
  }

  /** Where a byte leads; null: it cannot come here. */
  step(state: MachineState, byte: number): MachineState | null {
    const known = state.next.get(byte)
    if (known !== undefined) return known
    const frames: Frame[] = []
    for (const { rule, state: from, parent } of state.frames) {
      const to = rule.next(from, byte)
      if (to >= 0) frames.push(this.frameAbove(parent as Frame, rule, to))
    }
    const next = frames.length === 0 ? null : this.stateOf(frames)
    state.next.set(byte, next)
    return next
  }

  /** By byte: 0 where it cannot come. */
  canRead(state: MachineState): Uint8Array {
    if (state.readable) return state.readable
    const lists = state.frames.map(({ rule, state: from }) => rule.bytes?.(from))
    const [first] = lists
    state.readable =
      lists.length === 1 && first && first.length > FEW ? sharedTable(first) : tableOf(lists.map((list) => list ?? all))
    return state.readable
  }

  /** The same state among few others, when too many are kept. */
  renew(state: MachineState): MachineState {
    if (this.frameCount < MOST_STATES && this.states.size < MOST_STATES) return state
    this.ground = this.newGround()
    this.states = new Map()
    this.frameCount = 0
    return this.stateOf(state.frames.map((frame) => this.copy(frame)))
  }

  /** What can go on when the rule of a frame is over. */
  behind(frame: Frame): MachineState {
    return this.stateOf([frame.parent as Frame])
  }

  /** The same as a frame, with its rule in another state. */
  at({ rule, parent }: Frame, state: number): MachineState {
    return this.stateOf([this.frameAbove(parent as Frame, rule, state)])
  }

  private stateOf(kernel: readonly Frame[]): MachineState {
    const frames = new Set<Frame>()
    const waiting = [...kernel]
    let isEnd = false
    for (let frame = waiting.pop(); frame; frame = waiting.pop()) {
      if (frame.parent === undefined) {
        isEnd = true
        continue
      }
      if (frames.has(frame)) continue
      const { rule, state, parent } = frame
      if (rule.isEnd(state)) waiting.push(parent)
      // A rule that is over reads nothing: what is below it does.
      if (rule.isFinal(state)) continue
      frames.add(frame)
      if (frames.size > MOST_FRAMES) throw new Error(`more than ${MOST_FRAMES} ways to read the same text`)
      for (const call of rule.calls?.(state) ?? []) {
        // Nothing of the caller is left behind the call: what waits is below it.
        const below = rule.isFinal(call.back) ? parent : this.frameAbove(parent, rule, call.back)
        waiting.push(this.frameAbove(below, call.rule, call.rule.start))
      }
    }
    return this.intern([...frames], isEnd)
  }

  private intern(frames: Frame[], isEnd: boolean): MachineState {
    const key = `${isEnd ? '!' : ''}${frames.map(({ id }) => id).sort((a, b) => a - b)}`
    let state = this.states.get(key)
    if (!state) {
      state = { frames, isEnd, next: new Map(), readable: undefined }
      this.states.set(key, state)
    }
    return state
  }

  private frameAbove(parent: Frame, rule: Rule, state: number): Frame {
    let byState = parent.above.get(rule)
    if (!byState) {
      byState = new Map()
      parent.above.set(rule, byState)
    }
    let frame = byState.get(state)
    if (!frame) {
      frame = { rule, state, parent, id: ++this.frameCount, above: new Map() }
      byState.set(state, frame)
    }
    return frame
  }

  /** A stack among the frames of now; it can be deep. */
  private copy(frame: Frame): Frame {
    const stack: Frame[] = []
    for (let at: Frame | undefined = frame; at?.parent; at = at.parent) stack.push(at)
    return stack.reduceRight((below, { rule, state }) => this.frameAbove(below, rule, state), this.ground)
  }

  private newGround(): Frame {
    return { rule: this.rule, state: -1, parent: undefined, id: 0, above: new Map() }
  }
}

const all = Array.from({ length: 256 }, (_, byte) => byte)
/** Bytes of a list that is made for each state anew. */
const FEW = 16
/** By the list that a rule gives: longer ones are the same for most of its states. */
const tables = new WeakMap<readonly number[], Uint8Array>()

function sharedTable(list: readonly number[]): Uint8Array {
  const table = tables.get(list) ?? tableOf([list])
  tables.set(list, table)
  return table
}

function tableOf(lists: readonly (readonly number[])[]): Uint8Array {
  const table = new Uint8Array(256)
  for (const list of lists) for (const byte of list) table[byte] = 1
  return table
}
