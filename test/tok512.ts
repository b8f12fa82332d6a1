/**
 * The tokenizer of stories260K, SentencePiece BPE of llama2.c's tok512. As a command it writes the ids of a text of
 * stories, one story a line, for `gta eval --tokens-file`: node test/tok512.ts < TEXT > IDS
 */
import { readFileSync } from 'node:fs'
import { golden, readJson } from './goldens.ts'

export const pieces: { id: number; piece: string; score: number }[] = readJson(golden('stories260K/tok512.json'))
const ids = new Map(pieces.map(({ piece, id }) => [piece, id]))

/** The id that begins a story. */
const BEGIN = 1

const words = new Map<string, number[]>()

/** Word by word, each once: no piece has a blank behind its first letter. */
export function encode(text: string): number[] {
  return ` ${text}`.split(/(?= )/).flatMap((word) => {
    const found = words.get(word) ?? encodeWord(word)
    words.set(word, found)
    return found
  })
}

/** The best-scored neighbouring pair is merged until none is left. */
function encodeWord(word: string): number[] {
  const byte = (value: number) => ids.get(`<0x${value.toString(16).toUpperCase().padStart(2, '0')}>`) as number
  const tokens = Array.from(word).flatMap((char) => ids.get(char) ?? Array.from(new TextEncoder().encode(char), byte))
  for (;;) {
    let best = { at: -1, id: -1, score: Number.NEGATIVE_INFINITY }
    for (let at = 0; at + 1 < tokens.length; at++) {
      const id = ids.get(`${pieces[tokens[at] as number]?.piece}${pieces[tokens[at + 1] as number]?.piece}`)
      const score = id === undefined ? Number.NEGATIVE_INFINITY : (pieces[id]?.score as number)
      if (id !== undefined && score > best.score) best = { at, id, score }
    }
    if (best.at < 0) return tokens
    tokens.splice(best.at, 2, best.id)
  }
}

/** Ids of each story of a text, which begin with the begin token. */
export function encodeStories(text: string): number[][] {
  return text
    .split('<|endoftext|>')
    .map((story) => story.trim())
    .filter((story) => story !== '')
    .map((story) => [BEGIN, ...encode(story)])
}

if (import.meta.main)
  for (const story of encodeStories(readFileSync('/dev/stdin', 'utf8'))) process.stdout.write(`${story.join(',')}\n`)
