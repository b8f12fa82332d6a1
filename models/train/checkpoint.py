"""Reading and writing of weights: safetensors files, Hugging Face folders, and the state of an interrupted run."""
from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from config import Config, ConfigError

TYPES = {"F32": np.dtype("<f4"), "BF16": np.dtype("<u2"), "F16": np.dtype("<f2")}


def write_safetensors(path: Path, tensors: dict[str, Tensor], dtype: str = "BF16") -> None:
    """Writes all tensors in one number type. BF16 rounds to nearest even, as the hardware does."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data, offset = [], 0
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().float().contiguous()
        raw = tensor.bfloat16().view(torch.int16).numpy() if dtype == "BF16" else tensor.numpy()
        blob = raw.astype(TYPES[dtype] if dtype != "BF16" else "<i2", copy=False).tobytes()
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [offset, offset + len(blob)]}
        data.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    partial = path.with_suffix(".tmp")
    with open(partial, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(data)
    os.replace(partial, path)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file that this recipe or the runtime wrote, as float32."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    body, tensors = memoryview(data)[8 + length :], {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        if entry["dtype"] not in TYPES or not 0 <= begin <= end <= len(body):
            raise ConfigError(f"{path}: {name} must be {' or '.join(TYPES)} inside the file, found {entry}")
        raw = np.frombuffer(body[begin:end], dtype=TYPES[entry["dtype"]])
        values = (raw.astype("<u4") << 16).view("<f4") if entry["dtype"] == "BF16" else raw.astype("<f4")
        tensors[name] = torch.from_numpy(values.reshape(entry["shape"]).copy())
    return tensors


def export(folder: Path, config: Config, state: dict[str, Tensor], tokenizer: Path | None, dtype: str = "BF16") -> None:
    """Writes a Hugging Face folder that `gta convert` reads: config, weights, and the tokenizer if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = {**config.raw, "torch_dtype": {"BF16": "bfloat16", "F32": "float32"}[dtype]}
    (folder / "config.json").write_text(json.dumps(raw, indent=2) + "\n")
    write_safetensors(folder / "model.safetensors", state, dtype)
    if tokenizer is None:
        return
    if tokenizer.resolve() != (folder / "tokenizer.json").resolve():
        shutil.copyfile(tokenizer, folder / "tokenizer.json")
    settings = {
        "add_bos_token": True, "add_prefix_space": False, "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
        "pad_token": "<|pad|>", "unk_token": None, "clean_up_tokenization_spaces": False,
        "model_max_length": config.context, "tokenizer_class": "GPT2TokenizerFast",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def grow(old: dict[str, Tensor], old_layers: int, layers: int) -> dict[str, Tensor]:
    """Weights of a deeper model that computes the same: further copies of a layer begin with nothing to add.

    Layer j of the new model is layer j · old/new of the old one; of the copies of one layer only the first writes to the
    residual stream (o_proj and down_proj of the others are zero, and learn)."""
    if layers < old_layers:
        raise ConfigError(f"layers must be at least {old_layers}, found {layers}: a model can only grow")
    new = {name: value for name, value in old.items() if ".layers." not in name}
    seen: set[int] = set()
    for j in range(layers):
        source = j * old_layers // layers
        for name, value in old.items():
            prefix = f"model.layers.{source}."
            if name.startswith(prefix):
                is_silent = source in seen and name.endswith(("o_proj.weight", "o_proj.bias", "down_proj.weight"))
                new[f"model.layers.{j}.{name[len(prefix):]}"] = torch.zeros_like(value) if is_silent else value.clone()
        seen.add(source)
    return new


def read_start(folder: Path, config: Config) -> dict[str, Tensor]:
    """Weights of a finished model to begin with; one of fewer layers is grown. Everything else must be the same."""
    theirs = Config.read(folder)
    for name in ("kind", "hidden", "heads", "head_dim", "ffn", "vocab", "tied"):
        if getattr(theirs, name) != getattr(config, name):
            raise ConfigError(f"{folder}: {name} must be {getattr(config, name)}, found {getattr(theirs, name)}")
    return grow(read_safetensors(folder / "model.safetensors"), theirs.layers, config.layers)


def save_run(path: Path, state: dict[str, Any]) -> None:
    """Replaces the file in one step: an interrupted save leaves the one before."""
    partial = path.with_suffix(".tmp")
    with open(partial, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def read_run(path: Path, config: Config, preset: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The state of an interrupted run. ConfigError where it belongs to another config or another preset."""
    state = torch.load(path, map_location=device)
    for name, mine in (("config", config.raw), ("preset", preset)):
        if state[name] != mine:
            keys = sorted(k for k in {*mine, *state[name]} if mine.get(k) != state[name].get(k))
            raise ConfigError(f"{path}: the run was made with another {name} ({', '.join(keys)} differ): give it, or another --out")
    return state
