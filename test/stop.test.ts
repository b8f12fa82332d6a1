/** Stop strings in a stream, cut in every way. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { StopStrings } from '../host/text/stop.ts'
import { Random } from './harness/debug-engine.ts'

interface Shown {
  text: string
  pieces: string[]
  isStopped: boolean
}

/** Feeds pieces until a stop, as a generation does. */
function show(stops: string[], pieces: string[]): Shown {
  const stream = new StopStrings(stops)
  const shown: string[] = []
  for (const piece of pieces) {
    const { text, isStopped } = stream.push(piece)
    shown.push(text)
    if (isStopped) return { text: shown.join(''), pieces: shown, isStopped }
  }
  shown.push(stream.end())
  return { text: shown.join(''), pieces: shown, isStopped: false }
}

/** All ways to cut a text: one bit per place between two characters. */
function* cuts(text: string): Generator<string[]> {
  for (let bits = 0; bits < 2 ** Math.max(0, text.length - 1); bits++) {
    const pieces = ['']
    for (const [i, char] of [...text].entries()) {
      if (i > 0 && (bits >> (i - 1)) & 1) pieces.push('')
      pieces[pieces.length - 1] += char
    }
    yield pieces
  }
}

/** The stop that is complete first ends the text; of two that end together, the longer one. */
function expected(stops: string[], text: string): { text: string; isStopped: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const complete = stops.filter((stop) => text.slice(0, end).endsWith(stop)).map((stop) => end - stop.length)
    if (complete.length > 0) return { text: text.slice(0, Math.min(...complete)), isStopped: true }
  }
  return { text, isStopped: false }
}

test('a stop string, cut in every way', () => {
  for (const pieces of cuts('one END two'))
    assert.equal([show(['END'], pieces).text, show(['END'], pieces).isStopped], ['one ', true], pieces.join('|'))
})

test('text without stops, and with stops that never come, is all shown', () => {
  for (const pieces of cuts('abcabcab')) {
    assert.equal(show([], pieces), { text: 'abcabcab', pieces: [...pieces, ''], isStopped: false })
    assert.is(show(['abcabcabc', 'x'], pieces).text, 'abcabcab')
  }
})

test('what cannot be part of a stop is shown at once', () => {
  const stream = new StopStrings(['\n\nUser:', 'END'])
  assert.is(stream.push('Hello').text, 'Hello')
  assert.is(stream.push(' there').text, ' there')
  assert.is(stream.push('\n').text, '')
  assert.is(stream.push('E').text, '\n')
  assert.is(stream.push('nd').text, 'End')
  assert.is(stream.push('\n\nUse').text, '')
  assert.is(stream.push('less').text, '\n\nUseless')
  assert.is(stream.end(), '')
})

test('the beginning of a stop that goes on otherwise is shown late but whole', () => {
  assert.is(show(['aab'], ['a', 'a', 'a', 'a', 'c']).text, 'aaaac')
  assert.equal(show(['aab'], ['a', 'a', 'a', 'a', 'b']), {
    text: 'aa',
    pieces: ['', '', 'a', 'a', ''],
    isStopped: true,
  })
  assert.equal(show(['stop'], ['sto']), { text: 'sto', pieces: ['', 'sto'], isStopped: false })
  assert.is(show(['abababc'], ['abab', 'ababc']).text, 'ab')
})

test('several stops: overlapping, one inside another, one the beginning of another', () => {
  for (const [stops, text, shown] of [
    [['b', 'abc'], 'xabc', 'xa'],
    [['abcd', 'bc'], 'xabcd', 'xa'],
    [['abcd', 'cd'], 'xabcd', 'x'],
    [['ab', 'abc'], 'xabc', 'x'],
    [['abc', 'cde'], 'xabcde', 'x'],
    [['abd', 'bce'], 'xabce', 'xa'],
    [['é', '👋'], 'a👋é', 'a'],
  ] as const) {
    assert.is(expected([...stops], text).text, shown)
    for (const pieces of cuts(text)) {
      const label = `${stops.join(' ')} in ${pieces.join('|')}`
      assert.is(show([...stops], pieces).text, shown, label)
      assert.is(show([...stops].reverse(), pieces).text, shown, label)
    }
  }
})

test('random texts of few letters, random pieces: shown is the text up to the first stop', () => {
  let stopped = 0
  for (let i = 0; i < 5000; i++) {
    const random = new Random(i)
    const word = (length: number) => Array.from({ length }, () => random.pick(['a', 'b', 'c'])).join('')
    const stops = Array.from({ length: 1 + random.below(3) }, () => word(1 + random.below(5)))
    const text = word(random.below(25))
    const pieces: string[] = []
    for (let at = 0; at < text.length; ) {
      const length = random.below(5)
      pieces.push(text.slice(at, at + length))
      at += length
    }
    const { text: shown, isStopped } = show(stops, pieces)
    assert.equal({ text: shown, isStopped }, expected(stops, text), `${stops.join(' ')} in ${pieces.join('|')}`)
    stopped += isStopped ? 1 : 0
  }
  assert.ok(stopped > 1000 && stopped < 4900, `${stopped} of 5000 stopped`)
})

test.run()
