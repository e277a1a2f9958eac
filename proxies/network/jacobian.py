"""Metrics of the outputs' Jacobian by the images: jacov and epe_nas."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from proxies.network.activations import correlations

_K = 1e-5


def jacov(jacobian: Tensor) -> float:
    """-sum ln(e + k) + 1 / (e + k) over the eigenvalues e of the correlations between samples; about -n at best.

    NaN where a sample has no gradient (the correlation is undefined).

    Args:
        jacobian: (n, ...), d(sum of all outputs) / d(images).
    """
    matrix = correlations(jacobian.detach().double().flatten(1))
    if not bool(torch.isfinite(matrix).all()):
        return math.nan
    values = torch.linalg.eigvalsh(matrix).clamp(min=0)  # a correlation matrix has none below 0 but for rounding
    return -float(((values + _K).log() + 1 / (values + _K)).sum())


def epe_nas(jacobian: Tensor, labels: Tensor, classes: int) -> float:
    """How alike the Jacobian's rows are within classes (Lopes et al., 2021); see the registry for the formula.

    NaN where a sample has no gradient. A class with one sample counts with its correlation 1.

    Args:
        jacobian: (n, ...), d(sum of all outputs) / d(images).
        labels: (n,) whole numbers.
        classes: of the model.
    """
    matrix = correlations(jacobian.detach().double().flatten(1))
    logarithms = (matrix.abs() + _K).log()
    sums = []
    for label in labels.unique():
        of_class = torch.nonzero(labels == label).flatten().to(matrix.device)
        value = float(logarithms[of_class][:, of_class].sum())
        sums.append(value / len(of_class) if classes > 100 else value)
    if classes <= 100:
        return math.fsum(abs(value) for value in sums)
    return math.fsum(abs(a - b) for a in sums for b in sums) / len(sums)
