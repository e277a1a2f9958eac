"""Means over seeds with bootstrap intervals: exact for a few seeds, resampled with a fixed stream for more."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

EXACT_UP_TO = 6
RESAMPLES = 4000


class Interval(NamedTuple):
    """A mean and the percentile bootstrap's bounds; `n` values went in. Bounds equal the mean where n is 1."""

    mean: float
    low: float
    high: float
    n: int


def bootstrap(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of values and its percentile bootstrap interval (Efron and Tibshirani 1993, section 13.3).

    Up to six values all resamples are enumerated with their multinomial weights; beyond, 4,000 are drawn from a
    stream with a fixed seed. Both give the same answer on every machine.

    Args:
        values: at least one; infinities are allowed, NaN makes everything NaN.
        level: share of the bootstrap distribution between the bounds.

    Raises:
        ValueError: no values.
    """
    n = len(values)
    if not n:
        raise ValueError("no values to take a mean of")
    mean = sum(values) / n
    if n == 1 or mean != mean:
        return Interval(mean, mean, mean, n)
    weighted: list[tuple[float, float]]
    if n <= EXACT_UP_TO:
        total = float(n**n)
        weighted = [
            (
                sum(values[i] for i in picked) / n,
                math.factorial(n) / math.prod(math.factorial(count) for count in Counter(picked).values()) / total,
            )
            for picked in combinations_with_replacement(range(n), n)
        ]
    else:
        stream = random.Random(0)
        weighted = [(sum(stream.choices(values, k=n)) / n, 1.0 / RESAMPLES) for _ in range(RESAMPLES)]
    weighted.sort()
    tail = (1.0 - level) / 2.0
    rounding = 1e-13 * max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    bounds = (_quantile(weighted, tail), _quantile(weighted, 1.0 - tail))
    low, high = (0.0 if abs(bound) <= rounding else bound for bound in bounds)  # 2e-17 is no difference
    return Interval(mean, low, high, n)


def _quantile(weighted: Sequence[tuple[float, float]], share: float) -> float:
    reached = 0.0
    for value, weight in weighted:
        reached += weight
        if reached >= share - 1e-12:
            return value
    return weighted[-1][0]


def paired(values: Sequence[float], baseline: Sequence[float], level: float = 0.95) -> Interval | None:
    """The mean of the differences seed by seed; None where the two were not measured on equally many seeds."""
    if not values or len(values) != len(baseline):
        return None
    return bootstrap([a - b for a, b in zip(values, baseline, strict=True)], level)
