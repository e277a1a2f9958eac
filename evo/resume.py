"""Rebuilds a loop from its journal: newest snapshot, then the tail replayed through the strategy and compared.

What the strategy proposes again must equal what the journal says, row for row; a difference is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from evo.errors import DamagedRunError, ReplayMismatchError
from evo.leaders import Leaders
from evo.loop import Loop, counted_as
from evo.pipeline import Pending, fold
from evo.run.store import RunStore, unpack
from evo.space import Reevaluate, SearchSpace

PAGE = 2000


def proposals_from(store: RunStore, space: SearchSpace[Any], first: int, n: int) -> list[tuple[Any, ...]]:
    """Journaled proposal rows of ids first .. first+n-1."""
    rows = list(store.rows("SELECT * FROM proposals WHERE id >= ? AND id < ? ORDER BY id", (first, first + n)))
    if len(rows) != n:
        raise DamagedRunError(f"{store.path}: chunk {first} should hold {n} proposals, {len(rows)} are there")
    return rows


def pending_from(loop: Loop, row: Sequence[Any]) -> Pending:
    """A journaled proposal as a candidate, not yet identified."""
    id, kind, genome, parents, operator, salt, thresholds = row
    if kind == 1:
        body = json.loads(genome)
        again = Reevaluate(json.loads(parents)[0], body["rung"], tuple(body["replicates"]), salt)
        return loop._reevaluation(id, again)
    c = Pending(id, loop.genomes.decode(id, genome), tuple(json.loads(parents)), operator, salt)
    if thresholds:
        c.thresholds = tuple(json.loads(thresholds))
    asked = loop.store.one("SELECT told FROM chunks WHERE first_id <= ? ORDER BY first_id DESC LIMIT 1", (id,))
    c.seen = asked[0] if asked else 0
    return c


def restore(loop: Loop) -> None:
    """Bring a fresh loop to where the journal ends.

    Raises:
        ReplayMismatchError: the strategy proposes something else than the journal holds.
        DamagedRunError: the journal contradicts itself.
    """
    store = loop.store
    offsets = _restore_identities(loop)
    _restore_told(loop)
    snapshot = store.one("SELECT first_id, told, state FROM snapshots ORDER BY first_id DESC LIMIT 1")
    start = 0
    if snapshot is not None:
        start, told, state = snapshot
        loop.strategy.restore(json.loads(state), loop.fetch)
        loop.told = told
    _replay_tail(loop, start)
    loop.last_snapshot = start
    loop.statistics.counts["told"] = loop.told
    _restore_notes(loop)
    _restore_pending(loop, offsets)


def _told_ids(loop: Loop, begin: int, end: int) -> list[int]:
    if not loop.settings.throughput:
        return list(range(begin, end))
    return [
        row[0] for row in loop.store.rows("SELECT id FROM tells WHERE seq >= ? AND seq < ? ORDER BY seq", (begin, end))
    ]


def _replay_tail(loop: Loop, start: int) -> None:
    chunks = list(
        loop.store.rows(
            "SELECT first_id, n, told, window_end FROM chunks WHERE first_id >= ? ORDER BY first_id", (start,)
        )
    )
    for first, n, told, window_end in chunks:
        _tell_through(loop, told)
        journaled = proposals_from(loop.store, loop.space, first, n)
        proposals = list(loop.strategy.ask(first, n, loop.streams))
        thresholds = tuple(json.loads(journaled[0][6])) if journaled and journaled[0][6] else ()
        again = loop.proposal_rows(first, proposals, thresholds)
        _compare(loop, journaled, again)
        loop.next_id = first + n
        loop.window_end = window_end
    if not chunks:
        last = loop.store.one("SELECT first_id + n, window_end FROM chunks ORDER BY first_id DESC LIMIT 1")
        if last is not None:
            loop.next_id, loop.window_end = last
    if loop.settings.throughput:
        count = loop.store.one("SELECT count(*) FROM tells")
        _tell_through(loop, count[0] if count else 0)


def _tell_through(loop: Loop, told: int) -> None:
    while loop.told < told:
        ids = _told_ids(loop, loop.told, min(told, loop.told + PAGE))
        loop.strategy.tell(loop.fetch(ids))
        loop.told += len(ids)


def _compare(loop: Loop, journaled: Sequence[Sequence[Any]], again: Sequence[Sequence[Any]]) -> None:
    names = ("id", "kind", "genome", "parents", "operator", "salt", "thresholds")
    for old, new in zip(journaled, again, strict=False):
        if old[6] is None:
            new = (*new[:6], None)
        for name, a, b in zip(names, old, new, strict=True):
            if a != b:
                raise ReplayMismatchError(
                    f"{loop.store.path}: on resume the strategy proposes another {name} for candidate {old[0]}:"
                    f" the journal says {a!r}, now {b!r}",
                    "the space, the strategy or a library changed since; resume with the versions in meta.versions",
                )
    if len(journaled) != len(again):
        raise ReplayMismatchError(
            f"{loop.store.path}: on resume the strategy makes {len(again)} proposals where the journal"
            f" has {len(journaled)} (from candidate {journaled[0][0]})",
            "the strategy or its options changed since; resume with the versions in meta.versions",
        )


def _restore_identities(loop: Loop) -> dict[int, int]:
    """Function ids, repeats and plans; returns the forgetting offset of ids that have one."""
    offsets: dict[int, int] = {}
    forget = loop.settings.forget

    def rows() -> Iterator[tuple[int, int, Any, Any, Any]]:
        for id, function, source, key, a, b in loop.store.rows(
            "SELECT id, function, source, key, grid_a, grid_b FROM identities ORDER BY id"
        ):
            if source == "reevaluated":
                continue
            if function == id:
                loop.functions += 1
                loop.last_new = id
            elif forget and source != "invalid":
                repeats = loop._repeats[function] = loop._repeats.get(function, 0) + 1
                if repeats // forget:
                    offsets[id] = repeats // forget
            yield id, function, key, a, b

    loop.identifier.restore(rows())
    for id, function, digest in loop.store.rows("SELECT id, function, digest FROM late_identities ORDER BY id"):
        loop.identifier.late(id, function, digest)
    salted = loop.store.one("SELECT 1 FROM proposals WHERE salt != 0 LIMIT 1") is not None
    if loop._tracks_plans or salted or forget:
        for id, function, source, salt, thresholds in loop.store.rows(
            "SELECT i.id, i.function, i.source, p.salt, p.thresholds FROM identities i JOIN proposals p USING (id)"
            " WHERE p.kind = 0 ORDER BY i.id"
        ):
            if source == "invalid" or not (loop._tracks_plans or salt or offsets.get(id, 0)):
                continue
            c = Pending(id, None, (), "", salt)
            c.function, c.new, c.offset = function, function == id, offsets.get(id, 0)
            c.thresholds = tuple(json.loads(thresholds)) if thresholds else ()
            loop._note_plan(c)
    return offsets


def _restore_told(loop: Loop) -> None:
    """Counters and the leaderboard from all commits."""
    counts = loop.statistics.counts
    row = loop.store.one("SELECT count(*), coalesce(sum(1 - agrees), 0) FROM audits")
    counts["audits"], counts["audit_disagreements"] = row or (0, 0)
    last = len(loop.space.rungs) - 1
    leaders = Leaders(loop.space.objectives, replicates=loop.space.rungs[-1].replicates)
    loop.leaders = leaders
    for id, function, source, status, rung, values, later, kind, operator in loop.store.rows(
        "SELECT c.id, i.function, i.source, c.status, c.rung, c.vals, l.function, p.kind, p.operator FROM commits c"
        " JOIN identities i USING (id) JOIN proposals p USING (id) LEFT JOIN late_identities l USING (id) ORDER BY c.id"
    ):
        counts["committed"] += 1
        late = later is not None and later != function and function == id
        source = "functional" if late else source
        counter = counted_as(source, operator)
        if counter != "evaluated":
            counts[counter] += 1
        if status not in ("ok", counter):
            counts[status] += 1
        if kind == 1:
            loop.lead_again(loop.fetch([id])[0])
        elif status == "ok" and rung == last:
            leaders.offer(id, later if later is not None else function, unpack(values), rung, "", (), None)
    leaders.complete(lambda id: loop.fetch([id])[0])


def _restore_notes(loop: Loop) -> None:
    """Hurdle statistics, the target and late hits, from what was told."""
    begin = 0
    while begin < loop.told:
        ids = _told_ids(loop, begin, min(loop.told, begin + PAGE))
        query = (
            "SELECT c.id, c.status, c.rung, c.vals, c.extra, i.function, i.source, l.function FROM commits c"
            " JOIN identities i USING (id) LEFT JOIN late_identities l USING (id)"
        )
        if loop.settings.throughput:
            rows = [r for i in ids for r in loop.store.rows(f"{query} WHERE c.id = ?", (i,))]
        else:
            rows = list(loop.store.rows(f"{query} WHERE c.id >= ? AND c.id < ? ORDER BY c.id", (ids[0], ids[-1] + 1)))
        for id, status, rung, values, extra, function, source, later in rows:
            late = later is not None and later != function and function == id
            rungs = json.loads(extra).get("rungs", ()) if extra and len(loop.space.rungs) > 1 else ()
            told = _Note(id, unpack(values), status, rung, function == id and not late and source != "reevaluated")
            loop.note_told(told, tuple(float(v) for v in rungs), late)  # type: ignore[arg-type]
        begin += len(ids)


class _Note:
    """As much of a Told as `Loop.note_told` reads, without decoding a genome."""

    def __init__(self, id: int, values: tuple[float, ...], status: str, rung: int, new: bool) -> None:
        self.id, self.values, self.status, self.rung, self.new = id, values, status, rung, new


def _restore_pending(loop: Loop, offsets: dict[int, int]) -> None:
    """Committed and untold results become ready; what is not committed goes through the pipeline again."""
    store = loop.store
    loop.pipeline.stored_below = loop.next_id
    if loop.settings.throughput:
        told_ids = {row[0] for row in store.rows("SELECT id FROM tells")}
        untold = [i for i in range(loop.next_id) if i not in told_ids]
    else:
        untold = list(range(loop.told, loop.next_id))
    if untold:
        _reenter(loop, offsets, untold)
    if loop.settings.audit:
        _restore_audits(loop, offsets)
    store.commit()


def _reenter(loop: Loop, offsets: dict[int, int], untold: list[int]) -> None:
    store = loop.store
    low, high = untold[0], untold[-1] + 1
    wanted = set(untold)
    misses = dict(store.rows("SELECT id, miss FROM identities WHERE id >= ? AND id < ?", (low, high)))
    committed = [
        i
        for (i,) in store.rows("SELECT id FROM commits WHERE id >= ? AND id < ? ORDER BY id", (low, high))
        if i in wanted
    ]
    done = set(committed)
    for i in committed:
        loop.untold.append((i, bool(misses[i])))
        loop.untold_misses += misses[i]
    loop.ready.extend(loop.fetch_ready(committed))
    if loop.settings.throughput:
        loop.untold_ids.update(untold)
    identified: list[Pending] = []
    fresh: list[Pending] = []
    for row in store.rows("SELECT * FROM proposals WHERE id >= ? AND id < ? ORDER BY id", (low, high)):
        if row[0] in done or row[0] not in wanted:
            continue
        c = pending_from(loop, row)
        identity = store.one("SELECT function, source, miss, key, grid_a, grid_b FROM identities WHERE id=?", (c.id,))
        if identity is None:
            fresh.append(c)
            continue
        c.function, c.source, c.miss = identity[0], identity[1], bool(identity[2])
        c.new = c.function == c.id and c.reevaluate is None
        c.offset = offsets.get(c.id, 0)
        if c.source == "imported" and loop.cache is not None:
            c.imported = loop.cache.find([[k for k in identity[3:6] if k is not None]])[0]
        identified.append(c)
    if identified:
        loop.queue(identified)
    if fresh:
        loop.enter(fresh)


def _restore_audits(loop: Loop, offsets: dict[int, int]) -> None:
    """Audits that were due and had not come back."""
    rows = loop.store.rows(
        "SELECT i.id, i.function, c.rung, c.status FROM identities i JOIN commits c USING (id)"
        " LEFT JOIN audits a USING (id) WHERE a.id IS NULL AND i.source IN ('structural', 'functional', 'twin')"
    )
    for id, function, rung, status in list(rows):
        if rung < 0 or id in loop.pipeline._audits or not loop.audits(id):
            continue
        row = loop.store.one("SELECT * FROM proposals WHERE id=?", (id,))
        assert row is not None
        c = pending_from(loop, row)
        c.function, c.source, c.rung, c.status = function, "structural", rung, status
        c.offset = offsets.get(id, 0)
        found = loop.store.observations(
            function, loop.space.rungs[rung].name, loop.pipeline.seeds(rung, c.salt, c.offset)
        )
        if found is not None:
            c.result = fold(found)
            loop.pipeline.audit(c)


__all__ = ["restore"]
