"""The live view: a few lines that are redrawn on a terminal, or one line an interval where there is none."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

import click

from evo.cli.state import failures_of, hits_of
from evo.cli.text import clip, duration, number, rate

PLAIN_INTERVAL_S = 10.0


class View(Protocol):
    """Shows a run's status as it changes; a context manager that restores the terminal."""

    def update(self, status: Mapping[str, Any], final: bool = False) -> None: ...
    def notice(self, text: str) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> View: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_view(
    objectives: Sequence[Mapping[str, Any]] = (), source: str = "", quiet: bool = False, stderr: bool = False
) -> View:
    """The view that suits where the output goes.

    Args:
        objectives: names for values; read from the run.
        source: shown in the head: the run's folder.
        quiet: show nothing but notices.
        stderr: write to stderr, since stdout is kept for JSON.
    """
    stream = sys.stderr if stderr else sys.stdout
    if quiet:
        return PlainView(objectives, interval=float("inf"), stderr=True)
    if stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb":
        from evo.cli.panel import PanelView

        return PanelView(objectives, source, stderr)
    return PlainView(objectives, stderr=stderr)


class PlainView:
    """One line an interval, and at every change of state: for log files and CI."""

    def __init__(
        self, objectives: Sequence[Mapping[str, Any]], interval: float = PLAIN_INTERVAL_S, stderr: bool = False
    ) -> None:
        self._objectives = objectives
        self._interval = interval
        self._stderr = stderr
        self._shown = -float("inf")
        self._state = ""

    def update(self, status: Mapping[str, Any], final: bool = False) -> None:
        """Print a line if it is time for one."""
        now = time.monotonic()
        state = str(status.get("state"))
        due = final or now - self._shown >= self._interval or (state != self._state and state != "empty")
        if self._interval == float("inf") or not due:
            return
        self._shown, self._state = now, state
        click.echo(line(status, self._objectives), err=self._stderr)

    def notice(self, text: str) -> None:
        """Print a message of its own."""
        click.echo(text, err=True)

    def close(self) -> None:
        """Nothing to restore."""

    def __enter__(self) -> PlainView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def line(status: Mapping[str, Any], objectives: Sequence[Mapping[str, Any]]) -> str:
    """A status in one line."""
    head = f"[{duration(status.get('elapsed_s') or 0.0):>7}] {status.get('state', '?')}"
    preparing = status.get("preparing")
    if preparing:
        return f"{head}: {preparing.get('what', '')} {preparing.get('done', 0)}/{preparing.get('total', '?')}"
    counts, seconds = status.get("counts") or {}, status.get("seconds") or {}
    hits = hits_of(counts)
    parts = [
        f"{100 * float(status.get('progress') or 0):3.0f} %",
        f"{number(counts.get('proposals', 0))} candidates ({rate(status.get('rate'))})",
        f"{number(counts.get('evaluations', 0))} evaluated",
        "hits " + "+".join(number(count) for count in hits.values()) + f" saved {duration(seconds.get('saved', 0.0))}",
    ]
    failures = failures_of(counts)
    if failures:
        parts.append("failures " + " ".join(f"{kind} {number(count)}" for kind, count in failures.items()))
    parts.append(best_words(status, objectives, 60))
    if status.get("eta_s") is not None and status.get("state") == "running":
        parts.append(f"{duration(status['eta_s'])} left")
    return f"{head} " + ", ".join(part for part in parts if part)


def best_words(status: Mapping[str, Any], objectives: Sequence[Mapping[str, Any]], width: int) -> str:
    """The best so far: value and one-line description."""
    leaders = status.get("leaders") or []
    if not leaders:
        return ""
    name = objectives[0]["name"] if objectives else "value"
    best = leaders[0]
    value = number(float(best["values"][0])) if best.get("values") else "-"
    return f"best {name} {value} #{best['id']} {clip(best.get('summary', ''), width)}".rstrip()
