"""A search's winners at parts of its budget, read from its journal, and what they are worth on data it never saw.

For `benchmarks.lion_search`.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import statistics
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FRESH = 1_000_000
"""The first replicate number of the judges' seeds; searches use small ones."""


class Winner(NamedTuple):
    """The first of the leaderboard at a part of the budget."""

    id: int
    claimed: float
    replicates: int
    proposals: int
    functions: int


def connected(database: Path) -> Any:
    """A read-only connection that closes itself."""
    return contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60))


def winner(database: Path, space: Any, end: int) -> Winner | None:
    """The first of the leaderboard made of the candidates below `end`."""
    from evo.leaders import Leaders

    leaders = Leaders(space.objectives, replicates=space.rungs[-1].replicates)
    last = len(space.rungs) - 1
    functions = 0
    with connected(database) as db:
        for id, kind, parents, function, status, rung, values in committed(db, end):
            functions += kind == 0 and function == id
            if kind == 0:
                if status == "ok" and rung == last:
                    leaders.offer(id, function, values, rung, "", (), None)
                continue
            found = db.execute("SELECT seed, vals FROM observations WHERE request=? AND function=?", (id, function))
            observations = [(seed, doubles(blob)) for seed, blob in found]
            before = db.execute("SELECT vals FROM commits WHERE id=? AND rung=?", (parents[0], last)).fetchone()
            leaders.pool(function, status == "ok", observations, doubles(before[0]) if before else ())
            if status == "ok":
                leaders.offer(parents[0], function, values, rung, "", (), None)
    best = leaders.best
    return None if best is None else Winner(best.id, best.values[0], best.replicates, end, functions)


def committed(db: sqlite3.Connection, end: int) -> Iterator[tuple[Any, ...]]:
    """(id, kind, parents, function, status, rung, values) of the candidates below `end`."""
    for id, kind, parents, function, status, rung, blob in db.execute(
        "SELECT id, kind, parents, function, status, rung, vals FROM commits JOIN proposals USING (id)"
        " JOIN identities USING (id) WHERE id < ? ORDER BY id",
        (end,),
    ).fetchall():
        yield id, kind, json.loads(parents), function, status, rung, doubles(blob)


def doubles(blob: bytes | None) -> tuple[float, ...]:
    """Values as run.db holds them."""
    return struct.unpack(f"<{len(blob) // 8}d", blob) if blob else ()


def genome_of(space: Any, database: Path, id: int) -> Any:
    with connected(database) as db:
        return space.decode(json.loads(db.execute("SELECT genome FROM proposals WHERE id=?", (id,)).fetchone()[0]))


def result_summary(space: Any, database: Path, found: Winner | None) -> str:
    return "" if found is None else space.summary(genome_of(space, database, found.id))


def restarts(database: Path) -> int:
    """How often the search began anew, from its last snapshot."""
    with connected(database) as db:
        state = db.execute("SELECT state FROM snapshots ORDER BY first_id DESC LIMIT 1").fetchone()
    return len(json.loads(state[0])["earlier"])


def judge(space: Any, database: Path, ids: Sequence[int], judges: int) -> dict[int, list[float]]:
    """By candidate and fresh seed: the mean over the tasks of its test loss, divided by the mean test loss of the AdamW
    seed program under the reference's seeds; +inf where it diverges."""
    from evo.seeds import replicate_seed
    from search_spaces.lion.evaluator import REFERENCE_SEEDS, courses, lowered, one_thread
    from search_spaces.lion.programs import adamw
    from search_spaces.lion.tasks import load
    from search_spaces.lion.training import Programs, train

    wanted = sorted(set(ids))
    seeds = [replicate_seed("search", FRESH + k) for k in range(judges)]
    relative = np.zeros((judges, len(wanted)))
    given = courses(space.options)["search"]
    if wanted:
        programs = Programs([lowered(genome_of(space, database, id)) for id in wanted], space.options.backend)
        divisor = Programs([lowered(adamw())], space.options.backend)
        with one_thread():
            for name, course in given.items():
                task = load(name)
                reference = [float(train(task, divisor, seed, course, "test").loss[0]) for seed in REFERENCE_SEEDS]
                for row, seed in zip(relative, seeds, strict=True):
                    row += train(task, programs, seed, course, "test").loss / statistics.fmean(reference)
    return {id: column.tolist() for id, column in zip(wanted, (relative / len(given)).T, strict=True)}
