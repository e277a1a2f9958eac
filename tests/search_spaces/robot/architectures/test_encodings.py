"""Cells as strings, NASLib's tuples and numbers: each way back, and known cells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.errors import InvalidGenomeError
from search_spaces.robot.architectures import nb201, tnb101

CODES = (nb201.CODE, tnb101.CODE)
members = st.sampled_from(CODES).flatmap(
    lambda code: st.tuples(st.just(code), st.integers(0, len(code) - 1).map(code.from_number))
)

# API index 0 of NAS-Bench-201, with its NASLib tuple (shared/data/nas/nb201_archs.csv.gz)
STRING = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
TUPLE = (4, 3, 3, 0, 0, 0)


@given(members)
def test_every_encoding_has_its_way_back(member):
    code, cell = member
    assert code.from_string(code.to_string(cell)) == cell
    assert code.from_naslib(code.to_naslib(cell)) == cell
    assert code.from_naslib(str(code.to_naslib(cell))) == cell
    assert code.from_number(code.to_number(cell)) == cell
    assert code.from_operations(code.operations(cell)) == cell


def test_a_published_cell_has_its_published_tuple():
    cell = nb201.CODE.from_string(STRING)
    assert nb201.CODE.to_string(cell) == STRING
    assert nb201.CODE.to_naslib(cell) == TUPLE
    assert nb201.CODE.operations(cell)[:3] == ("avg_pool_3x3", "nor_conv_1x1", "skip_connect")


def test_tuples_of_the_micro_tables_are_digits_in_the_strings_order():
    cell = tnb101.CODE.from_naslib("(1, 0, 0, 2, 1, 3)")
    assert cell == (1, 0, 0, 2, 1, 3)
    assert tnb101.CODE.to_string(cell) == (
        "|skip_connect~0|+|none~0|none~1|+|nor_conv_1x1~0|skip_connect~1|nor_conv_3x3~2|"
    )


def test_numbers_count_the_cells():
    assert [nb201.CODE.to_number(cell) for cell in list(nb201.CODE.cells())[:7]] == list(range(7))
    assert (len(nb201.CODE), len(tnb101.CODE)) == (15_625, 4_096)


@pytest.mark.parametrize(
    ("method", "value", "told"),
    [
        ("from_string", "|none~0|", "is no cell"),
        ("from_string", STRING.replace("skip_connect~2", "skip_connect~1"), "is no cell"),
        ("from_string", STRING.replace("avg_pool_3x3", "avg_pool_3"), "avg_pool_3x3"),
        ("from_string", "", "is no cell"),
        ("from_naslib", "(1, 2", "is no tuple"),
        ("from_naslib", (0, 0, 0, 0, 0, 5), "codes from 0 to 4"),
        ("from_naslib", (0, 0, 0), "6 codes"),
        ("from_number", 15_625, "15624"),
        ("to_string", (0, 0, 0, 0, 0, True), "6 numbers"),
        ("to_string", (0, 0, 0, 0, 0, -1), "6 numbers"),
    ],
)
def test_what_is_no_cell_is_told(method, value, told):
    with pytest.raises(InvalidGenomeError, match=told) as caught:
        getattr(nb201.CODE, method)(value)
    assert caught.value.hint


def test_an_operation_of_the_larger_space_is_not_one_of_the_smaller():
    with pytest.raises(InvalidGenomeError, match="avg_pool_3x3"):
        tnb101.CODE.from_string(STRING)
