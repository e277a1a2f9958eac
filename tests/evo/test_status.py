"""The status of a run: what is estimated of its end."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import evo.status
from evo.status import StatusBoard
from tests.evo.engine import make


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test moves."""
    now = [100.0]
    monkeypatch.setattr(evo.status, "time", SimpleNamespace(monotonic=lambda: now[0], time=lambda: now[0]))
    return now


def a_board(tmp_path, observer=None):
    store = SimpleNamespace(status=dict)
    return StatusBoard(make(tmp_path, "run").config, tmp_path, store, observer)


def test_the_time_that_preparing_takes_is_shown(tmp_path, clock):
    seen = []
    board = a_board(tmp_path, observer=lambda status: seen.append(status["elapsed_s"]))
    clock[0] += 7.0
    board.preparing(3, 9, "pool")
    assert seen == [7.0]


def test_what_was_prepared_is_no_part_of_the_pace_of_the_search(tmp_path, clock):
    board = a_board(tmp_path)
    clock[0] += 200.0
    board.attach(SimpleNamespace(), None)
    clock[0] += 10.0
    assert board._eta({"evaluations": 0.25}, board.elapsed) == 30.0
    assert board._eta({"evaluations": 0.25, "wall": 0.5}, board.elapsed) == 210.0
