"""The mean over all that was ever observed of one function: its first evaluation and every re-evaluation since."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


class Pooled:
    """Observations of one function at one rung, each seed once.

    A single score is lucky or not; what is chosen for its score is mostly lucky. The mean over fresh seeds as well is
    what a candidate is worth. It is the correctly rounded sum over the number, so that it is the same to the bit in
    whatever order results were told.

    Args:
        first: the observed values of the first evaluation, a mean over `weight` replicates; empty: not known.
        weight: replicates behind `first`.
    """

    __slots__ = ("_first", "_mean", "_observed", "_weight", "failed")

    def __init__(self, first: Sequence[float] = (), weight: int = 1) -> None:
        known = bool(first) and not any(math.isnan(value) for value in first)
        self._first = tuple(first) if known else ()
        self._weight = weight if known else 0
        self._observed: dict[int, tuple[float, ...]] = {}
        self._mean: tuple[float, ...] | None = None
        self.failed = False
        """Whether a re-evaluation gave no value: then there is no mean either."""

    def add(self, observations: Sequence[tuple[int, tuple[float, ...]]]) -> None:
        """Take in (seed, observed values) pairs; a seed that is there already changes nothing."""
        for seed, values in observations:
            self._observed.setdefault(seed, tuple(values))
        self._mean = None

    @property
    def count(self) -> int:
        """Replicates behind the mean, those of the first evaluation included."""
        return self._weight + len(self._observed)

    @property
    def observations(self) -> Mapping[int, tuple[float, ...]]:
        """Observed values of the re-evaluations, by seed; those of the first evaluation are not known one by one."""
        return self._observed

    @property
    def observed(self) -> bool:
        """Whether a re-evaluation came back, with values or failed."""
        return self.failed or bool(self._observed)

    @property
    def mean(self) -> tuple[float, ...]:
        """One mean an observed objective; empty where there is none (a failure, NaN, infinities of both signs)."""
        if self._mean is None:
            self._mean = self._average()
        return self._mean

    def _average(self) -> tuple[float, ...]:
        rows = [self._first] * self._weight + list(self._observed.values())
        if self.failed or not rows or not rows[0] or len({len(row) for row in rows}) > 1:
            return ()
        means = tuple(_mean(column) for column in zip(*rows, strict=True))
        return () if any(math.isnan(value) for value in means) else means


def _mean(values: Sequence[float]) -> float:
    if not all(map(math.isfinite, values)):
        return sum(value for value in values if not math.isfinite(value))  # inf - inf is NaN
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return math.fsum(value / len(values) for value in values)
