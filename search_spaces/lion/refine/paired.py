"""The paired test of non-inferiority: is a program at most a margin worse than another, over seeds and tasks?

Both are trained under the same seeds, so what a seed does to both cancels. A seed's difference is the mean over tasks
of candidate minus reference in log(validation loss): 0.005 is half a percent more loss. Tasks are fixed, seeds are the
sample; the mean over seeds gets a t interval.

Error control. One test wrongly accepts a program that is worse by the margin or more with probability at most `alpha`,
under the t interval's assumption (differences near normal, or many of them): seeds are added in at most a few looks,
and each look has its share of `alpha` (Bonferroni). That is for one test on seeds that nothing chose by. Whoever makes
many tests accepts about `alpha` of the truly inferior ones that sit at the margin, and fewer of the worse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xxhash
from scipy import stats

from evo.errors import ConfigError
from evo.program import Program
from evo.seeds import MASK63

Assess = Callable[[Sequence[Program], Sequence[int]], np.ndarray]
"""Programs and seeds to (n_programs, n_tasks, n_seeds) float64: log of relative loss, +inf where it diverged."""


LEVEL = 0.95
"""Of every interval that is shown: Student's t over seeds. A percentile bootstrap over four seeds says 95 % and covers
about 80."""
FEW_SEEDS = 3
"""Below this an interval is hardly one: with two seeds it is 5.6 times as wide as with four, and rests on the
assumption of normal noise alone; with one there is none."""


@dataclass(frozen=True, slots=True)
class SeedSource:
    """Seeds by purpose: those of two purposes, or of two roots, never meet (to the chance of a collision of 63 bits).

    Attributes:
        root: any integer; the run's seed, say.
    """

    root: int

    def take(self, purpose: str, n: int, start: int = 0) -> tuple[int, ...]:
        """Seeds number `start` to `start + n - 1` of a purpose."""
        return tuple(
            xxhash.xxh3_64_intdigest(f"lion simplify/{self.root}/{purpose}/{k}".encode()) & MASK63
            for k in range(start, start + n)
        )


@dataclass(frozen=True, slots=True)
class PairedTest:
    """How a test is made.

    Attributes:
        margin: of the mean difference in log loss, above 0; a candidate must be shown to be worse by less.
        alpha: probability of accepting one that is worse by the margin, in (0, 0.5).
        first: seeds of the first look, at least 2.
        cap: seeds of the last look; in between they double.
    """

    margin: float = 0.005
    alpha: float = 0.05
    first: int = 8
    cap: int = 64

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise ConfigError(f"margin is {self.margin}; it must be above 0")
        if not 0 < self.alpha < 0.5:
            raise ConfigError(f"alpha is {self.alpha}; it must lie between 0 and 0.5")
        if not 2 <= self.first <= self.cap:
            raise ConfigError(f"first is {self.first} and cap {self.cap}: 2 <= first <= cap is wanted")

    def looks(self) -> tuple[int, ...]:
        """Numbers of seeds after which the test looks at its interval."""
        found = [self.first]
        while found[-1] < self.cap:
            found.append(min(2 * found[-1], self.cap))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a test found.

    Attributes:
        accepted: shown to be worse by less than the margin.
        difference: mean over seeds and tasks of candidate minus reference, log loss; +inf where the candidate alone
            diverged.
        low, high: one-sided bounds of the mean at the last look's level.
        spread: standard deviation of the seeds' differences.
        tasks: mean difference by task.
        seeds: how many were used.
        reason: for people.
    """

    accepted: bool
    difference: float
    low: float
    high: float
    spread: float
    tasks: tuple[float, ...]
    seeds: int
    reason: str

    def to_json(self) -> dict[str, Any]:
        """JSON-able; infinities as strings."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Verdict:
        """The inverse of `to_json`."""
        numbers = {key: float(value[key]) for key in ("difference", "low", "high", "spread")}
        tasks = tuple(float(x) for x in value["tasks"])
        return cls(value["accepted"], **numbers, tasks=tasks, seeds=value["seeds"], reason=value["reason"])


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(x) for x in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def differences(candidate: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Candidate minus reference, (n_tasks, n_seeds) each. Where both diverged they are equal, 0. Where the candidate
    alone did, +inf. Where the reference alone did, 0: not diverging earns no credit to pay for a loss elsewhere with.
    """
    with np.errstate(invalid="ignore"):
        found = candidate - reference
    found[~np.isfinite(reference)] = 0.0
    found[np.isnan(candidate) & np.isfinite(reference)] = np.inf
    return found


def bounds(sample: np.ndarray, alpha: float) -> tuple[float, float, float]:
    """Mean of a sample (n,), and its one-sided lower and upper confidence bounds at level `alpha` each (Student)."""
    if not np.isfinite(sample).all():
        return math.inf, math.inf, math.inf
    mean = float(sample.mean())
    half = float(stats.t.isf(alpha, len(sample) - 1) * sample.std(ddof=1) / math.sqrt(len(sample)))
    return mean, mean - half, mean + half


def interval(sample: np.ndarray) -> dict[str, float]:
    """{"mean", "low", "high", "seeds"} of one value a seed (n,), each the mean over tasks of a paired difference: the
    mean and its two-sided t interval at `LEVEL`. One seed leaves the mean unbounded: low and high are infinite; so
    does a seed that diverges, which leaves nothing to be said about the size of a mean: then all three are.
    """
    n = len(sample)
    if not np.isfinite(sample).all():
        mean = float(np.mean(sample))
        return {"mean": mean, "low": mean, "high": mean, "seeds": n}
    if n < 2:
        return {"mean": float(sample[0]), "low": -math.inf, "high": math.inf, "seeds": n}
    mean, low, high = bounds(sample, (1.0 - LEVEL) / 2.0)
    return {"mean": mean, "low": low, "high": high, "seeds": n}


def paired_test(
    assess: Assess, candidate: Program, reference: Program, seeds: Callable[[int, int], Sequence[int]], test: PairedTest
) -> Verdict:
    """Whether the candidate is worse than the reference by less than the margin.

    Accepted as soon as, at a look, the upper bound of the mean difference is below the margin, and no task shows the
    candidate worse by more than the margin (its lower bound is above it). Rejected as soon as the lower bound is above
    the margin, or it alone diverged, or the seeds are spent.

    Args:
        seeds: (n, start) -> n seeds from number `start` on, which nothing else has used.
    """
    looks = test.looks()
    level = test.alpha / len(looks)
    found = np.empty((0, 0))
    for wanted in looks:
        have = found.shape[1]
        assessed = np.asarray(assess([reference, candidate], tuple(seeds(wanted - have, have))), float)
        fresh = differences(assessed[1], assessed[0])
        found = np.concatenate([found, fresh], axis=1) if have else fresh
        mean, low, high = bounds(found.mean(axis=0), level)
        harmed = [task for task in range(len(found)) if bounds(found[task], level)[1] > test.margin]
        reason = ""
        if not math.isfinite(mean):
            reason = "it diverged"
        elif low > test.margin:
            reason = "worse by more than the margin"
        elif harmed:
            reason = f"worse by more than the margin on task {', '.join(map(str, harmed))}"
        elif high < test.margin:
            reason = "worse by less than the margin" if high >= 0 else "better"
            return _verdict(True, found, mean, low, high, reason)
        if reason:
            break
    return _verdict(False, found, mean, low, high, reason or "not shown to be worse by less than the margin")


def _verdict(accepted: bool, found: np.ndarray, mean: float, low: float, high: float, reason: str) -> Verdict:
    finite = np.isfinite(found).all()
    spread = float(found.mean(axis=0).std(ddof=1)) if finite else math.inf
    tasks = tuple(float(x) for x in found.mean(axis=1))
    return Verdict(accepted, mean, low, high, spread, tasks, found.shape[1], reason)
