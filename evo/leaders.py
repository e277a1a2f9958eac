"""The best candidates so far, distinct functions only: by the first objective, or non-dominated first.

A function that was evaluated again, by the strategy or in a run's closing phase (`evo.closing`), stands with the mean
over all its observations, not with the lucky score that brought it here; a hit of it that comes later does, too. Such
confirmed lines come before all others: the best of thousands of scores is mostly luck, however much better it looks.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from evo.pooled import Pooled
from evo.space import Objective, Told

REMEMBERED = 4096
"""Functions with pooled scores that are remembered when they have left the board, the latest ones."""


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean of values: their standard deviation over the root of their number; None of fewer than two, and where
    one is not finite."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))


class Leader(NamedTuple):
    """One line of the leaderboard; `key` sorts best first, `replicates` are behind the observed values."""

    key: tuple[float, ...]
    id: int
    function: int
    values: tuple[float, ...]
    status: str
    rung: int
    operator: str
    parents: tuple[int, ...]
    genome: Any
    replicates: int = 1


class Leaders:
    """Keeps the best `limit` candidates that were evaluated once, and as many of those that were evaluated again.

    The two do not compete for places: lucky scores must not drive honest means from the board. With several objectives
    the non-dominated ones come first. With one objective an offer that does not qualify costs one comparison.

    Args:
        objectives: the space's.
        limit: lines of the board, and lines kept of either kind.
        replicates: replicates behind the values of a first evaluation.
    """

    def __init__(self, objectives: Sequence[Objective], limit: int = 50, replicates: int = 1) -> None:
        self._signs = tuple(-1.0 if o.direction == "maximise" else 1.0 for o in objectives)
        self._observed = tuple(index for index, objective in enumerate(objectives) if not objective.cost)
        self._limit = limit
        self._replicates = replicates
        self._items: list[Leader] = []
        self._front: list[Leader] = []
        self._full = False  # as many lines as there may be that were evaluated once
        self._bar = math.inf  # the last of them, where it is full
        self._pooled: dict[int, Pooled] = {}  # the longest unchanged first

    def offer(self, id: int, function: int, values: tuple[float, ...], rung: int, operator: str,
              parents: tuple[int, ...], genome: Any) -> bool:  # fmt: skip
        """Returns True if it is the new best in the first objective, or joins the front. Values must not be NaN."""
        replicates = self._replicates
        if function in self._pooled:
            pooled = self._pooled[function]
            if not pooled.mean:
                return False
            values, replicates = self._with_mean(values, pooled), pooled.count
        first = values[0] * self._signs[0]
        several = len(self._signs) > 1
        qualifies = function in self._pooled or not self._full or first < self._bar
        if not several and not qualifies:
            return False
        key = self._key(values)
        for known in self._items:
            if known.function == function:
                # A hit: the function stands there already; where a cost is an objective, its cheapest form stays.
                if not several or known.key[:-1] <= key or any(a > b for a, b in zip(key, known.key, strict=False)):
                    return False
                self._items.remove(known)
                break
        item = Leader((*key, id), id, function, values, "ok", rung, operator, parents, genome, replicates)
        best = not self._items or first < self._items[0].key[0]
        if qualifies:
            insort(self._items, item, key=lambda leader: leader.key)
            self._cut()
        return (several and self._offer_front(item, key)) or best

    def _key(self, values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(v * s for v, s in zip(values, self._signs, strict=True))

    def _with_mean(self, values: tuple[float, ...], pooled: Pooled) -> tuple[float, ...]:
        """Values with the observed ones replaced; costs are the candidate's own."""
        found = list(values)
        for index, value in zip(self._observed, pooled.mean, strict=True):
            found[index] = value
        return tuple(found)

    def _cut(self) -> None:
        """Leave the best `limit` lines of either kind."""
        again = [item for item in self._items if item.function in self._pooled]
        once = [item for item in self._items if item.function not in self._pooled]
        self._full = len(once) >= self._limit
        self._bar = once[self._limit - 1].key[0] if self._full else math.inf
        if max(len(again), len(once)) > self._limit:
            kept = {item.id for item in (*again[: self._limit], *once[: self._limit])}
            self._items = [item for item in self._items if item.id in kept]

    def _offer_front(self, item: Leader, key: tuple[float, ...]) -> bool:
        for other in self._front:
            if all(a <= b for a, b in zip(other.key, key, strict=False)):
                return False
        self._front = [o for o in self._front if not all(a <= b for a, b in zip(key, o.key, strict=False))]
        self._front.append(item)
        if len(self._front) > 4 * self._limit:
            self._front.sort(key=lambda leader: leader.key)
            del self._front[1:-1:2]
        return True

    # ------------------------------------------------------------------ evaluated again

    def pool(self, function: int, sound: bool, observations: Sequence[tuple[int, tuple[float, ...]]],
             before: tuple[float, ...]) -> bool:  # fmt: skip
        """Take in a re-evaluation at the last rung: its function stands with its pooled score from now on.

        Args:
            function: its function.
            sound: False: it gave no value, and the function leaves the board.
            observations: (seed, observed values) pairs.
            before: as in `Told.before`.

        Returns:
            Whether a line changed.
        """
        pooled = self._pooled.pop(function, None)
        if pooled is None:
            pooled = Pooled([before[i] for i in self._observed] if before else (), self._replicates)
        self._pooled[function] = pooled  # now the latest
        pooled.failed |= not sound
        if sound:
            pooled.add(observations)
        self._forget()
        if not any(item.function == function for item in (*self._items, *self._front)):
            return False
        self._items = self._rescored(self._items, function)
        self._cut()
        if len(self._signs) > 1:
            front = {item.id: item for item in (*self._rescored(self._front, function), *self._items)}
            self._front = []
            for item in sorted(front.values(), key=lambda leader: leader.key):
                self._offer_front(item, item.key[:-1])
        return True

    def _rescored(self, items: Sequence[Leader], function: int) -> list[Leader]:
        """The items with those of a function at their pooled score (or gone, where it has none), sorted."""
        pooled = self._pooled[function]
        found = []
        for item in items:
            if item.function == function:
                if not pooled.mean:
                    continue
                values = self._with_mean(item.values, pooled)
                item = item._replace(key=(*self._key(values), item.id), values=values, replicates=pooled.count)
            found.append(item)
        return sorted(found, key=lambda leader: leader.key)

    def _forget(self) -> None:
        if len(self._pooled) > REMEMBERED:
            standing = {item.function for item in (*self._items, *self._front)}
            del self._pooled[next(function for function in self._pooled if function not in standing)]

    def holds(self, function: int) -> bool:
        """Whether the function stands on the board."""
        return any(item.function == function for item in self._items)

    def confirmed(self, function: int) -> bool:
        """Whether it was evaluated again, so that its line is a mean over more seeds than brought it here."""
        return function in self._pooled

    def observed(self, function: int) -> Mapping[int, tuple[float, ...]]:
        """What re-evaluations gave: observed values by seed; its first evaluation is not among them."""
        return self._pooled[function].observations if function in self._pooled else {}

    # ------------------------------------------------------------------ reading

    def complete(self, fetch: Callable[[int], Told]) -> None:
        """Fill in what was left out when the items were offered: operator, parents and genome, by candidate id."""

        def completed(item: Leader) -> Leader:
            told = fetch(item.id)
            return item._replace(operator=told.operator, parents=told.parents, genome=told.genome)

        found = {item.id: completed(item) for item in (*self._items, *self._front)}
        self._items = [found[item.id] for item in self._items]
        self._front = [found[item.id] for item in self._front]

    @property
    def best(self) -> Leader | None:
        """The first line."""
        return next(iter(self.top(1)), None)

    def contenders(self) -> list[Leader]:
        """All lines by their values alone, confirmed or not: the non-dominated first, then by the first objective."""
        front = sorted(self._front, key=lambda leader: leader.key) if len(self._signs) > 1 else []
        chosen = {leader.id for leader in front}
        return front + [item for item in self._items if item.id not in chosen]

    def top(self, n: int | None = None) -> list[Leader]:
        """Best first: those that were evaluated again before the others, and infinite losses last; with several
        objectives the non-dominated ones of both before all that are dominated."""
        lines = self.contenders()
        ahead = len(self._front) if len(self._signs) > 1 else 0

        def rank(at: int) -> tuple[bool, bool, bool, int]:
            worst = lines[at].key[0] == math.inf  # it diverged on a fresh seed, say
            return at >= ahead, worst, lines[at].function not in self._pooled, at

        order = sorted(range(len(lines)), key=rank)
        return [lines[at] for at in order][: self._limit if n is None else n]

    @property
    def front_size(self) -> int:
        """Size of the non-dominated set; 1 with one objective."""
        return len(self._front) if len(self._signs) > 1 else min(1, len(self._items))
