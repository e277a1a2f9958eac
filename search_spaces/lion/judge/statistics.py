"""The measures of a judgement as pure functions: steps to a target, medians, ratios, geometric means, profiles.

Infinity stands for a target that was never reached. It is a value like any other: a median over seeds is infinite where
most of them failed, and a geometric mean where one task did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

RESAMPLES = 4000
LEVEL = 0.95
LEAST_SEEDS = 5
"""Seeds that an interval of a median needs. It cannot reach beyond the values, and they all lie to one side of the true
median with a probability of 2 ** (1 - seeds): with 5 the interval covers at most 94 %, with 3 at most 75 %. In a
simulation (log-normal costs, 1,500 repetitions) the interval of `mean_ratio` over 1, 4 and 5 tasks covered 94, 98 and
98 % with 5 seeds, 75, 95 and 96 % with 3."""


class Estimate(NamedTuple):
    """A value, and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


def reached(at: Sequence[float], losses: Sequence[float], target: float) -> float:
    """Where a run first is at or below its target, not interpolated: steps, or seconds; infinity if it never is.

    Args:
        at: (points,) steps or seconds of each validation.
        losses: (points,) validation losses, lower is better.

    Raises:
        ValueError: the target is not finite; a run that diverged would reach it at once.
    """
    if not math.isfinite(target):
        raise ValueError(f"a target of {target} is no target")
    for place, loss in zip(at, losses, strict=True):
        if loss <= target:
            return float(place)
    return math.inf


def median(values: Sequence[float]) -> float:
    """The median; of an even number the mean of the middle two, infinite where one of them is."""
    if not len(values):
        raise ValueError("no values to take a median of")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return float(ordered[middle]) if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2.0


def mean_interval(values: Sequence[float]) -> Estimate:
    """The mean over seeds with Student's t interval: the bootstrap's is too narrow for a mean of a few values.

    All three are infinite where a value is; the bounds are the value itself where there is one alone.
    """
    if not len(values):
        raise ValueError("no values to take a mean of")
    if any(math.isinf(value) for value in values):
        return Estimate(math.inf, math.inf, math.inf)
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Estimate(mean, mean, mean)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
    reach = float(stdtrit(len(values) - 1, 0.5 + LEVEL / 2.0)) * spread
    return Estimate(mean, mean - reach, mean + reach)


def median_interval(values: Sequence[float]) -> Estimate:
    """The median over seeds with its percentile bootstrap interval."""
    return _bootstrap([len(values)], lambda picks: _medians(np.asarray(values, float)[picks[0]]))


def ratio(value: float, reference: float, bound: float) -> float:
    """A cost relative to the reference's. Lower is better.

    A failure (infinity) of the one that is judged makes the ratio infinite. A failure of the reference counts as
    `bound`, the least that it could have cost, so that a ratio is never better than the truth.

    Args:
        value: median steps or seconds to the target.
        reference: the reference's.
        bound: what the reference's whole training run cost.
    """
    if math.isinf(value):
        return math.inf
    least = bound if math.isinf(reference) else reference
    if least > 0.0:
        return value / least
    return 1.0 if value == 0.0 else math.inf  # the target was no better than where training starts


def geometric_mean(values: Sequence[float]) -> float:
    """The geometric mean of non-negative values; infinite where one of them is."""
    if not len(values):
        raise ValueError("no values to take a mean of")
    if any(math.isinf(value) for value in values):
        return math.inf
    if any(value == 0.0 for value in values):
        return 0.0
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def mean_ratio(
    costs: Sequence[Sequence[float]], references: Sequence[Sequence[float]], bounds: Sequence[float]
) -> Estimate:
    """The geometric mean over tasks of ratios of medians over seeds, with its bootstrap interval.

    Seeds are resampled for each task by itself; the two are resampled together, since a seed stands for the same
    initial weights and the same order of data for both.

    Args:
        costs: for each task, for each seed, the steps (or seconds) to the target.
        references: the same of the reference.
        bounds: for each task, see `ratio`.
    """

    def measure(picks: Sequence[np.ndarray]) -> list[float]:
        columns = [
            (_medians(np.asarray(cost)[pick]), _medians(np.asarray(reference)[pick]), bound)
            for cost, reference, bound, pick in zip(costs, references, bounds, picks, strict=True)
        ]
        rows = zip(*([ratio(a, b, bound) for a, b in zip(*pair, strict=True)] for *pair, bound in columns), strict=True)
        return [geometric_mean(row) for row in rows]

    return _bootstrap([len(cost) for cost in costs], measure)


def standing(found: Estimate, goal: float, seeds: int) -> str:
    """What an interval of a ratio shows, by the bound that speaks against it; one of the keys of `STANDINGS`.

    Args:
        found: ratio to the reference's cost, lower is better.
        goal: the ratio that is aimed at, below 1.
        seeds: that went into it.
    """
    if seeds < LEAST_SEEDS:
        return "too few seeds"
    if found.high <= goal:
        return "goal"
    if found.high < 1.0:
        return "better"
    return "worse" if found.low > 1.0 else "not shown"


STANDINGS: Mapping[str, str] = {
    "goal": "shown: the whole interval is at or below the goal",
    "better": "fewer steps than the reference's are shown, the goal is not: the interval ends between the goal and 1",
    "not shown": "not shown: the interval ends at or above 1",
    "worse": "missed: more steps than the reference's",
    "undecided": "undecided: no task has such a target",
    "too few seeds": f"not shown: an interval needs at least {LEAST_SEEDS} seeds",
}


def _medians(values: np.ndarray) -> list[float]:
    """`median` of each row."""
    ordered = np.sort(values, axis=1)
    count = values.shape[1]
    return ((ordered[:, (count - 1) // 2] + ordered[:, count // 2]) / 2.0).tolist()


def _bootstrap(sizes: Sequence[int], measure: Callable[[Sequence[np.ndarray]], Sequence[float]]) -> Estimate:
    """A measure of samples of these sizes, and the percentile bootstrap's bounds, from a stream with a fixed seed.

    The bounds are order statistics, not interpolated: infinity less infinity would be no number.

    Args:
        measure: takes for each sample the places picked, (resamples, size), and gives one value a resample.
    """
    (value,) = measure([np.arange(size)[None] for size in sizes])
    rng = np.random.default_rng(0)
    resampled = sorted(measure([rng.integers(size, size=(RESAMPLES, size)) for size in sizes]))
    tail = round(RESAMPLES * (1.0 - LEVEL) / 2.0)
    return Estimate(float(value), float(resampled[tail]), float(resampled[-1 - tail]))


def performance_ratios(costs: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """For each subject and task its cost over the least of all subjects', at least 1; infinite where it failed.

    Args:
        costs: for each subject, for each task, the median steps (or seconds) to the target.
    """
    least = [min(column) for column in zip(*costs.values(), strict=True)]
    return {
        name: [
            math.inf if math.isinf(c) else (c / best if best > 0.0 else 1.0) for c, best in zip(row, least, strict=True)
        ]
        for name, row in costs.items()
    }


def profile(ratios: Sequence[float], taus: Sequence[float]) -> list[float]:
    """rho(tau) (Dolan and More 2002): the share of tasks on which a subject is within a factor tau of the best."""
    return [sum(value <= tau for value in ratios) / len(ratios) for tau in taus]


def profile_score(ratios: Sequence[float], largest: float) -> float:
    """The integral of rho from 1 to `largest` over its length, exact: AlgoPerf's score. In [0, 1], higher is better."""
    return sum(max(0.0, largest - value) for value in ratios) / ((largest - 1.0) * len(ratios))
