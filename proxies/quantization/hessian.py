"""Trace and top eigenvalue of the diagonal blocks of a loss's Hessian, one block a layer, with error estimates.

Products of the Hessian with vectors come from a second differentiation; no block is ever formed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from proxies.errors import ProxyError


@dataclass(frozen=True, slots=True)
class HessianOptions:
    """When the estimates stop.

    Attributes:
        samples: at most so many Rademacher vectors a trace.
        least_samples: at least so many: before that a standard error says little.
        trace_tolerance: stop when the standard error is at most this share of |trace|.
        iterations: at most so many power iterations a layer.
        eigenvalue_tolerance: stop when the residual |H v - lambda v| is at most this share of |lambda|.
    """

    samples: int = 128
    least_samples: int = 8
    trace_tolerance: float = 0.05
    iterations: int = 100
    eigenvalue_tolerance: float = 0.01

    def __post_init__(self) -> None:
        if not 2 <= self.least_samples <= self.samples or self.iterations < 1:
            raise ProxyError(
                f"{self} allows no estimate", "give 2 <= least_samples <= samples, and iterations of 1 or more"
            )


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated number.

    Attributes:
        value: the estimate.
        error: of a trace its standard error; of an eigenvalue the residual, within which an eigenvalue lies.
        iterations: vectors, or power iterations, it took.
        converged: whether it met the tolerance.
    """

    value: float
    error: float
    iterations: int
    converged: bool


def trace(gradient: Tensor, weight: Tensor, generator: torch.Generator, options: HessianOptions) -> Estimate:
    """Hutchinson's estimate of one block's trace: the mean of v . H v over vectors v of random signs.

    A vector for each block by itself: with one vector over all layers, which costs as much as one block's, the terms
    between layers have mean zero but drown the trace (a network of three layers, 64 vectors: standard errors of
    80 to 190 % of the trace, 7 to 13 % this way). The stop rule compares with |trace|, since a trace may be negative
    (NNCF, issue 2155).

    Args:
        gradient: of the loss by the weight, with its graph (create_graph=True).
        weight: the layer's.
        generator: on the CPU.
        options: when to stop.
    """
    values: list[float] = []
    while True:
        vector = _signs(weight, generator)
        values.append(_dot(vector, _product(gradient, weight, vector)))
        if len(values) >= options.least_samples:
            found = _mean(values, options.trace_tolerance)
            if found.converged or len(values) >= options.samples:
                return found


def top_eigenvalue(gradient: Tensor, weight: Tensor, generator: torch.Generator, options: HessianOptions) -> Estimate:
    """The eigenvalue of largest magnitude of one block, by power iteration; its sign is kept.

    For a symmetric matrix an eigenvalue lies within |H v - lambda v| of lambda = v . H v, |v| = 1 (Parlett, 1998,
    theorem 4.5.1): that is the error given.

    Args:
        gradient: of the loss by the weight, with its graph.
        weight: the layer's.
        generator: on the CPU; draws the start.
        options: when to stop.
    """
    vector = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight.device, weight.dtype)
    vector = vector / _norm(vector)
    value = error = 0.0
    for iteration in range(1, options.iterations + 1):
        product = _product(gradient, weight, vector)
        value = _dot(vector, product)
        error = _norm(product - value * vector)
        if error <= options.eigenvalue_tolerance * abs(value):
            return Estimate(value, error, iteration, True)
        vector = product / _norm(product)
    return Estimate(value, error, options.iterations, False)


def _product(gradient: Tensor, weight: Tensor, vector: Tensor) -> Tensor:
    """H v."""
    if not gradient.requires_grad:
        return torch.zeros_like(weight)  # a loss that is linear in the weight
    return torch.autograd.grad(
        gradient, weight, grad_outputs=vector, retain_graph=True, allow_unused=True, materialize_grads=True
    )[0]


def _mean(values: Sequence[float], tolerance: float) -> Estimate:
    count = len(values)
    mean = math.fsum(values) / count
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1) / count)
    return Estimate(mean, error, count, error <= tolerance * abs(mean))


def _signs(weight: Tensor, generator: torch.Generator) -> Tensor:
    bits = torch.randint(2, weight.shape, generator=generator)
    return (2 * bits - 1).to(weight.device, weight.dtype)


def _dot(a: Tensor, b: Tensor) -> float:
    return float((a.double() * b.double()).sum())


def _norm(a: Tensor) -> float:
    return float(a.double().norm())
