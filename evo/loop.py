"""The loop: propose, identify, evaluate, commit, tell. The one place where the order lives.

What is proposed depends on the seed, the chunk size C, the lag L and the block rule alone: not on timing, worker count,
failures, or where the run was resumed. See ARCHITECTURE.md, "The loop".
"""

from __future__ import annotations

import json
import time
import traceback
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from sortedcontainers import SortedList

from evo.equivalence.cache import SharedCache
from evo.equivalence.identify import Identifier, Identity
from evo.errors import ConfigError, EvaluatorError, EvoError
from evo.genomes import Genomes
from evo.leaders import Leaders
from evo.pipeline import Failure, Pending, Pipeline
from evo.run.store import RunStore, dump, pack, unpack
from evo.seeds import Streams, replicate_seed
from evo.space import Breed, Reevaluate, SearchSpace, Told
from evo.statistics import Statistics
from evo.strategies.base import Strategy

HITS = frozenset({"structural", "functional", "twin"})
POOLED = frozenset({"ok", "failed", "invalid", "nan"})
"""How a re-evaluation ends that says something of its function; a time-out may be the machine's."""


def counted_as(source: str, operator: str) -> str:
    """The counter of a candidate: its source, but "copies" for hits among the seeds of a warm start."""
    return "copies" if operator == "seed" and source in HITS else source


class LoopSettings(NamedTuple):
    """The numbers the loop depends on; see `evo.config` for their meaning."""

    chunk: int = 64
    lag: int = 256
    block: int = 32
    span: int = 128
    snapshot_every: int = 4096
    throughput: bool = False
    forget: int = 0
    audit: float = 0.0


class Ready(NamedTuple):
    """A committed result that waits to be told."""

    told: Told
    rung_values: tuple[float, ...]
    late: bool


class Loop:
    """The state between a strategy and a pipeline. `evo.search.Search` drives it; `evo.resume` rebuilds it."""

    def __init__(self, space: SearchSpace[Any], strategy: Strategy[Any], streams: Streams, identifier: Identifier,
                 pipeline: Pipeline, store: RunStore, statistics: Statistics, settings: LoopSettings,
                 cache: SharedCache | None = None) -> None:  # fmt: skip
        self.space = space
        self.strategy = strategy
        self.streams = streams
        self.identifier = identifier
        self.pipeline = pipeline
        self.store = store
        self.statistics = statistics
        self.settings = settings
        self.cache = cache
        self.genomes = Genomes(space, store)
        self.leaders = Leaders(space.objectives, replicates=space.rungs[-1].replicates)
        self.next_id = 0
        self.told = 0
        self.window_end = 0
        self.functions = 0
        self.last_new = 0
        self.last_new_told = 0
        self.finds_late = False
        self.last_snapshot = 0
        self.reached: tuple[float, ...] | None = None
        self.telling = False
        self.untold: deque[tuple[int, bool]] = deque()
        self.untold_misses = 0
        self.untold_ids: set[int] = set()
        self.ready: deque[Ready] = deque()
        self.improved = False
        self._hurdles = [r.hurdle for r in space.rungs]
        self._at_rung: list[SortedList] = [SortedList() for _ in space.rungs]
        self._tracks_plans = any(h is not None for h in self._hurdles)
        self._plans: dict[tuple[int, int, int], tuple[float | None, ...]] = {}
        self._repeats: dict[int, int] = {}
        self._costs = [o.cost for o in space.objectives]
        self._has_costs = any(self._costs)
        self._maximise = [o.direction == "maximise" for o in space.objectives if not o.cost][:1] == [True]
        pipeline.arrival_order = settings.throughput

    # ------------------------------------------------------------------ asking

    def may_ask(self) -> bool:
        """Tell what the lag rule wants told before the next window; False where results are still missing."""
        if self.settings.throughput:
            return self._tell_arrived()
        if self.next_id < self.window_end:
            return True
        return self._tell_by_rule()

    def ask(self, most: int) -> int:
        """Ask for up to `most` proposals inside the present window, journal, identify, enter; returns how many came.

        0: the strategy waits for results; the caller tells one more (`tell_one`) and asks again.
        """
        settings = self.settings
        if self.next_id >= self.window_end:
            if self.next_id - self.last_snapshot >= settings.snapshot_every:
                self.store.add_snapshot(self.next_id, self.told, self.strategy.state())
                self.last_snapshot = self.next_id
            self.window_end = self.next_id + settings.chunk
        n = min(most, self.window_end - self.next_id)
        first = self.next_id
        began = time.perf_counter()
        proposals = self.strategy.ask(first, n, self.streams)
        self.statistics.seconds["strategy"] += time.perf_counter() - began
        if not proposals:
            self.pipeline.boundary()
            self.window_end = first
            return 0
        thresholds = self.thresholds() if self._tracks_plans else ()
        if len(proposals) > n:
            raise ConfigError(
                f"the strategy made {len(proposals)} proposals where {n} were asked for",
                "Strategy.ask may return fewer than n proposals, never more",
            )
        # Before the journal: what is journaled must be possible to replay.
        candidates = self.pendings(first, proposals, thresholds)
        if len(proposals) < n:
            self.window_end = first + len(proposals)
        began = time.perf_counter()
        rows = self.proposal_rows(first, proposals, thresholds)
        self.store.add_chunk(first, self.told, self.untold_misses, self.window_end, rows)
        self.store.commit()
        self.statistics.seconds["store"] += time.perf_counter() - began
        self.next_id = first + len(proposals)
        self.enter(candidates)
        if len(proposals) < n:
            self.pipeline.boundary()
        if settings.throughput:
            self.pipeline.flush()
        return len(proposals)

    def proposal_rows(
        self, first: int, proposals: Sequence[Any], thresholds: tuple[float | None, ...]
    ) -> list[tuple[Any, ...]]:
        """The journal's rows of an ask; equal rows mean equal proposals."""
        encode = self.genomes.encode
        limit = dump(thresholds) if thresholds else None
        rows: list[tuple[Any, ...]] = []
        for i, p in enumerate(proposals, first):
            if isinstance(p, Breed):
                parents = dump(p.parents) if p.parents else "[]"
                rows.append((i, 0, dump(encode(p.genome, p.parents)), parents, p.operator, p.salt, limit))
            else:
                body = dump({"rung": p.rung, "replicates": p.replicates})
                rows.append((i, 1, body, f"[{p.candidate}]", "reevaluate", p.salt, None))
        return rows

    def pendings(self, first: int, proposals: Sequence[Any], thresholds: tuple[float | None, ...]) -> list[Pending]:
        """Candidates from proposals, not yet identified."""
        made = []
        for i, p in enumerate(proposals, first):
            if isinstance(p, Breed):
                c = Pending(i, p.genome, p.parents, p.operator, p.salt)
                c.thresholds = thresholds
                c.seen = self.told
            else:
                c = self._reevaluation(i, p)
            made.append(c)
        return made

    def _reevaluation(self, id: int, p: Reevaluate) -> Pending:
        row = self.store.one(
            "SELECT p.genome, coalesce(l.function, i.function), p.kind FROM proposals p JOIN identities i USING (id)"
            " LEFT JOIN late_identities l USING (id) WHERE id=?",
            (p.candidate,),
        )
        if row is None or row[2] != 0 or not p.replicates:
            raise ConfigError(
                f"the strategy asked to re-evaluate candidate {p.candidate} on replicates {list(p.replicates)}",
                "a Reevaluate names the id of a bred candidate that was told, and at least one replicate",
            )
        if p.rung is not None and p.rung not in self.pipeline.rung_index:
            raise ConfigError(
                f"the strategy asked for rung {p.rung!r}; the space has {', '.join(self.pipeline.rung_index)}"
            )
        genome = self.genomes.decode(p.candidate, row[0])
        c = Pending(id, genome, (p.candidate,), "reevaluate", p.salt)
        c.function, c.source, c.new, c.reevaluate = row[1], "reevaluated", False, p
        return c

    # ------------------------------------------------------------------ identity

    def enter(self, candidates: list[Pending]) -> None:
        """Identify, journal the identities, hand to the pipeline; in id order."""
        bred = [c for c in candidates if c.reevaluate is None]
        began = time.perf_counter()
        identities = self._identify(bred)
        self.statistics.seconds["hashed"] += time.perf_counter() - began
        new: list[tuple[Pending, Any]] = []
        for c, identity in zip(bred, identities, strict=True):
            self.classify(c, identity.function, identity.how)
            if c.new and self.cache is not None:
                new.append((c, identity))
        if new and self.cache is not None:
            aliases = [[k for k in (i.key, i.grid_a, i.grid_b) if k is not None] for _, i in new]
            for (c, _), found in zip(new, self.cache.find(aliases), strict=True):
                if found is not None:
                    c.imported, c.source = found, "imported"
        aliases_of = {i.id: (i.key, i.grid_a, i.grid_b) for i in identities}
        nothing = (None, None, None)
        rows = [(c.id, c.function, c.source, *aliases_of.get(c.id, nothing), int(c.miss)) for c in candidates]
        self.store.add_identities(rows)
        self.queue(candidates)

    def _identify(self, bred: Sequence[Pending]) -> list[Identity]:
        """Identities in order; a candidate whose canonical form or fingerprint raises is invalid, and only that one."""
        try:
            return self.identifier.identify([c.id for c in bred], [c.genome for c in bred])
        except EvoError:
            raise
        except Exception:
            faults: dict[int, str] = {}
            for c in bred:
                try:
                    self.space.canonical(c.genome)
                    self.space.fingerprint([c.genome])
                except Exception as error:
                    faults[c.id] = traceback.format_exc()
                    message = f"{type(error).__name__} while it was identified: {error}"
                    self.pipeline.failures.append(Failure(c.id, "invalid", message, faults[c.id]))
            if not faults:
                raise
        sound = [c for c in bred if c.id not in faults]
        found = {i.id: i for i in self.identifier.identify([c.id for c in sound], [c.genome for c in sound])}
        return [found.get(c.id) or Identity(c.id, -1, "invalid", None, None, None) for c in bred]

    def classify(self, c: Pending, function: int, how: str) -> None:
        """New, hit or twin: from told results and structure alone, never from what happens to be finished."""
        c.function = function
        if how == "invalid":
            c.source, c.new, c.miss = "invalid", False, False
            return
        if how != "new":
            c.new = False
            c.miss = False
            untold = function in self.untold_ids if self.settings.throughput else function >= self.told
            c.source = "twin" if untold else how
        if c.new:
            self.functions += 1
            self.last_new = c.id
        if self.settings.forget and not c.new:
            repeats = self._repeats[function] = self._repeats.get(function, 0) + 1
            c.offset = repeats // self.settings.forget
            if repeats % self.settings.forget == 0:
                c.miss, c.source = True, "evaluated"
        if self._tracks_plans or c.salt or c.offset:
            self._note_plan(c)

    def _note_plan(self, c: Pending) -> None:
        """A repeat under a new salt, or with a laxer hurdle than before, may need evaluation: it counts as a miss."""
        plan = (c.function, c.salt, c.offset)
        known = self._plans.get(plan)
        if known is None and not c.new and not c.salt and not c.offset:
            # The plan of the function's first candidate is in the journal; only laxer ones are kept here.
            known = self._journaled_plan(c.function)
        if known is None:
            if not c.new:
                c.miss, c.source = True, "evaluated"
            if c.salt or c.offset:
                self._plans[plan] = c.thresholds
            return
        laxer = False
        merged = []
        for a, b in zip(known, c.thresholds, strict=True):
            if a is not None and (b is None or ((b < a) if self._maximise else (b > a))):
                laxer = True
                merged.append(b)
            else:
                merged.append(a)
        if laxer:
            c.miss = True
            c.source = "evaluated"
            self._plans[plan] = tuple(merged)

    def _journaled_plan(self, function: int) -> tuple[float | None, ...] | None:
        row = self.store.one("SELECT thresholds, salt FROM proposals WHERE id = ?", (function,))
        if row is None or row[1] != 0:
            return None
        return tuple(json.loads(row[0])) if row[0] else ()

    def queue(self, candidates: Sequence[Pending]) -> None:
        """Into the pipeline, with a boundary at every multiple of the span."""
        for c in candidates:
            self.untold.append((c.id, c.miss))
            self.untold_misses += c.miss
        if self.settings.throughput:
            self.untold_ids.update(c.id for c in candidates)
        span = self.settings.span
        start = 0
        first = candidates[0].id
        cut = span - first % span
        while cut < len(candidates):
            self.pipeline.enter(candidates[start:cut])
            self.pipeline.boundary()
            start, cut = cut, cut + span
        self.pipeline.enter(candidates[start:])
        if (first + len(candidates)) % span == 0:
            self.pipeline.boundary()
        self.commit_finished()

    # ------------------------------------------------------------------ committing

    def commit_finished(self) -> int:
        """Commit candidates whose fate is known (in id order; in throughput mode as they come)."""
        finished = self.pipeline.take_finished()
        if not finished:
            return 0
        counts = self.statistics.counts
        rows = []
        for c in finished:
            late = False
            result = c.result
            if result is not None and result.fingerprint is not None and c.reevaluate is None:
                function = self.identifier.late(c.id, c.function, result.fingerprint)
                if c.new or function != c.function:
                    self.store.add_late_identity(c.id, function, result.fingerprint)
                if function != c.function:
                    late = c.new
                    c.source = "functional" if c.new else c.source
                    c.function, c.new = function, False
            values = self._assemble(c)
            extra: Any = result.extra if result is not None else None
            if len(self._at_rung) > 1 and c.rung_values:
                extra = {**(extra or {}), "rungs": c.rung_values}
            behaviour = result.behaviour if result is not None else None
            rows.append((c.id, c.status, c.rung, pack(values) or b"", pack(behaviour), dump(extra) if extra else None))
            observations: tuple[tuple[int, tuple[float, ...]], ...] = ()
            before: tuple[float, ...] = ()
            if c.reevaluate is not None and result is not None:
                observations = tuple(zip(c.seeds, (o.values for o in result.observations), strict=True))
                before = self.values_before(c.parents[0], c.rung)
            told = Told(c.id, c.genome, values, c.status, c.rung, c.function, c.operator, c.parents, behaviour,
                        c.new, observations, before)  # fmt: skip
            self.ready.append(Ready(told, c.rung_values, late))
            self._count(c)
            if c.reevaluate is not None:
                self.improved |= self.lead_again(told)
        counts["committed"] += len(finished)
        self.store.add_commits(rows)
        return len(finished)

    def _assemble(self, c: Pending) -> tuple[float, ...]:
        values = c.result.values if c.result is not None and c.status in ("ok", "stopped") else ()
        if not values or not self._has_costs:
            return values
        costs = self.space.costs(c.genome)
        given = iter(values)
        try:
            merged = tuple(float(costs[o.name]) if o.cost else next(given) for o in self.space.objectives)
        except KeyError as error:
            raise EvaluatorError(
                f"objective {error} is marked as a cost, but {type(self.space).__name__}.costs does not return it"
            ) from error
        if any(v != v for v in merged):
            c.status = "nan"
            return ()
        return merged

    def _count(self, c: Pending) -> None:
        counts = self.statistics.counts
        kind = counted_as(c.source, c.operator)
        if kind != "evaluated":
            counts[kind] += 1
        if c.source in HITS:
            if kind in HITS:
                self.statistics.hit(c.rung)
            if self.settings.audit and c.reevaluate is None and self.audits(c.id):
                self.pipeline.audit(c)
        if c.status != "ok" and kind != c.status:  # what was invalid before any evaluation is counted as its kind
            counts[c.status] += 1
        if c.status == "ok" and c.reevaluate is None and c.rung == len(self._at_rung) - 1:
            values = self._assemble(c) if self._has_costs else c.result.values if c.result is not None else ()
            if self.leaders.offer(c.id, c.function, values, c.rung, c.operator, c.parents, c.genome):
                self.improved = True

    def values_before(self, candidate: int, rung: int) -> tuple[float, ...]:
        """The values that a candidate was told with, if they are of this rung; see `Told.before`."""
        row = self.store.one("SELECT vals FROM commits WHERE id=? AND rung=?", (candidate, rung))
        return unpack(row[0]) if row is not None else ()

    def lead_again(self, told: Told) -> bool:
        """Tell the leaders of a re-evaluation; whether they changed."""
        if told.status not in POOLED or (told.status == "ok" and told.rung != len(self._at_rung) - 1):
            return False
        changed = self.leaders.pool(told.function, told.status == "ok", told.observations, told.before)
        if told.status != "ok" or self.leaders.holds(told.function):
            return changed
        row = self.store.one("SELECT operator, parents FROM proposals WHERE id=?", told.parents)
        assert row is not None
        again = (told.parents[0], told.function, told.values, told.rung, row[0], tuple(json.loads(row[1])), told.genome)
        return self.leaders.offer(*again) or changed

    def audits(self, id: int) -> bool:
        """Whether the hit `id` is among the share that is audited."""
        return bool(self.streams(id, "audit").random() < self.settings.audit)

    # ------------------------------------------------------------------ telling

    def _tell_by_rule(self) -> bool:
        batch: list[Ready] = []
        lag = self.settings.lag
        done = True
        while self.untold:
            miss = self.untold[0][1]
            if miss and self.untold_misses <= lag:
                break
            if not self.ready:
                done = False
                break
            batch.append(self._next_ready())
        self.telling = not done
        self._tell(batch)
        return done

    def _tell_arrived(self) -> bool:
        batch = []
        while self.ready:
            batch.append(self.ready.popleft())
        if batch:
            self.untold_ids.difference_update(r.told.id for r in batch)
            gone = {r.told.id for r in batch}
            self.untold = deque(u for u in self.untold if u[0] not in gone)
            self.untold_misses = sum(miss for _, miss in self.untold)
            self.store.add_tells([(self.told + k, r.told.id) for k, r in enumerate(batch)])
            self._tell(batch)
        return True

    def _next_ready(self) -> Ready:
        one = self.ready.popleft()
        _, miss = self.untold.popleft()
        self.untold_misses -= miss
        return one

    def tell_one(self) -> bool:
        """Tell the next result in id order; False if it is not there yet."""
        if self.settings.throughput:
            before = self.told
            self._tell_arrived()
            return self.told > before
        if not self.ready:
            return False
        self._tell([self._next_ready()])
        return True

    def _tell(self, batch: Sequence[Ready]) -> None:
        if not batch:
            return
        for one in batch:
            self.note_told(one.told, one.rung_values, one.late)
        self.told += len(batch)
        self.statistics.counts["told"] = self.told
        began = time.perf_counter()
        self.strategy.tell([one.told for one in batch])
        self.statistics.seconds["strategy"] += time.perf_counter() - began

    def note_told(self, told: Told, rung_values: tuple[float, ...], late: bool) -> None:
        """What the loop itself learns from a told result: hurdle statistics, target, late hits."""
        if late:
            self.functions -= 1
            self.finds_late = True
        elif told.new:
            self.last_new_told = told.id
        if self._tracks_plans and told.new:
            for values, value in zip(self._at_rung, rung_values, strict=False):
                if value == value:
                    values.add(value)
        if told.status == "ok" and told.values and told.rung == len(self._at_rung) - 1:
            value = told.values[0]
            sign = -1.0 if self.space.objectives[0].direction == "maximise" else 1.0
            if self.reached is None or value * sign < self.reached[0] * sign:
                self.reached = told.values

    @property
    def last_found(self) -> int:
        """Id of the last candidate that was new to the run; as told, where only an evaluation reveals the identity."""
        return self.last_new_told if self.finds_late else self.last_new

    def thresholds(self) -> tuple[float | None, ...]:
        """The hurdles as they stand now: the quantile of the distinct functions told so far, a rung."""
        found: list[float | None] = []
        for rung, values in zip(self.space.rungs, self._at_rung, strict=True):
            if rung.hurdle is None or len(values) < max(1, rung.hurdle_after):
                found.append(None)
                continue
            i = min(len(values) - 1, int(rung.hurdle * len(values)))
            found.append(values[i] if self._maximise else values[len(values) - 1 - i])
        return tuple(found)

    # ------------------------------------------------------------------ looking back

    def fetch(self, ids: Sequence[int]) -> list[Told]:
        """The told results of candidates, from the journal."""
        return [one.told for one in self.fetch_ready(ids)]

    def fetch_ready(self, ids: Sequence[int]) -> list[Ready]:
        """Committed results, as they were told."""
        rows: dict[int, tuple[Any, ...]] = {}
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            query = (
                "SELECT p.id, p.kind, p.genome, p.parents, p.operator, p.salt, i.function, i.source, c.status, c.rung,"
                " c.vals, c.behaviour, c.extra, l.function FROM proposals p JOIN identities i USING (id)"
                " JOIN commits c USING (id) LEFT JOIN late_identities l USING (id)"
                f" WHERE p.id IN ({','.join('?' * len(part))})"
            )
            rows.update((row[0], row) for row in self.store.rows(query, part))
        return [self._from_row(rows[i]) for i in ids]

    def _from_row(self, row: tuple[Any, ...]) -> Ready:
        (id, kind, genome, parents, operator, salt, function, source, status, rung, values, behaviour, extra, later) = (
            row
        )
        parents = tuple(json.loads(parents))
        target = id
        observations: tuple[tuple[int, tuple[float, ...]], ...] = ()
        before: tuple[float, ...] = ()
        if kind == 1:
            body = json.loads(genome)
            name = body["rung"] or self.space.rungs[-1].name
            seeds = [replicate_seed(name, k, salt) for k in body["replicates"]]
            found = self.store.observations(function, name, seeds, id) or []
            observations = tuple(zip(seeds, (o.values for o in found), strict=False))
            before = self.values_before(parents[0], rung) if found else ()
            target = parents[0]
            (genome,) = self.store.one("SELECT genome FROM proposals WHERE id=?", parents) or ("null",)
        moved = later is not None and later != function
        new = function == id and not moved and source in ("evaluated", "imported")
        late = moved and function == id
        rungs = json.loads(extra).get("rungs", ()) if extra and len(self._at_rung) > 1 else ()
        told = Told(id, self.genomes.decode(target, genome), unpack(values), status, rung, later if moved else function,
                    operator, parents, unpack(behaviour) if behaviour is not None else None, new,
                    observations, before)  # fmt: skip
        return Ready(told, tuple(float(v) for v in rungs), late)
