"""Byte-level BPE: learns merges, encodes text, reads and writes Hugging Face's tokenizer.json.

The same cut of a text into words as GPT-2, so the result is read by the runtime, by `gta.wasm` and by `tokenizers`.
Sennrich et al., 2016 (merges); Radford et al., 2019 (bytes as letters). Ids: control tokens, then the 256 bytes, then merges.
"""
from __future__ import annotations

import heapq
import json
from collections import Counter, defaultdict
from pathlib import Path

import regex

WORDS = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
CONTROL = ["<|endoftext|>", "<|pad|>"]  # ids 0 (begins and ends a document) and 1
END_OF_TEXT = 0


def _byte_letters() -> list[str]:
    """A printable letter for every byte: itself where it is one, else the next free code point from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, free = [""] * 256, 256
    for byte in range(256):
        if byte in printable:
            letters[byte] = chr(byte)
        else:
            letters[byte], free = chr(free), free + 1
    return letters


LETTERS = _byte_letters()
BYTES = {letter: byte for byte, letter in enumerate(LETTERS)}
Pair = tuple[str, str]


def _spell(word: str) -> list[str]:
    return [LETTERS[byte] for byte in word.encode()]


def _merge(word: list[str], pair: Pair) -> list[str]:
    out, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


def learn(text: str, vocab_size: int) -> "Tokenizer":
    """Learns merges from a text until the vocabulary has `vocab_size` tokens. Ties go to the pair that sorts first."""
    counted = Counter(WORDS.findall(text))
    words = [_spell(word) for word in counted]
    counts = list(counted.values())
    pairs: Counter[Pair] = Counter()
    places: dict[Pair, set[int]] = defaultdict(set)
    for i, word in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += counts[i]
            places[pair].add(i)
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    tokens = CONTROL + sorted(LETTERS)
    merges: list[Pair] = []
    while len(tokens) < vocab_size:
        if not heap:
            raise ValueError(f"the text gives {len(tokens)} tokens, expected {vocab_size}: use more text, or a smaller vocabulary")
        count, pair = heapq.heappop(heap)
        if pairs.get(pair, 0) != -count or count == 0:
            continue  # an older count of a pair that was merged away meanwhile
        merges.append(pair)
        tokens.append(pair[0] + pair[1])
        changed: set[Pair] = set()
        for i in places.pop(pair):
            for old in zip(words[i], words[i][1:]):
                pairs[old] -= counts[i]
                changed.add(old)
            words[i] = _merge(words[i], pair)
            for new in zip(words[i], words[i][1:]):
                pairs[new] += counts[i]
                places[new].add(i)
                changed.add(new)
        for other in changed:
            if pairs[other] > 0:
                heapq.heappush(heap, (-pairs[other], other))
            else:
                del pairs[other]
    return Tokenizer({token: i for i, token in enumerate(tokens)}, merges)


class Tokenizer:
    def __init__(self, vocab: dict[str, int], merges: list[Pair]):
        self.vocab, self.merges = vocab, merges
        self.ranks = {pair: i for i, pair in enumerate(merges)}
        self.tokens = {i: token for token, i in vocab.items()}
        self._cache: dict[str, list[int]] = {}

    @staticmethod
    def read(path: Path) -> "Tokenizer":
        """Reads the tokenizer.json of a byte-level BPE. ValueError where it is another kind."""
        document = json.loads(path.read_text(encoding="utf-8"))
        model = document["model"]
        cut = (document.get("pre_tokenizer") or {}).get("type")
        if model["type"] != "BPE" or cut != "ByteLevel":
            raise ValueError(f"{path}: expected a BPE that cuts as GPT-2 does (ByteLevel), found {model['type']} with {cut}")
        merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
        return Tokenizer(model["vocab"], merges)

    def write(self, path: Path) -> None:
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        control = [
            {"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for i, token in enumerate(CONTROL)
        ]
        model = {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": self.vocab, "merges": [f"{a} {b}" for a, b in self.merges],
        }  # fmt: skip
        document = {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": control, "normalizer": None,
            "pre_tokenizer": byte_level, "post_processor": {**byte_level, "trim_offsets": False}, "decoder": byte_level,
            "model": model,
        }  # fmt: skip
        path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")

    def encode(self, text: str) -> list[int]:
        """Token ids of a text. A control token that is written out in it is text like any other."""
        ids: list[int] = []
        for word in WORDS.findall(text):
            known = self._cache.get(word)
            if known is None:
                known = self._cache[word] = self._encode_word(word)
            ids += known
        return ids

    def _encode_word(self, word: str) -> list[int]:
        parts = _spell(word)
        while len(parts) > 1:
            rank, pair = min((self.ranks.get(pair, len(self.ranks)), pair) for pair in zip(parts, parts[1:]))
            if rank == len(self.ranks):
                break
            parts = _merge(parts, pair)
        return [self.vocab[part] for part in parts]

    def decode(self, ids: list[int]) -> str:
        letters = "".join(self.tokens[i] for i in ids if i >= len(CONTROL))
        return bytes(BYTES[letter] for letter in letters).decode("utf-8", "replace")
