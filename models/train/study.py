"""Does GTA cost quality? Trains configs that differ in their attention only, and sets held-out loss against cache.

    python3 study.py --data data --valid held-out/valid_tinystories.bin held-out/valid.bin --out runs/study

Same shapes outside the attention, same data in the same order, same steps; the seed decides initial weights and order.
Runs that are finished are not repeated, so it can be interrupted. Prints a Markdown table, and writes OUT/study.json.

What the seeds say: kinds with several seeds give a pooled standard deviation s of one run; a mean of n runs is known to
± s/√n. With few seeds that is itself uncertain, so differences below 2 s/√n are no result.
"""
from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

from config import Config, cache_elements
from train import Run, keep_memory
from train import parse as parse_run

FOLDER = Path(__file__).parent
CONFIGS = ("gta-e2", "gta-e1", "gqa", "mha", "mla", "tied", "gla")
SEEDS = {"gta-e2": 2, "gta-e1": 2, "gqa": 2}  # the others: 1


def plan(seeds: dict[str, int]) -> list[tuple[str, int]]:
    """All runs, every kind once before any twice."""
    return [(name, seed) for seed in range(max(seeds.values())) for name in CONFIGS if seed < seeds.get(name, 1)]


def losses(folder: Path, held_out: list[str]) -> dict[str, float] | None:
    """Held-out losses of a finished run, None for one that is not."""
    if not (folder / "model/model.safetensors").exists():
        return None
    with open(folder / "loss.csv") as file:
        last = list(csv.DictReader(file))[-1]
    return {name: float(last[name]) for name in held_out}


def row(name: str, folder: Path, seeds: int, held_out: list[str]) -> dict[str, Any]:
    """Several seeds of one config; values: {held-out name: [loss of each seed]}."""
    found = [losses(folder / f"{name}-{seed}", held_out) for seed in range(seeds)]
    done = [result for result in found if result is not None]
    config = Config.read(FOLDER / f"configs/study-{name}.json")
    return {
        "name": name,
        "kind": config.kind,
        "cacheElements": cache_elements(config),
        "seeds": len(done),
        "losses": {file: [result[file] for result in done] for file in held_out},
    }


def spread(rows: list[dict[str, Any]], file: str) -> float | None:
    """Pooled standard deviation of one run, from the configs that have several."""
    squares = [(value - statistics.mean(r["losses"][file])) ** 2 for r in rows for value in r["losses"][file] if r["seeds"] > 1]
    freedom = sum(r["seeds"] - 1 for r in rows if r["seeds"] > 1)
    return (sum(squares) / freedom) ** 0.5 if freedom else None


def table(rows: list[dict[str, Any]], held_out: list[str], layers: int) -> str:
    heads = ["attention", "numbers per token and layer", "cache bytes per token, f16", *[f"loss, {file}" for file in held_out], "seeds"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    deviations = {file: spread(rows, file) for file in held_out}
    for r in sorted(rows, key=lambda r: r["cacheElements"]):
        cells = [r["name"], str(r["cacheElements"]), f"{2 * layers * r['cacheElements']:,}"]
        for file in held_out:
            if not r["seeds"]:
                cells.append("not run")
                continue
            error = f" ± {deviations[file] / r['seeds'] ** 0.5:.4f}" if deviations[file] is not None else ""
            cells.append(f"{statistics.mean(r['losses'][file]):.4f}{error}")
        lines.append("| " + " | ".join([*cells, str(r["seeds"])]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--valid", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", type=Path, default=FOLDER / "presets/study.json")
    parser.add_argument("--steps", type=int, help="instead of the preset's")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--table-only", action="store_true", help="train nothing, print what is finished")
    args = parser.parse_args()
    keep_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    held_out = [path.stem for path in args.valid]
    for name, seed in [] if args.table_only else plan(SEEDS):
        folder = args.out / f"{name}-{seed}"
        if losses(folder, held_out) is not None:
            continue
        print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
        steps = ["--steps", str(args.steps)] if args.steps else []
        Run(
            parse_run(
                ["--config", str(FOLDER / f"configs/study-{name}.json"), "--preset", str(args.preset), "--data", str(args.data),
                 "--out", str(folder), "--seed", str(seed), "--device", args.device, "--evaluate-every", "1000000",
                 "--save-seconds", "60", *steps, "--valid", *map(str, args.valid)]
            )
        ).go()  # fmt: skip
    rows = [row(name, args.out, SEEDS.get(name, 1), held_out) for name in CONFIGS]
    layers = Config.read(FOLDER / f"configs/study-{CONFIGS[0]}.json").layers
    (args.out / "study.json").write_text(json.dumps({"rows": rows, "spread": {f: spread(rows, f) for f in held_out}}, indent=2) + "\n")
    print(table(rows, held_out, layers))


if __name__ == "__main__":
    main()
