"""A small network of four layers, a batch, and statistics of it, for all tests here."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from proxies.quantization import HessianOptions
from search_spaces.emq.gathered import Gathered
from search_spaces.emq.problem import Problem
from search_spaces.emq.scoring import places_of
from search_spaces.emq.statistics import gather_samples

LAYERS = ("conv1", "conv2", "conv3", "fc")
CHOICES = (2, 3, 4, 8)
HESSIAN = HessianOptions(samples=4, least_samples=2, iterations=3)
"""Quick, and good enough to be different from layer to layer."""


class TinyNet(nn.Module):
    """Three convolutions, one of them depthwise, in-place activations, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, 2, 1, bias=False)
        self.conv2 = nn.Conv2d(6, 6, 3, 1, 1, groups=6)
        self.conv3 = nn.Conv2d(6, 8, 1, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.conv1(x))
        x = self.act(self.conv2(x))
        return self.fc(self.act(self.conv3(x)).mean((2, 3)))


@cache
def model() -> TinyNet:
    """The network, with fixed weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return TinyNet().eval()


@cache
def batch(number: int = 0) -> tuple[Tensor, Tensor]:
    """Images (12, 1, 8, 8) and labels (12,): one of several batches."""
    generator = torch.Generator().manual_seed(5 + number)
    return torch.randn(12, 1, 8, 8, generator=generator), torch.randint(5, (12,), generator=generator)


@cache
def samples(batches: int = 4) -> tuple[Tensor, Tensor]:
    """All batches, one after another: (48, 1, 8, 8) and (48,)."""
    parts = [batch(number) for number in range(batches)]
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])


@cache
def gathered(most: int | None = 64, number: int = 0) -> Gathered:
    """Statistics of the network on a batch."""
    return gather_samples(model(), *batch(number), LAYERS, CHOICES, most, HESSIAN)


@cache
def configurations(rows: int = 60) -> np.ndarray:
    """(rows, 4) distinct bits."""
    every = np.stack(np.meshgrid(*[CHOICES] * len(LAYERS), indexing="ij"), -1).reshape(-1, len(LAYERS))
    return np.random.default_rng(0).permutation(every)[:rows].astype(np.int8)


def accuracies(bits: np.ndarray, seeds: int = 3) -> np.ndarray:
    """(rows, seeds) in (0, 1): a smooth function of the bits, and a little noise."""
    rng = np.random.default_rng(1)
    loss = (np.array([0.6, 0.3, 1.0, 0.4]) * 4.0 ** -(bits.astype(float) - 2)).sum(1)
    return (0.9 - 0.3 * loss[:, None] + 0.002 * rng.standard_normal((len(bits), seeds))).clip(0, 1)


@cache
def problem() -> Problem:
    """The network with a made-up table of 60 rows, seen on two batches and reported on two others."""
    bits = configurations()
    order = np.random.default_rng(2).permutation(len(bits))
    return Problem(
        "tiny", (gathered(), gathered(64, 1)), (gathered(64, 2), gathered(64, 3)), places_of(bits, CHOICES),
        accuracies(bits), np.sort(order[:36]), np.sort(order[36:]), 0.9, (0.98, 0.97, 0.99),
    )  # fmt: skip
