"""The live view on a terminal, drawn with rich: budget, rates, workers, hits, failures, the best so far."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from evo.cli.state import failures_of, hits_of, reason_in_words
from evo.cli.summary import error_words, seeded, unconfirmed
from evo.cli.text import duration, number, rate, told_apart

REDRAW_S = 0.2
LEADERS = 5
SPARKS = "▁▂▃▄▅▆▇█"
STATE_STYLES = {"running": "green", "finished": "green", "stopped": "yellow", "failed": "red", "killed": "red"}


class PanelView:
    """Redrawn in place; what others print meanwhile scrolls above it."""

    def __init__(self, objectives: Sequence[Mapping[str, Any]] = (), source: str = "", stderr: bool = False) -> None:
        self._objectives = objectives
        self._source = source
        self._console = Console(stderr=stderr)
        self._live = Live(Text("starting ..."), console=self._console, auto_refresh=False, transient=False)
        self._drawn = -float("inf")
        self._notice = ""
        self._status: Mapping[str, Any] = {}

    def update(self, status: Mapping[str, Any], final: bool = False) -> None:
        """Redraw, at most a few times a second."""
        self._status = status
        now = time.monotonic()
        if final or now - self._drawn >= REDRAW_S:
            self._drawn = now
            width = self._console.width - 3  # room for the "^C" that terminals echo, or it would break the last line
            self._live.update(render(status, self._objectives, self._source, self._notice, width), refresh=True)

    def notice(self, text: str) -> None:
        """Show a message under the view until it closes."""
        self._notice = text
        self.update(self._status, final=True)

    def close(self) -> None:
        """Leave the last picture, give the cursor back."""
        self._live.stop()

    def __enter__(self) -> PanelView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def render(
    status: Mapping[str, Any],
    objectives: Sequence[Mapping[str, Any]],
    source: str = "",
    notice: str = "",
    width: int = 100,
) -> RenderableType:
    """A status as a panel."""
    state = str(status.get("state", "starting"))
    style = STATE_STYLES.get(state, "cyan")
    title = Text.assemble(
        (f" {status.get('space', '')} ", "bold"), f"{status.get('strategy', '')}, seed {status.get('seed', '')} "
    )
    session = f" session {status['session']} " if status.get("session", 1) > 1 else ""
    preparing = status.get("preparing")
    parts: list[RenderableType]
    if preparing:
        parts = [_bar(_share(preparing.get("done"), preparing.get("total")), f"preparing: {preparing.get('what', '')}")]
    elif "counts" not in status:
        parts = [Text("starting ...", style="dim")]
    else:
        parts = [_bar(float(status.get("progress") or 0.0), _progress_words(status)), Text(), _facts(status)]
        leaders = status.get("leaders") or []
        if leaders:
            parts += [Text(), _best(status, objectives), Text(), _leaders(leaders, objectives, min(width, 130) - 4)]
    if notice:
        parts += [Text(), Text(notice, style="bold yellow")]
    return Panel(
        Group(*parts), title=title, title_align="left",
        subtitle=Text(f" {source}{session}", style="dim"), subtitle_align="left", border_style=style, padding=(0, 1),
        width=min(width, 130),
    )  # fmt: skip


def _share(done: Any, total: Any) -> float:
    return float(done) / float(total) if done and total else 0.0


def _bar(share: float, words: str) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1, min_width=12)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(
        ProgressBar(total=1.0, completed=min(1.0, share), complete_style="green", finished_style="green"), words
    )
    return grid


def _progress_words(status: Mapping[str, Any]) -> str:
    counts, budget = status.get("counts") or {}, status.get("budget") or {}
    parts = [f"{100 * float(status.get('progress') or 0.0):.0f} %"]
    for key in ("evaluations", "proposals"):
        if budget.get(key):
            parts.append(f"{number(counts.get(key, 0))} of {number(int(budget[key]))} {key}")
    wall = f" of {duration(float(budget['wall']))}" if budget.get("wall") else ""
    parts.append(duration(status.get("elapsed_s")) + wall)
    state = status.get("state")
    if state == "running" and status.get("eta_s") is not None:
        parts.append(f"{duration(status['eta_s'])} left")
    elif state != "running":
        reason = reason_in_words(status.get("reason"))
        parts.append(f"{state}: {reason}" if reason else str(state))
    return " · ".join(parts)


def _facts(status: Mapping[str, Any]) -> RenderableType:
    counts, seconds = status.get("counts") or {}, status.get("seconds") or {}
    executor = status.get("executor") or {}
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()

    def words(items: Mapping[str, int], style: str = "") -> Text:
        text = Text()
        for index, (kind, count) in enumerate(items.items()):
            text.append("   " if index else "")
            text.append(f"{kind} ", style="dim")
            text.append(number(count), style=style)
        return text

    proposed = words({"proposed": counts.get("proposals", 0), "evaluated": counts.get("evaluations", 0)})
    proposed.append(
        f"   {rate(status.get('rate'))} proposed, {rate(status.get('rate_evaluations'))} evaluated", style="dim"
    )
    grid.add_row("candidates", proposed)
    hits = words(hits_of(counts), "cyan")
    if counts.get("copies"):
        hits.append(f"   copies of seeds {number(counts['copies'])}", style="dim")
    grid.add_row("hits", hits)
    saved = Text(duration(seconds.get("saved", 0.0)), style="cyan")
    saved.append(f" of evaluation, for {duration(seconds.get('hashed', 0.0))} of hashing", style="dim")
    grid.add_row("saved", saved)
    failures = failures_of(counts)
    failed = words(failures, "red") if failures else Text("none", style="dim")
    if counts.get("stopped"):
        failed.append(f"   stopped early {number(counts['stopped'])}", style="dim")
    if counts.get("audits"):
        failed.append(
            f"   audits {number(counts['audits'])}, {number(counts.get('audit_disagreements', 0))} differ",
            style="dim",
        )
    grid.add_row("failures", failed)
    if executor:
        text = Text(f"{executor.get('busy', 0)} of {executor.get('workers', 0)} busy, ")
        text.append(f"{100 * float(executor.get('utilisation') or 0.0):.0f} %", style="green")
        text.append(
            f" on average, {number(executor.get('in_flight', 0))} in flight ({executor.get('kind', '')})", style="dim"
        )
        for kind, count in (executor.get("incidents") or {}).items():
            text.append(f"   {kind} {number(count)}", style="yellow")
        grid.add_row("workers", text)
    return grid


def _best(status: Mapping[str, Any], objectives: Sequence[Mapping[str, Any]]) -> RenderableType:
    best = status["leaders"][0]
    name = objectives[0]["name"] if objectives else "value"
    text = Text(no_wrap=True, overflow="ellipsis").append("best so far  ", style="dim")
    text.append(f"{name} {number(float(best['values'][0])) if best.get('values') else '-'}", style="bold green")
    text.append(f"  #{best['id']}  ")
    maximise = bool(objectives) and objectives[0].get("direction") == "maximise"
    text.append(sparkline([point[3][0] for point in status.get("curve") or [] if point[3]], maximise), style="green")
    return text


def sparkline(values: Sequence[float], maximise: bool = False, width: int = 24) -> str:
    """A curve in one line of block characters; the better, the higher. Infinite values are left out."""
    finite = [float(value) for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    points = (
        [finite[round(i * (len(finite) - 1) / (width - 1))] for i in range(width)] if len(finite) > width else finite
    )
    low, high = min(points), max(points)
    span = high / 2 - low / 2  # halves, since the whole may overflow
    heights = ((v / 2 - low / 2 if maximise else high / 2 - v / 2) / span if span else 0.0 for v in points)
    return "".join(SPARKS[round(height * (len(SPARKS) - 1))] for height in heights)


def _leaders(
    leaders: Sequence[Mapping[str, Any]], objectives: Sequence[Mapping[str, Any]], width: int
) -> RenderableType:
    leaders = leaders[:LEADERS]
    marks, several = unconfirmed(leaders), seeded(leaders)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=True)
    names = [objective["name"] for objective in objectives] or ["value"]
    columns = [names[0], *(["s.e.", "seeds"] if several else []), *names[1:], "operator"]
    rows = []
    for leader, mark in zip(leaders, marks, strict=True):
        values = [number(float(value)) for value in leader.get("values", [])] + ["-"] * len(names)
        seeds = [error_words(leader), str(leader.get("replicates", ""))] if several else []
        first = values[0] + ("*" if mark else " " if any(marks) else "")
        rows.append([f"#{leader['id']}", first, *seeds, *values[1 : len(names)], str(leader.get("operator", ""))])
    taken = sum(max(len(text) for text in column) + 2 for column in zip(["", *columns], *rows, strict=True))
    summaries = told_apart([str(leader.get("summary", "")) for leader in leaders], max(16, width - taken))
    table.add_column("", justify="right", no_wrap=True, style="dim")
    for name in columns[:-1]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("operator", no_wrap=True, style="dim")
    table.add_column("what it is", no_wrap=True, overflow="ellipsis", ratio=1)
    for row, summary in zip(rows, summaries, strict=True):
        table.add_row(*row, Text(summary))
    return table
