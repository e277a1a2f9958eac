"""How well each metric ranks the benchmark's cells, and how well another training of theirs would: the ceiling."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np

from kernels.ranks import spearman, spearman_bootstrap

RESAMPLES = 2_000
LEVEL = 0.95


class Interval(NamedTuple):
    """A Spearman correlation with its bootstrap interval over cells."""

    estimate: float
    low: float
    high: float


def correlations(metrics: Mapping[str, np.ndarray], accuracy: np.ndarray) -> dict[str, Interval]:
    """Spearman correlation of each metric with an accuracy.

    Args:
        metrics: (n,) by name, larger is better; a value that is NaN counts as the worst, as it does to a search.
        accuracy: (n,); cells where it is NaN are left out.

    Returns:
        By metric; intervals by the percentile bootstrap over cells, the same resamples for all.
    """
    kept = np.isfinite(accuracy)
    rows = np.stack([values[kept] for values in metrics.values()]).astype(np.float64)
    return dict(zip(metrics, _intervals(np.where(np.isnan(rows), -np.inf, rows), accuracy[kept]), strict=True))


def ceiling(accuracies: np.ndarray) -> Interval:
    """Mean Spearman correlation between single trainings: what no metric can pass by more than luck.

    Args:
        accuracies: (seeds, n); cells with a NaN are left out.

    Returns:
        NaN where there is one seed.
    """
    rows = np.ascontiguousarray(accuracies[:, np.isfinite(accuracies).all(0)])
    pairs = list(combinations(range(len(rows)), 2))
    if not pairs:
        return Interval(np.nan, np.nan, np.nan)
    indices = _resamples(rows.shape[1])
    estimate = np.mean([spearman(rows[i][None], rows[j])[0] for i, j in pairs])
    drawn = np.mean([spearman_bootstrap(rows[i][None], rows[j], indices)[0] for i, j in pairs], axis=0)
    return Interval(float(estimate), *_bounds(drawn))


def of_the_mean(single: float, seeds: int) -> float:
    """The correlation of the mean of `seeds` trainings with the mean of as many others, of that between single ones:
    Spearman and Brown's formula; NaN where trainings do not agree at all."""
    if not single > 0:
        return float("nan")
    return seeds * single / (1 + (seeds - 1) * single)


def _intervals(rows: np.ndarray, accuracy: np.ndarray) -> list[Interval]:
    # places among the distinct values, so that -inf is a value like any other
    ranks = np.stack([np.unique(row, return_inverse=True)[1] for row in rows]).astype(np.float64)
    estimates = spearman(ranks, accuracy)
    drawn = spearman_bootstrap(ranks, accuracy, _resamples(len(accuracy)))
    return [Interval(float(e), *_bounds(d)) for e, d in zip(estimates, drawn, strict=True)]


def _resamples(count: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=0)).integers(count, size=(RESAMPLES, count))


def _bounds(drawn: np.ndarray) -> tuple[float, float]:
    if not np.isfinite(drawn).any():
        return float("nan"), float("nan")
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
