"""Batches from token files, in an order that only the seed decides, so that a run can be interrupted anywhere."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from config import ConfigError


def token_type(vocab: int) -> str:
    """Number type of a token file: little-endian uint16 where the vocabulary allows it, else uint32."""
    return "<u2" if vocab <= 1 << 16 else "<u4"


class Source:
    """Windows of one .bin file, in a new order and from a new offset in each epoch."""

    def __init__(self, path: Path, length: int, seed: int, vocab: int):
        self.tokens = np.memmap(path, dtype=token_type(vocab), mode="r")
        self.windows = (len(self.tokens) - 1) // length - 1
        if self.windows < 1:
            raise ConfigError(f"{path}: must hold more than {2 * length + 1} tokens, found {len(self.tokens)}")
        largest = int(self.tokens.max())
        if largest >= vocab:
            raise ConfigError(f"{path}: token ids must be below vocab_size {vocab}, found {largest}: prepare it with this model's tokenizer")
        self.length, self.seed, self.position = length, seed, 0
        self._epoch, self._order, self._offset = -1, np.empty(0), 0

    def next(self) -> np.ndarray:
        """(length + 1) ids"""
        epoch, i = divmod(self.position, self.windows)
        if epoch != self._epoch:
            chance = np.random.RandomState((self.seed * 1_000_003 + epoch) % 2**32)
            self._epoch, self._order, self._offset = epoch, chance.permutation(self.windows), int(chance.randint(self.length))
        self.position += 1
        start = int(self._order[i]) * self.length + self._offset
        return self.tokens[start : start + self.length + 1].astype(np.int64)


class Mixture:
    """Draws every window from a source by the shares of the current phase.

    phases: [{"until": 0.6, "tinystories": 3, "kids": 1}, {"until": 1, …}], `until` as a fraction of all steps."""

    def __init__(self, folder: Path, phases: list[dict[str, float]], length: int, seed: int, vocab: int):
        names = sorted({name for phase in phases for name in phase if name != "until"})
        self.phases, self.seed = phases, seed
        self.sources = {name: Source(folder / f"{name}.bin", length, seed, vocab) for name in names}

    def batch(self, step: int, steps: int, size: int) -> tuple[Tensor, Tensor]:
        """ids and targets of a step, (size, length) each."""
        phase = next(p for p in self.phases if step < p["until"] * steps or p is self.phases[-1])
        names = [name for name in phase if name != "until"]
        shares = np.array([phase[name] for name in names])
        chance = np.random.RandomState((self.seed * 7_368_787 + step) % 2**32)
        drawn = chance.choice(len(names), size=size, p=shares / shares.sum())
        windows = torch.from_numpy(np.stack([self.sources[names[i]].next() for i in drawn]))
        return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()

    def positions(self) -> dict[str, int]:
        return {name: source.position for name, source in self.sources.items()}

    def restore(self, positions: dict[str, int]) -> None:
        for name, source in self.sources.items():
            source.position = positions[name]


def windows(path: Path, length: int, vocab: int) -> list[tuple[Tensor, Tensor]]:
    """A held-out file in windows that restart at position 0, as `gta eval` cuts a text; the last one may be shorter."""
    tokens = np.fromfile(path, dtype=token_type(vocab)).astype(np.int64)
    if len(tokens) < 2 or tokens.max() >= vocab:
        raise ConfigError(f"{path}: must hold two ids or more below {vocab}")
    cut = []
    for start in range(0, len(tokens) - 1, length):
        part = torch.from_numpy(tokens[start : start + length + 1])
        cut.append((part[None, :-1], part[None, 1:]))
    return cut
