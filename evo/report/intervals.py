"""Means over seeds with Student's t intervals, in plain Python: read verbs print them without numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

FEW = 3
"""With fewer values than this an interval says little: two give one estimate of the spread, which is mostly chance."""


class Interval(NamedTuple):
    """A mean and the bounds of its interval; `n` values went in. Bounds equal the mean where n is 1.

    Where a value is infinite, so is the mean, and the bounds are both infinities: nothing is known.
    """

    mean: float
    low: float
    high: float
    n: int


def student(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of values and its t interval (Student 1908): mean -/+ t(n - 1) times the standard error.

    Of a few seeds the percentile bootstrap covers far less than it says (four seeds: about 80 % instead of 95); this
    one keeps its level for normal errors with two values already, and is then as wide as it has to be.

    Args:
        values: at least one; infinities are allowed, NaN makes everything NaN.
        level: how often such intervals hold the true mean.

    Raises:
        ValueError: no values.
    """
    n = len(values)
    if not n:
        raise ValueError("no values to take a mean of")
    if any(math.isinf(value) for value in values):
        mean = sum(value for value in values if not math.isfinite(value))  # inf - inf is NaN
        return Interval(mean, mean if n == 1 else -math.inf, mean if n == 1 else math.inf, n)
    mean = math.fsum(values) / n
    if n == 1 or math.isnan(mean):
        return Interval(mean, mean, mean, n)
    # scaled, so that squares of large values stay finite
    scale = max(abs(value - mean) for value in values) or 1.0
    spread = scale * math.sqrt(math.fsum(((value - mean) / scale) ** 2 for value in values) / (n - 1))
    half = quantile(level, n - 1) * spread / math.sqrt(n)
    rounding = 1e-13 * max(map(abs, values))
    low, high = (0.0 if abs(bound) <= rounding else bound for bound in (mean - half, mean + half))  # 2e-17 is nothing
    return Interval(mean, low, high, n)


@lru_cache(maxsize=256)
def quantile(level: float, freedom: int) -> float:
    """t such that Student's distribution has the share `level` between -t and t."""
    low, high = 0.0, math.pi / 2.0
    for _ in range(100):
        angle = (low + high) / 2.0
        low, high = (angle, high) if _inside(angle, freedom) < level else (low, angle)
    return math.sqrt(freedom) * math.tan(low)


def _inside(angle: float, freedom: int) -> float:
    """The share between -t and t, t = tan(angle) sqrt(freedom) (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    cosine = math.cos(angle)
    odd = freedom % 2
    term = total = cosine if odd else 1.0
    for k in range(2 + odd, freedom, 2):
        term *= (k - 1) / k * cosine * cosine
        total += term
    if odd:
        return 2.0 / math.pi * (angle + (math.sin(angle) * total if freedom > 1 else 0.0))
    return math.sin(angle) * total


def paired(values: Sequence[float], baseline: Sequence[float], level: float = 0.95) -> Interval | None:
    """The mean of the differences seed by seed; None where the two were not measured on equally many seeds.

    Where both are infinite under a seed there is no difference: everything is NaN."""
    if not values or len(values) != len(baseline):
        return None
    return student([a - b for a, b in zip(values, baseline, strict=True)], level)
