"""Linear and RMSNorm with float32 parameters that compute in the number type of their input or as told."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """y = x Wᵀ (+ b) in x's number type; the parameters stay float32."""

    def __init__(self, inputs: int, outputs: int, bias: bool):
        super().__init__(inputs, outputs, bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


def linear(x: Tensor, *parts: Linear) -> tuple[Tensor, ...]:
    """Several projections of one input as one product: narrow ones alone would leave a CPU's kernels half empty."""
    weight = torch.cat([part.weight for part in parts]).to(x.dtype)
    bias = None
    if any(part.bias is not None for part in parts):
        bias = torch.cat([part.weight.new_zeros(part.out_features) if part.bias is None else part.bias for part in parts])
        bias = bias.to(x.dtype)
    return F.linear(x, weight, bias).split([part.out_features for part in parts], -1)


class _Normalise(torch.autograd.Function):
    """x · rsqrt(mean(x²) + eps) · w in float32, by hand: autograd's version is three times as many passes over x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        x = x if x.dtype == torch.float64 else x.float()
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
        normalised = x * scale
        ctx.save_for_backward(normalised, scale, weight)
        return (normalised * weight).to(dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        normalised, scale, weight = ctx.saved_tensors
        gradient = gradient.float()
        d_weight = (gradient * normalised).flatten(0, -2).sum(0)
        gradient = gradient * weight
        gradient -= normalised * (gradient * normalised).mean(-1, keepdim=True)
        return gradient.mul_(scale), d_weight, None, None


class RMSNorm(nn.Module):
    """(…, width) in any type → the same shape in `dtype` (default: float32)."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normalises in float32, or float64 where x is."""
        return _Normalise.apply(x, self.weight, self.eps, dtype)


class _Gated(torch.autograd.Function):
    """silu(gate) · up, by hand: torch's silu and its gradient take exp one element at a time in bfloat16 on a CPU."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        share = gate.sigmoid()
        ctx.save_for_backward(gate, up, share)
        return gate * share * up

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        gate, up, share = ctx.saved_tensors
        silu = gate * share
        # d silu / d gate = σ + silu · (1 − σ)
        return gradient * up * (share + silu - silu * share), gradient * silu


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """SwiGLU's product of two tensors of one shape."""
    return _Gated.apply(gate, up)
