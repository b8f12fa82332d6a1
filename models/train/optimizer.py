"""Muon for the matrices inside the blocks, AdamW for everything else; or AdamW for all, as the papers train.

Muon: the momentum of a matrix is made nearly orthogonal by five Newton–Schulz steps (Keller Jordan, 2024).
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.95)


@dataclass(frozen=True)
class Rates:
    """Peak learning rates. `matrix` is Muon's; None: AdamW trains the matrices too, with `other`."""

    matrix: float | None
    other: float
    weight_decay: float


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """(n, rows, columns) → nearly UVᵀ of each; the coefficients are Muon's."""
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if is_tall else matrices).bfloat16()
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).bfloat16()
    for _ in range(steps):
        product = x @ x.mT
        x = 3.4445 * x + (-4.7750 * product + 2.0315 * (product @ product)) @ x
    x = x.float()
    return x.mT if is_tall else x


class Optimizer:
    def __init__(self, model: nn.Module, rates: Rates):
        self.rates, self.steps = rates, 0
        self.parameters = dict(model.named_parameters())
        is_matrix = lambda name, value: rates.matrix and value.dim() == 2 and ".layers." in name  # noqa: E731
        self.matrices = [name for name, value in self.parameters.items() if is_matrix(name, value)]
        self.others = [name for name in self.parameters if name not in self.matrices]
        self.momentum = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.variance = {name: torch.zeros_like(self.parameters[name]) for name in self.others}
        # P of a GTA layer is one matrix per map, whatever shape it is stored in.
        attention = model.model.layers[0].self_attn
        self.maps = attention.maps if hasattr(attention, "v_b_proj") else 1

    @torch.no_grad()
    def step(self, factor: float) -> float:
        """Takes the gradients of all parameters and clears them; `factor` multiplies the rates. Returns the gradient norm."""
        self.steps += 1
        norm = torch.stack([value.grad.norm() for value in self.parameters.values()]).norm().item()
        clip = min(1.0, 1.0 / (norm + 1e-6)) if self.rates.matrix is None else 1.0
        self._adam(factor, clip)
        self._muon(factor)
        for value in self.parameters.values():
            value.grad = None
        return norm

    def _adam(self, factor: float, clip: float) -> None:
        first, second = (1 - beta**self.steps for beta in BETAS)
        rate = self.rates.other * factor
        for name in self.others:
            value, m, v = self.parameters[name], self.momentum[name], self.variance[name]
            gradient = value.grad * clip
            m.lerp_(gradient, 1 - BETAS[0])
            v.lerp_(gradient.square(), 1 - BETAS[1])
            if value.dim() == 2 and "embed" not in name:
                value.mul_(1 - rate * self.rates.weight_decay)
            value.addcdiv_(m / first, (v / second).sqrt_().add_(1e-9), value=-rate)

    def _muon(self, factor: float) -> None:
        # Momentum grows over the first 200 steps, while the gradients still change their direction.
        momentum = 0.85 + 0.10 * min(1.0, self.steps / 200)
        groups: dict[tuple[int, ...], list[tuple[str, Tensor]]] = {}
        for name in self.matrices:
            gradient, m = self.parameters[name].grad, self.momentum[name]
            m.lerp_(gradient, 1 - momentum)
            update = gradient.lerp(m, momentum)
            stack = update.view(self.maps, -1, update.shape[0]) if "v_b_proj" in name else update.unsqueeze(0)
            groups.setdefault(tuple(stack.shape), []).append((name, stack))
        for shape, members in groups.items():
            updates = orthogonalise(torch.cat([stack for _, stack in members]))
            rate = self.rates.matrix * factor
            for (name, _), update in zip(members, updates.split(shape[0])):
                value = self.parameters[name]
                value.mul_(1 - rate * self.rates.weight_decay)
                value.add_(update.reshape(value.shape), alpha=-rate * max(1.0, shape[1] / shape[2]) ** 0.5)

    def state(self) -> dict[str, object]:
        return {"steps": self.steps, "momentum": self.momentum, "variance": self.variance}

    @torch.no_grad()
    def restore(self, state: dict) -> None:
        self.steps = state["steps"]
        for mine, theirs in ((self.momentum, state["momentum"]), (self.variance, state["variance"])):
            for name, value in mine.items():
                value.copy_(theirs[name])
