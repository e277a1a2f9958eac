"""Comparing stored values with those of a re-evaluation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.equivalence.audit import Audit, agrees, relative_difference
from evo.errors import ConfigError

ANY = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=4)
INF, NAN = math.inf, math.nan


@given(ANY)
def test_values_agree_with_themselves_exactly(values):
    assert agrees(values, values)
    assert relative_difference(values, values) == 0


@given(ANY, ANY)
def test_the_difference_is_symmetric_and_bounded(one, other):
    difference = relative_difference(one, other)
    assert difference == relative_difference(other, one)
    assert 0 <= difference <= 2 or difference == INF


@given(st.floats(1e-300, 1e300), st.floats(0, 0.5))
def test_a_relative_change_is_measured_as_such(value, change):
    assert relative_difference([value], [value * (1 - change)]) == pytest.approx(change, abs=1e-15)


@pytest.mark.parametrize(
    ("expected", "found"),
    [([1.0], [NAN]), ([INF], [-INF]), ([INF], [1e308]), ([1.0], []), ([1.0], [1.0, 2.0]), ([NAN], [INF])],
)
def test_what_cannot_be_compared_never_agrees(expected, found):
    assert not agrees(expected, found, rtol=1e9)


def test_agreement_is_exact_unless_told_otherwise():
    assert not agrees([1.0], [1.0 + 2**-52])
    assert agrees([1.0], [1.0 + 2**-52], rtol=1e-15)
    assert agrees([0.0], [-0.0])
    assert not agrees([0.0], [5e-324], rtol=0.5)


def test_large_values_of_opposite_sign_do_not_overflow():
    assert relative_difference([1.7e308], [-1.7e308]) == 2


def test_an_audit_counts_disagreements_and_keeps_the_largest_finite_difference():
    audit = Audit(rtol=0.1)
    assert audit.rate == 0
    assert [audit.add([1.0, 2.0], found) for found in ([1.0, 2.0], [1.0, 1.9], [1.0, 1.0], [NAN, 2.0])] == [
        True,
        True,
        False,
        False,
    ]
    assert (audit.n, audit.disagreements, audit.incomparable, audit.rate) == (4, 2, 1, 0.5)
    assert audit.largest == 0.5


@pytest.mark.parametrize("rtol", [-1e-9, NAN, INF])
def test_a_tolerance_must_be_a_number_from_zero_up(rtol):
    with pytest.raises(ConfigError):
        agrees([1.0], [1.0], rtol)
    with pytest.raises(ConfigError):
        Audit(rtol)
