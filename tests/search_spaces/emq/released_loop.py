"""EMQ's released scoring as it is written there: torch operators, layer after layer, configuration after configuration.

Written from the formulas in the specification (operators.json), independently of `search_spaces.emq`: the yardstick of
mode "as-released" in tests and in `benchmarks/emq_throughput.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def log(x: Tensor) -> Tensor:
    return torch.log(x + 1e-9)


def abslog(x: Tensor) -> Tensor:
    x = x.clone()
    x[x == 0] = 1
    return torch.log(torch.abs(x))


def normalize(x: Tensor) -> Tensor:
    if x.dim() == 0:
        return torch.zeros_like(x)
    x = (x - x.mean()) / x.std()
    x[x != x] = 0
    return x


def sqrt(x: Tensor) -> Tensor:
    x = x.clone()
    x[x <= 0] = 0
    return torch.sqrt(x)


UNARY = (
    log, abslog, torch.abs, lambda x: torch.pow(x, 2), torch.exp, normalize, torch.relu, lambda x: 1.0 / (x + 1e-9),
    lambda x: torch.linalg.norm(x.reshape(-1)), lambda x: torch.sum(x) / (x.numel() + 1e-9),
    lambda x: torch.sum(torch.abs(x)) / (x.numel() + 1e-9), lambda x: torch.softmax(x, 0), torch.sigmoid,
    lambda x: torch.log_softmax(x, 0), sqrt, lambda x: -x,
    lambda x: (x - x.min()) / (x.max() - x.min() + 1e-9), torch.mean, lambda x: x.reshape(-1).std(), lambda x: x,
)  # fmt: skip
"""In EMQ's index order."""


def binary(index: int, a: float, b: float) -> float:
    if index == 3:
        raise TypeError("matmul of two floats")
    return (a + b, a - b, a * b)[index]


def tree_score(inputs: Sequence[Sequence[Tensor]], genotype: Any, bits: Sequence[int]) -> float:
    """The score of one configuration by a tree [[u, u], [u, u], b]; -1 where something raises.

    Args:
        inputs: two lists of tensors, one tensor a layer, as the released code lists them (gradients reversed).
        genotype: indices.
        bits: of the configuration; zip stops at the shortest list.
    """
    branches = []
    try:
        for tensors, ops in zip(inputs, genotype[:2], strict=True):
            found = []
            for tensor, bit in zip(tensors, bits, strict=False):
                x = bit * tensor
                for op in ops:
                    x = UNARY[op](x)
                found.append(float(torch.mean(x)))
            branches.append(found)
        layers = [binary(genotype[2], a, b) for a, b in zip(*branches, strict=True)]
    except (TypeError, RuntimeError):
        return -1.0
    return sum(layers) / len(layers)
