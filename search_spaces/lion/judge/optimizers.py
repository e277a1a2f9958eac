"""The baselines as they are used in practice: torch's own optimizers, and Lion as released."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from evo.errors import EvoError
from search_spaces.lion.judge.networks import hidden_matrices

Build = Callable[[nn.Module, float, float], list[Optimizer]]
"""(network, peak learning rate, weight decay) -> the optimizers that together train all its parameters."""


class Lion(Optimizer):
    """Lion (Chen et al. 2023, algorithm 2): the sign of an interpolation, decoupled decay, and a slower average.

    Args:
        params: tensors or groups.
        lr: learning rate.
        betas: weights of the average in the update and in the average itself; the released defaults.
        weight_decay: decoupled, times `lr`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; `closure` computes the loss again and returns it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["average"] = torch.zeros_like(p)
                average = state["average"]
                p.mul_(1.0 - group["lr"] * group["weight_decay"])
                p.add_(average.lerp(p.grad, 1.0 - beta1).sign_(), alpha=-group["lr"])
                average.lerp_(p.grad, 1.0 - beta2)
        return loss


def adamw(network: nn.Module, lr: float, weight_decay: float) -> list[Optimizer]:
    """`torch.optim.AdamW`, betas 0.9 and 0.999."""
    return [torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=weight_decay)]


def nadam(network: nn.Module, lr: float, weight_decay: float) -> list[Optimizer]:
    """`torch.optim.NAdam` with decoupled decay (NAdamW, AlgoPerf's strongest baseline)."""
    return [torch.optim.NAdam(network.parameters(), lr=lr, weight_decay=weight_decay, decoupled_weight_decay=True)]


def sgd(network: nn.Module, lr: float, weight_decay: float) -> list[Optimizer]:
    """`torch.optim.SGD` with Nesterov momentum 0.9; its decay is part of the gradient."""
    return [torch.optim.SGD(network.parameters(), lr=lr, weight_decay=weight_decay, momentum=0.9, nesterov=True)]


def lion(network: nn.Module, lr: float, weight_decay: float) -> list[Optimizer]:
    """Lion as released."""
    return [Lion(network.parameters(), lr=lr, weight_decay=weight_decay)]


def muon(network: nn.Module, lr: float, weight_decay: float) -> list[Optimizer]:
    """`torch.optim.Muon` for hidden matrices, AdamW for the rest, under one learning rate.

    The rate is shared because Muon's is adjusted to the RMS of AdamW's updates (Liu et al. 2025, "Muon is scalable").

    Raises:
        EvoError: this torch has no Muon.
    """
    if not hasattr(torch.optim, "Muon"):
        raise EvoError(
            f"torch {torch.__version__} has no Muon, a baseline of the judgement", "install torch 2.9 or later"
        )
    names = hidden_matrices(network)
    matrices = [p for name, p in network.named_parameters() if name in names]
    rest = [p for name, p in network.named_parameters() if name not in names]
    if not matrices:  # a network of the user's own, of one dense layer, say
        return adamw(network, lr, weight_decay)
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=lr, weight_decay=weight_decay),
    ]
