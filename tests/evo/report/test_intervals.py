"""Bootstrap intervals and the held-out table."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.report.heldout import grids, held_out
from evo.report.intervals import bootstrap, paired

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9)


@given(values)
def test_the_mean_lies_within_its_interval_and_that_within_the_values(numbers: list[float]) -> None:
    found = bootstrap(numbers)
    slack = 1e-6 * (1 + max(map(abs, numbers)))
    assert min(numbers) - slack <= found.low <= found.mean + slack
    assert found.mean - slack <= found.high <= max(numbers) + slack
    assert found.n == len(numbers)


@given(values)
def test_the_order_of_values_does_not_matter_where_resamples_are_enumerated(numbers: list[float]) -> None:
    first, second = bootstrap(numbers[:6]), bootstrap(numbers[:6][::-1])
    assert first == pytest.approx(second, rel=1e-9, abs=1e-6)


def test_two_values_by_hand() -> None:
    # resamples of (0, 1): means 0, 1/2, 1 with weights 1/4, 1/2, 1/4
    assert bootstrap([0.0, 1.0]) == (0.5, 0.0, 1.0, 2)
    assert bootstrap([0.0, 1.0], level=0.4) == (0.5, 0.5, 0.5, 2)


def test_enumeration_and_resampling_agree() -> None:
    six = [0.1, 0.5, 0.2, 0.9, 0.4, 0.3]
    exact, drawn = bootstrap(six), bootstrap(six * 2)
    assert exact.mean == pytest.approx(drawn.mean)
    assert drawn.high - drawn.low == pytest.approx((exact.high - exact.low) / math.sqrt(2), rel=0.1)
    assert bootstrap(six * 2) == drawn


def test_infinities_and_nan() -> None:
    assert bootstrap([1.0, math.inf]).mean == math.inf
    assert math.isnan(bootstrap([1.0, math.nan]).low)
    with pytest.raises(ValueError, match="no values"):
        bootstrap([])


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
        {"name": "finalist 1", "task": "a", "metric": "loss", "values": [1.0, 2.5], "candidate": 5},
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
    found = bootstrap([0.1 + 0.2 - 0.3, 0.0, 0.5])
    assert found.low == 0.0


def test_an_infinite_value_does_not_hide_the_bounds() -> None:
    found = bootstrap([1.0, 2.0, 3.0, math.inf])
    assert (found.mean, found.low, found.high) == (math.inf, 1.5, math.inf)
    assert bootstrap([math.inf, math.inf])[:3] == (math.inf,) * 3
