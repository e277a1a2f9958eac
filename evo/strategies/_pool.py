"""What a strategy knows of the functions that were evaluated again: pooled scores in place of lucky ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from evo.pooled import Pooled
from evo.space import Json, SearchSpace, Told
from evo.strategies.base import Fetch
from evo.strategies.select import score_key

Key = tuple[float, ...]

LIMIT = 1024
"""Functions remembered; beyond it the one that was neither told nor evaluated again for the longest is forgotten."""


@dataclass(slots=True)
class Entry:
    """One function.

    Attributes:
        told: the last re-evaluation told, or None yet.
        pooled: its observations.
        ids: candidate ids of the re-evaluations told.
        asked: replicates asked for, told or not.
        flying: candidate ids of re-evaluations asked for and not told.
    """

    told: Told | None = None
    pooled: Pooled = field(default_factory=Pooled)
    ids: list[int] = field(default_factory=list)
    asked: int = 0
    flying: set[int] = field(default_factory=set)


class Pool:
    """Pooled scores of the functions that were evaluated again at the last rung, and the best that was not.

    Tell it every result, once or more often. A function that it forgets keeps nothing: the score of its later hits is
    the first one again, and re-evaluations begin with the same replicate numbers. Its state is bounded by `limit`
    functions and by how often each was evaluated again.

    Args:
        space: the space.
        limit: functions remembered, 2 or more.
    """

    def __init__(self, space: SearchSpace[Any], limit: int = LIMIT) -> None:
        self._limit = limit
        self._last = len(space.rungs) - 1
        self._replicates = space.rungs[-1].replicates
        self._observed = [index for index, objective in enumerate(space.objectives) if not objective.cost]
        self._key: Callable[[Told], Key | None] = score_key(space.objectives)
        self._entries: dict[int, Entry] = {}  # the longest untouched first
        self.challenger: Told | None = None
        """The best result told of a function without a pooled score."""
        self._challenger_key: Key | None = None
        self.version = 0
        """Grows whenever a pooled score appears, changes or is forgotten."""

    # ------------------------------------------------------------------ asking

    def numbers(self, function: int, candidate_id: int, n: int) -> tuple[int, ...]:
        """`n` replicate numbers at which the function was not evaluated yet, for the re-evaluation `candidate_id`.

        A function's numbers go up from those of its first evaluation, so that two functions that were evaluated
        equally often are compared under the same seeds, whenever that was.
        """
        entry = self._touch(function)
        first = self._replicates + entry.asked
        entry.asked += n
        entry.flying.add(candidate_id)
        return tuple(range(first, first + n))

    def asked(self, function: int) -> int:
        """Replicates asked for so far beyond the first evaluation."""
        entry = self._entries.get(function)
        return 0 if entry is None else entry.asked

    def flying(self, function: int) -> bool:
        """Whether a re-evaluation of it was asked for and is not told yet."""
        entry = self._entries.get(function)
        return entry is not None and bool(entry.flying)

    # ------------------------------------------------------------------ telling

    def tell(self, result: Told) -> None:
        """Take in a result: a re-evaluation, or an ordinary one that may be the best without a pooled score."""
        if result.operator == "reevaluate":
            self._add(result)
        elif result.function in self._entries:
            self._touch(result.function)
            if not self.known(result.function):
                self._challenge(result)
        else:
            self._challenge(result)

    def _challenge(self, result: Told) -> None:
        key = self._key(result)
        if key is not None and (self._challenger_key is None or key > self._challenger_key):
            self.challenger, self._challenger_key = result, key

    def _add(self, result: Told) -> None:
        comparable = result.rung == self._last and result.status == "ok"
        failed = result.status in ("failed", "invalid", "nan")
        if not comparable and not failed and result.function not in self._entries:
            return  # a time-out says nothing of the function, and a value at another rung nothing of its score here
        entry = self._touch(result.function)
        entry.flying.discard(result.id)
        if result.id in entry.ids or not (comparable or failed):
            return
        if entry.told is None:
            entry.pooled = Pooled([result.before[i] for i in self._observed if result.before], self._replicates)
        entry.told = result
        entry.ids.append(result.id)
        entry.pooled.failed |= failed
        if comparable:
            entry.pooled.add(result.observations)
        if self.challenger is not None and self.challenger.function == result.function:
            self.challenger = self._challenger_key = None
        self.version += 1

    def _touch(self, function: int) -> Entry:
        entry = self._entries.pop(function, None)
        if entry is None:
            entry = Entry()
            if len(self._entries) >= self._limit:
                oldest = next((f for f, e in self._entries.items() if not e.flying), next(iter(self._entries)))
                self.version += self.known(oldest)
                del self._entries[oldest]
        self._entries[function] = entry
        return entry

    # ------------------------------------------------------------------ scores

    def known(self, function: int) -> bool:
        """Whether it has a pooled score, or was found to have none."""
        entry = self._entries.get(function)
        return entry is not None and entry.pooled.observed

    def score(self, result: Told) -> Told:
        """The result with its function's pooled score, where there is one; costs stay the candidate's own.

        A function that failed when it was evaluated again has no value any more. A candidate without any value, or
        one that took its worker down, stays as it is.
        """
        if not self._entries or not result.values or result.rung < 0:
            return result
        entry = self._entries.get(result.function)
        if entry is None or not entry.pooled.observed:
            return result
        mean = entry.pooled.mean
        if not mean:
            return result._replace(values=(), status="failed", rung=-1)
        values = list(result.values)
        for index, value in zip(self._observed, mean, strict=True):
            values[index] = value
        return result._replace(values=tuple(values), status="ok", rung=self._last)

    def key(self, function: int) -> Key | None:
        """The order of its pooled score as `score_key` gives it; None where it has none."""
        best = self._scored(function)
        return None if best is None else self._key(best)

    def _scored(self, function: int) -> Told | None:
        """The candidate that was evaluated again last, with its own id and the pooled score."""
        entry = self._entries.get(function)
        if entry is None or entry.told is None or not entry.told.values:
            return None
        told = self.score(entry.told)
        return told._replace(id=told.parents[0], parents=()) if told.values else None

    def best(self) -> Told | None:
        """The candidate with the best pooled score under its own id, or None; of equal ones the smallest id."""
        best, best_key = None, None
        for function in self._entries:
            found = self._scored(function)
            key = None if found is None else self._key(found)
            if found is None or key is None:
                continue
            if best is None or best_key is None or (*key, -found.id) > (*best_key, -best.id):
                best, best_key = found, key
        return best

    def best_told(self) -> Told | None:
        """The best of all, by pooled scores where there are, else by the only one."""
        best = self.best()
        key = None if best is None else self._key(best)
        if self._challenger_key is not None and (key is None or self._challenger_key > key):
            return self.challenger
        return best

    # ------------------------------------------------------------------ state

    def state(self) -> Json:
        """Plain data that names told candidates by id, and others as numbers alone."""
        return {
            "challenger": None if self.challenger is None else self.challenger.id,
            "functions": [
                [function, list(entry.ids), entry.asked, sorted(entry.flying)]
                for function, entry in self._entries.items()
            ],
        }

    def restore(self, state: Json, fetch: Fetch) -> None:
        """The inverse, for a fresh pool."""
        for function, ids, asked, flying in state["functions"]:
            entry = self._entries[function] = Entry(asked=asked)
            for result in fetch(ids):
                self._add(result)
            entry.flying = set(flying)
        if state["challenger"] is not None:
            self._challenge(fetch([state["challenger"]])[0])
