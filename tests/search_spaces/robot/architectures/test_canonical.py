"""Canonical forms: the published counts, who is merged with whom, and that equal forms are equal functions."""

from __future__ import annotations

import pytest

from evo.errors import ConfigError
from search_spaces.robot.architectures import nb201, tnb101
from search_spaces.robot.architectures.canonical import DEFINITIONS, canonical_form, classes, dead

NONE, SKIP, ONE, THREE, POOL = nb201.NAMES

# shared/spec/robot.md, section 5: counted there by two independent methods, and 6,466 also published
COUNTS = {
    nb201.NAMES: {"contracted": 12_751, "published": 6_466, "strict": 4_930, "linear": 4_660},
    tnb101.NAMES: {"contracted": 3_131, "published": 1_236, "strict": 871, "linear": 871},
}


@pytest.mark.parametrize("names", COUNTS, ids=("nb201", "tnb101"))
@pytest.mark.parametrize("definition", DEFINITIONS)
def test_the_numbers_of_classes_are_the_known_ones(names, definition):
    found = classes(names, definition)
    assert len(found) == COUNTS[names][definition]
    assert sum(map(len, found.values())) == len(names) ** 6


@pytest.mark.parametrize(("names", "count"), [(nb201.NAMES, 341), (tnb101.NAMES, 169)])
def test_the_dead_cells_are_one_class(names, count):
    found = classes(names)
    assert len(found["#"]) == count
    assert all(dead(cell) for cell in found["#"])


def test_a_class_begins_with_its_simplest_cell():
    found = classes(nb201.NAMES, "linear")
    assert found["#"][0] == (NONE,) * 6
    assert found["x"][0] == (NONE, NONE, NONE, SKIP, NONE, NONE)
    for members in found.values():
        used = [sum(name != NONE for name in cell) for cell in members]
        assert used[0] == min(used)


@pytest.mark.parametrize("code", [nb201.CODE, tnb101.CODE], ids=lambda code: code.name)
def test_the_provable_classes_are_unions_of_the_published_ones(code):
    cells = [code.operations(cell) for cell in code.cells()]
    forms = {definition: [canonical_form(cell, definition) for cell in cells] for definition in DEFINITIONS}
    for finer, coarser in (("contracted", "strict"), ("published", "strict"), ("strict", "linear")):
        assert len(set(zip(forms[finer], forms[coarser], strict=True))) == len(set(forms[finer]))


@pytest.mark.parametrize(
    ("first", "second", "merged_by"),
    [
        # edges 01, 02, 12, 03, 13, 23: the same convolution through node 1 or directly
        ((SKIP, NONE, NONE, NONE, THREE, NONE), (NONE, NONE, NONE, THREE, NONE, NONE), {"strict", "linear"}),
        ((THREE, NONE, NONE, NONE, SKIP, NONE), (THREE, NONE, SKIP, NONE, NONE, SKIP), {"strict", "linear"}),
        ((NONE, NONE, NONE, SKIP, ONE, NONE), (NONE, NONE, NONE, SKIP, NONE, THREE), {"strict", "linear"}),
        ((SKIP, NONE, NONE, SKIP, POOL, NONE), (SKIP, NONE, NONE, POOL, SKIP, NONE), set(DEFINITIONS)),
        # pool(x + 3x) beside pool(x) + pool(3x)
        ((THREE, SKIP, SKIP, NONE, NONE, POOL), (THREE, NONE, NONE, POOL, POOL, NONE), {"linear"}),
        ((SKIP, NONE, NONE, SKIP, NONE, NONE), (SKIP, NONE, NONE, SKIP, SKIP, NONE), set()),
        ((THREE, NONE, NONE, NONE, ONE, NONE), (ONE, NONE, NONE, NONE, THREE, NONE), set()),
    ],
)
def test_who_is_merged(first, second, merged_by):
    merged = {d for d in DEFINITIONS if canonical_form(first, d) == canonical_form(second, d)}
    assert merged >= merged_by
    assert ("strict" in merged) == ("strict" in merged_by)
    assert ("linear" in merged) == ("linear" in merged_by)


def test_a_form_can_be_read():
    assert canonical_form((THREE, NONE, NONE, SKIP, POOL, NONE)) == "p(3(x))+x"
    assert canonical_form((THREE, SKIP, SKIP, NONE, NONE, POOL), "linear") == "p(3(x))+p(x)"


def test_an_unknown_definition_is_told():
    with pytest.raises(ConfigError, match="strictt"):
        canonical_form((NONE,) * 6, "strictt")
