"""Model configs: the same config.json files that the runtime runs (models/configs, models/kinds)."""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("mha", "mqa", "gqa", "gva", "gha", "gta", "mla", "tied", "gla")


class ConfigError(ValueError):
    """A config that cannot be trained: what, expected, found."""


@dataclass(frozen=True)
class Config:
    """A decoder. `raw` is the whole config.json; attention modules read from it what only they need."""

    kind: str
    hidden: int
    layers: int
    heads: int
    head_dim: int
    ffn: int
    vocab: int
    context: int
    eps: float
    theta: float
    tied: bool
    raw: dict[str, Any]

    @staticmethod
    def read(path: Path) -> "Config":
        """Reads a config.json, or the one in a folder."""
        path = path / "config.json" if path.is_dir() else path
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            return Config.parse(raw)
        except (KeyError, TypeError, ConfigError, json.JSONDecodeError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise ConfigError(f"{path}: {what}") from error

    @staticmethod
    def parse(raw: dict[str, Any]) -> "Config":
        heads = raw["num_attention_heads"]
        if raw.get("rope_scaling"):
            raise ConfigError(f"rope_scaling must be absent, found {raw['rope_scaling']}: train at full context instead")
        if raw.get("hidden_act", "silu") != "silu" or raw.get("mlp_bias"):
            raise ConfigError("hidden_act must be silu without mlp_bias")
        config = Config(
            kind=_kind(raw),
            hidden=raw["hidden_size"],
            layers=raw["num_hidden_layers"],
            heads=heads,
            head_dim=raw.get("head_dim") or raw["hidden_size"] // heads,
            ffn=raw["intermediate_size"],
            vocab=raw["vocab_size"],
            context=raw["max_position_embeddings"],
            eps=raw["rms_norm_eps"],
            theta=raw.get("rope_theta") or 10000.0,
            tied=raw.get("tie_word_embeddings", False),
            raw=raw,
        )
        for name in ("hidden", "layers", "heads", "head_dim", "ffn", "vocab", "context"):
            value = getattr(config, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} must be a positive integer, found {value!r}")
        return config

    def integer(self, name: str, default: int | None = None) -> int:
        value = self.raw.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name} must be a positive integer, found {value!r}")
        return value

    def divides(self, small: int, large: int, what: str) -> None:
        if large % small != 0:
            raise ConfigError(f"{what}: {large} must be a multiple of {small}")


def _kind(raw: dict[str, Any]) -> str:
    """As models/kinds recognises it: a name, else an architecture, else the keys that only one kind has."""
    kind = raw.get("attention_kind")
    if kind is not None:
        if kind not in KINDS:
            raise ConfigError(f"attention_kind must be one of {', '.join(KINDS)}, found {kind!r}")
        return kind
    if "num_query_heads" in raw and "value_dim" in raw:
        return "gta"
    if "kv_lora_rank" in raw:
        return "mla"
    kv, heads = raw.get("num_key_value_heads", raw["num_attention_heads"]), raw["num_attention_heads"]
    return "mha" if kv == heads else "mqa" if kv == 1 else "gqa"


def cache_elements(config: Config) -> int:
    """Numbers that a token leaves in the KV cache of one layer (SPEC §2; models/cost.ts counts bytes with scales)."""
    c, d = config, config.head_dim
    if c.kind in ("mha", "mqa", "gqa"):
        return 2 * c.integer("num_key_value_heads", c.heads) * d
    if c.kind in ("gva", "gha"):
        return (c.integer("num_key_heads") + c.integer("num_value_heads", c.heads)) * d
    if c.kind == "gta":
        return c.integer("num_key_heads") * c.integer("key_dim") + c.integer("num_value_heads") * c.integer("value_dim")
    if c.kind == "mla":
        return c.integer("kv_lora_rank") + c.integer("qk_rope_head_dim")
    if c.kind == "tied":
        return c.integer("num_key_value_heads") * d + c.integer("rope_dim", d // 2)
    return 4 * d + c.integer("qk_rope_dim")
