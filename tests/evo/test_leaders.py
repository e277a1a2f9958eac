"""The board of the best: hits, pooled scores, what leaves it, and that a resume rebuilds it."""

from __future__ import annotations

import math
import random
import statistics
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.cli.summary import leader_words, leaderboard
from evo.leaders import Leaders, standard_error
from evo.pooled import Pooled
from evo.search import Search
from evo.space import Objective
from tests.evo.engine import ELITES, make, parts, query, run, stop_after

MIN = (Objective("loss"),)
finite = st.floats(allow_nan=False, allow_infinity=False)


def board(leaders: Leaders) -> list[tuple[int, tuple[float, ...], int]]:
    return [(leader.id, leader.values, leader.replicates) for leader in leaders.top()]


def board_ids(leaders: Leaders) -> list[int]:
    return [leader.id for leader in leaders.contenders()]


def offered(*values: float, **how: Any) -> Leaders:
    """A board on which candidate i, a function of its own, has values[i]."""
    leaders = Leaders(MIN, **how)
    for id, value in enumerate(values):
        leaders.offer(id, id, (value,), 0, "sample", (), f"genome {id}")
    return leaders


class TestPooled:
    def test_the_first_evaluation_weighs_as_many_replicates_as_it_had(self) -> None:
        pooled = Pooled((1.0,), 4)
        pooled.add([(7, (2.0,)), (8, (4.0,))])
        assert (pooled.mean, pooled.count) == ((10.0 / 6.0,), 6)

    def test_without_a_first_evaluation_the_fresh_ones_count_alone(self) -> None:
        pooled = Pooled((), 4)
        pooled.add([(7, (2.0,)), (8, (4.0,))])
        assert (pooled.mean, pooled.count) == ((3.0,), 2)

    def test_a_seed_counts_once(self) -> None:
        pooled = Pooled((1.0,))
        for _ in range(3):
            pooled.add([(7, (2.0,))])
        assert (pooled.mean, pooled.count) == ((1.5,), 2)

    @given(first=finite, weight=st.integers(1, 5), values=st.lists(finite, min_size=1, max_size=12), seed=st.integers())
    def test_the_mean_is_the_same_to_the_bit_in_any_order_and_cut(
        self, first: float, weight: int, values: list[float], seed: int
    ) -> None:
        observations = [(number, (value,)) for number, value in enumerate(values)]
        whole = Pooled((first,), weight)
        whole.add(observations)
        random.Random(seed).shuffle(observations)
        one_by_one = Pooled((first,), weight)
        for observation in observations:
            one_by_one.add([observation])
            assert len(one_by_one.mean) == 1
        (mean,), (again,) = whole.mean, one_by_one.mean
        assert struct.pack("<d", mean) == struct.pack("<d", again)
        everything = [first, *values]
        assert min(everything) <= mean <= max(everything) or math.isclose(mean, min(everything), rel_tol=1e-15)

    def test_a_divergence_makes_the_mean_infinite_and_both_signs_leave_none(self) -> None:
        pooled = Pooled((1.0,))
        pooled.add([(1, (math.inf,))])
        assert pooled.mean == (math.inf,)
        pooled.add([(2, (-math.inf,))])
        assert pooled.mean == ()

    def test_a_failure_leaves_no_mean(self) -> None:
        pooled = Pooled((1.0,))
        pooled.add([(1, (2.0,))])
        pooled.failed = True
        assert pooled.mean == ()


class TestLeaders:
    def test_a_lucky_score_falls_to_its_mean(self) -> None:
        leaders = offered(0.5, 0.1, 0.6)
        assert leaders.best is not None
        assert leaders.best.id == 1
        assert leaders.pool(1, True, [(11, (0.75,)), (12, (0.8,))], (0.1,))
        assert leaders.pool(0, True, [(11, (0.5,))], (0.5,))
        assert board(leaders) == [(0, (0.5,), 2), (1, (math.fsum([0.1, 0.75, 0.8]) / 3,), 3), (2, (0.6,), 1)]

    def test_lines_that_were_evaluated_again_come_before_those_that_were_not(self) -> None:
        leaders = offered(0.5, 0.4, 0.1, 0.3)
        leaders.pool(0, True, [(1, (0.4,))], (0.5,))
        leaders.pool(1, True, [(1, (0.9,))], (0.4,))
        assert [leader.id for leader in leaders.top()] == [0, 1, 2, 3]
        assert [leader.id for leader in leaders.contenders()] == [2, 3, 0, 1]
        assert leaders.best is not None
        assert leaders.best.id == 0
        leaders.pool(2, True, [(1, (0.3,))], (0.1,))
        assert [leader.id for leader in leaders.top()] == [2, 0, 1, 3]
        assert [leader.id for leader in leaders.top(1)] == [2]

    def test_one_that_diverged_on_a_fresh_seed_is_last(self) -> None:
        leaders = offered(0.1, 0.2, 0.3)
        leaders.pool(0, True, [(1, (math.inf,))], (0.1,))
        leaders.pool(1, True, [(1, (0.9,))], (0.2,))
        assert [leader.id for leader in leaders.top()] == [1, 2, 0]

    def test_lucky_scores_do_not_drive_honest_means_from_the_board(self) -> None:
        leaders = offered(0.5, limit=2)
        leaders.pool(0, True, [(1, (0.5,))], (0.5,))
        for id, value in enumerate((0.4, 0.3, 0.2, 0.1), 1):
            leaders.offer(id, id, (value,), 0, "sample", (), None)
        assert [leader.id for leader in leaders.contenders()] == [4, 3, 0]
        assert [leader.id for leader in leaders.top()] == [0, 4]
        for id in (3, 4):
            leaders.pool(id, True, [(1, (0.4,))], (leaders.contenders()[-1].values[0],))
        assert len([leader for leader in leaders.contenders() if leaders.confirmed(leader.function)]) == 2

    def test_in_a_front_of_several_objectives_too_the_confirmed_come_first(self) -> None:
        leaders = Leaders((Objective("loss"), Objective("length", cost=True)))
        for id, values in enumerate([(0.1, 9.0), (0.3, 5.0), (0.2, 9.5)]):
            leaders.offer(id, id, values, 0, "sample", (), None)
        leaders.pool(1, True, [(1, (0.3,))], (0.3, 5.0))
        leaders.pool(2, True, [(1, (0.2,))], (0.2, 9.5))
        assert [leader.id for leader in leaders.top()] == [1, 0, 2], "the front, and of it the confirmed one first"

    def test_the_means_of_two_objectives_are_formed_apart_and_costs_stay(self) -> None:
        leaders = Leaders((Objective("loss"), Objective("score", "maximise"), Objective("length", cost=True)))
        leaders.offer(0, 0, (0.2, 5.0, 3.0), 0, "sample", (), None)
        leaders.pool(0, True, [(1, (0.4, 7.0))], (0.2, 5.0, 9.0))
        assert [leader.values for leader in leaders.top()] == [((0.2 + 0.4) / 2, 6.0, 3.0)]

    def test_what_a_lucky_one_dominated_comes_back_to_the_front(self) -> None:
        leaders = Leaders((Objective("loss"), Objective("score", "maximise")))
        leaders.offer(0, 0, (0.3, 5.0), 0, "sample", (), None)
        leaders.offer(1, 1, (0.1, 9.0), 0, "sample", (), None)
        assert leaders.front_size == 1
        leaders.pool(1, True, [(1, (0.9, 1.0))], (0.1, 9.0))
        assert (leaders.front_size, leaders.top(1)[0].id) == (1, 0)

    def test_a_later_hit_does_not_bring_the_lucky_score_back(self) -> None:
        leaders = offered(0.1, 0.5, limit=1)
        leaders.pool(0, True, [(1, (0.9,))], (0.1,))
        assert leaders.offer(2, 2, (0.4,), 0, "sample", (), None)
        assert board_ids(leaders) == [2, 0]
        assert not leaders.offer(3, 0, (0.1,), 0, "sample", (), None)
        assert board_ids(leaders) == [2, 0]

    def test_a_hit_of_one_that_proved_better_enters_with_its_mean(self) -> None:
        leaders = offered(0.5, limit=1)
        leaders.pool(7, True, [(1, (0.1,))], (0.6,))
        assert leaders.offer(9, 7, (0.6,), 0, "sample", (), None)
        assert board(leaders) == [(9, ((0.6 + 0.1) / 2,), 2)]

    def test_one_that_fails_when_it_is_evaluated_again_leaves_and_stays_out(self) -> None:
        leaders = offered(0.1, 0.5)
        assert leaders.pool(0, False, [], (0.1,))
        assert [leader.id for leader in leaders.top()] == [1]
        assert not leaders.offer(3, 0, (0.1,), 0, "sample", (), None)

    def test_the_bar_follows_a_fallen_last_line(self) -> None:
        leaders = offered(0.1, 0.2, limit=2)
        leaders.offer(4, 4, (0.3,), 0, "sample", (), None)
        assert board_ids(leaders) == [0, 1]
        leaders.pool(1, True, [(1, (0.8,))], (0.2,))
        assert board(leaders) == [(1, (0.5,), 2), (0, (0.1,), 1)]
        leaders.offer(5, 5, (0.6,), 0, "sample", (), None)
        assert board_ids(leaders) == [0, 1, 5], "one place for those that were evaluated once was free again"

    def test_functions_without_a_re_evaluation_are_as_before(self) -> None:
        assert board(offered(0.3, 0.1, 0.2, replicates=4)) == [(1, (0.1,), 4), (2, (0.2,), 4), (0, (0.3,), 4)]


NOISY = {"noise": 0.5, "functions": 300, "replicates": 2}
ROUNDS = {
    "name": "regularized",
    "options": {"population": 40, "tournament": 4, "reevaluate_every": 30, "reevaluate_top": 5},
}


def expected_means(result: Any) -> dict[int, float]:
    """By function: the mean over everything observed of it, straight from the tables."""
    found: dict[int, float] = {}
    for (function,) in query(result, "SELECT DISTINCT function FROM observations WHERE request != 0"):
        rows = query(result, f"SELECT vals FROM observations WHERE function = {function} AND status = 'ok'")
        values = [struct.unpack("<d", row[0])[0] for row in rows]
        found[function] = math.fsum(values) / len(values)
    return found


@pytest.mark.parametrize("strategy", [ROUNDS, {"name": "truncation", "options": ELITES}], ids=lambda s: s["name"])
def test_the_board_of_a_run_shows_means_over_all_that_was_observed(tmp_path: Path, strategy: Any) -> None:
    result = run(tmp_path, "run", options=NOISY, strategy=strategy)
    means = expected_means(result)
    assert len(means) > 15
    shown = {leader["function"]: leader for leader in result.leaders}
    pooled = [function for function in shown if function in means]
    assert pooled
    for function, leader in shown.items():
        if function in means:
            assert leader["values"][0] == pytest.approx(means[function], rel=1e-14)
            assert leader["replicates"] > 2
        else:
            assert leader["replicates"] == 2
    firsts = [
        struct.unpack("<d", vals)[0]
        for (vals,) in query(result, "SELECT vals FROM commits JOIN proposals USING (id) WHERE kind = 0")
    ]
    assert result.leaders[0]["values"][0] > min(firsts), "the luckiest score of the run must not stand"
    ranked = [(leader["replicates"] == 2, leader["values"]) for leader in result.leaders]
    assert ranked == sorted(ranked), "those that were evaluated again, best first, then the others"
    assert [leader["confirmed"] for leader in result.leaders] == [leader["replicates"] > 2 for leader in result.leaders]


def test_the_standard_error_of_a_line_is_that_of_all_its_observations(tmp_path: Path) -> None:
    result = run(tmp_path, "run", options=NOISY, strategy=ROUNDS, report={"candidates": 0, "confirm": 0})
    for leader in result.leaders:
        rows = query(result, f"SELECT vals FROM observations WHERE function = {leader['function']}")
        values = [struct.unpack("<d", row[0])[0] for row in rows]
        assert len(values) == leader["replicates"]
        assert leader["errors"][0] == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)))
    assert standard_error([1.0]) is None
    assert standard_error([1.0, math.inf]) is None


@pytest.mark.parametrize(
    "options", [NOISY, {**NOISY, "objectives": 2, "cost": True}, {**NOISY, "faults": {"nan": 9}}], ids=str
)
def test_a_run_in_parts_has_the_journal_and_the_board_of_a_whole_one(tmp_path: Path, options: Any) -> None:
    whole = run(tmp_path, "whole", options=options, strategy=ROUNDS)
    again = [id for (id,) in query(whole, "SELECT id FROM proposals WHERE kind = 1 ORDER BY id")]
    # Stop where a round has been asked for in part, and where all of it was and nothing told.
    cut = stop_after(make(tmp_path, "cut", options=options, strategy=ROUNDS), again[2])
    for place in (again[7], again[-1]):
        cut = stop_after(Search.open(cut.path), place)
        assert cut.state == "stopped"
    cut = Search.open(cut.path).run()
    assert parts(cut) == parts(whole)
    assert cut.leaders == whole.leaders


def test_a_run_that_tells_in_the_order_of_arrival_is_replayed_with_its_rounds(tmp_path: Path) -> None:
    loop = {"mode": "throughput", "chunk": 16, "lag": 40, "block": 8, "snapshot_every": 100}
    cut = stop_after(make(tmp_path, "cut", options=NOISY, strategy=ROUNDS, loop=loop), 250)
    again = Search.open(cut.path).run()  # a replay that differed from the journal would raise
    assert again.state == "finished"
    assert again.status["counts"]["reevaluated"] > 20


LINE = {"id": 3, "values": [0.5], "errors": [0.012], "operator": "insert", "summary": "x", "replicates": 4}


def test_the_table_has_seeds_and_standard_errors_where_there_are_several_seeds() -> None:
    objectives = [{"name": "loss"}]
    assert "seeds" not in leaderboard([{**LINE, "replicates": 1}], objectives)
    text = leaderboard([LINE, {**LINE, "id": 4, "replicates": 12, "errors": [None]}], objectives)
    assert [row.split()[:5] for row in text.splitlines()[-2:]] == [
        ["1", "#3", "0.5", "0.012", "4"],
        ["2", "#4", "0.5", "-", "12"],
    ]


def test_the_table_marks_scores_that_were_not_evaluated_again_where_others_were() -> None:
    objectives = [{"name": "loss"}, {"name": "length"}]
    line = {**LINE, "values": [0.5, 7.0]}
    first, second, note = leaderboard([{**line, "confirmed": True}, line], objectives).splitlines()[1:]
    assert first.split()[2:6] == ["0.5", "0.012", "4", "7"]
    assert second.split()[2] == "0.5*"
    assert "not evaluated again" in note
    assert "*" not in leaderboard([line, line], objectives)


def test_the_winner_is_given_with_its_error_and_its_seeds() -> None:
    objectives = [{"name": "loss"}]
    assert leader_words(LINE, objectives) == "loss 0.5 (standard error 0.012, mean over 4 seeds)"
    assert leader_words({**LINE, "replicates": 1}, objectives) == "loss 0.5"
