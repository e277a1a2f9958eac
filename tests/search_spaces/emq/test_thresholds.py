"""Where screening and rounding draw their lines, from both sides of each."""

from __future__ import annotations

import numpy as np
import pytest

from search_spaces.emq.scoring import BIT_FREE, CONSTANT, score
from search_spaces.emq.tables import _Recent


def two_layers(*columns: tuple[float, float]):  # type: ignore[no-untyped-def]
    """All four configurations of layers that add these at the two bit-widths."""
    table = np.array(columns).T[None]
    places = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    return score(table, places, ["mean"], [True])


def test_terms_that_vary_by_more_than_rounding_are_no_constant() -> None:
    assert two_layers((1.0, 1.0 + 1e-7), (1.0, 1.0 + 2e-7)).rejected[0] == ""
    assert two_layers((1.0, 1.0 + 1e-8), (1.0, 1.0 + 2e-8)).rejected[0] == ""


def test_terms_that_vary_by_rounding_alone_are_free_of_bits() -> None:
    assert two_layers((1.0, 1.0 + 1e-11), (1.0, 1.0 + 2e-11)).rejected[0] == BIT_FREE


def test_a_sum_that_varies_by_rounding_beside_its_terms_is_constant() -> None:
    # the small layer varies, but next to the large one that is rounding
    assert two_layers((1e6, 1e6), (1e-6, 2e-6)).rejected[0] == CONSTANT


@pytest.mark.parametrize(("apart", "distinct"), [(2.0**-28, True), (2.0**-36, False)])
def test_scores_tie_below_2_to_the_minus_32_of_their_range(apart: float, distinct: bool) -> None:
    found = two_layers((0.0, 1.0), (0.0, apart)).scores[0]
    assert (found[0] != found[1]) == distinct
    assert found[2] > found[0]


@pytest.mark.parametrize(("apart", "distinct"), [(2.0**-38, True), (2.0**-47, False)])
def test_scores_tie_below_2_to_the_minus_42_of_the_sizes_of_their_terms(apart: float, distinct: bool) -> None:
    # a range of 2^-20 beside terms of size 1: of the range alone 2^-52 would count
    found = two_layers((1.0, 1.0 + 2.0**-20), (0.0, apart)).scores[0]
    assert (found[0] != found[1]) == distinct
    assert found[2] > found[0]


def test_what_is_remembered_stays_within_its_bytes_and_the_oldest_goes_first() -> None:
    memory = _Recent(5_000)
    for name in "abc":
        memory.put(name, np.zeros(200))  # 1600 bytes and 300 of its own: two fit
        memory.get("a")
    assert memory.get("b") is None
    assert memory.get("a") is not None
    assert memory.get("c") is not None
