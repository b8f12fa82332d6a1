"""Averages the weights of models of one shape: points of one run, and what it began with.

    python3 average.py OUT RUN/model=0.55 MIDDLE=0.35 FIRST=0.1

The config and tokenizer are the first folder's; models of fewer layers are grown as train.py --init does. Averages of points
that lie close together generalise better than the last one, which has learned more by heart (Izmailov et al., 2018).
"""
from __future__ import annotations

import sys
from pathlib import Path

from checkpoint import export, read_start
from config import Config, ConfigError


def parse(argument: str) -> tuple[Path, float]:
    folder, _, share = argument.rpartition("=")
    try:
        return Path(folder), float(share)
    except ValueError:
        raise ConfigError(f"every model must be FOLDER=SHARE, found {argument}") from None


def main() -> None:
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        parts = [parse(argument) for argument in sys.argv[2:]]
        if abs(sum(share for _, share in parts) - 1) > 1e-6:
            raise ConfigError(f"the shares must add up to 1, found {sum(share for _, share in parts)}")
        first = parts[0][0]
        config = Config.read(first)
        models = [(read_start(folder, config), share) for folder, share in parts]
        state = {name: sum(share * tensors[name] for tensors, share in models) for name in models[0][0]}
        export(Path(sys.argv[1]), config, state, first / "tokenizer.json")
    except (ConfigError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
