"""The pool: scaling, logarithms, classes, and the ranking by weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.robot.pool import complete, compressed, heavy, pool_of, scale
from search_spaces.robot.tables import Table, TableError, load
from tests.search_spaces.robot.tiny import folder_of, strings


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return load(folder_of(tmp_path_factory.mktemp("tiny")), "tiny", dataset="c10", classes="cls_three")


finite = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=2, max_size=30)


@settings(max_examples=30, deadline=None)
@given(finite, st.sampled_from(["minmax", "rank"]))
def test_scaling_keeps_the_order_and_fills_the_unit_interval(values, scaling):
    given_values = np.array(values)
    found = scale(given_values, scaling)
    assert found.min() == 0.0
    assert found.max() in (0.0, 1.0)
    order = np.argsort(given_values, kind="stable")
    assert np.all(np.diff(found[order]) >= 0)


@pytest.mark.parametrize("scaling", ["minmax", "rank"])
def test_no_value_counts_as_nothing(scaling):
    found = scale(np.array([np.nan, 5.0, 7.0, 6.0]), scaling)
    assert found.tolist() == [0.0, 0.0, 1.0, 0.5]
    assert scale(np.array([np.nan, np.nan]), scaling).tolist() == [0.0, 0.0]


def test_equal_values_get_equal_ranks():
    assert scale(np.array([3.0, 1.0, 3.0, 9.0]), "rank").tolist() == [0.5, 0.0, 0.5, 1.0]


@settings(max_examples=30, deadline=None)
@given(finite)
def test_the_logarithm_is_monotone_and_keeps_signs(values):
    given_values = np.array(values)
    found = compressed(given_values)
    assert np.array_equal(np.sign(found), np.sign(given_values)) or np.all(np.abs(given_values[found == 0]) < 1e-3)
    order = np.argsort(given_values, kind="stable")
    assert np.all(np.diff(found[order]) >= -1e-12)


def test_a_heavy_tail_is_told_from_a_light_one():
    rng = np.random.Generator(np.random.Philox(key=1))
    light = rng.standard_normal(1000)
    assert not heavy(light)
    assert heavy(np.exp(40 * rng.random(1000)))
    assert not heavy(np.ones(10))


def test_a_class_is_one_item_and_all_its_cells_stand_for_it(table):
    pool, rows = pool_of(table)
    assert rows.tolist() == list(range(0, 27, 3))
    assert pool.architectures == tuple(strings()[::3])
    assert [pool.row[text] for text in strings()] == [i // 3 for i in range(27)]


def test_each_architecture_is_an_item_of_its_own_where_asked(table):
    pool, rows = pool_of(table, identity="architecture")
    assert len(pool) == len(rows) == 27
    assert [pool.row[text] for text in strings()] == list(range(27))


def test_weights_rank_by_their_sum(table):
    pool, _ = pool_of(table, ("good", "wrong"), log=(), identity="architecture")
    good, wrong = table.metrics["good"], table.metrics["wrong"]
    scores = 0.75 * scale(good, "minmax") - 0.5 * scale(wrong, "minmax")
    assert pool.scores((0.75, -0.5)) == pytest.approx(scores, abs=1e-15)
    assert pool.top((0.75, -0.5)) == int(np.argmax(scores)) == pool.order((0.75, -0.5))[0]
    assert np.all(np.diff(pool.scores((0.75, -0.5))[pool.order((0.75, -0.5))]) <= 0)


def test_of_equal_scores_the_earlier_row_comes_first(table):
    pool, _ = pool_of(table, identity="architecture")
    assert pool.order((0.0, 0.0, 0.0)).tolist() == list(range(27))
    assert pool.top((0.0, 0.0, 0.0)) == 0


def test_a_logarithm_is_taken_of_named_metrics(table):
    plain, _ = pool_of(table, ("wrong",), log=())
    logged, _ = pool_of(table, ("wrong",), log=("wrong",))
    assert not np.allclose(plain.scaled, logged.scaled)
    assert np.array_equal(plain.order((1.0,)), logged.order((1.0,)))
    with pytest.raises(TableError, match="log names"):
        pool_of(table, ("good",), log=("wrong",))


def test_metrics_that_few_rows_have_are_taken_by_name_alone():
    values = np.arange(10.0)
    few = np.where(values < 3, values, np.nan)
    table = Table("t", tuple("abcdefghij"), {"m": values, "few": few}, {"val": values}, {}, None, "here")
    assert complete(table) == ("m",)
    assert pool_of(table)[0].metrics == ("m",)
    assert pool_of(table, ("few",))[0].metrics == ("few",)


def test_wrong_numbers_of_weights_are_refused(table):
    with pytest.raises(ValueError, match="2 weights"):
        pool_of(table)[0].scores((1.0, 0.0))
