"""The stored pool ranks as the pool does, its scales are the pool's, and it survives its file."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.errors import DamagedRunError
from search_spaces.robot import RobotOptions
from search_spaces.robot.figures import spearman
from search_spaces.robot.pool import pool_of
from search_spaces.robot.scales import scaled, stored_pool
from search_spaces.robot.stored import pool_path, read_pool, write_pool
from search_spaces.robot.tables import Table

ROWS = 40


def table(seed: int = 0) -> Table:
    rng = np.random.Generator(np.random.Philox(key=seed))
    heavy = np.sign(rng.standard_normal(ROWS)) * np.exp(9 * rng.standard_normal(ROWS))
    tied = rng.integers(4, size=ROWS).astype(float)
    gaps = np.where(rng.random(ROWS) < 0.1, np.nan, rng.standard_normal(ROWS))
    metrics = {"heavy": heavy, "tied": tied, "gaps": gaps, "flat": np.ones(ROWS)}
    return Table("t", tuple(f"a{i}" for i in range(ROWS)), metrics, {}, {}, None, "test")


def both(scaling="minmax", log="auto", seed=0):
    options = RobotOptions(metrics=("heavy", "tied", "gaps", "flat"), scaling=scaling, log=log)
    chosen = "auto" if log == "auto" else () if log == "none" else tuple(log.split(","))
    pool, rows = pool_of(table(seed), options.metrics, scaling, chosen, "architecture")
    return pool, stored_pool(options, table(seed), rows, pool, "digest", {"zen": "why"})


@pytest.mark.parametrize("scaling", ["minmax", "rank"])
@pytest.mark.parametrize("log", ["auto", "none", "gaps,heavy"])
def test_scales_give_the_pools_own_numbers_to_the_bit(scaling, log):
    pool, stored = both(scaling, log)
    for name, scale, column in zip(stored.metrics, stored.scales, stored.columns, strict=True):
        assert scaled(table().metrics[name], scale).tolist() == list(column)
    assert [list(c) for c in stored.columns] == pool.scaled.T.tolist()


@settings(max_examples=60, deadline=None)
@given(weights=st.tuples(*[st.floats(-1, 1)] * 4), seed=st.integers(0, 3))
def test_the_stored_pool_ranks_the_same_architecture_first(weights, seed):
    pool, stored = both(seed=seed)
    assert stored.top(weights) == pool.top(weights)


def test_a_pool_survives_its_file(tmp_path):
    _, stored = both("rank")
    path = pool_path(tmp_path, RobotOptions())
    write_pool(path, stored)
    back = read_pool(path)
    assert back is not None
    assert (back.architectures, back.metrics, back.scales, dict(back.dropped), back.digest) == (
        stored.architectures, stored.metrics, stored.scales, {"zen": "why"}, "digest",
    )  # fmt: skip
    assert back.columns == stored.columns
    assert read_pool(tmp_path / "none") is None
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DamagedRunError):
        read_pool(path)


def test_options_have_files_of_their_own(tmp_path):
    assert pool_path(tmp_path, RobotOptions()) != pool_path(tmp_path, RobotOptions(pool=100))


def test_spearman_counts_ties_as_scipy_does():
    from scipy.stats import spearmanr

    columns = table().metrics
    assert spearman(columns["heavy"], columns["tied"]) == pytest.approx(
        spearmanr(columns["heavy"], columns["tied"]).statistic
    )
    assert spearman(columns["heavy"], columns["flat"]) == 0.0
