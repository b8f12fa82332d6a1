/**
 * A program that saves a session over and over, each time a few tokens longer, until it is killed: for
 * session-kill.test.ts. Goes on from what the file holds. Tells what it does as it does it: "b 17" before it saves
 * 17 tokens, "e 17" after; and once on file descriptor 3 that it begins.
 */
import { writeSync } from 'node:fs'
import { read, type Saved, save } from '../fixtures/sessions.ts'

const [path = '', pageBytes = ''] = process.argv.slice(2)
const MOST_TOKENS = 60

let saved: Saved | undefined = await read(path).catch(() => undefined)
writeSync(3, '.')
for (;;) {
  // From the beginning again now and then: with a new file of few pages, then with appended ones.
  const n = saved && saved.n < MOST_TOKENS ? saved.n + 3 : 1 + ((saved?.n ?? 0) % 7)
  writeSync(1, `b ${n}\n`)
  saved = await save(path, n, saved && saved.n < MOST_TOKENS ? saved : undefined, { pageBytes: Number(pageBytes) })
  writeSync(1, `e ${n}\n`)
}
