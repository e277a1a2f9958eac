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


def test_each_improvement_is_a_point_of_the_curve_however_short_the_run(tmp_path, clock):
    board = a_board(tmp_path)
    board._shown = clock[0]  # nothing else is due
    best = SimpleNamespace(values=(3.0,))
    board.loop = SimpleNamespace(improved=True, functions=1, next_id=1, leaders=SimpleNamespace(best=best))
    board.tick(None)
    board.tick(None)
    best.values, board.loop.functions, board.loop.next_id = (2.0,), 4, 6
    board.tick(None)
    assert board.status["curve"] == [[1, 1, 0.0, [3.0]], [4, 6, 0.0, [2.0]]]
