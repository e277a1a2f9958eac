"""What a report shows, gathered from a run: lineage, operators, leaderboard, facts."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evo.run.reader import Committed, RunReader

STEPS = 60
"""Steps of the winner's main line that are shown, nearest first."""


@dataclass
class Operator:
    """How often an operator's children were new, valid, better than their parents, or a record.

    `compared` counts the children whose value and whose parent's value are both known.
    """

    name: str
    made: int = 0
    new: int = 0
    ok: int = 0
    compared: int = 0
    improved: int = 0
    records: int = 0
    best: float | None = field(default=None)


def operators(run: RunReader, maximise: bool) -> list[Operator]:
    """Success of each operator, the most used first; one pass over the commits."""
    sign = -1.0 if maximise else 1.0
    found: dict[str, Operator] = {}
    values: dict[int, float] = {}
    record = math.inf
    for row in run.commits():
        if row.kind == 1:
            continue
        entry = found.setdefault(row.operator, Operator(row.operator))
        entry.made += 1
        entry.new += row.miss
        if row.status != "ok" or not row.values or math.isnan(row.values[0]):
            continue
        value = sign * row.values[0]
        values[row.id] = value
        entry.ok += 1
        entry.best = value if entry.best is None else min(entry.best, value)
        known = [values[parent] for parent in row.parents if parent in values]
        if known:
            entry.compared += 1
            entry.improved += value < min(known)
        if value < record:
            record = value
            entry.records += 1
    for entry in found.values():
        entry.best = None if entry.best is None else sign * entry.best
    return sorted(found.values(), key=lambda entry: -entry.made)


def main_line(ancestors: Sequence[Committed], maximise: bool) -> list[Committed]:
    """One line of descent to the last of `ancestors`, oldest first: of several parents the best."""
    by_id = {row.id: row for row in ancestors}
    sign = -1.0 if maximise else 1.0

    def rank(parent: int) -> float:
        values = by_id[parent].values
        return sign * values[0] if values and not math.isnan(values[0]) else math.inf

    line: list[Committed] = []
    current: Committed | None = ancestors[-1] if ancestors else None
    while current is not None:
        line.append(current)
        parents = [parent for parent in current.parents if parent in by_id]
        current = by_id[min(parents, key=rank)] if parents else None
    return line[::-1]


def lineage_steps(line: Sequence[Committed], maximise: bool, describe: Callable[[int], str]) -> list[dict[str, Any]]:
    """The main line as rows: value, better or worse than the parent, and what changed in the source."""
    steps: list[dict[str, Any]] = []
    before: Committed | None = None
    text_before = ""
    for row in line[-STEPS:]:
        value = row.values[0] if row.values and math.isfinite(row.values[0]) else None
        text = describe(row.id)
        gain = 0.0
        if before is not None and value is not None and before.values and math.isfinite(before.values[0]):
            gain = (value - before.values[0]) * (1.0 if maximise else -1.0)
        steps.append(
            {
                "id": row.id,
                "operator": row.operator,
                "source": row.source or "",
                "status": row.status or "",
                "value": value,
                "better": gain > 0,
                "worse": gain < 0,
                "parents": row.parents,
                "diff": changes(text_before, text) if before is not None else [],
                "text": text if before is None else "",
            }
        )
        before, text_before = row, text
    return steps


def folded(steps: Sequence[dict[str, Any]], at_least: int = 3) -> list[list[dict[str, Any]]]:
    """Steps in groups: runs of at least so many that kept the value together, all others alone."""
    groups: list[list[dict[str, Any]]] = []
    run: list[dict[str, Any]] = []
    for index, step in enumerate(steps):
        neutral = not step["better"] and not step["worse"] and 0 < index < len(steps) - 1
        if neutral:
            run.append(step)
        if not neutral or index == len(steps) - 1:
            groups += [run] if len(run) >= at_least else [[one] for one in run]
            run = []
            if not neutral:
                groups.append([step])
    return groups


def changes(old: str, new: str) -> list[tuple[str, str]]:
    """Changed lines of a source: ("-" or "+", line), in order."""
    found = []
    for line in difflib.ndiff(old.splitlines(), new.splitlines()):
        if line[:1] in "-+" and line[2:].strip():
            found.append((line[0], line[2:]))
    return found


def workers(run: RunReader, limit: int = 12) -> list[dict[str, Any]]:
    """Evaluations, seconds and retries by worker, the busiest first."""
    query = (
        "SELECT worker, COUNT(*), SUM(seconds), SUM(attempts > 1) FROM evaluations GROUP BY 1 ORDER BY 3 DESC LIMIT ?"
    )
    names = ("worker", "evaluations", "seconds", "retried")
    return [dict(zip(names, row, strict=True)) for row in run.rows(query, (limit,))]


def incidents(events: Sequence[Mapping[str, Any]], limit: int = 30) -> list[Mapping[str, Any]]:
    """The last events other than those that every session has."""
    return list(events)[-limit:]
