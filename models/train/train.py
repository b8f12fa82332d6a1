"""Trains a model of any attention kind from a config.json and a preset.

    python3 train.py --config configs/stories.json --preset presets/stories.json --data data --out runs/stories
    python3 train.py … --out runs/stories                     the same again goes on where it was interrupted

Writes OUT/loss.csv, OUT/state.pt (to go on) and, at the end, OUT/model, a Hugging Face folder for `gta convert`.
torch 1.13 on a CPU or 2.x with one CUDA GPU. With the same threads, torch and machine, the curve is the same to the last
digit, interrupted or not.
"""
from __future__ import annotations

import argparse
import ctypes
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch

from checkpoint import export, read_run, read_start, save_run
from config import Config, ConfigError
from data import Mixture, windows
from model import Decoder
from optimizer import Optimizer, Rates

COLUMNS = ["step", "tokens", "train_loss", "factor", "gradient_norm", "seconds"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def keep_memory() -> None:
    """Has glibc keep freed memory: else a CPU run spends a third of its time in page faults of large tensors (measured,
    8.4 M parameters, batch 8 × 512)."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
            getattr(libc, "mallopt", lambda *_: 0)(option, value)


def learning_factor(step: int, steps: int, warmup: int, decay: float, last: float, shape: str) -> float:
    """Share of the peak rates at a step: linear warm-up; then linear decay over the last `decay` of the steps after a
    constant part, or a cosine over all of them."""
    if step < warmup:
        return (step + 1) / warmup
    if shape == "cosine":
        done = (step - warmup) / max(1, steps - warmup)
        return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * done))
    begin = steps - int(steps * decay)
    return 1.0 if step < begin else last + (1 - last) * (steps - step) / (steps - begin)


class Run:
    def __init__(self, args: argparse.Namespace):
        self.args, self.out = args, args.out
        self.config = Config.read(args.config)
        self.preset: dict[str, Any] = json.loads(args.preset.read_text())
        self.steps = self.preset["steps"] = args.steps or self.preset["steps"]
        self.preset["seed"] = args.seed
        self.device = torch.device(args.device)
        self.batch, self.length = self.preset["batch"], min(self.preset["length"], self.config.context)
        self.model = Decoder(self.config, DTYPES[args.dtype], args.seed).to(self.device)
        if args.init:
            self.model.load_state_dict(read_start(args.init, self.config))
        self.losses = torch.compile(self.model.losses) if args.compile else self.model.losses
        rates = self.preset["rates"]
        self.optimizer = Optimizer(self.model, Rates(rates.get("matrix"), rates["other"], rates["weight_decay"]))
        self.mixture = Mixture(args.data, self.preset["mix"], self.length, args.seed, self.config.vocab)
        self.held_out = {path.stem: windows(path, self.length, self.config.vocab) for path in args.valid}
        self.step, self.seconds = 0, 0.0
        self.out.mkdir(parents=True, exist_ok=True)
        self.curve = self.out / "loss.csv"
        self._resume()

    def _resume(self) -> None:
        path = self.out / "state.pt"
        columns = COLUMNS + list(self.held_out)
        if not path.exists():
            self.curve.write_text(",".join(columns) + "\n")
            return
        state = read_run(path, self.config, self.preset, self.device)
        self.model.load_state_dict(state["model"])
        self.optimizer.restore(state["optimizer"])
        self.mixture.restore(state["positions"])
        self.step, self.seconds = state["step"], state["seconds"]
        # What was written after the last save is computed again.
        rows = self.curve.read_text().splitlines()
        kept = [rows[0]] + [row for row in rows[1:] if int(row.split(",")[0]) <= self.step]
        self.curve.write_text("\n".join(kept) + "\n")
        print(f"going on at step {self.step} of {self.steps}", flush=True)

    def save(self) -> None:
        save_run(
            self.out / "state.pt",
            {
                "config": self.config.raw, "preset": self.preset, "step": self.step, "seconds": self.seconds,
                "model": self.model.state_dict(), "optimizer": self.optimizer.state(),
                "positions": self.mixture.positions(),
            },
        )  # fmt: skip

    def train_step(self) -> tuple[float, float]:
        """One step: (mean loss in nats, gradient norm)."""
        parts = self.preset.get("accumulate", 1)
        total = 0.0
        ids, targets = self.mixture.batch(self.step, self.steps, self.batch * parts)
        for part_ids, part_targets in zip(ids.chunk(parts), targets.chunk(parts)):
            loss = self.losses(part_ids.to(self.device), part_targets.to(self.device)).mean() / parts
            loss.backward()
            total += loss.item()
        return total, self.optimizer.step(self.factor())

    def factor(self) -> float:
        p = self.preset
        return learning_factor(self.step, self.steps, p["warmup"], p.get("decay", 1.0), p.get("last", 0.0), p.get("shape", "linear"))

    @torch.no_grad()
    def evaluate(self, name: str) -> float:
        """Mean nats per token of a held-out file."""
        total, count = 0.0, 0
        for ids, targets in self.held_out[name]:
            total += self.model.losses(ids.to(self.device), targets.to(self.device)).double().sum().item()
            count += targets.numel()
        return total / count

    def report(self, loss: float, norm: float, factor: float) -> None:
        is_evaluated = self.step % self.args.evaluate_every == 0 or self.step == self.steps
        held_out = [f"{self.evaluate(name):.4f}" if is_evaluated else "" for name in self.held_out]
        tokens = self.step * self.batch * self.preset.get("accumulate", 1) * self.length
        row = [self.step, tokens, f"{loss:.5f}", f"{factor:.4f}", f"{norm:.3f}", f"{self.seconds:.1f}", *held_out]
        with open(self.curve, "a") as file:
            file.write(",".join(map(str, row)) + "\n")
        if is_evaluated or self.step % 20 == 0:
            rate = tokens / self.seconds if self.seconds else 0
            named = " ".join(f"{name} {value}" for name, value in zip(self.held_out, held_out) if value)
            print(f"step {self.step}/{self.steps} loss {loss:.4f} rate {factor:.3f} {rate:.0f} tok/s {named}", flush=True)

    def go(self) -> None:
        print(f"{self.config.kind}, {self.model.count()} parameters, {self.steps} steps", flush=True)
        saved = time.monotonic()
        while self.step < min(self.steps, self.args.stop or self.steps):
            begin = time.monotonic()
            factor = self.factor()
            loss, norm = self.train_step()
            if loss != loss or loss == float("inf"):
                raise ConfigError(f"the loss is {loss} in step {self.step}: lower the rates; the last saved state is kept")
            self.step += 1
            self.seconds += time.monotonic() - begin
            self.report(loss, norm, factor)
            if time.monotonic() - saved > self.args.save_seconds:
                self.save()
                saved = time.monotonic()
        self.save()
        export(self.out / "model", self.config, self.model.state_dict(), self.args.tokenizer, self.args.export_type)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="config.json of the model")
    parser.add_argument("--preset", type=Path, required=True, help="steps, batch, rates and mixture of the run")
    parser.add_argument("--data", type=Path, required=True, help="folder of .bin files (prepare.py)")
    parser.add_argument("--valid", type=Path, nargs="*", default=[], help="held-out .bin files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="folder of a model to begin with; fewer layers are grown")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json to export with the model")
    parser.add_argument("--steps", type=int, help="instead of the preset's")
    parser.add_argument("--stop", type=int, help="stop after this step, to go on later")
    parser.add_argument("--seed", type=int, default=0, help="initial weights and order of the data")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16", help="number type of the matrix products")
    parser.add_argument("--export-type", choices=["BF16", "F32"], default="BF16")
    parser.add_argument("--compile", action="store_true", help="torch.compile (torch 2)")
    parser.add_argument("--threads", type=int, help="threads of a CPU")
    parser.add_argument("--evaluate-every", type=int, default=200, metavar="STEPS")
    parser.add_argument("--save-seconds", type=float, default=180)
    return parser.parse_args(arguments)


def main() -> None:
    args = parse()
    keep_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        Run(args).go()
    except (ConfigError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
