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
        samples: at most so many Rademacher vectors for the traces.
        least_samples: at least so many: before that a standard error says little.
        trace_tolerance: stop when the standard error of every trace is at most this share of |trace|.
        iterations: at most so many power iterations a layer.
        eigenvalue_tolerance: stop when the residual |H v - lambda v| is at most this share of |lambda|.
    """

    samples: int = 64
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


def traces(
    gradients: Sequence[Tensor], weights: Sequence[Tensor], generator: torch.Generator, options: HessianOptions
) -> tuple[Estimate, ...]:
    """Hutchinson's estimate of each block's trace: the mean of v . H v over vectors of random signs.

    One vector over all layers serves every block: the terms between layers have mean zero, and what they add
    to the variance is in the standard error. The stop rule compares with |trace|, since a trace may be
    negative (NNCF, issue 2155).

    Args:
        gradients: of the loss by the weights, with their graph (create_graph=True).
        weights: one tensor a layer.
        generator: on the CPU.
        options: when to stop.

    Returns:
        an estimate a layer.
    """
    drawn: list[list[float]] = [[] for _ in weights]
    while True:
        vectors = [_signs(weight, generator) for weight in weights]
        products = _product(gradients, weights, vectors)
        for values, vector, product in zip(drawn, vectors, products, strict=True):
            values.append(_dot(vector, product))
        count = len(drawn[0])
        if count >= options.least_samples:
            found = [_mean(values, options.trace_tolerance) for values in drawn]
            if count >= options.samples or all(estimate.converged for estimate in found):
                return tuple(found)


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
        (product,) = _product([gradient], [weight], [vector])
        value = _dot(vector, product)
        error = _norm(product - value * vector)
        if error <= options.eigenvalue_tolerance * abs(value):
            return Estimate(value, error, iteration, True)
        vector = product / _norm(product)
    return Estimate(value, error, options.iterations, False)


def _product(gradients: Sequence[Tensor], weights: Sequence[Tensor], vectors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """H v. Gradients without a graph (a loss linear in the weights) have the Hessian 0."""
    pairs = [(g, v) for g, v in zip(gradients, vectors, strict=True) if g.requires_grad]
    if not pairs:
        return tuple(torch.zeros_like(weight) for weight in weights)
    return torch.autograd.grad(
        [g for g, _ in pairs],
        list(weights),
        grad_outputs=[v for _, v in pairs],
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )


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
