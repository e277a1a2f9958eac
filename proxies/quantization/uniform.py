"""Uniform quantization of tensors: grids, their scales by range, percentile or least squared error, and rounding.

A b-bit grid is {s (q - z): q = low .. high}. Symmetric: z = 0, q in [-2^(b-1), 2^(b-1) - 1]. Asymmetric: q in
[0, 2^b - 1] and a whole zero point z. Zero is on every grid, so that padding and rectified values stay exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from proxies.errors import ProxyError

COARSE, FINE = 24, 16
"""Shares of the full range that the search for the least squared error tries: k / 24, then 16 around the best."""


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ProxyError(f"{name} is {value!r}", f"one of {', '.join(allowed)}")


@dataclass(frozen=True, slots=True)
class WeightScheme:
    """How weights are quantized.

    Attributes:
        granularity: a scale for each output "channel", or one for the "tensor".
        symmetric: whether the zero point is 0.
        scale: "mse": the range, shrunk, of least squared error; "minmax": the full range.
    """

    granularity: Literal["channel", "tensor"] = "channel"
    symmetric: bool = False
    scale: Literal["mse", "minmax"] = "mse"

    def __post_init__(self) -> None:
        _one_of("granularity", self.granularity, ("channel", "tensor"))
        _one_of("scale", self.scale, ("mse", "minmax"))


@dataclass(frozen=True, slots=True)
class ActivationScheme:
    """How a layer's input is quantized: one scale for the tensor, from a calibration batch.

    Attributes:
        symmetric: whether the zero point is 0.
        scale: "minmax": the range seen; "percentile": without the extreme values; "mse": the shrunk range of least
            squared error.
        percentile: of the values on each side that stay in range, for "percentile".
        samples: values of a layer that "percentile" and "mse" look at, drawn by the seed where there are more.
    """

    symmetric: bool = False
    scale: Literal["minmax", "percentile", "mse"] = "mse"
    percentile: float = 99.99
    samples: int = 2**16

    def __post_init__(self) -> None:
        _one_of("scale", self.scale, ("minmax", "percentile", "mse"))
        if not 50 < self.percentile <= 100:
            raise ProxyError(f"percentile is {self.percentile}", "give more than 50, at most 100")
        if self.samples < 2:
            raise ProxyError(f"samples is {self.samples}", "give 2 or more")


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Scales and zero points, of shapes that broadcast against the tensor they quantize.

    Attributes:
        scale: the step, positive.
        zero_point: whole numbers in the dtype of `scale`; 0 where symmetric.
        low, high: the least and the largest q.
    """

    scale: Tensor
    zero_point: Tensor
    low: int
    high: int

    def integers(self, x: Tensor) -> Tensor:
        """q of the nearest grid points (ties to even), as whole numbers in x's dtype."""
        return (torch.round(x / self.scale) + self.zero_point).clamp(self.low, self.high)

    def quantize(self, x: Tensor) -> Tensor:
        """x at the nearest grid points; values beyond the grid go to its ends."""
        return (self.integers(x) - self.zero_point) * self.scale


def limits(bits: int, symmetric: bool) -> tuple[int, int]:
    """low and high of a b-bit grid."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if symmetric else (0, 2**bits - 1)


def fit_weight(weight: Tensor, bits: int, scheme: WeightScheme = WeightScheme()) -> Grid:
    """The grid of a weight.

    Args:
        weight: (out, ...).
        bits: 2 to 16.
        scheme: how.

    Raises:
        ProxyError: a weight is not finite, or the bits are out of range.
    """
    _check(weight, bits)
    rows = weight.detach().reshape(len(weight) if scheme.granularity == "channel" else 1, -1)
    grid = _fit(rows, bits, scheme.symmetric, search=scheme.scale == "mse")
    shape = (-1,) + (1,) * (weight.ndim - 1)
    return Grid(grid.scale.reshape(shape), grid.zero_point.reshape(shape), grid.low, grid.high)


def fit_activation(
    values: Tensor, bits: int, scheme: ActivationScheme = ActivationScheme(), generator: torch.Generator | None = None
) -> Grid:
    """The grid of an activation, from values that were seen (any shape); scale and zero point are scalars.

    Args:
        values: what the layer received.
        bits: 2 to 16.
        scheme: how.
        generator: on the CPU; draws the values looked at where there are more than `scheme.samples`.

    Raises:
        ProxyError: a value is not finite, or the bits are out of range.
    """
    _check(values, bits)
    flat = values.detach().reshape(1, -1)
    if scheme.scale == "minmax":
        grid = _fit(flat, bits, scheme.symmetric, search=False)
    else:
        if flat.shape[1] > scheme.samples:
            chosen = torch.randint(flat.shape[1], (scheme.samples,), generator=generator or torch.Generator())
            # the extremes are always among them
            chosen = torch.cat([chosen.to(flat.device), torch.stack([flat.argmin(), flat.argmax()])])
            flat = flat[:, chosen]
        if scheme.scale == "percentile":
            flat = _between(flat, scheme.percentile)
        grid = _fit(flat, bits, scheme.symmetric, search=scheme.scale == "mse")
    return Grid(grid.scale.reshape(()), grid.zero_point.reshape(()), grid.low, grid.high)


def squared_error(weight: Tensor, bits: int, scheme: WeightScheme = WeightScheme()) -> float:
    """||Q(W) - W||^2, summed in float64. Lower is better."""
    grid = fit_weight(weight, bits, scheme)
    return float((grid.quantize(weight.detach()) - weight.detach()).double().square().sum())


def _fit(rows: Tensor, bits: int, symmetric: bool, search: bool) -> Grid:
    """A grid for each row of (rows, n)."""
    least, most = rows.amin(1, keepdim=True).clamp(max=0), rows.amax(1, keepdim=True).clamp(min=0)
    whole = _of_range(least, most, bits, symmetric)
    if not search:
        return whole
    best = torch.ones_like(least)
    error = _error(whole, rows)

    def consider(shares: Iterable[Tensor]) -> None:
        nonlocal best, error
        for share in shares:
            found = _error(_of_range(least * share, most * share, bits, symmetric), rows)
            better = found < error
            best, error = torch.where(better, share, best), torch.where(better, found, error)

    consider(torch.full_like(best, k / COARSE) for k in range(COARSE - 1, 0, -1))
    centre = best.clone()
    steps = [k / (FINE // 2 + 1) for k in range(-(FINE // 2), FINE // 2 + 1) if k]
    # above 1 as well: a wider grid may lie better on few values
    consider(centre + step / COARSE for step in steps)
    return _of_range(least * best, most * best, bits, symmetric)


def _of_range(least: Tensor, most: Tensor, bits: int, symmetric: bool) -> Grid:
    low, high = limits(bits, symmetric)
    if symmetric:
        scale = _positive(torch.maximum(-least, most) / high)
        return Grid(scale, torch.zeros_like(scale), low, high)
    scale = _positive((most - least) / high)
    return Grid(scale, torch.round(-least / scale).clamp(low, high), low, high)


def _positive(scale: Tensor) -> Tensor:
    # all values zero, or so small that the step underflows: any step represents zero
    return torch.where(scale > torch.finfo(scale.dtype).tiny, scale, torch.ones_like(scale))


def _error(grid: Grid, rows: Tensor) -> Tensor:
    return (grid.quantize(rows) - rows).square_().sum(1, keepdim=True, dtype=torch.float64)


def _between(flat: Tensor, percentile: float) -> Tensor:
    ordered = flat.sort(dim=1).values
    last = ordered.shape[1] - 1
    cut = round(last * (1 - percentile / 100))
    return ordered[:, [cut, last - cut]]


def _check(x: Tensor, bits: int) -> None:
    if not isinstance(bits, int) or isinstance(bits, bool) or not 2 <= bits <= 16:
        raise ProxyError(f"bits is {bits!r}", "give a whole number from 2 to 16")
    if not x.is_floating_point() or not x.numel():
        raise ProxyError(f"cannot quantize a tensor of {tuple(x.shape)} in {x.dtype}", "give floating-point values")
    if not bool(torch.isfinite(x).all()):
        raise ProxyError("cannot quantize a tensor with NaN or infinite values", "check the model and the batch")
