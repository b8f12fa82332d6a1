"""SentencePiece models and the ids that SentencePiece gives: python3 generate.py, with python3-sentencepiece of Debian 12
(0.1.97). Models are trained on docs/ of this repository; hand-made ones have what no training makes."""
import glob
import gzip
import io
import json
import os
import random
import struct

import sentencepiece as spm

random.seed(16)
here = os.path.dirname(os.path.abspath(__file__))
text = ''.join(open(f, encoding='utf8').read() for f in sorted(glob.glob(here + '/../../../docs/*.md')))
lines = [line for line in text.split('\n') if line.strip()]


def train(**options):
    out = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, minloglevel=2, num_threads=1, vocab_size=400, **options
    )
    return out.getvalue()


# --- protobuf, as much of it as a model needs


def varint(n):
    out = b''
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack('<f', value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def model(pieces, trainer, normalizer):
    out = b''.join(field(1, field(1, p.encode()) + field(2, float(s)) + field(3, t)) for p, s, t in pieces)
    return out + field(2, trainer) + field(3, normalizer)


def read_varint(data, at):
    n = shift = 0
    while True:
        n |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return n, at


def fields(data):
    at = 0
    while at < len(data):
        begin = at
        tag, at = read_varint(data, at)
        if tag & 7 == 0:
            value, at = read_varint(data, at)
        else:
            size, at = read_varint(data, at) if tag & 7 == 2 else (4 if tag & 7 == 5 else 8, at)
            value = data[at : at + size]
            at += size
        yield tag >> 3, value, data[begin:at]


def without_charsmap(data):
    """The model without the rules of its normalizer, which are the same in all models of one name; and these rules."""
    out, charsmap = b'', b''
    for number, value, raw in fields(data):
        if number == 3:
            charsmap = next(v for n, v, _ in fields(value) if n == 2)
            raw = field(3, b''.join(r for n, _, r in fields(value) if n != 2))
        out += raw
    return out, charsmap


NORMAL, UNKNOWN, CONTROL, USER, UNUSED = 1, 2, 3, 4, 5
special = [('<unk>', 0, UNKNOWN), ('<s>', 0, CONTROL), ('</s>', 0, CONTROL)]
letters = [(c, -20 - i / 8, NORMAL) for i, c in enumerate('abcd▁')]
hand_bpe = model(
    special
    + letters
    # Equal scores: the leftmost; unused ones are taken apart again; a user-defined one inside of a piece.
    + [(p, -1, NORMAL) for p in ('ab', 'ba', 'aba', 'abab', 'cc')]
    + [('▁a', -2, UNUSED), ('▁ab', -3, NORMAL), ('cab', -4, UNUSED), ('cabd', -5, UNUSED), ('d▁', -6, NORMAL)]
    + [('dd', 0, USER), ('ddd', 0, USER)],
    field(3, 2),
    field(3, 1) + field(4, 0),
)
hand_unigram = model(
    special
    + letters[:4]
    + [(' ', -3, NORMAL), ('ab', -2.5, NORMAL), ('abc', -2.25, UNUSED), ('bcd', -4, NORMAL), ('cd', 0, USER)]
    + [(' a', -3.5, NORMAL), ('aa', -40, NORMAL)],
    field(3, 1),
    field(3, 1) + field(4, 1) + field(5, 0),
)

rules = os.path.join(here, 'rules.tsv')
with open(rules, 'w') as f:
    f.write('61 62\t78\n61 62 63\t79 20\n61\t61\n65\t\n2014\t20 2D 20\nE4\t61 308\n61 308\tE4\n')
models = {
    'bpe-identity': train(
        model_type='bpe', normalization_rule_name='identity', remove_extra_whitespaces=False, byte_fallback=True,
        character_coverage=0.99,
    ),
    'bpe-nmt': train(
        model_type='bpe', character_coverage=0.99, user_defined_symbols=['<sep>', '  ', 'foo', 'food'],
        control_symbols=['<ctl>'],
    ),
    'unigram-nmt': train(
        model_type='unigram', character_coverage=0.99, user_defined_symbols=['<sep>', 'foo', 'food'],
        control_symbols=['<ctl>'],
    ),
    'unigram-bytes': train(
        model_type='unigram', normalization_rule_name='identity', remove_extra_whitespaces=False, byte_fallback=True,
        add_dummy_prefix=False, character_coverage=0.99,
    ),
    'unigram-suffix': train(
        model_type='unigram', normalization_rule_name='identity', treat_whitespace_as_suffix=True,
        character_coverage=0.99,
    ),
    'unigram-rules': train(model_type='unigram', normalization_rule_tsv=rules, character_coverage=0.99),
    'hand-bpe': hand_bpe,
    'hand-unigram': hand_unigram,
}
os.remove(rules)

odd = '<sep> foo food <ctl> <s> </s> <unk> ▁ ﬁ ① ｶﾞ が か\u3099 ½ Å A\u030a ～ 한국 日本語 👩‍👩‍👧 É ß İ ﷺ … ™ Ω — ä a\u0308 abc cabd ababab dddd'
odd = odd.split(' ') + [' ', '  ', '   ', '\u3000', '\u00a0', '\t', '\n', '\r\n', '\u200b', '\ufeff', '\x00', '\x01']
odd += ['\u0085', '\u2028', '\u1100\u1161\u11a8', '\u0344', '\ufffd', '\u00ad', '\U0010fffd']


def some():
    kind = random.randrange(5)
    if kind == 0:
        return random.choice(odd) + random.choice(odd)
    if kind == 1:
        at = random.randrange(len(text) - 40)
        return text[at : at + random.randrange(1, 40)]
    if kind == 2:
        return ''.join(random.choice('abcd ') for _ in range(random.randrange(1, 12)))
    if kind == 3:
        return ' ' * random.randrange(1, 4)
    return ''.join(chr(random.choice([random.randrange(1, 0x250), random.randrange(0x3000, 0xD7FF)])) for _ in range(3))


texts = ['', ' ', '  ', 'a', ' a ', ' a  b ', '\n', '▁▁a', 'ababab', 'cabd', ' abcd abc'] + odd
texts += [''.join(some() for _ in range(random.randrange(1, 6))) for _ in range(120)]

ids = {}
for name, data in models.items():
    ids[name] = [spm.SentencePieceProcessor(model_proto=data).encode(t) for t in texts]
    if name.endswith('-nmt'):
        data, charsmap = without_charsmap(data)
        with open(f'{here}/nmt_nfkc.charsmap.gz', 'wb') as f:
            f.write(gzip.compress(charsmap, 9, mtime=0))
    with open(f'{here}/{name}.model', 'wb') as f:
        f.write(data)
with open(here + '/cases.json', 'w') as f:
    json.dump({'texts': texts, 'ids': ids}, f, ensure_ascii=True, separators=(',', ':'))
    f.write('\n')
