"""Logits of a checkpoint after some token ids, in float32: to compare this recipe with the runtime (`gta logits`).

    python3 logits.py FOLDER 1,5,9 [FOLDER 0,3 …]        one JSON array of vocab numbers per pair
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from checkpoint import read_safetensors
from config import Config
from model import Decoder


@torch.no_grad()
def last_logits(folder: Path, ids: list[int]) -> list[float]:
    model = Decoder(Config.read(folder))
    model.load_state_dict(read_safetensors(folder / "model.safetensors"))
    return model(torch.tensor([ids]))[0, -1].tolist()


def main() -> None:
    arguments = sys.argv[1:]
    if not arguments or len(arguments) % 2 != 0:
        sys.exit(__doc__)
    for folder, ids in zip(arguments[::2], arguments[1::2]):
        print(json.dumps(last_logits(Path(folder), [int(i) for i in ids.split(",")])))


if __name__ == "__main__":
    main()
