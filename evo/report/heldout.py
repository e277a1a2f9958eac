"""The held-out evaluation as rows for a table: mean, interval, and the difference to the first baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evo.report.intervals import Interval, bootstrap, paired


class HeldOut(NamedTuple):
    """One line. `candidate` is None for a baseline; `difference` is to the task's first baseline (None for itself)."""

    task: str
    metric: str
    name: str
    candidate: int | None
    interval: Interval
    baseline: str
    difference: Interval | None


def held_out(rows: Sequence[Mapping[str, Any]]) -> list[HeldOut]:
    """Stored report rows, task by task in their order."""
    found: list[HeldOut] = []
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("values"):
            groups.setdefault((str(row.get("task", "")), str(row.get("metric", ""))), []).append(row)
    for (task, metric), members in groups.items():
        baseline = next((row for row in members if row.get("candidate") is None), None)
        for row in members:
            values = [float(value) for value in row["values"]]
            difference = (
                paired(values, [float(v) for v in baseline["values"]]) if baseline and row is not baseline else None
            )
            name, candidate = str(row.get("name", "")), row.get("candidate")
            against = str(baseline["name"]) if baseline else ""
            found.append(HeldOut(task, metric, name, candidate, bootstrap(values), against, difference))
    return found
