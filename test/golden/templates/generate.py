"""Writes cases.json: short templates, and what Jinja makes of them in the environment that transformers builds.

The environment is that of _compile_jinja_template in transformers' utils/chat_template_utils.py: an immutable
sandbox that trims blocks, with loop controls, a `generation` tag, a `tojson` that does not escape HTML, `raise_exception`.
Run it with Python 3.11 and Jinja 3.1: python3 test/golden/templates/generate.py
"""

import json
import pathlib
import re
import sys

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_block"), [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _block(self, context, caller):
        return caller()


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
)
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception

# Blanks at both ends, thoughts, control tokens, characters of two UTF-16 units, and white space of Python only.
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "  Hi there, <|im_end|> \U0001f600!\n"},
    {"role": "assistant", "content": "<think>\nhm, \"why\"\n</think>\n\n    Hello\n  World  \n"},
    {"role": "user", "content": "\ufeff\x1f1+1? it's\x85"},
]


def render(template, messages=TALK, add_generation_prompt=True, tools=None, **variables):
    """The text; None where Jinja refuses, or prints the address of an object."""
    try:
        text = environment.from_string(template).render(
            messages=messages,
            tools=tools,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **variables,
            bos_token="<s>",
            eos_token="</s>",
        )
        return None if " at 0x" in text else text
    except Exception:
        return None


EXPRESSIONS = r"""
none
None
true
True
false
1
1.0
-1
- 1
+1
1_000
0x1F
0b11
0o17
1e3
1.5e2
3.14
1e16
0.1
0.1 + 0.2
1e15 * 10
123456789012345678 * 1000.0
0.0001
0.00001
1.0 * 100000
-0.0
7 / 2
6 / 2
7 // 2
-7 // 2
7 % 3
-7 % 3
7 % -3
7.5 % 2
-7.5 // 2
2 ** 10
2 ** -1
2 ** 0.5
-2 ** 2
2 ** 3 ** 2
2 ** 100
1 / 0
1 % 0
1 + true
true + true
-true
1 + 1.0
'a' + 'b'
'a' + 1
'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1, 'x']
1 ~ 2
1 + 2 ~ 3
'a' ~ 1 + 2
'a' ~ 2 * 3
2 * 3 ~ 'a'
'ab' * 3
3 * 'ab'
'ab' * -1
[1, 2] * 2
[1] + [2]
(1, 2) + (3, 4)
[1] + (2, 3)
'a' - 1
none + 1
1 == 1.0
1 == true
1 == '1'
none == false
none == 0
'' == false
[] == false
[1, 2] == [1, 2]
[1, 2] == (1, 2)
{'a': 1} == {'a': 1.0}
{'a': 1, 'b': 2} == {'b': 2, 'a': 1}
{'a': [1]} != {'a': [2]}
missing == other
missing == none
missing == ''
1 < 2
1 < 2 < 3
3 > 2 > 1
(1 < 2) == true
1 == 1 == 1
'a' < 'b'
'B' < 'a'
'\uffff' < '\U0001f600'
'a' < 1
none < 1
[1, 2] < [1, 3]
[1] < [1, 0]
(1, 2) < (1, 3)
true < 2
1 in [1, 2]
1.0 in [1, 2]
true in [1]
'1' in [1]
[1] in [[1], [2]]
'a' in 'abc'
'' in 'abc'
1 in 'abc'
'a' in {'a': 1}
1 in {'a': 1}
'a' in missing
'a' not in missing
'a' in none
'a' not in 'abc'
not 'a' in 'abc'
'x' in messages[0]
'role' in messages[0]
messages[0] in messages
not 1
not []
not none
not missing
1 and 2
0 and 2
'' or 'x'
[] or none
none or missing
1 and none
0 or 0.0
1 if true
1 if false
(1 if false) is defined
'a' if missing else 'b'
'a' if 0 else 'b' if 0 else 'c'
missing
missing.x
missing['x']
missing[0]
missing()
missing + 1
missing ~ 'x'
messages.x
messages[0].x
messages[0].x.y
messages[0]['x']
messages[9]
messages[9].role
messages[-1].role
messages['x']
messages.0.role
messages[0].role.x
messages[0]['role'][0]
messages[1.0]
messages[true].role
none.x
none['x']
none[0]
1 .x
'abc'[0]
'abc'[-1]
'abc'[5]
'abc'['upper']()
'a\U0001f600b'[1]
'a\U0001f600b'[2]
'a\U0001f600b' | length
'a\U0001f600b'[::-1]
'abcdef'[1:3]
'abcdef'[:2]
'abcdef'[2:]
'abcdef'[:]
'abcdef'[::2]
'abcdef'[::-1]
'abcdef'[4:1:-1]
'abcdef'[-3:]
'abcdef'[:-3]
'abcdef'[5:1:-2]
'abcdef'[-100:100]
'abcdef'[100:]
'abcdef'[1:2:0]
[1, 2, 3, 4][1:3]
[1, 2, 3, 4][::-1]
[1, 2, 3, 4][-2:]
[1, 2, 3, 4][1:-1]
[1, 2, 3][none:2]
(1, 2, 3)[1:]
messages[1:][0].role
messages[::-1][0].role
none[1:]
missing[1:]
{'a': 1}[1:]
'a'[1.0:]
[]
[1, 'a', none, true, 1.5]
['it\'s', "q\"q", 'it\'s "q"']
['\n\t\r\\']
['\x00\x1f\x7f\x85\xa0']
['é\u200b\U0001f600\u2028']
['\ufeff']
(1, 2)
(1,)
()
{}
{'a': 1, 'b': [1, {'c': none}]}
{1: 2}
{'a': 1, 'a': 2}
{'b': 1, 'a': 2}
[missing]
messages
messages[0]
'\d \/ \q'
'\x41\u0042\U00000043\101\0'
'a\
b'
'\N{BULLET}'
'a' 'b' "c"
"\"'"
'tab\there'
range(3)
range(1, 6, 2)
range(5, 0, -2) | list
range(3) | list
range(3)[1]
range(3) | length
2 in range(3)
range(200000)
range(1, 2, 0)
range('a')
dict(a=1, b='x')
dict({'a': 1}, b=2)
dict([['a', 1]])
namespace(a=1)
namespace(a=1).a
namespace(a=1)['a']
namespace(a=1).b
namespace({'a': 1}, b=2).a
messages | length
messages | count
none | length
1 | length
missing | length
{'a': 1} | length
messages[0].keys() | list
messages[0].values() | list
messages[0].items() | list
messages[0].items()
messages[0].keys()
messages[0].values()
messages[0].items() | length
messages[0].items()[0]
messages[0] | items | list
missing | items | list
none | items
messages[0] | items | length
messages[0].get('role')
messages[0].get('x')
messages[0].get('x', 'none')
messages[0].get('x', none)
messages[0].update({'a': 1})
messages[0].pop('role')
messages.append(1)
messages.pop()
messages.copy()
messages.index(messages[1])
[1, 2, 1].count(1)
[1].index(2)
{'items': 1}.items
{'items': 1}['items']
{'items': 1}.keys() | list
{'a': 1}['keys']() | list
{'get': 1}.get
{'x y': 1}['x y']
{'a': none}.a
{'a': none}.a is defined
{'a': none}['a'] is none
messages[0].__class__
''.__class__.__mro__
' a '.strip() ~ '|'
' a '.lstrip() ~ '|'
' a '.rstrip() ~ '|'
'--a--'.strip('-')
'xyaxy'.strip('yx')
'xyaxy'.lstrip('x')
'xyaxy'.rstrip('xy')
'\n\n    a'.lstrip('\n')
'\ufeffa\ufeff'.strip() | length
'\x1c\x1d\x1e\x1f\x85a\xa0\u3000'.strip() | length
'\u200ba'.strip() | length
'a'.strip(none)
'a'.strip(1)
' a ' | trim ~ '|'
'--a--' | trim('-')
' a ' | trim(chars=' ')
1 | trim
none | trim
missing | trim
'a b  c'.split()
' a b '.split()
'a,b,,c'.split(',')
'a,b,c'.split(',', 1)
'a b c d'.split(none, 2)
'a b c d '.split(maxsplit=1)
'a--b'.split('--')
'a\x1fb\ufeffc'.split()
''.split()
''.split(',')
'a'.split('')
'a,b,c'.rsplit(',', 1)
'a b c '.rsplit(none, 1)
'a\nb\r\nc\rd\x0be\x85f\u2028g'.splitlines()
'a\nb\n'.splitlines()
'a\nb\n'.splitlines(true)
''.splitlines()
'a-b-c'.partition('-')
'a-b-c'.rpartition('-')
'abc'.partition('-')
'abc'.rpartition('-')
'abc'.startswith('ab')
'abc'.startswith(('x', 'a'))
'abc'.startswith(['a'])
'abc'.startswith('b', 1)
'abc'.startswith('')
'abc'.endswith('bc')
'abc'.endswith(('x', 'c'))
'abc'.endswith('')
'abc'.startswith(1)
'abc'.startswith(none)
'aXbX'.replace('X', '-')
'aXbX'.replace('X', '-', 1)
'ab'.replace('', '-')
'ab'.replace('', '-', 2)
'a$b'.replace('$', '$&')
'aa'.replace('a', 'b', -1)
'abcabc'.find('c')
'abcabc'.rfind('c')
'abcabc'.find('x')
'a\U0001f600c'.find('c')
'abcabc'.find('c', 3)
'abcabc'.find('c', 3, 5)
'abc'.index('x')
'abcabc'.count('b')
'aaa'.count('aa')
'abc'.count('')
', '.join(['a', 'b'])
', '.join([1])
'-'.join('abc')
'abc'.upper()
'straße'.upper()
'ÀÉ'.lower()
'hello wORLD'.capitalize()
'ßa'.capitalize()
''.capitalize()
"they're bill's".title()
"they're bill's friends" | title
'foo-bar baz(qux) [abc] {x} <y' | title
'hello wORLD' | capitalize
'hello wORLD' | title
1 | capitalize
'abc' | upper
'ABC' | lower
none | upper
1 | upper
[1] | upper
'abc'.isdigit()
'123'.isdigit()
''.isdigit()
'１２'.isdigit()
'abc'.isalpha()
'ab1'.isalnum()
' \n'.isspace()
'\x1f'.isspace()
'abc'.islower()
'a1'.islower()
'1'.islower()
'ABC'.isupper()
'42'.zfill(5)
'-42'.zfill(5)
'ab'.ljust(4) ~ '|'
'ab'.rjust(4, '.')
'ab'.center(5, '.')
'abc'.center(6, '.')
'prefix-a'.removeprefix('prefix-')
'a-suffix'.removesuffix('-suffix')
'a'.removesuffix('')
'aB'.swapcase()
'%s-%d' % ('a', 1)
'{}'.format(1)
'a'.encode()
'a'.nothing
'a'.nothing()
'a'.length
messages.length
messages[0].length
messages.size
messages | tojson
messages[0] | tojson
messages[0] | tojson(indent=2)
messages[0] | tojson(indent=4)
{'b': [1, 2, {}], 'a': []} | tojson(indent=2)
[1, 2] | tojson(indent=0)
[1, 2] | tojson(indent='--')
{'b': 1, 'a': 2} | tojson(sort_keys=true)
{'a': [1, 2]} | tojson(separators=(',', ':'))
{'a': [1, 2]} | tojson(separators=(',', ':'), indent=1)
'é\U0001f600<>&\'' | tojson
'é\U0001f600\x7f' | tojson(ensure_ascii=true)
'\x00\x1f\x7f\x85\u2028"\\/' | tojson
{1: none, none: 1.0} | tojson
1e100 | tojson
1.0 | tojson
(1, 'a') | tojson
missing | tojson
range(3) | tojson
'a' | tojson(true)
none | tojson
true | tojson
'a' | safe
'a' | safe | length
'<' ~ ('>' | safe)
'<' | escape
'<' | e
[1, 2] | join
[1, 2] | join(', ')
['a', none, true] | join('-')
messages | join('|', attribute='role')
messages | join(attribute='role', d='|')
'abc' | join('-')
missing | join
none | join
[1, [2]] | join(',')
messages | map(attribute='role') | list
messages | map(attribute='role') | join(',')
messages | map(attribute='x') | list
messages | map(attribute='x', default='-') | list
messages | map(attribute='role.0') | list
['a', 'b'] | map('upper') | list
[' a ', 'b '] | map('trim') | list
['a-b', 'c-d'] | map('replace', '-', '+') | list
[[1, 2], [3]] | map('first') | list
['a'] | map('nothing') | list
['a'] | map | list
messages | map('upper') | first
messages | map(attribute='role')
messages | map(attribute='role') | length
(messages | map(attribute='role'))[0]
'yes' if [] | map('upper') else 'no'
'yes' if messages | selectattr('role', 'equalto', 'x') else 'no'
messages | selectattr('role', 'equalto', 'user') | list | length
messages | selectattr('role', '==', 'user') | map(attribute='role') | list
messages | selectattr('role', 'in', ['user', 'system']) | list | length
messages | selectattr('x') | list
messages | selectattr('x', 'defined') | list
messages | rejectattr('role', 'equalto', 'user') | map(attribute='role') | list
messages | rejectattr('x', 'defined') | list | length
messages | selectattr('role', 'nothing') | list
messages | selectattr('role', 'equalto', 'user') | first
messages | selectattr('role', 'equalto', 'user') | last
messages | selectattr('role', 'equalto', 'x') | first
(messages | selectattr('role', 'equalto', 'x') | first) is defined
messages | selectattr | list
[1, 2, 3, 4] | select('odd') | list
[1, 2, 3, 4] | reject('odd') | list
[0, 1, '', 'a', none] | select | list
[0, 1, '', 'a', none] | reject | list
[1, 'a', none] | select('string') | list
[1, 5, 9] | select('gt', 4) | list
[1, 5, 9] | select('>', 4) | list
[3, 1, 2] | sort
[3, 1, 2] | sort(reverse=true)
['b', 'A', 'a', 'B'] | sort
['b', 'A', 'a', 'B'] | sort(case_sensitive=true)
['b', 'A', 'a', 'B'] | sort(reverse=true)
messages | sort(attribute='role') | map(attribute='role') | list
messages | sort(attribute='role,content') | map(attribute='content') | first
[1, 'a'] | sort
[true, 0] | sort
'cab' | sort
{'b': 1, 'a': 2} | sort
[1, 2, 1, 'a', 'A'] | unique | list
[1, 2, 1, 'a', 'A'] | unique(case_sensitive=true) | list
messages | unique(attribute='role') | map(attribute='role') | list
[1, 1.0, true] | unique | list
[[1], [1]] | unique | list
messages | groupby('role') | length
messages | groupby('role') | map(attribute='grouper') | list
messages | groupby('role') | map('first') | list
messages | groupby('x', default='none') | map('first') | list
messages | groupby('role') | map(attribute='list') | map('length') | list
[1, 2, 3, 4, 5] | batch(2) | list
[1, 2, 3, 4, 5] | batch(2, 'x') | list
[1, 2, 3] | slice(2) | list
[1, 2, 3] | sum
[1.5, 2] | sum
[] | sum
messages | sum(attribute='x')
[1, 2] | sum(start=10)
[1, 3, 2] | max
[1, 3, 2] | min
['b', 'A'] | min
[] | max
[1, 'a'] | max
messages | max(attribute='role') | attr('x')
[1, 2] | first
[] | first
[none] | first
'abc' | first
{'a': 1} | first
missing | first
[1, 2] | last
[] | last
'abc' | last
{'a': 1, 'b': 2} | last
1 | first
[1, 2] | reverse
[1, 2] | reverse | list
'abc' | reverse
{'a': 1, 'b': 2} | reverse | list
'abc' | list
{'a': 1} | list
1 | list
none | list
(1, 2) | list
'ab cd' | wordcount
"it's a-b" | wordcount
'a\nb\n\nc' | indent
'a\nb\n\nc' | indent(2)
'a\nb\n\nc' | indent(2, true)
'a\nb\n\nc' | indent(2, true, true)
'a\nb\n\nc' | indent(width=2, blank=true)
'a\nb' | indent('> ')
'a\nb\n' | indent(2) ~ '|'
'' | indent(2, true) ~ '|'
1 | indent
'aXbX' | replace('X', '-')
'aXbX' | replace('X', '-', 1)
'aXbX' | replace('X', '-', count=1)
'aXbX' | replace(old='X', new='-')
1 | replace(1, 2)
'a' | replace('a')
missing | default('x')
none | default('x')
none | default('x', true)
'' | default('x', true)
'' | default('x')
0 | default('x', boolean=true)
missing | default
missing | d('y')
missing.x | default('x')
messages[0].x | default(none)
messages[0].x | default(default_value='q')
'12' | int
' 12 ' | int
'12.7' | int
'a' | int
'a' | int(5)
'a' | int(default=none)
none | int
[] | int
12.7 | int
-12.7 | int
true | int
'1_000' | int
'1e3' | int
'0x1A' | int(base=16)
'inf' | int
missing | int
'1.5' | float
'a' | float
'a' | float(1.5)
3 | float
none | float
'nan' | float
'-inf' | float
'1.' | float
'.5' | float
2.5 | round
3.5 | round
-2.5 | round
2.675 | round(2)
0.125 | round(2)
1.005 | round(2)
2.345 | round(1)
42.55 | round(1, 'floor')
42.51 | round(1, 'ceil')
2.4 | round(method='ceil')
5 | round
5 | round(1)
5 | round(method='floor')
2.5 | round | int
12345.678 | round(-2)
'a' | round
-5 | abs
-5.5 | abs
'a' | abs
true | abs
{'b': 1, 'a': 2} | dictsort
{'b': 1, 'a': 2} | dictsort(by='value')
{'b': 1, 'A': 2, 'a': 3} | dictsort
{'b': 1, 'A': 2, 'a': 3} | dictsort(true)
{'b': 1, 'a': 2} | dictsort(reverse=true)
[1] | dictsort
none | string
1.0 | string
[1, 'a'] | string
true | string
missing | string
'a' | nothing
'abcdef ghi' | truncate(5)
'a b' | urlencode
'a b' | wordwrap(1)
'%s' | format(1)
'<a>' | striptags
{'a': 1} | xmlattr
[1] | pprint
1000 | filesizeformat
'a' is string
1 is string
none is string
missing is string
messages[0] is mapping
messages is mapping
namespace() is mapping
'a' is iterable
1 is iterable
none is iterable
missing is iterable
messages is iterable
messages[0] is iterable
range(1) is iterable
messages | map('upper') is iterable
'a' is sequence
messages is sequence
messages[0] is sequence
1 is sequence
missing is sequence
range(1) is sequence
(messages | map('upper')) is sequence
(1, 2) is sequence
messages is defined
missing is defined
messages[0].x is defined
missing.x is defined
missing is undefined
tools is defined
tools is none
documents is none
none is none
missing is none
false is none
true is true
1 is true
false is false
0 is false
true is boolean
1 is boolean
1 is integer
true is integer
1.0 is integer
1.0 is float
1 is number
1.0 is number
true is number
'1' is number
range is callable
messages is callable
'a'.strip is callable
missing is callable
none is sameas none
1 is sameas true
true is sameas true
false is sameas(false)
messages is sameas messages
'a' is sameas 'a'
1 is in [1, 2]
1 is not in [1, 2]
1 is in(1, 2)
'a' is in 'abc'
4 is divisibleby 2
4 is divisibleby(3)
4 is not divisibleby(3)
3 is odd
-3 is odd
3 is even
'a' is odd
1.0 is odd
'abc' is lower
'aBc' is lower
'ABC' is upper
'' is upper
1 is eq 1
1 is eq(1.0)
1 is equalto 2
1 is ne 2
3 is gt 2
3 is greaterthan 2
3 is lt 2
3 is ge 3
3 is == 3
'a' is nothing
none is not none
messages[0].role is eq messages[0]['role']
'a' is string and 'b' is string
not 'a' is string
1 is string or 2 is string
1 + 1 is string
'x' is defined | string
1 is defined is string
'a' is string if 1 else 2
(1 is string) == false
1 is eq 1 and 2 is eq 2
-1 | abs
-1 | string | length
2 * 3 | string
'a' ~ 'b' | upper
'a' + 'b' | upper
('a' + 'b') | upper
[1, 2] | first + 1
'a'.upper().lower().strip()
'a,b'.split(',')[0].upper()
[[1, 2], [3]][0][1]
{'a': {'b': 'c'}}.a.b
messages[0]['content'].split(' ')[-1]
messages[2].content.split('</think>')[-1].lstrip('\n')
messages[2].content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n')
messages[3].content.strip()
messages[3].content | trim | length
messages[1].content | trim
messages[1].content | length
messages[1].content.upper()
messages[1].content | tojson
messages[1].content[2:4]
[messages[3].content]
'a' if messages[0].role == 'system' and messages | length > 1 else 'b'
(messages[0].role == 'user') != (1 % 2 == 0)
messages[1:] | length
(messages | length) - 1
messages | length - 1
messages[messages | length - 1].role
raise_exception('no')
raise_exception()
cycler(1, 2)
joiner(',')() ~ 'x'
[1, 2,]
{'a': 1,}
[1 2]
{'a' 1}
f(1 2)
1 2
a.b.
'abc
(1
1)
[1, 2
a b
a is
| upper
1 +
1, 2
messages | selectattr('role', 'eq', 'user') | list | tojson(indent=1)
not not 1
1 if 1 if 1 else 2 else 3
- - 1
not 1 == 2
'a' in 'abc' == true
'a' in ['a'] and 'b' not in ['a']
{'a': 1}.a
{'a': 1} . a
messages [0] . role
range (2) | list
(messages)[0].role
((1))
"a" == 'a'
1 != 2
1 <> 2
1 ! 2
a := 1
1 && 2
$
'é' | upper
éa | default('unicode')
true.x
1.5.x
[1,2,3][1:2,3]
'x' % 'y'
messages[0] | dictsort | first | first
'1' | int + 1
(1, 2) | tojson
{'a': (1, 2)}
[1, 2] | string | length
('a', 'b') in [('a', 'b')]
dict(a=1).items() | list
namespace(a=[1]).a[0]
'a' * 3 ~ 'b'
3 ~ 3 == '33'
[] is iterable and [] is not mapping
messages[0].content is string and messages[0].content is not none
messages[0].tool_calls is defined and messages[0].tool_calls
messages[0].tool_calls | default([]) | length
messages[0].get('tool_calls', []) | length
'user' in messages | map(attribute='role')
'user' in (messages | map(attribute='role') | list)
[1, 2, 3] | map('string') | join('+')
'a\tb' | tojson
'a' ~ missing ~ 'b'
1.0 | int
1e22
1e21 | int
123456789.123
5e-324
1.7976931348623157e308
0.1 * 3
100.0
1/3
2/3*3
10**20
10.0**20
9007199254740993 + 0
9007199254740993
'caf\xe9' | length
"it's" ~ '"'
["a'b"]
['a"b\'c']
'\u00e9'
'a' is string == true
missing | reverse
1 in {true: 1}
true in {1: 2}
{1: 2}[true]
{1: 2}[1.0]
{1: 2}.get(1.5)
[1] in {1: 2}
'\ufeff1x' | float
tools[1:]
range(3)[1:]
""".strip("\n")

TEMPLATES = [
    # Controls
    "{% for i in [1, 2, 3] %}a{{ i }}{% if i == 2 %}{% continue %}{% endif %}b{% endfor %}",
    "{% for i in [1, 2, 3] %}a{{ i }}{% if i == 2 %}{% break %}{% endif %}b{% endfor %}",
    "{% for i in [1, 2] %}x{% continue %}{% else %}none{% endfor %}",
    "{% for i in [1, 2] %}x{% break %}{% else %}none{% endfor %}",
    "{% for i in [] %}x{% else %}none{% endfor %}",
    "{% for i in [1, 2] if i > 5 %}x{% else %}none{% endfor %}",
    "{% for i in [1, 2] %}[{% for j in [1, 2, 3] %}{{ i }}{{ j }}{% if j == 2 %}{% break %}{% endif %},{% endfor %}]{% endfor %}",
    "{% for i in [1, 2] %}[{% for j in [1, 2] %}{{ j }}{% continue %}x{% endfor %}]{% if i == 1 %}{% continue %}{% endif %}y{% endfor %}",
    "{% for i in [1, 2] %}a{% set x %}b{{ i }}{% if i == 1 %}{% continue %}{% endif %}c{% endset %}{{ x }}d{% endfor %}",
    "{% for i in [1, 2] %}a{% filter upper %}b{% if i == 1 %}{% continue %}{% endif %}c{% endfilter %}d{% endfor %}",
    "{% for i in [1, 2] %}{% if i == 1 %}one{% elif i == 2 %}two{% break %}{% else %}other{% endif %}.{% endfor %}",
    "{% for i in [] %}{% else %}{% for j in [1] %}{% break %}{% endfor %}e{% endfor %}",
    "{% for i in [1] %}{% for j in [] %}{% else %}x{% continue %}y{% endfor %}z{% endfor %}",
    "{% for i in [1] %}{% continue %}{% endfor %}",
    # Names
    "{% for i in [1, 2] %}{% if i == 1 %}{% set x = 'set' %}{% endif %}[{{ x }}]{% endfor %}[{{ x }}]",
    "{% set x = 0 %}{% for i in [1, 2] %}{{ x }}{% set x = x + 1 %}{{ x }};{% endfor %}{{ x }}",
    "{% set ns = namespace(x=0) %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace() %}{% set ns.a = 'b' %}{{ ns.a }}{{ ns }}",
    "{% set d = {} %}{% set d.a = 1 %}{{ d }}",
    "{% if true %}{% set x = 1 %}{% endif %}{{ x }}",
    "{% set x %}a{% set y = 1 %}{% endset %}{{ x }}[{{ y }}]",
    "{% filter upper %}a{% set y = 1 %}{% endfilter %}[{{ y }}]",
    "{% generation %}a{% set y = 1 %}{{ y }}{% endgeneration %}[{{ y }}]",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set a, b = [1, 2, 3] %}{{ a }}",
    "{% set a = b = 1 %}",
    "{% set x = 1, 2 %}{{ x }}",
    "{% set messages = messages[1:] %}{{ messages | length }}",
    "{% set content = 'x' %}{% for m in messages %}{% set content = m.role %}{{ content }} {% endfor %}{{ content }}",
    "{% for i in [1, 2] %}{{ i }}{% endfor %}[{{ i }}][{{ loop }}]",
    "{% set i = 9 %}{% for i in [1, 2] %}{{ i }}{% endfor %}{{ i }}",
    "{% for a, b in [[1, 2], [3, 4]] %}{{ a }}{{ b }}{% endfor %}",
    "{% for a, b in {'x': 1, 'y': 2}.items() %}{{ a }}={{ b }} {% endfor %}",
    "{% for a, b in {'x': 1} | items %}{{ a }}={{ b }}{% endfor %}",
    "{% for k in {'x': 1, 'y': 2} %}{{ k }}{% endfor %}",
    "{% for k, v in {'b': 1, 'a': 2} | dictsort %}{{ k }}{{ v }}{% endfor %}",
    "{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}",
    "{% for a, b in ['xy', 'zw'] %}{{ a }}{{ b }}{% endfor %}",
    "{% for a in 'a\U0001f600' %}[{{ a }}]{% endfor %}",
    "{% for a in missing %}x{% else %}none{% endfor %}",
    "{% for a in none %}x{% endfor %}",
    "{% for a in 1 %}x{% endfor %}",
    "{% for a in (1, 2) %}{{ a }}{% endfor %}",
    "{% for a in 1, 2 %}{{ a }}{% endfor %}",
    "{% for a in [1, 2] if a != 1 %}{{ loop.index }}{{ a }}{% endfor %}",
    "{% for a in ([1, 2] if false) %}{{ a }}{% else %}none{% endfor %}",
    "{% for a in ([1, 2] if false else [3]) %}{{ a }}{% endfor %}",
    "{% for a in [3] if true else [4] %}{{ a }}{% endfor %}",
    "{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ loop.length }}{% endfor %}",
    # loop
    "{% for i in 'abc' %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{% endfor %}",
    "{% for i in 'abc' %}[{{ loop.previtem }}{{ loop.nextitem }}{{ loop.previtem is defined }}]{% endfor %}",
    "{% for i in 'abc' %}{{ loop.cycle('x', 'y') }}{% endfor %}",
    "{% for i in [1, 1, 2] %}{{ loop.changed(i) }}{% endfor %}",
    "{% for i in [1] %}{{ loop.depth }}{{ loop.depth0 }}{% for j in [1] %}{{ loop.depth }}{% endfor %}{% endfor %}",
    "{% for i in [1] %}{{ loop.nothing }}{% endfor %}",
    "{% for i in [1, 2] %}{% for j in [1] %}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% for i in [1, 2] %}{% set outer = loop %}{% for j in [1] %}{{ outer.index }}{% endfor %}{% endfor %}",
    "{% for i in [[1, [2]], [3]] recursive %}{{ loop.depth }}{% endfor %}",
    "{% for m in messages %}{% if loop.last and add_generation_prompt %}!{% endif %}{{ loop.index0 % 2 == 0 }}{% endfor %}",
    "{% for i in [1, 2] %}{{ ', ' if not loop.first }}{{ i }}{% endfor %}",
    # Iterators are used up, and always true.
    "{% set g = messages | map(attribute='role') %}{{ g | list | length }}{{ g | list | length }}",
    "{% set g = messages | selectattr('role', 'eq', 'nobody') %}{% if g %}yes{% else %}no{% endif %}",
    "{% set g = messages | selectattr('role', 'eq', 'user') %}{{ g | first | tojson }}{% for m in g %}{{ m.role }}{{ loop.last }}{% endfor %}",
    # Macros
    "{% macro f(a, b='x') %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(1, 2) }}{{ f(b=3, a=4) }}",
    "{% macro f(a) %}[{{ a }}{{ a is defined }}]{% endmacro %}{{ f() }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=1) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, a=1) }}",
    "{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}",
    "{% macro f(a, b=a) %}{{ b }}{% endmacro %}{{ f(7) }}",
    "{% set x = 1 %}{% macro f() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ f() }}",
    "{% macro f() %}[{{ y }}]{% endmacro %}{% for y in [1] %}{{ f() }}{% endfor %}",
    "{% macro f() %}[{{ loop }}]{% endmacro %}{% for y in [1] %}{{ f() }}{% endfor %}",
    "{% macro f() %}{% set z = 1 %}{% endmacro %}{{ f() }}[{{ z }}]",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "{% macro f() %} a {% endmacro %}{{ f() | trim }}{{ f() | length }}",
    "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}body{% endcall %}",
    "{% macro f() %}{{ caller(1) }}{{ caller(2) }}{% endmacro %}{% call(x) f() %}[{{ x }}]{% endcall %}",
    "{% macro f() %}a{% endmacro %}{% call f() %}body{% endcall %}",
    "{% macro f(caller=none) %}{{ caller() if caller else 'no' }}{% endmacro %}{{ f() }}{% call f() %}body{% endcall %}",
    "{% macro f() %}{{ caller() }}{% endmacro %}{% set x = 1 %}{% call f() %}{{ x }}{% set x = 2 %}{% endcall %}{{ x }}",
    "{% macro f(x) %}{{ x.role }}{% endmacro %}{% for m in messages %}{{ f(m) }}{% endfor %}",
    "{% macro f() %}{% for i in [1, 2] %}{{ i }}{% continue %}x{% endfor %}{% endmacro %}{{ f() }}",
    "{% for i in [1] %}{% macro f() %}{% break %}{% endmacro %}{{ f() }}{% endfor %}",
    "{% macro f %}{% endmacro %}",
    "{{ f() }}{% macro f() %}a{% endmacro %}",
    "{% if true %}{% macro f() %}a{% endmacro %}{% endif %}{{ f() }}",
    "{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(**{'a': 3, 'b': 4}) }}",
    "{% macro f(a=1, b) %}{% endmacro %}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(none) }}{{ f(a=none) }}",
    "{% macro f(a=5) %}{{ a }}{% endmacro %}{{ f(none) }}{{ f(a=none) }}{{ f() }}",
    # Filter blocks and set blocks
    "{% filter upper %}a{{ 'b' }}{% endfilter %}",
    "{% filter replace('a', 'b') %}aaa{% endfilter %}",
    "{% filter upper | trim %} a {% endfilter %}",
    "{% filter indent(2) %}a\nb{% endfilter %}",
    "{% set x %}a\n{% endset %}[{{ x }}]",
    "{% set x | upper %}a{% endset %}{{ x }}",
    "{% with a = 1 %}{{ a }}{% endwith %}",
    # What needs files or more
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% block a %}b{% endblock %}",
    "{% do 1 %}",
    "{% autoescape true %}{{ '<' }}{% endautoescape %}",
    "{% trans %}a{% endtrans %}",
    "{% nothing %}",
    "{% %}",
    "{% if %}{% endif %}",
    "{% if 1 %}a",
    "{% if 1 %}a{% endfor %}",
    "{% for a in b %}",
    "{% endif %}",
    "{% else %}",
    "{{ 1",
    "{% if 1",
    "{# a",
    "{{ }}",
    "a }} b %} c #}",
    "{ { a } } {a} {",
    # White space
    "a\n",
    "a\n\n",
    "\n",
    "",
    "a\r\nb\rc\r\n",
    "a\r\n{% if 1 %}\r\nb\r\n{% endif %}\r\nc",
    "  {% if 1 %}\n  a\n  {% endif %}\n  b",
    "  {%- if 1 %}\n  a\n  {%- endif %}\n  b",
    "  {% if 1 -%}\n  a\n  {% endif -%}\n  b",
    "x  {% if 1 %}  a  {% endif %}  b",
    "x\n\n  {%- if 1 -%}\n\n  a\n\n  {%- endif -%}\n\n  b",
    "  {%+ if 1 %}a{% endif %}",
    "{% if 1 +%}\na{% endif +%}\nb",
    "{% if 1 %}\n\na{% endif %}\n\nb",
    "  {{ 1 }}  \n  {{ 2 }}\n",
    "  {{- 1 -}}  \n  {{- 2 -}}\n",
    "a {{- ' b ' -}} c",
    "  {# c #}\n  a {# d #} b",
    "a\n  {#- c -#}\n  b",
    "a {#- c #} b",
    "a {# c -#} b",
    "{# c +#}\na",
    "{##}a{#-#}b",
    "{# {{ a }} {% b %} #}x",
    "a{# \n\n #}\n{{ missing() }}",
    "\t{% if 1 %}a{% endif %}",
    "\u00a0{% if 1 %}a{% endif %}",
    "\ufeff{% if 1 %}a{% endif %}",
    "a\n\ufeff {%- if 1 %}b{% endif %}",
    "a\x85{%- if 1 %}b{% endif %}",
    "a\u3000{{- 1 -}}\u2003b",
    "{% if 1 %} {% if 1 %}a{% endif %} {% endif %}",
    "{% if 1 %}\n {% if 1 %}a{% endif %}\n {% endif %}",
    "{{ 1 }} {% if 1 %}a{% endif %}",
    "{{ 1 }}\n {% if 1 %}a{% endif %}",
    "{% if 1 -%}\n {% if 1 %}a{% endif %}{% endif %}",
    "{% if 1 -%}\n{% if 1 %}a{% endif %}{% endif %}",
    "{{ 1 -}}\n {% if 1 %}a{% endif %}",
    "{# c #} {% if 1 %}a{% endif %}",
    "{# c #}\n {% if 1 %}a{% endif %}",
    "{%if 1%}a{%endif%}{{1}}{{'a'}}",
    "{%- if 1 -%} a {%- endif -%} ",
    "{{-1}}{{ -1 }}{{ - 1 }}",
    "a{{-'b'-}}c",
    "{'a': {{ 1 }}}",
    "{{ {'a': {'b': 1}} }}",
    "{{ {'a': {'b': 1}}}}",
    "{{ '}}' }}{{ '%}' }}{% if '%}' %}a{% endif %}{{ '{{' }}",
    "{{ '{# x #}' }}{{ \"{% raw %}\" }}",
    "-}\n x -%}\n y",
    "  {-\n",
    "{{ 'a\n  {% b' }}",
    "{% raw %}{{ a }}{% b %}{# c #}{% endraw %}d",
    "  {% raw %}\n  {{ a }}\n  {% endraw %}\n  d",
    "x {%- raw -%} {{ a }} {%- endraw -%} y",
    "{% raw %}\n\n{% if %}\n{% endraw %}\n\nx",
    "{% raw %}a",
    "a {% raw %} {% if 1 %} {% endraw %} {% if 1 %}b{% endif %}",
    "# for i in [1]\n## a\n{{ 1 }}",
    "{% if 1 %}a{% endif %}{# line\nline #}\n\n{{ 1 }}\n",
    "{% set x = 'a' -%}\n\n{%- set y = 'b' %}\n{{ x }}{{ y }}",
    "{% for i in [1, 2] %}\n  {{ i }}\n{% endfor %}\nx",
    "{% for i in [1, 2] -%}\n  {{ i }}\n{%- endfor %}\nx",
    "{%- for i in [1, 2] %}\n    {%- if i == 1 %}\n        {{- 'one ' }}\n    {%- else %}\n        {{- 'two ' }}\n    {%- endif %}\n{%- endfor %}",
    "{% generation %}a{% endgeneration %}b",
    "x\n  {% generation %}\n  a\n  {% endgeneration %}\n  b",
    "x  {%- generation -%}  a  {%- endgeneration -%}  b",
    "{% for i in [1] %}{% generation %}{{ i }}{% endgeneration %}{% endfor %}",
    "{% for i in [1] %}{% generation %}{% break %}{% endgeneration %}{% endfor %}",
    "{% if 0 %}a{% elif 0 %}b{% elif 1 %}c{% else %}d{% endif %}",
    "{% if 0 %}a{% elif 0 %}b{% else %}d{% endif %}{% if 1 %}{% if 0 %}{% elif 1 %}x{% endif %}{% endif %}",
    "{% if 0 %}{% elif 1 %}{% if 0 %}{% elif 0 %}{% else %}y{% endif %}z{% endif %}",
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}{% endif %}{{ loop_messages | length }}",
    "{% if not tools is defined %}a{% endif %}{% if tools is not none %}b{% endif %}{% if tools %}c{% endif %}",
    "{% if not enable_thinking is defined %}{% set enable_thinking = true %}{% endif %}{{ enable_thinking }}",
    "{% if enable_thinking is defined and enable_thinking is false %}a{% endif %}b",
    "{% for m in messages %}{{ m['role'] }}{% if m.content is string %}{{ m.content | trim }}{% else %}{% for c in m.content %}{{ c.text }}{% endfor %}{% endif %}{{ '\\n' }}{% endfor %}",
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}a{% else %}b{% endif %}{% endfor %}",
    "{% for m in messages[::-1] %}{{ m.role }}{% endfor %}",
    "{% for m in messages | reverse %}{{ m.role }}{% endfor %}",
    "{% set ns = namespace(last=-1) %}{% for m in messages[::-1] %}{% set index = (messages | length - 1) - loop.index0 %}{% if m.role == 'user' and ns.last < 0 %}{% set ns.last = index %}{% endif %}{% endfor %}{{ ns.last }}",
    "{% for m in messages %}{% if '</think>' in m.content %}{% set r = m.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}{{ r | tojson }}{{ m.content.split('</think>')[-1].lstrip('\\n') }}{% endif %}{% endfor %}",
    "{% set first_user = none %}{% for m in messages if m.role == 'user' %}{% if loop.first %}{{ m.content.strip() }}{% endif %}{% endfor %}",
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}",
    "{{ messages | map(attribute='content') | map('trim') | join('\\n') }}",
    "{% set roles = ['user', 'assistant'] %}{% for m in messages %}{% if m.role not in roles %}{{ raise_exception('Only ' + roles | join(' and ')) }}{% endif %}{% endfor %}",
    "{% macro say(role, text) -%}\n<{{ role }}>\n{{ text | trim }}\n{%- endmacro %}\n{% for m in messages %}\n{{ say(m.role, m.content) }}\n{% endfor %}\n",
    "{%- set sep = joiner('|') -%}{% for m in messages %}{{ sep() }}{{ m.role }}{% endfor %}",
    "{% set x = {'a': 1} %}{% set y = dict(x, b=2) %}{{ y }}{{ x }}",
    "{% set true = 1 %}",
    "{% for loop in [1] %}{{ loop }}{% endfor %}",
    "{% set caller = 1 %}{{ caller }}",
    "{{ range }}",
    "{{ messages[0].items }}",
    "{% macro f() %}{% endmacro %}{{ f }}",
    "{{ 1 }}\n{{ 2 }}\n\n{{ missing.x }}",
]


FOLDER = pathlib.Path(__file__).parent
ROOT = FOLDER.parents[2]

# Talks for whole templates: with and without a system message, one question, an answer at the end, and quotes.
TALKS = [
    TALK,
    TALK[1:],
    TALK[1:2],
    TALK[:3],
    [{"role": "user", "content": "/no_think a'b\"c\\ [INST]"}, {"role": "assistant", "content": "\n<think></think>x"}, TALK[3]],
]


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "What the \"weather\" is, in <|im_end|> °C",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Where"},
                    "days": {"type": "integer", "minimum": 1},
                    "scale": {"enum": ["C", "F"], "default": None},
                },
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}}},
]


def call(id, name, arguments):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


# With tools: a question, a call and its result, two calls at once with words and thoughts, and a switch. Arguments are a
# dict for transformers, and text in the API.
TOOL_TALKS = [
    {"messages": [TALK[0], {"role": "user", "content": "Is it warm?"}]},
    {
        "messages": [
            {"role": "user", "content": "Is it warm?"},
            {"role": "assistant", "content": "", "tool_calls": [call("abcdefghi", "get_weather", {"city": "Zü'rich \"x\" </tool_call>", "days": 2, "mean": 1.0, "big": 12345678901234567890, "deep": {"a": [True, None]}})]},
            {"role": "tool", "tool_call_id": "abcdefghi", "name": "get_weather", "content": "{\"t\": 22.5} <|im_end|>"},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "Is it warm?"},
            {
                "role": "assistant",
                "content": "I look.",
                "reasoning_content": "Two calls",
                "thinking": "Two calls",
                "tool_calls": [call("abcdefghi", "get_weather", {"city": "Bern"}), call("bcdefghij", "now", {})],
            },
            {"role": "tool", "tool_call_id": "abcdefghi", "name": "get_weather", "content": "22"},
            {"role": "tool", "tool_call_id": "bcdefghij", "name": "now", "content": "12:00"},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "Thanks"},
        ]
    },
    {"messages": [{"role": "user", "content": "Is it warm?"}], "variables": {"enable_thinking": False}},
    {"messages": [{"role": "user", "content": "Is it warm?"}], "tools": None},
]


def as_api(talk):
    """A talk as clients send it: arguments are JSON in a text."""
    talk = json.loads(json.dumps(talk))
    for message in talk["messages"]:
        message.pop("thinking", None)
        for made in message.get("tool_calls", []):
            made["function"]["arguments"] = json.dumps(made["function"]["arguments"], ensure_ascii=False)
    return talk


TOOL_TEMPLATES = ["qwen2.5-instruct", "qwen3", "mistral-nemo", "tools/llama", "tools/lfm", "tools/gemma"]


def whole_templates():
    """The .jinja files of this folder, and those in the sources that are one string in double quotes."""
    for path in sorted(FOLDER.glob("*.jinja")):
        yield path.name, path.read_bytes().decode()
    for path in ["test/fixtures/chat-templates.ts", "host/text/template/templates.ts"]:
        source = (ROOT / path).read_text()
        for name, text in re.findall(r"^(?:export const |  )(\w+)(?: =|:)\s*(\"(?:[^\"\\]|\\.)*\")", source, re.M):
            yield name, json.loads(text)


def main():
    templates = ["{{ " + line + " }}" for line in EXPRESSIONS.replace("\\\nb", "\\@b").split("\n")]
    cases = [{"template": template.replace("\\@b", "\\\nb")} for template in templates]
    cases += [{"template": template} for template in TEMPLATES]
    for case in cases:
        case["expected"] = render(case["template"])
    wholes = [
        {"name": name, "talk": i, "prompted": prompted, "expected": render(template, talk, prompted)}
        for name, template in whole_templates()
        for i, talk in enumerate(TALKS)
        for prompted in (True, False)
    ]
    tool_wholes = [
        {
            "name": name,
            "talk": i,
            "expected": render(
                (FOLDER / f"{name}.jinja").read_text(),
                talk["messages"],
                True,
                tools=talk.get("tools", TOOLS),
                **talk.get("variables", {}),
            ),
        }
        for name in TOOL_TEMPLATES
        for i, talk in enumerate(TOOL_TALKS)
    ]
    parts = [
        f'"{key}": [\n' + ",\n".join(json.dumps(value) for value in values) + "\n]"
        for key, values in (
            ("talks", TALKS),
            ("cases", cases),
            ("wholes", wholes),
            ("tools", TOOLS),
            ("toolTalks", map(as_api, TOOL_TALKS)),
            ("toolWholes", tool_wholes),
        )
    ]
    (FOLDER / "cases.json").write_text("{" + ",\n".join(parts) + "}\n")
    print(f"{len(cases)} cases and {len(wholes)} prompts with Python {sys.version.split()[0]} and Jinja {jinja2.__version__}")


if __name__ == "__main__":
    main()
