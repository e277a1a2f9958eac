"""What ReLUs do with a batch: naswot and swap. And what channels do with a random image: meco."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from proxies.errors import UnsupportedModelError
from proxies.network.watching import Call, Observer


class ReluPatterns(Observer):
    """Gathers the on/off states of all ReLUs (x > 0) while a network runs; keeps sums, not states.

    Args:
        samples: of the batch; calls on tensors of another first dimension are no activations of samples.
        columns: how many of the first samples the distinct patterns are counted over.

    Attributes:
        units: number of ReLU units of one sample.
        gram: (samples, samples) float64, sum over units of s_i s_j, s = 1 where on and -1 where off.
    """

    kinds = frozenset({"relu"})

    def __init__(self, samples: int, columns: int) -> None:
        self.units = 0
        self._samples, self._columns = samples, min(samples, columns)
        self.gram: Tensor = torch.zeros(samples, samples, dtype=torch.float64)
        self._seen: Tensor = torch.zeros(2**self._columns, dtype=torch.bool)

    def before(self, call: Call) -> None:
        """Read the states before an in-place ReLU changes them."""
        if call.input.ndim < 2 or len(call.input) != self._samples:
            return
        on = call.input.detach().reshape(self._samples, -1) > 0
        signs = on.to(torch.float32).mul_(2).sub_(1)
        # sums of +-1 are exact in float32 up to 2^24 units a layer
        self.gram += (signs @ signs.T).double().cpu()
        weights = 2.0 ** torch.arange(self._columns, device=on.device, dtype=torch.float32)
        codes = weights @ on[: self._columns].to(torch.float32)
        self._seen[codes.long().cpu()] = True
        self.units += on.shape[1]

    @property
    def distinct(self) -> int:
        """Number of distinct columns (units) of the states of the first samples."""
        return int(self._seen.sum())

    def agreement(self) -> Tensor:
        """(samples, samples) float64: in how many units two samples have the same state."""
        return (self.gram + self.units) / 2

    def require(self) -> None:
        """Raise `UnsupportedModelError` if no ReLU was seen."""
        if not self.units:
            raise UnsupportedModelError(
                "the model has no ReLU (leaky ones, ReLU6 and clamping at 0 count) over its samples",
                "leave naswot and swap out: metrics=[...]",
            )


def naswot(agreement: Tensor) -> float:
    """ln det of the agreement matrix (Mellor et al., 2021); NaN where it is singular.

    Args:
        agreement: (samples, samples) float64, positive semidefinite.
    """
    values = torch.linalg.eigvalsh(agreement)
    if not float(values[0]) > len(values) * torch.finfo(torch.float64).eps * float(values[-1]):
        return math.nan
    return float(values.log().sum())


def swap(distinct: int, params: int, mu: float | None = None, sigma: float | None = None) -> float:
    """Number of distinct patterns, regularised by exp(-(params - mu)^2 / sigma) where mu and sigma are given.

    Peng et al. (2024), definition 3.3; `params`, `mu` in the same unit (parameters), `sigma` in its square.
    """
    if mu is None or sigma is None:
        return float(distinct)
    return distinct * math.exp(-((params - mu) ** 2) / sigma)


class ChannelMaps(Observer):
    """Keeps the outputs of convolutions for the first sample, as (channels, positions)."""

    kinds = frozenset({"convolution"})

    def __init__(self) -> None:
        self.maps: list[Tensor] = []

    def after(self, call: Call) -> None:
        """Copy: what follows may work in place."""
        self.maps.append(call.output.detach()[0].flatten(1).double())


def meco(maps: Sequence[Tensor]) -> float:
    """Sum over layers of the smallest eigenvalue of the correlation matrix of a layer's channels (Jiang et al., 2023).

    Correlations with a constant channel are 0, also with itself, as in their code. A layer with no more positions
    than channels has rank at most positions - 1 and adds exactly 0.

    Args:
        maps: for each layer (channels, positions).
    """
    total = 0.0
    by_channels: dict[int, list[Tensor]] = {}
    for channels in maps:
        if channels.shape[1] > channels.shape[0]:
            by_channels.setdefault(len(channels), []).append(correlations(channels.double()).nan_to_num(0.0, 0.0, 0.0))
    for stacked in by_channels.values():
        total += float(torch.linalg.eigvalsh(torch.stack(stacked))[:, 0].clamp(min=0).sum())
    return total


def correlations(rows: Tensor) -> Tensor:
    """Pearson correlations between rows, (rows, rows); NaN with a row that is constant up to rounding.

    Args:
        rows: (rows, columns) float64.
    """
    centred = rows - rows.mean(1, keepdim=True)
    norms = centred.norm(dim=1)
    # what a constant row leaves when its mean is subtracted is rounding, and correlates with anything
    flat = norms <= 1e-12 * rows.norm(dim=1)
    scaled = centred / torch.where(flat, torch.full_like(norms, math.nan), norms)[:, None]
    return (scaled @ scaled.T).clamp(-1, 1)
