"""Intervals over seeds and the held-out table."""

from __future__ import annotations

import math
import random

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from evo.cli.summary import held_out_table
from evo.report.heldout import grids, held_out
from evo.report.intervals import paired, quantile, student

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9)


@given(values)
def test_the_mean_lies_in_the_middle_of_its_interval(numbers: list[float]) -> None:
    found = student(numbers)
    slack = 1e-6 * (1 + max(map(abs, numbers)))
    assert min(numbers) - slack <= found.mean <= max(numbers) + slack
    assert found.low <= found.mean + slack
    assert found.mean - found.low == pytest.approx(found.high - found.mean, abs=slack)
    assert found.n == len(numbers)


@given(values)
def test_the_order_of_values_does_not_matter(numbers: list[float]) -> None:
    assert student(numbers) == pytest.approx(student(numbers[::-1]), rel=1e-9, abs=1e-6)


def test_two_values_by_hand() -> None:
    # standard error 1/2, t(1) = tan(0.95 pi / 2)
    half = math.tan(0.95 * math.pi / 2) / 2
    assert student([0.0, 1.0]) == pytest.approx((0.5, 0.5 - half, 0.5 + half, 2))
    assert student([3.0]) == (3.0, 3.0, 3.0, 1)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 30, 200])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_quantiles_are_those_of_students_distribution(freedom: int, level: float) -> None:
    assert quantile(level, freedom) == pytest.approx(scipy.stats.t.ppf(0.5 + level / 2, freedom), rel=1e-10)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_intervals_of_a_few_normal_values_hold_the_mean_as_often_as_they_say(n: int) -> None:
    stream = random.Random(n)
    found = [student([stream.gauss(3.0, 2.0) for _ in range(n)]) for _ in range(4000)]
    assert sum(one.low <= 3.0 <= one.high for one in found) / 4000 == pytest.approx(0.95, abs=0.015)


def test_infinities_and_nan() -> None:
    assert student([1.0, math.inf])[:3] == (math.inf, -math.inf, math.inf)
    assert student([math.inf])[:3] == (math.inf,) * 3
    assert math.isnan(student([1.0, math.nan]).low)
    assert student([1e300, -1e300]).mean == 0.0
    with pytest.raises(ValueError, match="no values"):
        student([])


def test_pairing_removes_what_the_seeds_share() -> None:
    shared = [0.1, 0.9, 0.4, 0.6, 0.2]
    difference = paired([s - 0.05 for s in shared], shared)
    assert difference is not None
    assert (difference.low, difference.high) == pytest.approx((-0.05, -0.05))
    assert paired([1.0], [1.0, 2.0]) is None


def test_rows_are_compared_with_the_first_baseline_of_their_task() -> None:
    rows = [
        {"name": "#5", "task": "a", "metric": "loss", "values": [1.0, 2.0], "candidate": 5},
        {"name": "AdamW", "task": "a", "metric": "loss", "values": [2.0, 3.0], "candidate": None},
        {"name": "Lion", "task": "a", "metric": "loss", "values": [2.0, 2.5], "candidate": None},
        {"name": "#5", "task": "b", "metric": "loss", "values": [9.0], "candidate": 5},
        {"name": "none", "task": "b", "metric": "loss", "values": []},
    ]
    found = held_out(rows)
    assert [(row.task, row.name, row.baseline) for row in found] == [
        ("a", "#5", "AdamW"), ("a", "AdamW", "AdamW"), ("a", "Lion", "AdamW"), ("b", "#5", ""),
    ]  # fmt: skip
    assert found[0].difference is not None
    assert found[0].difference.mean == -1.0
    assert found[1].difference is None
    assert found[3].difference is None


def test_a_grid_a_metric_with_a_line_a_name_and_gaps() -> None:
    rows = [
        {"name": "AdamW", "task": "a", "metric": "loss", "values": [2.0, 3.0], "candidate": None},
        {"name": "finalist 1", "task": "a", "metric": "loss", "values": [1.0, 2.01], "candidate": 5},
        {"name": "#7", "task": "b", "metric": "loss", "values": [9.0], "candidate": 7},
        {"name": "AdamW", "task": "a", "metric": "accuracy", "values": [0.5], "candidate": None},
    ]
    loss, accuracy = grids(rows)
    assert (loss.metric, loss.tasks, loss.baseline) == ("loss", ("a", "b"), "AdamW")
    assert [label for label, _ in loss.lines] == ["AdamW", "finalist 1 #5", "#7"]
    assert [[cell is not None for cell in cells] for _, cells in loss.lines] == [
        [True, False],
        [True, False],
        [False, True],
    ]
    assert [cell.differs for _, cells in loss.lines for cell in cells if cell] == [False, True, False]
    assert accuracy.tasks == ("a",)
    assert grids([]) == []


def test_rounding_is_no_difference() -> None:
    found = student([1.0 + 1e-15, 1.0, 1.0 - 1e-15])
    shifted = paired([0.1 + 0.2, 0.7, 0.3], [0.3, 0.7, 0.1 + 0.2])
    assert found.low != 0.0
    assert shifted is not None
    assert not shifted.low > 0.0
    assert not shifted.high < 0.0


def test_where_both_diverged_nothing_differs() -> None:
    rows = [
        {"name": "AdamW", "task": "a", "metric": "loss", "values": [1.0, math.inf], "candidate": None},
        {"name": "#5", "task": "a", "metric": "loss", "values": [0.5, math.inf], "candidate": 5},
    ]
    assert not held_out(rows)[1].differs


def test_a_grid_knows_its_settings_and_how_few_seeds_there_are() -> None:
    rows = [
        {"name": "AdamW", "task": "a", "metric": "loss", "values": [1.0, 2.0, 3.0], "setting": "lr 1"},
        {"name": "#5", "task": "a", "metric": "loss", "values": [0.5, 0.6], "candidate": 5},
    ]
    (grid,) = grids(rows)
    assert (grid.settings, grid.fewest) == ({"AdamW": "lr 1"}, 2)
    assert "two seeds alone" in held_out_table(rows)
    assert "AdamW: lr 1" in held_out_table(rows)
    assert "warning" not in held_out_table(rows[:1])


def test_a_space_says_what_its_own_intervals_are() -> None:
    words = {"spread": "bootstrap over rows", "paired": "over the same rows"}
    mine = {"task": "t", "metric": "m", "values": [0.5], "interval": [0.5, 0.4, 0.6, 90], "words": words}
    [grid] = grids([{**mine, "name": "known"}, {**mine, "name": "found", "difference": [0.1, 0.05, 0.2, 90]}])
    assert grid.interval_words == "values with 95 % intervals: bootstrap over rows"
    assert grid.paired_words == "paired over the same rows"
    [plain] = grids([{"task": "t", "metric": "m", "values": [0.5, 0.6, 0.7], "name": "known"}])
    assert plain.interval_words == "means over seeds with 95 % t intervals"
    assert plain.paired_words == "paired by seed"
