"""Tables: what they hold, how they are split, what their noise ceiling is."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from search_spaces.emq.benchmark import BenchmarkError, load
from tests.search_spaces.emq.benchmark.tables import table


@given(seed=st.integers(0, 50), share=st.floats(0.05, 0.95))
@settings(deadline=None)
def test_a_split_deals_every_row_of_a_method_once_and_never_parts_equal_bits(seed, share):
    made = table()
    for method in ("nearest", "adaround", None):
        search, held_out = made.split(seed, share, method)
        assert sorted([*search, *held_out]) == made.rows(method).tolist()
        inside, outside = ({row.tobytes() for row in made.bits[rows]} for rows in (search, held_out))
        assert not inside & outside
    assert abs(len(made.split(seed, share)[0]) - share * 20) <= 0.5


def test_the_split_of_one_method_agrees_with_that_of_the_other():
    made = table()
    searched = {made.bits[row].tobytes() for row in made.split()[0]}
    assert {made.bits[row].tobytes() for row in made.split(method="adaround")[0]} <= searched


def test_seeds_split_differently_and_each_always_the_same():
    made = table()
    assert made.split(0)[0].tolist() == made.split(0)[0].tolist()
    assert made.split(0)[0].tolist() != made.split(1)[0].tolist()


def test_the_shipped_split_is_fixed_across_processes():
    code = "from search_spaces.emq.benchmark import load; print(*load('resnet').split()[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(row) for row in load("resnet").split()[0]]


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_a_share_that_leaves_one_side_empty_is_refused(share):
    with pytest.raises(BenchmarkError, match="share"):
        table().split(share=share)


def test_the_ceiling_is_the_mean_correlation_of_pairs_of_seeds():
    made = table(noise=0.05)
    accuracy = made.accuracy[made.rows()]
    pairs = [spearmanr(accuracy[:, i], accuracy[:, j]).statistic for i, j in ((0, 1), (0, 2), (1, 2))]
    ceiling = made.ceiling()
    assert ceiling.estimate == pytest.approx(np.mean(pairs), abs=1e-12)
    assert ceiling.low < ceiling.estimate < ceiling.high <= 1
    assert made.ceiling() == ceiling


def test_without_noise_the_ceiling_is_one_and_with_noise_alone_there_is_none():
    assert table(noise=0).ceiling() == pytest.approx((1, 1, 1))
    rng = np.random.default_rng(0)
    noise = table(rows=100, adaround=0)
    noise = table(rows=100, adaround=0, accuracy=rng.random((len(noise), 3)))
    assert abs(noise.ceiling().estimate) < 0.3


def test_one_seed_has_no_ceiling():
    assert np.isnan(table(seeds=1).ceiling()).all()
    with pytest.raises(BenchmarkError, match="two rows"):
        table().ceiling(rows=np.array([3]))


def test_arrays_cannot_be_written_to():
    made = table()
    with pytest.raises(ValueError, match="read-only"):
        made.accuracy[0] = 0


def test_a_method_can_be_taken_out():
    made = table().only("adaround")
    assert len(made) == 5
    assert set(made.method) == {"adaround"}
    with pytest.raises(BenchmarkError, match="no row of method 'nearest'"):
        made.split()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bits": np.full((25, 3), 2)}, "bits"),
        ({"bits": np.full((25, 4), 5)}, r"bits \[5\]"),
        ({"accuracy": np.full((25, 3), 70.0)}, "not in"),
        ({"accuracy": np.full((25, 3), np.nan)}, "not in"),
        ({"accuracy": np.full((24, 3), 0.5)}, "accuracy"),
        ({"method": np.full(25, "guess")}, "guess"),
        ({"layers": ("a", "a", "b", "c")}, "twice"),
        ({"parameters": np.array([1])}, "parameters"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields, words):
    with pytest.raises(BenchmarkError, match=words):
        table(**fields)


@given(row=st.integers(0, 24), layer=st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_the_checksum_depends_on_every_entry(row, layer):
    made = table()
    bits = made.bits.copy()
    bits[row, layer] = {2: 3, 3: 4, 4: 8, 8: 2}[int(bits[row, layer])]
    assert table(bits=bits).checksum != made.checksum
    assert table().checksum == made.checksum
