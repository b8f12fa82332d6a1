/**
 * What a tokenizer.json says before its model, which is nearly all of it: megabytes of vocabulary and merges, which a packed
 * file has as tables too.
 */
import { endOfText, parseJson } from '../json.ts'
import { isObject } from './objects.ts'

const [QUOTE, COLON, OPEN, CLOSE] = [0x22, 0x3a, [0x7b, 0x5b], [0x7d, 0x5d]]

/** What tables do not say of a tokenizer. */
interface Head {
  added_tokens?: unknown
  post_processor?: unknown
}

/** Added tokens and post-processor, if both stand before the model; else all of the JSON is to be read. */
export function tokenizerHead(json: Uint8Array): Head | undefined {
  const end = modelAt(json)
  if (end === undefined) return undefined
  try {
    const whole = new Uint8Array(end + REST.length)
    whole.set(json.subarray(0, end))
    whole.set(REST, end)
    const head = parseJson(whole)
    return isObject(head) && 'added_tokens' in head && 'post_processor' in head ? head : undefined
  } catch {
    return undefined
  }
}

/** Where the value of the outermost object's first "model" is. */
function modelAt(json: Uint8Array): number | undefined {
  let depth = 0
  for (let at = 0; at < json.length; at++) {
    const byte = json[at] as number
    if (OPEN.includes(byte)) depth++
    else if (CLOSE.includes(byte)) depth--
    else if (byte === QUOTE) {
      const end = endOfText(json, at) + 1
      const isName = end - at === MODEL.length && MODEL.every((char, i) => json[at + i] === char)
      if (depth === 1 && isName) {
        const colon = json.indexOf(COLON, end)
        return colon < 0 ? undefined : colon + 1
      }
      at = end - 1
    }
  }
  return undefined
}

const [MODEL, REST] = ['"model"', 'null}'].map((text) => new TextEncoder().encode(text)) as [Uint8Array, Uint8Array]
