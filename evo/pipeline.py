"""How a candidate gets its observations: rungs, hurdles, blocks in id order, twins, re-evaluations and audits.

Candidates enter in id order, identified. Each stands in line at its rung; the head of the line leaves when its value at
that rung is known: up to the next rung if it clears the hurdle, else out. So rungs above the first are entered in id
order too, and blocks are the same however fast results arrive. Block boundaries travel down the lines as markers.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from evo.equivalence.audit import agrees, relative_difference
from evo.equivalence.cache import SharedCache
from evo.executors.base import Block, Completed, Executor, Outcome
from evo.run.store import RunStore, pack
from evo.seeds import replicate_seed
from evo.space import Observation, Reevaluate, Request, SearchSpace, Status
from evo.statistics import Statistics

UNCACHED: frozenset[str] = frozenset({"timeout", "quarantined"})
VIEW_LIMIT = 32_768


class Folded(NamedTuple):
    """The observations of one (function, rung, seeds), folded in replicate order."""

    status: Status
    values: tuple[float, ...]
    behaviour: tuple[float, ...] | None
    extra: Any
    fingerprint: bytes | None
    observations: tuple[Observation, ...]


class Failure(NamedTuple):
    """A candidate at fault, for the errors folder."""

    id: int
    status: str
    message: str
    traceback: str


def fold(observations: Sequence[Observation]) -> Folded:
    """Means over replicates in order; the first failure stands for all."""
    first = observations[0]
    if len(observations) == 1:
        return Folded(first.status, first.values, first.behaviour, first.extra, first.fingerprint, (first,))
    for one in observations:
        if one.status != "ok":
            return Folded(one.status, (), None, one.extra, None, tuple(observations))
    n = len(observations)
    values = tuple(sum(column) / n for column in zip(*(o.values for o in observations), strict=True))
    vectors = [o.behaviour for o in observations if o.behaviour is not None]
    if any(v != v for v in values) or len({len(v) for v in vectors}) > 1:
        # Infinities of both signs have no mean; behaviours of different length have none either.
        return Folded("nan", (), None, first.extra, None, tuple(observations))
    behaviour = tuple(sum(column) / len(vectors) for column in zip(*vectors, strict=True)) if vectors else None
    return Folded("ok", values, behaviour, first.extra, first.fingerprint, tuple(observations))


class Pending:
    """A candidate on its way from the journal to its commit."""

    __slots__ = ("done", "function", "genome", "id", "imported", "miss", "new", "offset", "operator",
                 "parents", "reevaluate", "result", "rung", "rung_values", "salt", "seeds", "seen", "source", "status",
                 "thresholds")  # fmt: skip

    def __init__(self, id: int, genome: Any, parents: tuple[int, ...], operator: str, salt: int) -> None:
        self.id = id
        self.genome = genome
        self.parents = parents
        self.operator = operator
        self.salt = salt
        self.offset = 0
        self.thresholds: tuple[float | None, ...] = ()
        self.function = id
        self.source = "evaluated"
        self.new = True
        self.miss = True
        self.imported: int | None = None
        self.reevaluate: Reevaluate | None = None
        self.seeds: tuple[int, ...] = ()
        self.seen = 0
        self.rung = 0
        self.result: Folded | None = None
        self.rung_values: tuple[float, ...] = ()
        self.status: Status = "ok"
        self.done = False


class Boundary:
    """Where open blocks close; travels down the lines."""

    __slots__ = ()


class Pipeline:
    """From identified candidates to results, in id order.

    Args:
        block: requests a block (B).
        memory_limit: entries kept in each of two generations of this run's observations; older ones are read
            from the store.
    """

    def __init__(self, space: SearchSpace[Any], store: RunStore, executor: Executor, statistics: Statistics, *,
                 block: int, cache: SharedCache | None = None, memory_limit: int = VIEW_LIMIT) -> None:  # fmt: skip
        self.space = space
        self.store = store
        self.executor = executor
        self.statistics = statistics
        self.block = block
        self.cache = cache
        self.rungs = space.rungs
        self.rung_index = {rung.name: i for i, rung in enumerate(space.rungs)}
        self.maximise = [o.direction == "maximise" for o in space.objectives if not o.cost][:1] == [True]
        self._seeds: dict[tuple[int, int, int], tuple[int, ...]] = {}
        self._view: dict[Any, Folded] = {}
        self._older: dict[Any, Folded] = {}
        self._limit = memory_limit
        self._waiting: dict[Any, list[Pending]] = {}
        self._faults: dict[Any, tuple[int, Folded]] = {}
        self._lines: list[deque[Pending | Boundary]] = [deque() for _ in self.rungs]
        self._open: list[list[tuple[Any, Request]]] = [[] for _ in self.rungs]
        self._keys: dict[int, tuple[Any, ...]] = {}
        self._blocks = 0
        self._order: deque[Pending] = deque()
        self._finished: list[Pending] = []
        self._audits: dict[int, tuple[Pending, int, Folded]] = {}
        self._open_audits: list[list[tuple[Any, Request]]] = [[] for _ in self.rungs]
        self.failures: list[Failure] = []
        """Failures since the caller last took them."""
        self.arrival_order = False
        self.stored_below = 0
        """After a resume: candidates below this id may have observations in the store."""

    # ------------------------------------------------------------------ entering

    def seeds(self, rung: int, salt: int, offset: int) -> tuple[int, ...]:
        """The seeds of a rung's replicates under a salt and a forgetting offset."""
        key = (rung, salt, offset)
        found = self._seeds.get(key)
        if found is None:
            r = self.rungs[rung]
            if salt and len(self._seeds) > 10_000:
                self._seeds.clear()
            found = self._seeds[key] = tuple(
                replicate_seed(r.name, offset * r.replicates + k, salt) for k in range(r.replicates)
            )
        return found

    def enter(self, candidates: Sequence[Pending]) -> None:
        """Take candidates in id order."""
        line = self._lines[0]
        for c in candidates:
            self._order.append(c)
            if c.source == "invalid":
                c.status, c.rung, c.done = "invalid", -1, True
                continue
            if c.reevaluate is not None:
                self._enter_reevaluation(c)
                continue
            self._request(c)
            line.append(c)
        self._drain()

    def _enter_reevaluation(self, c: Pending) -> None:
        assert c.reevaluate is not None
        name = c.reevaluate.rung or self.rungs[-1].name
        c.rung = self.rung_index[name]
        c.seeds = tuple(replicate_seed(name, k, c.salt) for k in c.reevaluate.replicates)
        if c.rung == 0:
            self._request(c)
        self._lines[0].append(c)

    def boundary(self) -> None:
        """Close open blocks: at once in the first rung, in the others when the line gets there."""
        self._submit_open(0)
        if len(self._lines) > 1:
            self._lines[0].append(Boundary())
            self._drain()

    def _key(self, c: Pending) -> Any:
        if c.reevaluate is not None:
            return ("again", c.id)
        if c.salt or c.offset:
            return (c.function, c.rung, c.salt, c.offset)
        return c.function * len(self.rungs) + c.rung

    def _request(self, c: Pending) -> None:
        """Find the observations of c at its rung, or queue their evaluation."""
        key = self._key(c)
        c.result = self._view.get(key) or self._older.get(key)
        if c.result is not None:
            return
        waiters = self._waiting.get(key)
        if waiters is not None:
            waiters.append(c)
            return
        seeds = c.seeds or self.seeds(c.rung, c.salt, c.offset)
        name = self.rungs[c.rung].name
        if c.reevaluate is None and not self.arrival_order:
            c.result = self._shared_fault(c, key, name, seeds)
            if c.result is not None:
                return
        if c.id < self.stored_below or c.function != c.id or c.imported is not None:
            found = self.store.observations(c.function, name, seeds, c.id if c.reevaluate is not None else 0)
            if found is None and c.imported is not None and self.cache is not None and c.reevaluate is None:
                cached = self.cache.observations(c.imported, name, seeds)
                if all(o is not None for o in cached):
                    found = [o for o in cached if o is not None]
                    self.store.write_observations(self.store.add_observations(c.function, name, seeds, 0, found), ())
            if found is not None:
                c.result = self._remember(key, fold(found))
                return
        self._waiting[key] = [c]
        block = self._open[c.rung]
        block.append((key, Request(c.id, c.genome, name, seeds)))
        if len(block) >= self.block:
            self._submit_open(c.rung)

    def _shared_fault(self, c: Pending, key: Any, rung: str, seeds: tuple[int, ...]) -> Folded | None:
        """A time-out is shared by twins alone: those asked before it was told. Later ids are tried afresh."""
        known = self._faults.get(key)
        if known is None and c.function < self.stored_below:
            row = self.store.one(
                "SELECT max(request) FROM observations WHERE function=? AND rung=? AND seed=? AND request != 0"
                " AND request <= ? AND status IN ('timeout', 'quarantined')", (c.function, rung, seeds[0], c.id)
            )  # fmt: skip
            if row is not None and row[0] is not None:
                found = self.store.observations(c.function, rung, seeds, row[0])
                if found is not None:
                    known = self._faults[key] = (max(0, row[0]), fold(found))
        return known[1] if known is not None and known[0] >= c.seen else None

    def _remember(self, key: Any, folded: Folded) -> Folded:
        if len(self._view) >= self._limit:
            # Two generations: dropping the oldest entry of a dict one at a time costs a scan over the holes it leaves.
            self._older, self._view = self._view, {}
        self._view[key] = folded
        return folded

    # ------------------------------------------------------------------ blocks

    def _submit_open(self, rung: int) -> None:
        if self._open[rung]:
            self._submit(self._open[rung])
            self._open[rung] = []

    def _submit(self, entries: list[tuple[Any, Request]]) -> None:
        block = Block(self._blocks, tuple(request for _, request in entries))
        self._keys[block.number] = tuple(key for key, _ in entries)
        self._blocks += 1
        self.executor.submit([block])

    def flush(self) -> None:
        """Close every open block of every rung, and the audits."""
        for rung in range(len(self.rungs)):
            self._submit_open(rung)
            if self._open_audits[rung]:
                self._submit(self._open_audits[rung])
                self._open_audits[rung] = []

    @property
    def in_flight(self) -> int:
        """Blocks submitted and not yet back."""
        return len(self._keys)

    @property
    def unfinished(self) -> int:
        """Candidates that entered and are not yet out."""
        return len(self._order)

    def collect(self, timeout: float) -> int:
        """Take completed blocks, store their observations, move the lines; returns how many blocks."""
        completed = self.executor.poll(timeout)
        for done in completed:
            self._arrived(done)
        if completed:
            self.store.commit()
            self._drain()
        return len(completed)

    def _arrived(self, done: Completed) -> None:
        keys = self._keys.pop(done.block.number)
        now = time.time()
        rows: list[tuple[Any, ...]] = []
        evaluations: list[tuple[Any, ...]] = []
        resolved: list[tuple[list[Pending], Folded]] = []
        for key, request, outcome in zip(keys, done.block.requests, done.outcomes, strict=True):
            evaluations.append((request.id, request.rung, outcome.seconds, outcome.attempts, outcome.worker, now))
            if isinstance(key, tuple) and key[0] == "audit":
                self._audited(request, outcome)
                continue
            folded = fold(outcome.observations)
            waiters = self._waiting.pop(key)
            first = waiters[0]
            apart = first.reevaluate is not None or folded.status in UNCACHED
            rows += self.store.add_observations(
                first.function, request.rung, request.seeds, (request.id or -1) if apart else 0, outcome.observations
            )
            self.statistics.evaluated(outcome.seconds, self.rung_index[request.rung])
            resolved.append((waiters, folded))
            if folded.status in UNCACHED and first.reevaluate is None:
                if len(self._faults) >= self._limit:
                    self._faults = {k: f for k, f in self._faults.items() if f[0] >= self._order[0].seen}
                self._faults[key] = (first.id, folded)
            elif first.reevaluate is None:
                self._remember(key, folded)
            if folded.status not in ("ok", "invalid"):
                message = next((o.message for o in outcome.observations if o.message), "")
                self.failures.append(Failure(first.id, folded.status, message, outcome.traceback))
        self.store.write_observations(rows, evaluations)
        for waiters, folded in resolved:
            for c in waiters:
                c.result = folded

    # ------------------------------------------------------------------ lines

    def _drain(self) -> None:
        last = len(self.rungs) - 1
        for rung, line in enumerate(self._lines):
            while line:
                c = line[0]
                if isinstance(c, Boundary):
                    line.popleft()
                    if rung < last:
                        self._submit_open(rung + 1)
                        self._lines[rung + 1].append(c)
                    continue
                if c.reevaluate is not None and c.rung > rung:
                    line.popleft()
                    if c.rung == rung + 1:
                        self._request(c)
                    self._lines[rung + 1].append(c)
                    continue
                if c.result is None:
                    break
                line.popleft()
                if self._leaves(c, rung, last):
                    c.done = True
                else:
                    c.rung = rung + 1
                    c.result = None
                    self._request(c)
                    self._lines[rung + 1].append(c)
        self._release()

    def _leaves(self, c: Pending, rung: int, last: int) -> bool:
        result = c.result
        assert result is not None
        c.status = result.status
        if c.reevaluate is not None:
            return True
        if result.status != "ok":
            c.rung = rung - 1
            return True
        if last:
            c.rung_values = (*c.rung_values, result.values[0])
        if rung == last:
            return True
        threshold = c.thresholds[rung] if rung < len(c.thresholds) else None
        if threshold is None:
            return False
        value = result.values[0]
        if (value > threshold) if self.maximise else (value < threshold):
            return False
        c.status = "stopped"
        return True

    def _release(self) -> None:
        order = self._order
        if self.arrival_order:
            self._finished += [c for c in order if c.done]
            self._order = deque(c for c in order if not c.done)
            return
        while order and order[0].done:
            self._finished.append(order.popleft())

    def take_finished(self) -> list[Pending]:
        """Candidates whose fate is known: in id order, or as they come in throughput mode."""
        finished, self._finished = self._finished, []
        return finished

    # ------------------------------------------------------------------ audits

    def audit(self, c: Pending) -> None:
        """Evaluate a hit's own genome on the seeds its observations came from; compare when it is back."""
        if c.result is None or c.rung < 0 or c.status not in ("ok", "stopped"):
            return
        self._audits[c.id] = (c, c.rung, c.result)
        seeds = self.seeds(c.rung, c.salt, c.offset)
        block = self._open_audits[c.rung]
        block.append((("audit", c.id), Request(c.id, c.genome, self.rungs[c.rung].name, seeds)))
        if len(block) >= self.block:
            self._submit(block)
            self._open_audits[c.rung] = []

    def _audited(self, request: Request, outcome: Outcome) -> None:
        c, _, expected = self._audits.pop(request.id)
        found = fold(outcome.observations)
        same = found.status == expected.status and agrees(expected.values, found.values)
        apart = relative_difference(expected.values, found.values) if found.status == expected.status else float("inf")
        self.statistics.audited(same, apart)
        self.store.add_audits(
            [(c.id, c.function, request.rung, request.seeds[0], pack(expected.values), pack(found.values), int(same))]
        )

    def pending(self) -> Iterator[Pending]:
        """Candidates that entered and are not out."""
        return iter(self._order)


__all__ = ["Boundary", "Folded", "Pending", "Pipeline", "fold"]
