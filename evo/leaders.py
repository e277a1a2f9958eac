"""The best candidates so far, distinct functions only: by the first objective, or non-dominated first."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import Any, NamedTuple

from evo.space import Objective


class Leader(NamedTuple):
    """One line of the leaderboard; `key` sorts best first."""

    key: tuple[float, ...]
    id: int
    function: int
    values: tuple[float, ...]
    status: str
    rung: int
    operator: str
    parents: tuple[int, ...]
    genome: Any


class Leaders:
    """Keeps the best `limit` candidates; with several objectives the non-dominated ones come first.

    With one objective an offer that does not qualify costs one comparison.
    """

    def __init__(self, objectives: Sequence[Objective], limit: int = 50) -> None:
        self._signs = tuple(-1.0 if o.direction == "maximise" else 1.0 for o in objectives)
        self._limit = limit
        self._items: list[Leader] = []
        self._front: list[Leader] = []
        self._bar = float("inf")

    def offer(self, id: int, function: int, values: tuple[float, ...], rung: int, operator: str,
              parents: tuple[int, ...], genome: Any) -> bool:  # fmt: skip
        """Returns True if it is the new best in the first objective, or joins the front. Values must not be NaN."""
        first = values[0] * self._signs[0]
        several = len(self._signs) > 1
        if not several and len(self._items) >= self._limit and first >= self._bar:
            return False
        key = tuple(v * s for v, s in zip(values, self._signs, strict=True))
        for known in self._items:
            if known.function == function:
                # A hit: the function stands there already; where a cost is an objective, its cheapest form stays.
                if not several or known.key[:-1] <= key or any(a > b for a, b in zip(key, known.key, strict=False)):
                    return False
                self._items.remove(known)
                break
        item = Leader((*key, id), id, function, values, "ok", rung, operator, parents, genome)
        best = not self._items or first < self._items[0].key[0]
        if len(self._items) < self._limit or first < self._bar:
            insort(self._items, item, key=lambda leader: leader.key)
            del self._items[self._limit :]
            self._bar = self._items[-1].key[0] if len(self._items) >= self._limit else float("inf")
        return (several and self._offer_front(item, key)) or best

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

    @property
    def best(self) -> Leader | None:
        return self._items[0] if self._items else None

    def top(self, n: int | None = None) -> list[Leader]:
        """Best first: the non-dominated ones by the first objective, then the others."""
        front = sorted(self._front, key=lambda leader: leader.key)
        chosen = {leader.id for leader in front}
        return (front + [item for item in self._items if item.id not in chosen])[: n or self._limit]

    @property
    def front_size(self) -> int:
        """Size of the non-dominated set; 1 with one objective."""
        return len(self._front) if len(self._signs) > 1 else min(1, len(self._items))
