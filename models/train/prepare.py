"""Text files → token files. Documents are separated by a line `<|endoftext|>`.

    python3 prepare.py --tokenizer DIR/tokenizer.json --out data TEXT.txt[.gz] …      one data/TEXT.bin per text
    python3 prepare.py --learn 4096 --out data TEXT.txt …                             … with a tokenizer learned from them

A .bin file is little-endian uint16 (uint32 above 65,536 tokens): every document is its begin token and its tokens.
Tokenizers other than byte-level BPE need the Python package `tokenizers`, and `--begin` names their begin token. `--rename N` writes N further
versions of each document in which the names of children are exchanged, the same name everywhere in a document: a small
collection of stories is learned by heart more slowly. `--simplest BYTES` keeps the documents of plainest words.
Broken UTF-8 is an error that names the place; `--replace-invalid` reads it as U+FFFD and says how often.
"""
from __future__ import annotations

import argparse
import gzip
import random
import re
import sys
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator

import numpy as np

from bpe import CONTROL, Tokenizer, learn
from data import token_type

SEPARATOR = "<|endoftext|>"
MIN_CHARACTERS = 150  # what is shorter is a title or a licence line
PLAIN = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "—": "--", "–": "-", "…": "...", "\u00a0": " ", "\u200b": "", "\ufeff": "",
     "´": "'", "`": "'", "\u2009": " ", "•": "", "\u00ad": "", "″": '"', "′": "'"}
)  # fmt: skip
HEADING = re.compile(
    r"^(chapter|book|part|volume|canto|act|scene|illustration|contents|preface|footnote|the end|finis|[ivxlcdm]+\b[.\-–: ]|[0-9]+\s*$)",
    re.I,
)
GIRLS = "Lily Mia Sara Lucy Anna Emma Jane Sue Amy Mary Lisa Molly Ella Daisy Rosie Sally Kate Bella Lola Mila Zoe Nina Ruby Clara".split()
BOYS = "Tim Tom Ben Max Sam Jack Bob Timmy Billy John Joe Mike Tommy Jim Peter Leo Bobby Johnny Jimmy Fred Luke Adam Charlie Danny".split()
NAMES = re.compile(r"\b(" + "|".join(GIRLS + BOYS) + r")\b")


def read_text(path: Path, replace_invalid: bool) -> str:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        if not replace_invalid:
            sys.exit(f"{path}: expected UTF-8, found byte 0x{data[error.start]:02x} in line {line}: mend it, or give --replace-invalid")
        text = data.decode("utf-8", "replace")
        print(f"{path}: read as U+FFFD: {text.count(chr(0xFFFD))} places, the first in line {line}", file=sys.stderr)
        return text


def clean(document: str) -> str:
    """Plain punctuation, one line per paragraph; without headings, notes in brackets and lines of capitals."""
    document = unicodedata.normalize("NFC", document.translate(PLAIN))
    document = re.sub(r"[_*#|\\^~={}<>]+", "", re.sub(r"\[[^\]]{0,200}\]", "", document))
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", document))
    return "\n".join(paragraph for paragraph in paragraphs if _is_prose(paragraph))


def _is_prose(paragraph: str) -> bool:
    letters = [c for c in paragraph if c.isalpha()]
    if len(letters) < 3 or (len(letters) > 4 and sum(c.isupper() for c in letters) > 0.6 * len(letters)):
        return False
    return not (len(paragraph) < 60 and HEADING.match(paragraph) and not paragraph.startswith("I "))


def documents(path: Path, replace_invalid: bool) -> Iterator[str]:
    # TinyStories has a line per paragraph, the others an empty line between them.
    is_line_per_paragraph = path.name.startswith(("tinystories", "valid_tinystories"))
    for document in read_text(path, replace_invalid).split(SEPARATOR):
        document = clean(document.replace("\n", "\n\n") if is_line_per_paragraph else document)
        if len(document) >= MIN_CHARACTERS:
            yield document


def rename(document: str, chance: random.Random) -> str:
    """Exchanges the names of children for others, girls' for girls' and boys' for boys'."""
    girls, boys = chance.sample(GIRLS, len(GIRLS)), chance.sample(BOYS, len(BOYS))
    new = dict(zip(GIRLS + BOYS, girls + boys))
    return NAMES.sub(lambda match: new[match[0]], document)


def simplest(texts: list[str], common: set[str], limit: int) -> list[str]:
    """Documents with the largest share of common words and the shortest sentences, up to `limit` characters."""

    def plainness(text: str) -> float:
        sample = text[:4000] + text[len(text) // 2 :][:3000]
        words = re.findall(r"[a-z']+", sample.lower())
        sentences = max(1, len(re.findall(r"[.!?]", sample)))
        if len(words) < 100:
            return 0.0
        return sum(word in common for word in words) / len(words) - 0.0008 * max(0.0, len(words) / sentences - 14)

    kept, total = [], 0
    for text in sorted(texts, key=plainness, reverse=True):
        if total >= limit:
            break
        kept.append(text)
        total += len(text)
    return kept


@dataclass(frozen=True)
class Encoder:
    """What packing needs of a tokenizer."""

    encode: Callable[[str], list[int]]
    begin: int
    vocab: int


def open_encoder(path: Path, begin: str) -> Encoder:
    try:
        ours = Tokenizer.read(path)
        vocab, encode = ours.vocab, ours.encode
    except ValueError as error:
        try:
            from tokenizers import Tokenizer as Theirs
        except ImportError:
            sys.exit(f"{error}: install the Python package tokenizers")
        theirs = Theirs.from_file(str(path))
        vocab, encode = theirs.get_vocab(), lambda text: theirs.encode(text, add_special_tokens=False).ids
    if begin not in vocab:
        sys.exit(f"{path}: expected the begin token {begin} in the vocabulary, found none: name it with --begin")
    return Encoder(encode, vocab[begin], max(vocab.values()) + 1)


def write_tokens(path: Path, texts: list[str], encoder: Encoder) -> int:
    kind = token_type(encoder.vocab)
    ids = [np.array([encoder.begin, *encoder.encode(text)], dtype=kind) for text in texts]
    packed = np.concatenate(ids)
    partial = path.with_suffix(".tmp")
    packed.tofile(partial)
    partial.replace(path)
    return len(packed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the .bin files")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--tokenizer", type=Path, help="tokenizer.json of a byte-level BPE")
    source.add_argument("--learn", type=int, metavar="N", help="learn a vocabulary of N tokens, written to OUT/tokenizer.json")
    parser.add_argument("--begin", default=CONTROL[0], help="token that begins a document")
    parser.add_argument("--rename", type=int, default=0, metavar="N", help="N more versions of each document with other names")
    parser.add_argument("--simplest", type=int, metavar="CHARACTERS", help="keep the plainest documents, up to so many characters")
    parser.add_argument("--common", type=Path, nargs="*", default=[], help="texts whose 3000 most frequent words are plain")
    parser.add_argument("--replace-invalid", action="store_true", help="read broken UTF-8 as U+FFFD")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    collections = {path: list(documents(path, args.replace_invalid)) for path in args.texts}
    for path, texts in collections.items():
        if not texts:
            sys.exit(f"{path}: expected documents of at least {MIN_CHARACTERS} characters, found none")
    if args.simplest:
        words: Counter[str] = Counter()
        for path in args.common or args.texts:
            words.update(re.findall(r"[a-z']+", read_text(path, args.replace_invalid).lower()))
        common = {word for word, _ in words.most_common(3000)}
        collections = {path: simplest(texts, common, args.simplest) for path, texts in collections.items()}
    if args.learn:
        args.tokenizer = args.out / "tokenizer.json"
        try:
            learn("\n".join(text for texts in collections.values() for text in texts), args.learn).write(args.tokenizer)
        except ValueError as error:
            sys.exit(str(error))
    encoder = open_encoder(args.tokenizer, args.begin)
    for path, texts in collections.items():
        chance = random.Random(args.seed)
        versions = texts + [rename(text, chance) for _ in range(args.rename) for text in texts]
        chance.shuffle(versions)
        name = path.name.split(".")[0]
        count = write_tokens(args.out / f"{name}.bin", versions, encoder)
        print(f"{name}: {len(versions)} documents, {count} tokens")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(str(error))
