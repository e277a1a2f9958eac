"""The live view: the panel, the plain lines, and figures in words."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from evo.cli.live import PlainView, line, make_view
from evo.cli.panel import render, sparkline
from evo.cli.state import state_of
from evo.cli.text import clip, duration, number, table
from evo.run.reader import RunReader

OBJECTIVES = [{"name": "loss", "direction": "minimise", "cost": False}]


@pytest.fixture(scope="module")
def status(written_runs: Path) -> dict[str, Any]:
    with RunReader(written_runs / "rules-a") as run:
        return {**run.status(), "state": "running", "eta_s": 83.0, "reason": ""}


def drawn(status: dict[str, Any], width: int = 110, notice: str = "") -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(render(status, OBJECTIVES, "runs/rules-a", notice, width))
    return console.export_text()


def test_the_panel_shows_budget_rates_workers_hits_failures_and_the_best(status: dict[str, Any]) -> None:
    text = drawn(status)
    for words in ("of 3,000 evaluations", "1m 23s left", "structural", "functional", "of hashing", "nan ",
                  "2 of 2 busy",
                  "94 %", "worker died 1", "best so far  loss", "runs/rules-a", "412/s proposed"):  # fmt: skip
        assert words in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_panel_keeps_to_its_width(status: dict[str, Any], width: int) -> None:
    assert max(len(row) for row in drawn(status, width, "a notice").splitlines()) <= width


def test_the_panel_shows_preparation_and_a_run_without_results(status: dict[str, Any]) -> None:
    assert "preparing: downloading" in drawn({**status, "preparing": {"done": 1, "total": 3, "what": "downloading"}})
    assert "starting" in drawn({"state": "preparing"})
    assert "failed: RuntimeError" in drawn({**status, "state": "failed", "reason": "RuntimeError: no", "leaders": []})


def test_plain_lines_tell_the_same_in_one_line(status: dict[str, Any]) -> None:
    text = line(status, OBJECTIVES)
    assert "\n" not in text
    for words in ("running", "candidates", "hits", "saved", "failures", "best loss", "left"):
        assert words in text
    assert "unpacking 2/5" in line(
        {"state": "preparing", "preparing": {"done": 2, "total": 5, "what": "unpacking"}}, []
    )


def test_plain_lines_come_at_intervals_and_at_changes(
    status: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    view = PlainView(OBJECTIVES, interval=1000.0)
    for _ in range(5):
        view.update(status)
    assert capsys.readouterr().out.count("\n") == 1
    view.update({**status, "state": "reporting"})
    view.update({**status, "state": "reporting"}, final=True)
    assert capsys.readouterr().out.count("\n") == 2


def test_without_a_terminal_the_view_is_plain_and_quiet_is_silent(
    status: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(make_view(), PlainView)
    quiet = make_view(quiet=True)
    quiet.update(status, final=True)
    quiet.notice("stopping")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "stopping\n")


def test_ci_gets_plain_lines_even_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("CI", "true")
    assert isinstance(make_view(), PlainView)
    monkeypatch.delenv("CI")
    assert not isinstance(make_view(), PlainView)


def test_a_state_is_killed_when_its_process_or_its_heartbeat_is_gone() -> None:
    import os
    import socket
    import time

    here = {"state": "running", "host": socket.gethostname(), "pid": os.getpid()}
    assert state_of(here) == "running"
    assert state_of({**here, "pid": 2**22 + 7}) == "killed"
    assert state_of({"state": "running", "host": "elsewhere", "heartbeat": time.time()}) == "running"
    assert state_of({"state": "running", "host": "elsewhere", "heartbeat": time.time() - 999}) == "killed"
    assert state_of({}) == "empty"


@given(st.lists(st.floats(), max_size=80), st.booleans())
def test_sparklines_of_any_curve_fit(values: list[float], maximise: bool) -> None:
    assert len(sparkline(values, maximise)) <= 24


def test_sparklines_rise_with_what_is_better() -> None:
    assert (
        sparkline([3.0, 2.0, 1.0]) == sparkline([1.0, 2.0, 3.0], maximise=True) == "▁▄█"
        or sparkline([3.0, 1.0])[0] == "▁"
    )
    assert sparkline([3.0, 1.0]) == "▁█"
    assert sparkline([1.0, 3.0], maximise=True) == "▁█"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0s"),
        (12.4, "12s"),
        (190, "3m 10s"),
        (7500, "2h 05m"),
        (273600, "3d 4h"),
        (None, "-"),
        (float("inf"), "-"),
    ],
)
def test_durations_in_words(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@given(st.text(max_size=300), st.integers(1, 50))
def test_clipping_keeps_to_the_width_in_one_line(text: str, width: int) -> None:
    shown = clip(text, width)
    assert len(shown) <= width
    assert "\n" not in shown


def test_tables_fit_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text = table(("a", "b"), [["x" * 10, "y" * 100]])
    assert max(len(row) for row in text.splitlines()) <= 60
    assert number(1234567) == "1,234,567"
    assert number(float("nan")) == "nan"
    assert json.loads(number(0.25)) == 0.25
