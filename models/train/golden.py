"""References for the tests of the runtime: float64 logits, greedy tokens and losses of a checkpoint.

    python3 golden.py FOLDER --text FOLDER/valid_slice.txt

Writes golden.json and files of logits (golden-case*.f32) beside the weights. The decoder here agrees with independent float64 references of
every attention kind (test/train.test.ts), so it may serve as one. Greedy ids are those of float64, with the margin to the
second best logit.
"""
from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch

from bpe import END_OF_TEXT, Tokenizer
from checkpoint import read_safetensors
from config import Config
from model import Decoder

PROMPTS = ("Once upon a time there was a little", "The old king had three sons, and", '"Where are you going?" asked the fox.')
GREEDY, FED, TOP = 64, 8, 20


@torch.no_grad()
def case(model: Decoder, tokenizer: Tokenizer, folder: Path, index: int, prompt: str) -> dict:
    prompt_ids = [END_OF_TEXT, *tokenizer.encode(prompt)]
    ids, margins, states = list(prompt_ids), [], {}
    for fed in range(GREEDY + 1):
        logits = model(torch.tensor([ids]))[0, -1]
        if fed in (0, FED):
            name = "prefill" if fed == 0 else "after8"
            logits.float().numpy().astype("<f4").tofile(folder / f"golden-case{index}-{name}.f32")
            best = logits.topk(TOP)
            states[name] = {"ids": best.indices.tolist(), "logits": best.values.tolist()}
        if fed < GREEDY:
            first, second = logits.topk(2).values.tolist()
            margins.append(first - second)
            ids.append(int(logits.argmax()))
    greedy = ids[len(prompt_ids) :]
    return {
        "prompt": f"<|endoftext|>{prompt}", "prompt_ids": prompt_ids, "prefill": states["prefill"], "after_8": states["after8"],
        "greedy_ids": greedy, "greedy_text": tokenizer.decode(greedy), "greedy_margins": margins, "min_margin": min(margins),
    }  # fmt: skip


@torch.no_grad()
def validation(model: Decoder, tokenizer: Tokenizer, text: Path) -> dict:
    """Losses of a text in windows of the context that restart at position 0. `<|endoftext|>` in it is the control token."""
    ids: list[int] = []
    for i, part in enumerate(text.read_text(encoding="utf-8").split("<|endoftext|>")):
        ids += ([END_OF_TEXT] if i else []) + tokenizer.encode(part)
    window = model.config.context
    starts = range(0, len(ids) - 1, window)
    parts = [torch.tensor([ids[start : start + window + 1]]) for start in starts]
    nll = torch.cat([model.losses(part[:, :-1], part[:, 1:]) for part in parts])
    mean = nll.mean().item()
    return {
        "file": text.name, "bytes": text.stat().st_size, "tokens": len(ids), "window": window, "predicted": len(nll),
        "mean_nll": mean, "perplexity": math.exp(mean),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="Hugging Face folder of a byte-level BPE model")
    parser.add_argument("--text", type=Path, required=True, help="held-out text")
    args = parser.parse_args()
    model = Decoder(Config.read(args.folder), torch.float64).double()
    model.load_state_dict(read_safetensors(args.folder / "model.safetensors"))
    tokenizer = Tokenizer.read(args.folder / "tokenizer.json")
    document = {
        "weights": "model.safetensors, widened",
        "reference": "float64, models/train/golden.py",
        "cases": [case(model, tokenizer, args.folder, i, prompt) for i, prompt in enumerate(PROMPTS)],
        "validation": validation(model, tokenizer, args.text),
    }
    (args.folder / "golden.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    print(f"{args.folder}: perplexity {document['validation']['perplexity']:.4f} of {document['validation']['predicted']} tokens")


if __name__ == "__main__":
    main()
