"""Configurations that keep to a budget: drawn, crossed, mutated, repaired. Arrays (n, layers) of places throughout."""

from __future__ import annotations

import numpy as np

from proxies.quantization.allocation.problem import Problem, total

RESAMPLED = 0.5
"""Share of children that have a few layers resampled; the others exchange bits between two layers."""
FILLED = 0.5
"""Share of children that are raised until nothing more fits: good bits seldom leave budget unused, but a proxy may."""


class Variation:
    """Operators of one problem.

    Args:
        problem: feasible.
        filled: share of new configurations that are filled up to the budget.
    """

    def __init__(self, problem: Problem, filled: float = FILLED) -> None:
        self.problem, self._filled = problem, filled
        layers, columns = problem.allowed.shape
        self.options = [np.flatnonzero(row) for row in problem.allowed]
        self.free = np.flatnonzero(problem.allowed.sum(1) > 1)
        self.down = np.full((layers, columns), -1)
        self.up = np.full((layers, columns), -1)
        for layer, allowed in enumerate(self.options):
            self.down[layer, allowed[1:]] = allowed[:-1]
            self.up[layer, allowed[:-1]] = allowed[1:]

    @property
    def many(self) -> bool:
        """Whether there are more configurations than could be listed."""
        return float(np.prod([float(len(o)) for o in self.options])) > 4096

    def first(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """The smallest, the uniform ones that fit, and random ones, `count` in all or a few more."""
        uniform = [self._nearest(column) for column in range(len(self.problem.bits))]
        known = np.array([self.problem.smallest(), *uniform])
        known = known[self.problem.fits(known)]
        return np.concatenate([known, self.random(max(0, count - len(known)), rng)])

    def random(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Each layer uniform over what it may have, repaired, some of them filled."""
        drawn = np.stack([rng.choice(o, count) for o in self.options], 1).reshape(count, len(self.options))
        return self.filled(self.repaired(drawn, rng), rng)

    def children(self, mothers: np.ndarray, fathers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One child a pair."""
        count, layers = mothers.shape
        crossed = (rng.random((count, 1)) < 0.5) & (rng.random((count, layers)) < 0.5)
        children = np.where(crossed, fathers, mothers)
        for child in children:
            if not len(self.free):
                break
            if rng.random() < RESAMPLED:
                for layer in rng.choice(self.free, min(len(self.free), 1 + rng.geometric(0.6)), replace=False):
                    child[layer] = rng.choice(self.options[layer])
            else:
                one, other = rng.choice(self.free, 2)
                child[one] = max(self.up[one, child[one]], child[one])
                child[other] = child[other] if self.down[other, child[other]] < 0 else self.down[other, child[other]]
        return self.filled(self.repaired(children, rng), rng)

    def repaired(self, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Lowered, layer by random layer, until each row keeps to the budget."""
        places = places.copy()
        over = np.flatnonzero(~self.problem.fits(places))
        while len(over):
            lower = self.down[np.arange(places.shape[1]), places[over]]
            layer = np.where(lower >= 0, rng.random(lower.shape), -1.0).argmax(1)
            places[over, layer] = lower[np.arange(len(over)), layer]
            over = over[~self.problem.fits(places[over])]
        return places

    def filled(self, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A random share of the rows raised, layer by random layer, as long as something fits."""
        places = places.copy()
        open_rows = np.flatnonzero(rng.random(len(places)) < self._filled)
        while len(open_rows):
            fitting = self._raisable(places[open_rows])
            open_rows, fitting = open_rows[fitting.any(1)], fitting[fitting.any(1)]
            if not len(open_rows):
                break
            layer = np.where(fitting, rng.random(fitting.shape), -1.0).argmax(1)
            places[open_rows, layer] = self.up[layer, places[open_rows, layer]]
        return places

    def neighbours(self, place: np.ndarray) -> np.ndarray:
        """(n, layers): all single changes of a configuration and all pairs of a raise and a lowering that fit."""
        found = []
        for layer in self.free:
            for other in self.options[layer]:
                if other != place[layer]:
                    found.append(_with(place, {layer: other}))
        for one in self.free:
            for two in self.free:
                for raised in self.options[one][self.options[one] > place[one]]:
                    for lowered in self.options[two][self.options[two] < place[two]]:
                        if one != two:
                            found.append(_with(place, {one: raised, two: lowered}))
        around = np.array(found, np.int64).reshape(len(found), len(place))
        return around[self.problem.fits(around)]

    def _raisable(self, places: np.ndarray) -> np.ndarray:
        """(n, layers) bool: layers whose next higher bits still fit."""
        layers = np.arange(places.shape[1])
        higher = self.up[layers, places]
        fitting = higher >= 0
        for costs, most in self.problem.limits():
            more = costs[layers, higher] - costs[layers, places]
            fitting &= total(costs, places)[:, None] + more <= most
        return fitting

    def _nearest(self, column: int) -> np.ndarray:
        return np.array([o[np.abs(o - column).argmin()] for o in self.options])


def _with(place: np.ndarray, changes: dict) -> np.ndarray:
    changed = place.copy()
    for layer, value in changes.items():
        changed[layer] = value
    return changed
