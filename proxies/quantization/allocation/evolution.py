"""The best configuration of any proxy by evolution: all candidates keep to the budget, equals are scored once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from proxies.errors import ProxyError
from proxies.quantization.allocation.exact import Solution
from proxies.quantization.allocation.problem import Problem
from proxies.quantization.allocation.variation import Variation

Score = Callable[[np.ndarray], np.ndarray]
"""(n, layers) int64 bits -> (n,) float64, larger is better."""


@dataclass(frozen=True, slots=True)
class EvolutionOptions:
    """When and how to search.

    Attributes:
        evaluations: distinct configurations scored at most, the climb at the end included.
        population: survivors of a generation; as many children are made.
        patience: generations without a better best before the climb.
        seed: of all draws.
    """

    evaluations: int = 20_000
    population: int = 64
    patience: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        if self.evaluations < 1 or self.population < 4 or self.patience < 1:
            raise ProxyError(f"{self} searches nothing", "give evaluations, patience >= 1, population >= 4")


class Scores:
    """Scores of configurations, each computed once; counts what it computed and stops at the limit."""

    def __init__(self, problem: Problem, score: Score, limit: int) -> None:
        self._problem, self._score, self._limit = problem, score, limit
        self._known: dict[bytes, float] = {}

    @property
    def left(self) -> int:
        """How many may still be computed."""
        return self._limit - len(self._known)

    @property
    def count(self) -> int:
        """How many were computed."""
        return len(self._known)

    def __call__(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distinct rows of places (n, layers) and their scores, in order of appearance; past the limit, known ones.

        A configuration whose score is NaN counts as the worst.
        """
        keys = dict.fromkeys(row.tobytes() for row in places.astype(np.int64))
        new = [key for key in keys if key not in self._known][: self.left]
        if new:
            values = np.asarray(self._score(self._problem.configs(self._rows(new))), np.float64)
            if values.shape != (len(new),):
                raise ProxyError(f"the proxy gives scores {values.shape} for {len(new)} configurations")
            self._known |= dict(zip(new, np.where(np.isnan(values), -np.inf, values).tolist(), strict=True))
        kept = [key for key in keys if key in self._known]
        return self._rows(kept), np.array([self._known[key] for key in kept], np.float64)

    def _rows(self, keys: list[bytes]) -> np.ndarray:
        layers = len(self._problem.shapes)
        return np.array([np.frombuffer(key, np.int64) for key in keys], np.int64).reshape(len(keys), layers)


def evolve(problem: Problem, score: Score, options: EvolutionOptions = EvolutionOptions()) -> Solution:
    """The best configuration found.

    (mu + lambda) selection over distinct configurations; parents by tournaments of two; uniform crossover, resampling
    of a few layers, and exchanges (one layer up, another down), each repaired to the budget and in part filled up to
    it; then steepest ascent over single changes and exchanges while evaluations last. The same arguments give the same
    result.

    Args:
        problem: feasible.
        score: of configurations in bits; a row's score may not depend on the others.
        options: effort and seed.

    Returns:
        with `optimal` False: nothing is proven.

    Raises:
        ProxyError: every score is NaN or -inf, or the proxy gives no (n,) array.
    """
    rng = np.random.default_rng(options.seed)
    vary, scores = Variation(problem), Scores(problem, score, options.evaluations)
    people, values = _best(*scores(vary.first(options.population, rng)), options.population)
    idle = 0
    while idle < options.patience and scores.left > 0 and len(people):
        known = scores.count
        mothers, fathers = (_tournaments(values, options.population, rng) for _ in range(2))
        children, found = scores(vary.children(people[mothers], people[fathers], rng))
        merged = np.concatenate([people, children]), np.concatenate([values, found])
        before = values[0]
        people, values = _best(*_distinct(*merged), options.population)
        idle = 0 if values[0] > before else idle + 1
        if scores.count == known and not vary.many:
            break  # a space so small that there is nothing left to see
    place, value = _climb(people[0], values[0], vary, scores)
    if value == -np.inf:
        raise ProxyError("the proxy scores no configuration with a number", "check the model and the batch")
    return Solution(place, float(value), False, float("nan"), scores.count)


def _climb(place: np.ndarray, value: float, vary: Variation, scores: Scores) -> tuple[np.ndarray, float]:
    """To a configuration that no single change or exchange improves, or as far as evaluations last."""
    while scores.left > 0:
        around, found = scores(vary.neighbours(place))
        if not len(found) or found.max() <= value:
            break
        best = int(found.argmax())
        place, value = around[best], float(found[best])
    return place, value


def _tournaments(values: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    pairs = rng.integers(len(values), size=(count, 2))
    return np.where(values[pairs[:, 0]] >= values[pairs[:, 1]], pairs[:, 0], pairs[:, 1])


def _distinct(places: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first = np.sort(np.unique(places, axis=0, return_index=True)[1])
    return places[first], values[first]


def _best(places: np.ndarray, values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-values, kind="stable")[:count]
    return places[order], values[order]
