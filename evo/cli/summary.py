"""A run in words: what `evo show RUN` prints, and what a run prints when it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from evo.cli.state import ACTIVE, failures_of, hits_of, reason_in_words, searched, state_of
from evo.cli.text import duration, number, rate, table, vector, width
from evo.report.heldout import Grid, HeldOut, grids
from evo.report.intervals import FEW, Interval


def heading(text: str) -> str:
    """A section's heading."""
    return click.style(text, bold=True)


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """State, progress, counts, hits, failures: a line each."""
    counts, seconds = status.get("counts") or {}, status.get("seconds") or {}
    state = state_of(status)
    reason = reason_in_words(status.get("reason"))
    sessions = f", session {status['session']}" if status.get("session", 1) > 1 else ""
    lines = [
        f"state        {state}{': ' + reason if reason else ''} after {duration(status.get('elapsed_s'))}{sessions}",
        f"candidates   {number(counts.get('proposals', 0))} proposed, {number(counts.get('evaluations', 0))} evaluated"
        f" ({_rates(status)})",
        "hits         " + hit_words(counts, seconds),
    ]
    failures = failures_of(counts)
    if failures:
        lines.append("failures     " + ", ".join(f"{kind} {number(count)}" for kind, count in failures.items()))
    if counts.get("stopped"):
        lines.append(f"hurdles      {number(counts['stopped'])} stopped early")
    if counts.get("audits"):
        lines.append(
            f"audit        {number(counts['audits'])} hits evaluated again,"
            f" {number(counts.get('audit_disagreements', 0))} differ"
            + (f", by {status['audit_largest']:.1e} relative at most" if status.get("audit_largest") else "")
        )
    if status.get("closing"):
        lines.append("confirmed    " + closing_words(status["closing"]))
    incidents = (status.get("executor") or {}).get("incidents") or {}
    if incidents:
        lines.append("incidents    " + ", ".join(f"{kind} {number(count)}" for kind, count in incidents.items()))
    return lines


def _rates(status: Mapping[str, Any]) -> str:
    if state_of(status) in ACTIVE:
        return f"{rate(status.get('rate'))} proposed, {rate(status.get('rate_evaluations'))} evaluated lately"
    counts, elapsed = status.get("counts") or {}, float(status.get("elapsed_s") or 0.0)
    per_second = (counts.get(key, 0) / elapsed if elapsed else None for key in ("proposals", "evaluations"))
    return "{} proposed, {} evaluated on average".format(*map(rate, per_second))


def hit_words(counts: Mapping[str, int], seconds: Mapping[str, float]) -> str:
    """Hits by kind, their share, and what they saved against what recognising them cost."""
    hits = hits_of(counts)
    proposals = searched(counts)
    copies = f", {number(counts['copies'])} copies of seeds apart" if counts.get("copies") else ""
    share = f" ({100 * sum(hits.values()) / proposals:.0f} % of candidates{copies})" if proposals else ""
    kinds = ", ".join(f"{kind} {number(count)}" for kind, count in hits.items() if count or kind != "imported")
    saved, hashed = seconds.get("saved", 0.0), seconds.get("hashed", 0.0)
    times = f", {saved / hashed:,.0f} times that" if hashed > 0 and saved >= hashed else ""
    return f"{kinds}{share}; {duration(hashed)} hashing saved {duration(saved)} of evaluation{times}"


def closing_words(closing: Mapping[str, Any]) -> str:
    """What the closing phase did."""
    lines, confirmed = closing["lines"], closing["confirmed"]
    which = f"the first {number(lines)} lines" if confirmed == lines else f"{confirmed} of the first {lines} lines"
    return (
        f"{which}: {number(closing['functions'])} leaders evaluated again on {closing['seeds']} fresh seeds"
        f" ({duration(closing['seconds'])}, beside the budget)"
    )


def seeded(leaders: Sequence[Mapping[str, Any]]) -> bool:
    """Whether values are means over several seeds, so that their number and the standard error say something."""
    return any(leader.get("replicates", 1) > 1 for leader in leaders)


def unconfirmed(leaders: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Of each line, whether it stands on the search's own seeds alone where others were evaluated again."""
    mixed = any(leader.get("confirmed") for leader in leaders)
    return [mixed and not leader.get("confirmed") for leader in leaders]


def error_words(leader: Mapping[str, Any]) -> str:
    """The standard error of the first value; "-" where it is not known."""
    error = next(iter(leader.get("errors") or ()), None)
    return "-" if error is None else f"{error:.2g}"


def leaderboard(leaders: Sequence[Mapping[str, Any]], objectives: Sequence[Mapping[str, Any]]) -> str:
    """The best candidates as a table; a star marks scores that were not evaluated again where others were."""
    names = [objective["name"] for objective in objectives] or ["value"]
    marks, several = unconfirmed(leaders), seeded(leaders)
    rows = []
    for place, (leader, mark) in enumerate(zip(leaders, marks, strict=True), 1):
        values = [number(float(value)) for value in leader.get("values", [])]
        values += ["-"] * (len(names) - len(values))
        values[0] += "*" if mark else " " if any(marks) else ""
        seeds = [error_words(leader), leader.get("replicates", "")] if several else []
        what = [leader.get("operator", ""), leader.get("summary", "")]
        rows.append([place, f"#{leader['id']}", values[0], *seeds, *values[1 : len(names)], *what])
    columns = [names[0], *(["s.e.", "seeds"] if several else []), *names[1:]]
    right = (0, 1, *range(2, 2 + len(columns)))
    text = table(("", "candidate", *columns, "operator", "what it is"), rows, right=right)
    return text + (f"\n  {LUCKY}" if any(marks) else "")


LUCKY = "* not evaluated again: the best of many scores, so mostly too good, and ranked behind those that were"


def interval_words(interval: Interval | None, signed: bool = False) -> str:
    """0.213 [0.208, 0.219]."""
    if interval is None:
        return "-"
    form = "{:+.4g}" if signed else "{:.4g}"
    if interval.n == 1:
        return form.format(interval.mean)
    return f"{form.format(interval.mean)} [{form.format(interval.low)}, {form.format(interval.high)}]"


def held_out_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The held-out evaluation, a table a metric; "" if there is none.

    Means over seeds with 95 % t intervals, or what the space made itself (`words` of its rows); a star marks what
    differs from the first baseline, paired, beyond its interval.
    """
    parts = []
    found = grids(rows)
    for grid in found:
        names = max(len(label) for label, _ in grid.lines)
        columns = max(1, (width() - 2 - names) // (CELL + 2))
        for first in range(0, len(grid.tasks), columns):
            here = slice(first, first + columns)
            lines = [(label, *map(_cell, cells[here])) for label, cells in grid.lines]
            parts.append(table((grid.metric, *grid.tasks[here]), lines))
    if not parts:
        return ""
    note = "; ".join(dict.fromkeys(grid.interval_words for grid in found))
    for grid in found:
        if any(cell is not None and cell.differs for _, cells in grid.lines for cell in cells):
            note += f"; * differs from {grid.baseline}, {grid.paired_words}"
            break
    notes = [note, *few_words(found), *settings_words(found)]
    return "\n".join([*parts, *(f"  {line}" for line in notes)])


def few_words(found: Sequence[Grid]) -> list[str]:
    """A warning where intervals stand on fewer seeds than they need."""
    fewest = min((grid.fewest for grid in found if not grid.spread), default=FEW)
    if fewest >= FEW:
        return []
    seeds = "one seed alone: there are no intervals" if fewest == 1 else "two seeds alone: intervals that say little"
    return [f"warning: {seeds}; --set report.seeds=5 gives more"]


def settings_words(found: Sequence[Grid]) -> list[str]:
    """How lines were set up, those of one kind together."""
    settings = {label: text for grid in found for label, text in grid.settings.items()}
    by_text: dict[str, list[str]] = {}
    for label, text in settings.items():
        by_text.setdefault(text, []).append(label)
    return [f"{'; '.join(labels)}: {text}" for text, labels in by_text.items()]


CELL = 26
"""Columns of a terminal that a mean with its interval takes, at most."""


def _cell(cell: HeldOut | None) -> str:
    return "-" if cell is None else interval_words(cell.interval) + ("*" if cell.differs else "")


def value_words(values: Sequence[float], objectives: Sequence[Mapping[str, Any]]) -> str:
    """loss 0.2525, parameters 1,024."""
    if not values:
        return "no value"
    if len(objectives) != len(values):
        return vector(values)
    return ", ".join(f"{o['name']} {number(float(v))}" for o, v in zip(objectives, values, strict=True))


def leader_words(leader: Mapping[str, Any], objectives: Sequence[Mapping[str, Any]]) -> str:
    """loss 0.2525 (standard error 0.0021, mean over 12 seeds)."""
    words = value_words(leader.get("values", ()), objectives)
    if leader.get("replicates", 1) < 2:
        return words
    error = error_words(leader)
    return f"{words} ({f'standard error {error}, ' if error != '-' else ''}mean over {leader['replicates']} seeds)"
