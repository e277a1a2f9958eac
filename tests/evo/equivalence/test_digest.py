"""Keys of behaviour vectors: equal up to noise means equal, more than a cell apart means different."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evo.equivalence.digest import _GRID_A, _GRID_B, FLOOR_EXPONENT, digests
from evo.errors import EvaluatorError
from evo.space import Fingerprints

FINITE = st.floats(-1e6, 1e6, allow_nan=False)
ANY = st.floats(allow_nan=True, allow_infinity=True)


def rows(values, **options):
    return Fingerprints(np.atleast_2d(np.asarray(values, dtype=np.float64)), **options)


def keys(values, **options):
    a, b = digests(rows(values, **options))
    return a[0].tobytes(), b[0].tobytes()


def shared(one, other):
    """Which grids agree."""
    return one[0] == other[0], one[1] == other[1]


def nudged(values, ulps):
    values = np.asarray(values, dtype=np.float64)
    return values * (1 + np.asarray(ulps) * 2.0**-53)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 8)), elements=ANY), st.integers(0, 48))
def test_a_rows_keys_depend_on_that_row_alone(values, bits):
    together = digests(rows(values, bits=bits))
    alone = [digests(rows(row, bits=bits)) for row in values]
    for grid in range(2):
        np.testing.assert_array_equal(together[grid], np.concatenate([one[grid] for one in alone]))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float64, st.integers(1, 8), elements=FINITE.filter(lambda x: x == 0 or abs(x) > 1e-6)),
    st.integers(8, 32),
    st.data(),
)
def test_vectors_more_than_a_cell_apart_never_share_a_key(values, bits, data):
    column = data.draw(st.integers(0, len(values) - 1))
    scale = max(np.abs(values).max(), 2.0 ** (bits + FLOOR_EXPONENT))
    moved = values.copy()
    moved[column] += 1.2 * scale * 2.0**-bits * data.draw(st.sampled_from([1.0, 3.0, 1000.0, -1.0]))
    assert shared(keys(values, bits=bits), keys(moved, bits=bits)) == (False, False)


@settings(max_examples=100, deadline=None)
@given(FINITE.filter(lambda x: abs(x) > 1e-3), st.integers(-8, 8))
def test_noise_on_one_value_never_splits_both_grids(value, ulps):
    assert any(shared(keys([value]), keys(nudged([value], ulps))))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.int64, st.integers(1, 50), elements=st.integers(-(1 << 20), 1 << 20)),
    st.integers(-10, 10),
    st.integers(0, 2**32 - 1),
)
def test_noise_on_values_of_few_bits_splits_neither_grid(numbers, exponent, seed):
    """Zeros, ones, learning rates that are powers of two: what programs compute most often lies far from any edge."""
    values = np.ldexp(numbers.astype(float), exponent)
    ulps = np.random.default_rng(seed).uniform(-8, 8, values.shape)
    assert shared(keys(values), keys(nudged(values, ulps))) == (True, True)


def test_the_residue_of_a_cancellation_is_zero():
    a, b = np.random.default_rng(0).standard_normal((2, 50))
    assert ((a + b) - a - b).any()
    assert shared(keys((a + b) - a - b), keys(np.zeros(50))) == (True, True)


@pytest.mark.parametrize("exponent", [-30, -3, 0, 1, 17, 900])
@pytest.mark.parametrize("breakpoint", [1.0, _GRID_A.breakpoint, _GRID_B.breakpoint])
def test_a_scale_at_a_power_of_two_or_at_a_breakpoint_is_no_cliff(exponent, breakpoint):
    peak = math.ldexp(breakpoint, exponent)
    values = np.linspace(-1, 1, 21)[:-1] * peak / 3
    below, above = (np.append(values, peak * (1 + sign * 1e-15)) for sign in (-1, 1))
    agree = shared(keys(below), keys(above))
    assert any(agree)
    if breakpoint == 1.0:
        assert agree == (True, True)


def split_rates(n, columns, bits, eps, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, columns))
    magnitude = np.mean(np.abs(values).mean(axis=1) / np.abs(values).max(axis=1))
    plain = digests(rows(values, bits=bits))
    noisy = digests(rows(values * (1 + rng.uniform(-eps, eps, values.shape)), bits=bits))
    split_a, split_b = ((one != other).any(axis=1) for one, other in zip(plain, noisy, strict=True))
    per_column = [c * magnitude * eps * 2.0**bits for c in (0.86, 0.61)]
    stated = [1 - (1 - p) ** columns for p in per_column]
    return split_a.mean(), split_b.mean(), (split_a & split_b).mean(), stated


@pytest.mark.parametrize(("columns", "bits", "eps"), [(20, 32, 3e-12), (200, 24, 1e-10), (200, 40, 8 * 2.0**-53)])
def test_noise_splits_at_the_stated_rate_and_the_second_grid_makes_it_rare(columns, bits, eps):
    a, b, both, (stated_a, stated_b) = split_rates(4000, columns, bits, eps)
    assert stated_a / 2 < a < 1.5 * stated_a
    # Which octaves the scales fall into decides which of the two grids is the finer one.
    assert stated_b / 2 < b < 2 * stated_a
    assert both < 2 * stated_a * stated_b
    assert both < min(a, b) / 3


def test_eight_units_in_the_last_place_split_no_pair_of_four_thousand_at_32_bits():
    a, b, both, _ = split_rates(4000, 200, 32, 8 * 2.0**-53)
    assert both == 0
    assert max(a, b) < 2e-3


def test_distinct_random_vectors_stay_apart():
    a, b = digests(rows(np.random.default_rng(1).standard_normal((20_000, 4))))
    assert len(np.unique(np.concatenate([a, b]), axis=0)) == 40_000


def test_scaled_vectors_stay_apart():
    values = np.random.default_rng(2).standard_normal(10)
    all_keys = {key for factor in (1, 2, 4, 0.5, -1) for key in keys(values * factor)}
    assert len(all_keys) == 10


def test_special_values_are_one_behaviour_each():
    one = keys([1.0, -0.0, 5e-324, np.nan, np.inf, -np.inf])
    other = keys([1.0, 0.0, -5e-324, -np.nan, np.inf, -np.inf])
    assert shared(one, other) == (True, True)
    specials = [np.nan, np.inf, -np.inf, 0.0, 1.7e308, -1.7e308]
    assert len({key for special in specials for key in keys([1.0, special])}) == 2 * len(specials)


def test_special_values_leave_the_scale_of_the_finite_ones_alone():
    for scale in (1e-3, 1.0, 1e3):
        plain = keys([scale, np.inf, np.nan])
        assert shared(plain, keys([scale * (1 + 3e-9), np.inf, np.nan])) == (False, False)
        assert any(shared(plain, keys([scale * (1 + 1e-15), np.inf, np.nan])))


def test_exact_columns_are_compared_to_the_bit():
    values = np.array([1.0, 2.5, 0.0])
    assert shared(keys(values, bits=0), keys(values + np.array([2.0**-52, 0, 0]), bits=0)) == (False, False)
    assert shared(keys(values, bits=0), keys([1.0, 2.5, -0.0], bits=0)) == (True, True)
    assert shared(keys([np.nan], bits=0), keys([-np.nan], bits=0)) == (True, True)
    one, other = keys(values, bits=0)
    assert one == other, "one alias is enough where there is no grid"


def test_exact_columns_have_no_part_in_the_scale():
    bits = np.array([32, 0])
    assert shared(keys([1e-3, 1e12], bits=bits), keys([1e-3 + 1e-11, 1e12], bits=bits)) == (False, False)
    assert any(shared(keys([1e-3, 7.0], bits=bits), keys([1e-3 * (1 + 1e-15), 7.0], bits=bits)))


def test_each_group_has_its_own_scale():
    values, changed = np.array([1e6, 1e-3, -2e6, 3e-3]), np.array([1e6, 1e-3 + 1e-7, -2e6, 3e-3])
    assert any(shared(keys(values, bits=32), keys(changed, bits=32))) is True
    groups = np.array([0, 7, 0, 7])
    assert shared(keys(values, bits=32, groups=groups), keys(changed, bits=32, groups=groups)) == (False, False)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, (3, 6), elements=ANY), hnp.arrays(np.int64, 6, elements=st.integers(0, 2)), st.data())
def test_gaps_between_group_numbers_do_not_matter(values, groups, data):
    names = np.array(sorted(data.draw(st.sets(st.integers(-100, 100), min_size=3, max_size=3))))
    plain, renamed = digests(rows(values, groups=groups)), digests(rows(values, groups=names[groups]))
    np.testing.assert_array_equal(plain, renamed)


def test_bits_are_kept_a_column():
    bits = np.array([32, 12])
    assert shared(keys([1.0, 0.5], bits=bits), keys([1.0, 0.5 + 1e-6], bits=bits)) == (True, True)
    assert shared(keys([1.0, 0.5], bits=bits), keys([1.0, 0.5 + 1e-3], bits=bits)) == (False, False)
    assert shared(keys([1.0, 0.5], bits=bits), keys([1.0 + 1e-6, 0.5], bits=bits)) == (False, False)


def test_another_layout_gives_other_keys():
    layouts = [{"bits": 32}, {"bits": 31}, {"bits": 0}, {"bits": 32, "groups": [0, 1, 1]}]
    assert len({key for layout in layouts for key in keys([0.0, 0.0, 0.0], **layout)}) == 7


def test_vectors_without_columns_and_batches_without_rows_are_allowed():
    assert len(set(keys(np.zeros((1, 0))))) == 1
    assert digests(rows(np.zeros((0, 5))))[0].shape == (0, 2)


def test_keys_are_the_same_in_every_process():
    """Journals and caches hold them. Recorded when DIGEST_VERSION became 1; a change of keys needs a new version."""
    one, other = keys([1.0, -0.0, np.inf, 1 / 3], bits=[32, 32, 24, 0], groups=[0, 0, 1, 1])
    assert one.hex() == "cbf7cbf63b3ca3d41c6d428c7d03af65"
    assert other.hex() == "e4dc980ebc381615be4173f301a960ea"


@pytest.mark.parametrize(
    "fingerprints",
    [
        Fingerprints(np.zeros(3)),
        Fingerprints(np.zeros((2, 3)), bits=49),
        Fingerprints(np.zeros((2, 3)), bits=-1),
        Fingerprints(np.zeros((2, 3)), bits=[32, 32]),
        Fingerprints(np.zeros((2, 3)), groups=[0, 0]),
        Fingerprints(np.zeros((2, 3)), bits="many"),
    ],
)
def test_fingerprints_that_do_not_fit_together_are_refused(fingerprints):
    with pytest.raises(EvaluatorError) as caught:
        digests(fingerprints)
    assert caught.value.hint
