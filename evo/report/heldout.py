"""The held-out evaluation as rows for a table: mean, interval, and the difference to the first baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evo.report.intervals import Interval, paired, student


class HeldOut(NamedTuple):
    """One line. `candidate` is None for a baseline; `difference` is to the task's first baseline (None for itself);
    `setting` says how it was set up, where that is said; `spread` and `paired` what its intervals and differences are
    over, where the space made them itself ("bootstrap over rows", "over the same rows")."""

    task: str
    metric: str
    name: str
    candidate: int | None
    interval: Interval
    baseline: str
    difference: Interval | None
    setting: str = ""
    spread: str = ""
    paired: str = ""

    @property
    def label(self) -> str:
        """The name, with the candidate's id where it does not say it."""
        return (
            self.name
            if self.candidate is None or f"#{self.candidate}" in self.name
            else f"{self.name} #{self.candidate}"
        )

    @property
    def differs(self) -> bool:
        """Whether the interval of the paired difference to the baseline leaves out zero; one pair has no interval."""
        difference = self.difference
        return difference is not None and difference.n > 1 and (difference.low > 0.0 or difference.high < 0.0)


class Grid(NamedTuple):
    """One metric: a line a name, a column a task. `baseline` is the name that differences refer to, or "". `settings`
    holds what is known of how a name was set up; `fewest` is the smallest number of seeds behind a cell."""

    metric: str
    tasks: tuple[str, ...]
    lines: tuple[tuple[str, tuple[HeldOut | None, ...]], ...]
    baseline: str
    settings: Mapping[str, str] = {}
    fewest: int = 0
    spread: str = ""
    paired: str = ""

    @property
    def interval_words(self) -> str:
        """What stands in the cells, as a caption says it."""
        if self.spread:
            return f"values with 95 % intervals: {self.spread}"
        return "means over seeds with 95 % t intervals" if self.fewest > 1 else "one value each"

    @property
    def paired_words(self) -> str:
        """How differences to the baseline are formed."""
        return f"paired {self.paired or 'by seed'}"


def grids(rows: Sequence[Mapping[str, Any]]) -> list[Grid]:
    """Stored report rows as one grid a metric, names and tasks in their order."""
    found: list[Grid] = []
    cells = held_out(rows)
    for metric in dict.fromkeys(cell.metric for cell in cells):
        members = [cell for cell in cells if cell.metric == metric]
        tasks = tuple(dict.fromkeys(cell.task for cell in members))
        labels = dict.fromkeys(cell.label for cell in members)
        at = {(cell.label, cell.task): cell for cell in members}
        lines = tuple((label, tuple(at.get((label, task)) for task in tasks)) for label in labels)
        baseline = next((cell.baseline for cell in members if cell.baseline), "")
        settings = {cell.label: cell.setting for cell in members if cell.setting}
        spread = next((cell.spread for cell in members if cell.spread), "")
        over = next((cell.paired for cell in members if cell.paired), "")
        fewest = min(cell.interval.n for cell in members)
        found.append(Grid(metric, tasks, lines, baseline, settings, fewest, spread, over))
    return found


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
            interval = student(values)
            if row.get("interval") is not None:  # of the space's own making: over rows of a table, say, not over seeds
                interval = Interval(*row["interval"])
                difference = Interval(*row["difference"]) if row.get("difference") is not None else None
            name, candidate = str(row.get("name", "")), row.get("candidate")
            against = str(baseline["name"]) if baseline else ""
            setting = str(row.get("setting") or "")
            words = row.get("words") or {}
            spread, over = str(words.get("spread", "")), str(words.get("paired", ""))
            found.append(HeldOut(task, metric, name, candidate, interval, against, difference, setting, spread, over))
    return found
