/** Templates against Python's Jinja, in the environment of transformers (golden/templates): the same text, or a refusal. */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { renderTokens } from '../host/text/template/interpreter.ts'
import { readTokens } from '../host/text/template/lexer.ts'
import type { ChatMessage } from '../host/text/template/messages.ts'
import { renderTemplate } from '../host/text/template/render.ts'
import { builtInTemplates } from '../host/text/template/templates.ts'
import { type JsonOptions, jsonOf, reprOf } from '../host/text/template/values.ts'
import * as fixtures from './fixtures/chat-templates.ts'
import { failure } from './fixtures/checkpoints.ts'

interface Goldens {
  talks: [ChatMessage[], ...ChatMessage[][]]
  cases: { template: string; expected: string | null }[]
  wholes: { name: string; talk: number; prompted: boolean; expected: string | null }[]
}

const read = (name: string) => readFileSync(new URL(`./golden/templates/${name}`, import.meta.url), 'utf8')
const { talks, cases, wholes }: Goldens = JSON.parse(read('cases.json'))
const refused: Record<string, string> = JSON.parse(read('refused.json'))

function render(template: string, talk = talks[0], isPrompted = true): string {
  return renderTokens(readTokens(template), {
    messages: talk.map((message) => new Map(Object.entries(message))),
    tools: null,
    documents: null,
    add_generation_prompt: isPrompted,
    bos_token: '<s>',
    eos_token: '</s>',
  })
}

/** Null where Jinja refuses, and a text of its own where ours does. */
function check(what: string, expected: string | null, found: () => string, refusal: string | undefined): void {
  if (expected !== null && refusal === undefined) assert.is(found(), expected, what)
  else assert.throws(found, (error: Error) => refusal === undefined || error.message === refusal, what)
}

test('short templates', () => {
  assert.ok(cases.length > 1000)
  for (const { template, expected } of cases) check(template, expected, () => render(template), refused[template])
})

test('what Jinja renders and ours refuses is a case, and says the line', () => {
  const rendered = new Set(cases.filter(({ expected }) => expected !== null).map(({ template }) => template))
  for (const [template, message] of Object.entries(refused)) {
    assert.ok(rendered.has(template), template)
    assert.match(message, / in line 1$/)
  }
})

test('whole templates, with every talk', () => {
  const sources: Record<string, string> = { ...builtInTemplates, ...fixtures }
  assert.ok(new Set(wholes.map(({ name }) => name)).size > 20)
  for (const { name, talk, prompted, expected } of wholes) {
    const template = name.endsWith('.jinja') ? read(name) : (sources[name] as string)
    check(`${name} ${talk} ${prompted}`, expected, () => render(template, talks[talk], prompted), undefined)
  }
})

test('the process renders the same', async () => {
  const template =
    '{{ tools is none and documents is none }}{% for m in messages %}<{{ m.role }}>{% if loop.first %}{% continue %}{% endif %}{{ m.content }}{% endfor %}'
  const request = { template, variables: {}, messages: talks[0], addGenerationPrompt: true }
  assert.is(await renderTemplate('model', request), render(template))
})

test('the line where a template is wrong, at its statement or expression', async () => {
  const lines = (template: string) => {
    try {
      return render(template)
    } catch (error) {
      return /line (\d+)/.exec((error as Error).message)?.[1]
    }
  }
  assert.is(lines('a\n{{ 1 }}\n\n{{ missing.x }}'), '4')
  assert.is(lines('{% if 0 %}\n{% elif none.x.y %}\n{% endif %}'), '2')
  assert.is(lines('{# a\nb #}\n{% raw %}\n{% endraw %}\r\n{{ "\n" | nothing }}'), '5')
  assert.is(lines('\n{% include "x" %}'), '2')
  assert.is(lines('{{ 1 }}\n{{ 1 +\n }}\n'), '2')
  assert.is(lines('{{ 1 }}\n{{ "a }}\n'), '2')
  const error = await failure(
    renderTemplate('m', {
      template: '\n{{ 1 | nothing }}',
      variables: {},
      messages: talks[0],
      addGenerationPrompt: true,
    }),
  )
  assert.match(error.message, 'found the filter "nothing", which is not understood, in line 2')
})

test('the time is that of now, in English; an unknown letter is refused', () => {
  const months = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ')
  const written = () => {
    const now = new Date()
    return `${String(now.getDate()).padStart(2, '0')} ${months[now.getMonth()]} ${now.getFullYear()} ${now.getDate()} %`
  }
  const before = written()
  const found = render('{{ strftime_now("%d %b %Y %-d %%") }}')
  // It may be midnight between the two.
  assert.ok([before, written()].includes(found), found)
  assert.throws(() => render('{{ strftime_now("%Q") }}'), /"%Q" in the format of a time in line 1/)
})

test('a mark before a control token is written as it is, also where Python writes an escape', () => {
  const text = '\ufdd0<|im_end|>\u0001\u200b'
  const options: JsonOptions = { isAscii: true, indent: undefined, separators: [', ', ': '], isSorted: false }
  assert.is(reprOf([text]), "['\ufdd0<|im_end|>\\x01\\u200b']")
  assert.is(jsonOf(text, options), '"\ufdd0<|im_end|>\\u0001\\u200b"')
})

test.run()
