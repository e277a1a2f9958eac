"""Baselines tuned over grids of (learning rate, weight decay) that grow until no winner lies at an edge.

The best of a grid's points under one seed is partly luck, so the few best are judged on further seeds before one wins.
A grid ends where the winner is inside it: a baseline that would have liked a rate beyond the last one is no baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from search_spaces.lion import programs
from search_spaces.lion.refine.subjects import AdamWSetting, Subject, in_words

SHORTLIST = 4
"""Points of a grid that are judged on further seeds."""
EXTENSIONS = 12
"""How often a grid may grow; whoever lies at an edge after that is said to."""

Score = Callable[[Sequence[Subject], bool], np.ndarray]
"""Subjects, and whether it is the shortlist (on further seeds), to (n,) mean log losses, +inf where one diverged."""


@dataclass(frozen=True, slots=True)
class Family:
    """An optimizer whose rate and decay are tuned.

    Attributes:
        name: for people.
        make: (learning rate, weight decay) to the optimizer.
        rates: where its grid begins, ascending, at least two; it grows by the ratio of its outermost two.
        decays: likewise; 0 at its lower end is no edge, as nothing lies beyond, and wants two more above it.
    """

    name: str
    make: Callable[[float, float], Subject]
    rates: tuple[float, ...]
    decays: tuple[float, ...]


def families(seeds: Sequence[str]) -> list[Family]:
    """AdamW with bias correction first; Lion; and each other program that the search began with (the AdamW among those
    has no bias correction).

    Args:
        seeds: names in `programs.SEEDS` (`LionOptions.seeds`).
    """
    rates = tuple(1e-3 * 2.0**k for k in range(5))
    decays = (0.0, 0.01, 0.1, 1.0)
    found = [
        Family("AdamW", AdamWSetting, rates, decays),
        Family("Lion", programs.lion, tuple(3e-4 * 2.0**k for k in range(5)), (0.0, 0.1, 1.0, 10.0)),
    ]
    others = {
        "adamw": Family("AdamW seed program", programs.adamw, rates, decays),
        "muon": Family("Muon seed program", programs.muon, rates, decays),
        "momentum": Family(
            "momentum seed program", programs.momentum, tuple(0.02 * 2.0**k for k in range(5)), (0.0, 1e-4, 1e-3, 1e-2)
        ),
    }
    return found + [others[name] for name in seeds if name in others]


@dataclass(slots=True)
class Grid:
    """A family's grid as it grows.

    Attributes:
        scores: (rate, decay) -> mean log loss under the first seeds.
        means: of the points that were on the shortlist: mean over all seeds.
    """

    family: Family
    rates: list[float]
    decays: list[float]
    scores: dict[tuple[float, float], float] = field(default_factory=dict)
    means: dict[tuple[float, float], float] = field(default_factory=dict)

    def open(self) -> list[tuple[float, float]]:
        """Points without a score."""
        return [point for point in product(self.rates, self.decays) if point not in self.scores]

    def shortlist(self) -> list[tuple[float, float]]:
        """The best points, those of equal score by rate and decay."""
        return sorted(self.scores, key=lambda point: (self.scores[point], point))[:SHORTLIST]

    def best(self, values: Mapping[tuple[float, float], float]) -> tuple[float, float]:
        """The point of the smallest value."""
        return min(values, key=lambda point: (values[point], point))

    def edges(self, point: tuple[float, float]) -> list[str]:
        """Where a point lies at an edge: "rate low", "rate high", "decay low", "decay high"."""
        rate, decay = point
        found = {
            "rate low": rate == self.rates[0],
            "rate high": rate == self.rates[-1],
            "decay low": decay == self.decays[0] and decay > 0.0,
            "decay high": decay == self.decays[-1] and decay > 0.0,
        }
        return [name for name, is_there in found.items() if is_there]

    def grow(self, edges: Sequence[str]) -> None:
        """Another value beyond each of these edges."""
        for edge in edges:
            axis, end = edge.split()
            values = self.rates if axis == "rate" else self.decays
            if end == "low":
                values.insert(0, _rounded(values[0] * values[0] / values[1]))
            else:
                values.append(_rounded(values[-1] * values[-1] / values[-2]))


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a family came to.

    Attributes:
        family: its name.
        subject: the winner; None where every point diverged on some task.
        record: JSON: the winner's rate and decay, the grid, whether it lies at an edge all the same.
    """

    family: str
    subject: Subject | None
    record: dict[str, Any]


def tuned(given: Sequence[Family], score: Score) -> list[Tuned]:
    """The best rate and decay of each family: one setting for all tasks and seeds.

    All families advance together, a batch at a time: each grid grows until its winner is inside, then its shortlist
    is judged on further seeds; a winner at an edge makes it grow again.
    """
    grids = [Grid(family, list(family.rates), list(family.decays)) for family in given]
    left = {number: EXTENSIONS for number in range(len(grids))}
    while True:
        _scored(grids, [grid.open() for grid in grids], score, False)
        if _grown(grids, left, [grid.best(grid.scores) for grid in grids]):
            continue
        _scored(grids, [[p for p in grid.shortlist() if p not in grid.means] for grid in grids], score, True)
        if not _grown(grids, left, [_winner(grid) for grid in grids]):
            return [_ended(grid) for grid in grids]


def _scored(grids: Sequence[Grid], points: Sequence[list[tuple[float, float]]], score: Score, further: bool) -> None:
    """Fill in the scores of points, or, of the shortlist, their means over all seeds."""
    asked = [(grid, point) for grid, wanted in zip(grids, points, strict=True) for point in wanted]
    if not asked:
        return
    found = score([grid.family.make(*point) for grid, point in asked], further)
    for (grid, point), value in zip(asked, found.tolist(), strict=True):
        (grid.means if further else grid.scores)[point] = value


def _winner(grid: Grid) -> tuple[float, float]:
    """The best of the shortlist."""
    return grid.best({point: grid.means[point] for point in grid.shortlist()})


def _grown(grids: Sequence[Grid], left: dict[int, int], winners: Sequence[tuple[float, float]]) -> bool:
    """Whether a grid grew, because its winner lies at an edge."""
    grew = False
    for number, (grid, winner) in enumerate(zip(grids, winners, strict=True)):
        edges = grid.edges(winner) if np.isfinite(grid.scores[winner]) else []
        if edges and left[number]:
            left[number] -= 1
            grid.grow(edges)
            grew = True
    return grew


def _ended(grid: Grid) -> Tuned:
    winner = _winner(grid)
    sound = bool(np.isfinite(grid.means[winner]))
    subject = grid.family.make(*winner) if sound else None
    record = {
        "optimizer": None if subject is None else in_words(subject),
        "rate": winner[0] if sound else None,
        "decay": winner[1] if sound else None,
        "at_edge": grid.edges(winner) if sound else [],
        "rates": list(grid.rates),
        "decays": list(grid.decays),
        "points": len(grid.scores),
    }
    return Tuned(grid.family.name, subject, record)
