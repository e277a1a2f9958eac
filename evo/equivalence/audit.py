"""Compares what was stored with what a re-evaluation found, and keeps the statistics of an audit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evo.errors import ConfigError


def relative_difference(expected: Sequence[float], found: Sequence[float]) -> float:
    """The largest |a - b| / max(|a|, |b|) over pairs of values, in [0, 2]; dimensionless.

    Equal values, two NaN or two equal infinities differ by 0; a NaN or an infinity against anything else, or
    sequences of different length, by infinity.
    """
    if len(expected) != len(found):
        return math.inf
    return max((_difference(a, b) for a, b in zip(expected, found, strict=True)), default=0.0)


def agrees(expected: Sequence[float], found: Sequence[float], rtol: float = 0.0) -> bool:
    """Whether a re-evaluation confirms stored values.

    Args:
        expected: the stored values.
        found: the values of the re-evaluation.
        rtol: the largest `relative_difference` allowed; 0 asks for equal values.

    Raises:
        ConfigError: `rtol` is negative or not finite.
    """
    _check(rtol)
    return relative_difference(expected, found) <= rtol


@dataclass
class Audit:
    """Running statistics of an audit.

    Attributes:
        rtol: the largest relative difference that counts as agreement; 0 asks for equal values.
        n: comparisons made.
        disagreements: those that did not agree.
        largest: the largest relative difference seen among comparisons of finite values with finite values.
        incomparable: comparisons of a NaN or an infinity with something else, or of different lengths; each is also
            a disagreement.
    """

    rtol: float = 0.0
    n: int = 0
    disagreements: int = 0
    largest: float = 0.0
    incomparable: int = 0

    def __post_init__(self) -> None:
        _check(self.rtol)

    def add(self, expected: Sequence[float], found: Sequence[float]) -> bool:
        """Takes one comparison in; returns whether it agrees."""
        difference = relative_difference(expected, found)
        self.n += 1
        if math.isinf(difference):
            self.incomparable += 1
        else:
            self.largest = max(self.largest, difference)
        agreed = difference <= self.rtol
        self.disagreements += not agreed
        return agreed

    @property
    def rate(self) -> float:
        """Disagreements a comparison, in [0, 1]; 0 before the first."""
        return self.disagreements / self.n if self.n else 0.0


def _difference(a: float, b: float) -> float:
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    scale = max(abs(a), abs(b))
    # Divided first: the difference of two large values can overflow.
    return abs(a / scale - b / scale)


def _check(rtol: float) -> None:
    if not (math.isfinite(rtol) and rtol >= 0.0):
        raise ConfigError(f"rtol is {rtol}", "give a number that is 0 (equal values) or greater")
