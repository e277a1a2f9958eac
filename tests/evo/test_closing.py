"""The closing phase: no lucky score heads the board of a finished run, and nothing else of the run changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evo.closing import SALT, close
from evo.executors.base import Block, Completed, Outcome
from evo.leaders import Leaders
from evo.search import Search
from evo.seeds import replicate_seed
from evo.space import Objective, Observation, Rung
from tests.evo.engine import make, parts, query, run, stop_after

RUNG = Rung("search", 2)


class Noise:
    """An executor: a genome is (true value, status); every fresh seed gives the true value."""

    def __init__(self, failing: Sequence[int] = (), status: Any = "failed") -> None:
        self.failing, self.status = failing, status
        self.asked: list[int] = []
        self.blocks: list[Block] = []

    def submit(self, blocks: Sequence[Block]) -> None:
        self.blocks += blocks

    def poll(self, timeout: float) -> list[Completed]:
        block = self.blocks.pop()  # the last one first
        outcomes = []
        for request in block.requests:
            self.asked.append(request.id)
            assert request.rung == "search"
            assert request.seeds == tuple(replicate_seed("search", k, SALT) for k in range(3))
            sound = Observation((request.genome,)) if request.id not in self.failing else Observation((), self.status)
            outcomes.append(Outcome((sound,) * len(request.seeds)))
        return [Completed(block, tuple(outcomes))]


def lucky(scores: Sequence[tuple[float, float]]) -> Leaders:
    """A board of functions with (score of the search, true value)."""
    leaders = Leaders((Objective("loss"),), replicates=2)
    for id, (score, true) in enumerate(scores):
        leaders.offer(id, id, (score,), 0, "sample", (), true)
    return leaders


def closed(leaders: Leaders, executor: Any, lines: int, **how: Any) -> Any:
    return close(leaders, RUNG, executor, lines=lines, seeds=3, block=8, **how)


def test_what_rises_to_the_first_lines_is_evaluated_in_turn_and_what_cannot_is_not() -> None:
    # two lucky ones; 2 and 3 rise; 4 never comes near
    leaders, executor = lucky([(0.1, 0.9), (0.11, 0.8), (0.3, 0.3), (0.4, 0.4), (0.5, 0.5)]), Noise()
    found = closed(leaders, executor, 2)
    assert sorted(executor.asked) == [0, 1, 2, 3]
    assert [(leader.id, leader.replicates) for leader in leaders.top()][:2] == [(2, 5), (3, 5)]
    assert [leader.id for leader in leaders.top()] == [2, 3, 1, 0, 4], "the one that was not evaluated again is last"
    assert found[:4] == (2, 2, 4, 3)


def test_it_ends_where_a_board_is_all_luck() -> None:
    leaders, executor = lucky([(0.01 * id, 9.0) for id in range(40)]), Noise()
    found = closed(leaders, executor, 2)
    assert (found.functions, found.confirmed) == (8, 0)
    assert all(leader.replicates == 5 for leader in leaders.top(8)), "lines with more seeds come first all the same"


def test_a_board_with_fewer_lines_than_wanted_is_confirmed_whole() -> None:
    leaders = lucky([(0.1, 0.1), (0.2, 0.2)])
    assert closed(leaders, Noise(), 10)[:3] == (2, 2, 2)
    assert closed(Leaders((Objective("loss"),)), Noise(), 10)[:3] == (0, 0, 0)


def test_who_fails_on_a_fresh_seed_leaves_and_who_times_out_stays_behind_the_confirmed() -> None:
    scores = [(0.1, 0.1), (0.2, 0.2), (0.3, 0.3)]
    leaders = lucky(scores)
    closed(leaders, Noise(failing=[0]), 2)
    assert [leader.id for leader in leaders.top()] == [1, 2]
    leaders = lucky(scores)
    found = closed(leaders, Noise(failing=[0], status="timeout"), 2)
    assert [leader.id for leader in leaders.top()] == [1, 0, 2]
    assert (found.lines, found.confirmed) == (2, 0)


def test_it_stops_when_asked_to() -> None:
    leaders, executor = lucky([(0.1, 0.9), (0.2, 0.2)]), Noise()
    assert closed(leaders, executor, 2, stopped=lambda: True) is None
    assert executor.asked == []


NOISY = {"noise": 0.5, "functions": 300, "replicates": 2}
CONFIRM = {"candidates": 0, "confirm": 4, "confirm_seeds": 6}
ROUNDS = {"name": "regularized", "options": {"population": 40, "tournament": 4, "reevaluate_every": 60}}


@pytest.mark.parametrize("strategy", [{"name": "random", "options": {}}, ROUNDS], ids=lambda s: s["name"])
def test_the_first_lines_of_a_finished_run_stand_on_fresh_seeds(tmp_path: Path, strategy: Any) -> None:
    plain = run(tmp_path, "plain", options=NOISY, strategy=strategy)
    result = run(tmp_path, "run", options=NOISY, strategy=strategy, report=CONFIRM)
    assert parts(result) == parts(plain), "the journal knows nothing of it"
    assert all(leader["replicates"] >= 8 and leader["confirmed"] for leader in result.leaders[:4])
    assert result.status["closing"]["confirmed"] == 4
    assert result.status["state"] == "finished"
    assert "preparing" not in result.status
    assert min(leader["values"] for leader in plain.leaders) < result.leaders[0]["values"]
    assert result.status["counts"]["evaluations"] == plain.status["counts"]["evaluations"], "no budget counts it"


def test_a_run_that_was_extended_or_stopped_ends_with_the_board_of_a_longer_one(tmp_path: Path) -> None:
    how = {"options": NOISY, "strategy": ROUNDS, "report": CONFIRM}
    whole = run(tmp_path, "whole", **how)
    part = run(tmp_path, "part", **how, budget={"proposals": 400, "stall": None})
    extended = Search.open(part.path, ["budget.proposals=600"]).run()
    assert parts(extended) == parts(whole)
    assert extended.leaders == whole.leaders
    cut = stop_after(make(tmp_path, "cut", **how), 300)
    assert "closing" not in cut.status
    assert Search.open(cut.path).run().leaders == whole.leaders
    again = Search.open(whole.path).run()
    assert again.leaders == whole.leaders, "a finished run that is resumed as it is"
    assert query(whole, "SELECT count(*) FROM observations") == query(extended, "SELECT count(*) FROM observations")


def test_copies_of_a_warm_start_are_no_hits_and_save_nothing(tmp_path: Path) -> None:
    strategy = {"name": "regularized", "options": {"population": 50, "tournament": 3, "initial": "seed"}}
    warm = run(tmp_path, "warm", options={"functions": 40}, strategy=strategy, budget={"proposals": 50, "stall": None})
    counts = warm.status["counts"]
    assert counts["copies"] == 50 - counts["evaluations"] > 0
    assert [counts[kind] for kind in ("structural", "functional", "twin")] == [0, 0, 0]
    assert warm.status["seconds"]["saved"] == 0.0
    longer = Search.open(warm.path, ["budget.proposals=300"]).run().status["counts"]
    assert longer["copies"] == counts["copies"]
    assert longer["structural"] + longer["functional"] + longer["twin"] > 0
    assert Search.open(warm.path).run().status["counts"] == longer, "counted alike on resume"
