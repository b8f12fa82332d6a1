"""The decoder of every kind: embedding, blocks of attention and SwiGLU, tied or own output head. Llama's tensor names.

The residual stream is float32; matrices multiply in `dtype` (bfloat16 or float32), with float32 master weights.
References are computed in float64: `Decoder(config, torch.float64).double()`.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attention import ATTENTION, Tables, rope_tables
from config import Config
from layers import Linear, RMSNorm, gated, linear


class FeedForward(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.gate_proj = Linear(c.hidden, c.ffn, False)
        self.up_proj = Linear(c.hidden, c.ffn, False)
        self.down_proj = Linear(c.ffn, c.hidden, False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = linear(x, self.gate_proj, self.up_proj)
        return self.down_proj(gated(gate, up))


class Block(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.input_layernorm = RMSNorm(c.hidden, c.eps)
        self.self_attn = ATTENTION[c.kind](c)
        self.post_attention_layernorm = RMSNorm(c.hidden, c.eps)
        self.mlp = FeedForward(c)

    def forward(self, x: Tensor, tables: Tables, dtype: torch.dtype) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x, dtype), tables)
        return x + self.mlp(self.post_attention_layernorm(x, dtype))


class Stack(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.embed_tokens = nn.Embedding(c.vocab, c.hidden)
        self.layers = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm = RMSNorm(c.hidden, c.eps)


class Decoder(nn.Module):
    def __init__(self, config: Config, dtype: torch.dtype = torch.float32, seed: int = 0):
        super().__init__()
        self.config, self.dtype = config, dtype
        self.model = Stack(config)
        if not config.tied:
            self.lm_head = Linear(config.hidden, config.vocab, False)
        self.initialise(seed)
        self._tables: Tables | None = None

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Normal weights of 1/(2√inputs) (embedding 0.02); what writes to the residual stream begins at zero."""
        chance = torch.Generator().manual_seed(seed)
        for name, value in self.named_parameters():
            if name.endswith("bias") or name.endswith(("o_proj.weight", "down_proj.weight")):
                value.zero_()
            elif "norm" in name:
                value.fill_(1.0)
            elif "embed_tokens" in name:
                value.normal_(0.0, 0.02, generator=chance)
            else:
                value.normal_(0.0, 0.5 / value.shape[1] ** 0.5, generator=chance)

    def tables(self, length: int) -> Tables:
        if self._tables is None or len(self._tables[0]) < length:
            attention = self.model.layers[0].self_attn
            device = self.model.norm.weight.device
            tables = rope_tables(attention.rope_width(), max(length, self.config.context), self.config.theta, device)
            self._tables = tuple(table.to(self.dtype) for table in tables)
        return tuple(table[:length] for table in self._tables)

    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, T) → logits (B, T, vocab) in `dtype`."""
        x = self.model.embed_tokens(ids)
        tables = self.tables(ids.shape[1])
        for block in self.model.layers:
            x = block(x, tables, self.dtype)
        head = self.model.embed_tokens.weight if self.config.tied else self.lm_head.weight
        return F.linear(self.model.norm(x, self.dtype), head.to(self.dtype))

    def losses(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Nats of every target, (B · T)."""
        logits = self(ids).flatten(0, 1)
        logits = logits if self.dtype == torch.float64 else logits.float()
        return F.cross_entropy(logits, targets.flatten(), reduction="none")

    def count(self) -> int:
        return sum(value.numel() for value in self.parameters())
