"""Every attention kind in its expanded form, for training: all positions of a batch at once, no cache.

Each module maps normalised rows x (B, T, H) to (B, T, H); the names of its parameters are those of the checkpoint
(`self_attn.*`), so exporting is writing the state. The mathematics is that of the runtime, which runs the latent kinds
absorbed; sources beside each class. rope(x, tables): x (B, heads, T, width).
"""
from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from config import Config, ConfigError
from layers import Linear, RMSNorm, linear

Tables = tuple[Tensor, Tensor]  # cos and sin, each (T, width / 2)
FUSED = getattr(F, "scaled_dot_product_attention", None)  # torch 2
CHUNK = 128  # query rows of one block of the causal product where torch has no fused attention


def rope_tables(width: int, length: int, theta: float, device: torch.device) -> Tables:
    inverse = theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), inverse)
    return angles.cos().to(device), angles.sin().to(device)


def rope(x: Tensor, tables: Tables) -> Tensor:
    """Rotates pairs (i, i + width/2) of the last dimension."""
    cos, sin = tables
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def rope_pairs(x: Tensor, tables: Tables) -> Tensor:
    """Rotates pairs (2i, 2i + 1), as DeepSeek's checkpoints have them."""
    cos, sin = tables
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)


def causal_attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """softmax(scale · q kᵀ) v with a causal mask. q (B, maps, T, d), k (B, heads, T, d), v (B, heads, T, width) with
    heads that divide maps → (B, maps, T, width)."""
    k, v = (t if t.shape[1] == q.shape[1] else t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    if FUSED is not None:
        return FUSED(q * (scale * math.sqrt(q.shape[-1])), k, v, is_causal=True)  # it scales by 1/√d itself
    return torch.cat([_causal_block(q, k, v, scale, start) for start in range(0, q.shape[2], CHUNK)], 2)


def _causal_block(q: Tensor, k: Tensor, v: Tensor, scale: float, start: int) -> Tensor:
    """Rows start … start + CHUNK: they see no key after their own, so later keys are never multiplied."""
    end = min(start + CHUNK, q.shape[2])
    scores = (q[:, :, start:end] * scale) @ k[:, :, :end].transpose(2, 3)
    future = torch.ones(end - start, end, dtype=torch.bool, device=q.device).triu(start + 1)
    return scores.masked_fill(future, float("-inf")).softmax(-1) @ v[:, :, :end]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, heads · d) → (B, heads, T, d)"""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """(B, heads, T, d) → (B, T, heads · d)"""
    return x.transpose(1, 2).flatten(2)


class Grouped(nn.Module):
    """MHA, MQA, GQA (Llama), GVA and GHA (GTA paper, section 3; SPEC §3): maps, key heads and value heads.

    Output head i averages value head ν(i) with map i // (heads / maps); `value_head_map` of GHA is block or stride."""

    def __init__(self, c: Config):
        super().__init__()
        d, kv = c.head_dim, c.raw.get("num_key_value_heads", c.heads)
        is_shared = c.kind in ("gva", "gha")
        self.heads, self.dim, self.theta = c.heads, d, c.theta
        self.maps = c.integer("num_query_heads") if is_shared else c.heads
        self.keys = c.integer("num_key_heads") if is_shared else kv
        self.values = c.integer("num_value_heads", c.heads) if is_shared else kv
        for small, large, what in ((self.maps, c.heads, "heads"), (self.keys, self.maps, "maps"), (self.values, c.heads, "value heads")):
            c.divides(small, large, what)
        bias_in = bool(c.raw.get("attention_bias") or c.raw.get("qkv_bias"))
        self.q_proj = Linear(c.hidden, self.maps * d, bias_in)
        self.k_proj = Linear(c.hidden, self.keys * d, bias_in)
        self.v_proj = Linear(c.hidden, self.values * d, bias_in)
        self.o_proj = Linear(c.heads * d, c.hidden, bool(c.raw.get("attention_bias")))
        is_stride = c.kind == "gha" and c.raw.get("value_head_map", "block") == "stride"
        self.value_of = [i % self.values if is_stride else i // (c.heads // self.values) for i in range(c.heads)]

    def forward(self, x: Tensor, tables: Tables) -> Tensor:
        q, k, v = linear(x, self.q_proj, self.k_proj, self.v_proj)
        q, k = rope(split_heads(q, self.maps), tables), rope(split_heads(k, self.keys), tables)
        v = split_heads(v, self.values)
        if self.maps == self.heads:
            return self.o_proj(join_heads(causal_attention(q, k, v, self.dim**-0.5)))
        # A map averages the values of its heads side by side: (B, maps, T, heads / maps · d).
        v = v[:, self.value_of].unflatten(1, (self.maps, -1)).transpose(2, 3).flatten(3)
        return self.o_proj(join_heads(causal_attention(q, k, v, self.dim**-0.5)))

    def rope_width(self) -> int:
        return self.dim


class GroupedHeadLatent(nn.Module):
    """GTA (arXiv 2506.17286, section 4; plm-team/GTA; SPEC §4): maps over few keys average a latent value, which a matrix
    per map and a sigmoid gate unfold. `v_b_proj` is stored as (e·d_l, maps·d_l) and read as P[maps][d_l][e·d_l]."""

    def __init__(self, c: Config):
        super().__init__()
        self.maps, self.keys, self.values = (c.integer(f"num_{name}_heads") for name in ("query", "key", "value"))
        self.dim, self.latent, self.theta = c.head_dim, c.integer("value_dim"), c.theta
        if c.integer("query_dim") != self.dim or c.integer("key_dim") != self.dim or c.heads * self.dim != c.hidden:
            raise ConfigError(f"query_dim and key_dim must be head_dim = hidden_size / heads = {self.dim}")
        c.divides(self.keys, self.maps, "query heads")
        c.divides(self.values, self.maps, "query heads")
        c.divides(self.maps * self.latent, c.hidden, "hidden_size")
        self.repeat = c.hidden // (self.maps * self.latent)
        self.q_proj = Linear(c.hidden, self.maps * self.dim, True)
        self.k_proj = Linear(c.hidden, self.keys * self.dim, True)
        self.v_proj = Linear(c.hidden, self.values * self.latent, True)
        self.g_proj = Linear(c.hidden, c.hidden, True)
        self.o_proj = Linear(c.hidden, c.hidden, False)
        self.v_b_proj = Linear(self.maps * self.latent, self.repeat * self.latent, False)

    def forward(self, x: Tensor, tables: Tables) -> Tensor:
        q, k, v, gate = linear(x, self.q_proj, self.k_proj, self.v_proj, self.g_proj)
        q, k = rope(split_heads(q, self.maps), tables), rope(split_heads(k, self.keys), tables)
        o = causal_attention(q, k, split_heads(v, self.values), self.dim**-0.5)  # (B, maps, T, latent)
        decoder = self.v_b_proj.weight.to(o.dtype).view(self.maps, self.latent, -1)
        o = o.repeat(1, 1, 1, self.repeat) + o @ decoder
        return self.o_proj(gate.sigmoid() * join_heads(o))

    def rope_width(self) -> int:
        return self.dim


class Latent(nn.Module):
    """MLA (DeepSeek-V2/V3; SPEC §5): keys and values of all heads from one normalised latent, a rotated key for all."""

    LATENT_EPS = 1e-6  # transformers' default argument, whatever rms_norm_eps says

    def __init__(self, c: Config):
        super().__init__()
        self.heads, self.theta = c.heads, c.theta
        self.rank, self.nope, self.rotated = (c.integer(n) for n in ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim"))
        self.value = c.integer("v_head_dim")
        self.rope = rope_pairs if c.raw.get("rope_interleave", True) else rope
        bias, query = bool(c.raw.get("attention_bias")), c.heads * (self.nope + self.rotated)
        self.query_rank = c.raw.get("q_lora_rank")
        if self.query_rank:
            self.q_a_proj = Linear(c.hidden, self.query_rank, bias)
            self.q_a_layernorm = RMSNorm(self.query_rank, self.LATENT_EPS)
            self.q_b_proj = Linear(self.query_rank, query, False)
        else:
            self.q_proj = Linear(c.hidden, query, False)
        self.kv_a_proj_with_mqa = Linear(c.hidden, self.rank + self.rotated, bias)
        self.kv_a_layernorm = RMSNorm(self.rank, self.LATENT_EPS)
        self.kv_b_proj = Linear(self.rank, c.heads * (self.nope + self.value), False)
        self.o_proj = Linear(c.heads * self.value, c.hidden, bias)

    def forward(self, x: Tensor, tables: Tables) -> Tensor:
        if self.query_rank:
            q, z = linear(x, self.q_a_proj, self.kv_a_proj_with_mqa)
            q = self.q_b_proj(self.q_a_layernorm(q).to(x.dtype))
        else:
            q, z = linear(x, self.q_proj, self.kv_a_proj_with_mqa)
        q_nope, q_rotated = split_heads(q, self.heads).split([self.nope, self.rotated], -1)
        latent, k_rotated = z.split([self.rank, self.rotated], -1)
        kv = split_heads(self.kv_b_proj(self.kv_a_layernorm(latent).to(x.dtype)), self.heads)
        k_nope, v = kv.split([self.nope, self.value], -1)
        k_rotated = self.rope(k_rotated.unsqueeze(1), tables).expand(-1, self.heads, -1, -1)
        q = torch.cat([q_nope, self.rope(q_rotated, tables)], -1)
        o = causal_attention(q, torch.cat([k_nope, k_rotated], -1), v, (self.nope + self.rotated) ** -0.5)
        return self.o_proj(join_heads(o))

    def rope_width(self) -> int:
        return self.rotated


class Tied(nn.Module):
    """Grouped-tied attention (arXiv 2505.21487; SPEC §6.1): value m is kv head m, key m its first part and a rotated
    key for all heads."""

    def __init__(self, c: Config):
        super().__init__()
        d, self.theta = c.head_dim, c.theta
        self.heads, self.kv, self.dim = c.heads, c.integer("num_key_value_heads", c.heads), d
        self.rotated = c.integer("rope_dim", d // 2)
        c.divides(self.kv, c.heads, "heads")
        bias = bool(c.raw.get("attention_bias"))
        self.q_proj = Linear(c.hidden, c.heads * d, bias)
        self.kv_proj = Linear(c.hidden, self.kv * d, bias)
        self.W_rope_k = Linear(c.hidden, self.rotated, True)
        self.o_proj = Linear(c.heads * d, c.hidden, bias)

    def forward(self, x: Tensor, tables: Tables) -> Tensor:
        q, kv, k_rotated = linear(x, self.q_proj, self.kv_proj, self.W_rope_k)
        plain = self.dim - self.rotated
        q_plain, q_rotated = split_heads(q, self.heads).split([plain, self.rotated], -1)
        v = split_heads(kv, self.kv)
        k_rotated = rope(k_rotated.unsqueeze(1), tables).expand(-1, self.kv, -1, -1)
        q, k = torch.cat([q_plain, rope(q_rotated, tables)], -1), torch.cat([v[..., :plain], k_rotated], -1)
        return self.o_proj(join_heads(causal_attention(q, k, v, self.dim**-0.5)))

    def rope_width(self) -> int:
        return self.rotated


class GroupedLatent(nn.Module):
    """GLA with two latent heads (arXiv 2505.21487; SPEC §6.2): half of the heads decode their keys and values from each."""

    def __init__(self, c: Config):
        super().__init__()
        d, self.theta, self.heads, self.dim = c.head_dim, c.theta, c.heads, c.head_dim
        self.rotated = c.integer("qk_rope_dim")
        c.divides(2, c.heads, "heads")
        self.W_dQ = Linear(c.hidden, 8 * d, True)
        self.q_norm = RMSNorm(8 * d, c.eps)
        self.W_uQ_rope = Linear(8 * d, c.heads * (d + self.rotated), True)
        self.W_dKV = Linear(c.hidden, 4 * d + self.rotated, True)
        self.kv_norm_1, self.kv_norm_2 = RMSNorm(2 * d, c.eps), RMSNorm(2 * d, c.eps)
        self.W_ukv_1, self.W_ukv_2 = (Linear(2 * d, c.heads * d, True) for _ in range(2))
        self.o_proj = Linear(c.heads * d, c.hidden, bool(c.raw.get("attention_bias")))

    def forward(self, x: Tensor, tables: Tables) -> Tensor:
        q, z = linear(x, self.W_dQ, self.W_dKV)
        q = split_heads(self.W_uQ_rope(self.q_norm(q).to(x.dtype)), self.heads)
        q_plain, q_rotated = q.split([self.dim, self.rotated], -1)
        one, two, k_rotated = z.split([2 * self.dim, 2 * self.dim, self.rotated], -1)
        halves = (self.W_ukv_1(self.kv_norm_1(one).to(x.dtype)), self.W_ukv_2(self.kv_norm_2(two).to(x.dtype)))
        kv = torch.cat([split_heads(half, self.heads // 2) for half in halves], 1)
        k_plain, v = kv.chunk(2, -1)
        k_rotated = rope(k_rotated.unsqueeze(1), tables).expand(-1, self.heads, -1, -1)
        q = torch.cat([q_plain, rope(q_rotated, tables)], -1)
        o = causal_attention(q, torch.cat([k_plain, k_rotated], -1), v, (self.dim + self.rotated) ** -0.5)
        return self.o_proj(join_heads(o))

    def rope_width(self) -> int:
        return self.rotated


ATTENTION: dict[str, type[nn.Module]] = {
    **dict.fromkeys(("mha", "mqa", "gqa", "gva", "gha"), Grouped),
    "gta": GroupedHeadLatent,
    "mla": Latent,
    "tied": Tied,
    "gla": GroupedLatent,
}
