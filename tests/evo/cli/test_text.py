"""Figures and tables for people: long lines that are alike can be told apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evo.cli.summary import closing_words, hit_words
from evo.cli.text import table, told_apart

line = st.text("ab +", max_size=80)


@given(st.lists(line, max_size=6), st.integers(16, 60))
def test_lines_fit_and_those_that_fit_are_whole(texts: list[str], width: int) -> None:
    shown = told_apart(texts, width)
    assert len(shown) == len(texts)
    for text, short in zip(texts, shown, strict=True):
        assert len(short) <= width
        whole = " ".join(text.split())
        assert short == whole or (len(whole) > width and "…" in short)


@given(st.text("ab", min_size=60, max_size=200), st.text("ab", max_size=60), st.integers(32, 60))
def test_where_two_long_lines_differ_is_shown(common: str, rest: str, width: int) -> None:
    one, other = told_apart([common + "x" + rest, common + "y" + rest], width)
    assert "x" in one
    assert "y" in other
    assert one[: width // 4] == common[: width // 4], "the beginning stays"


def test_lines_that_differ_at_once_are_cut_at_the_end() -> None:
    assert told_apart(["x" * 50, "y" * 50], 20) == ["x" * 19 + "…", "y" * 19 + "…"]
    assert told_apart(["x" * 50, "x" * 50], 20)[0] == told_apart(["x" * 50] * 2, 20)[1]


def test_a_tables_last_column_is_cut_so() -> None:
    rows = [["1", "g" * 200 + "7"], ["2", "g" * 200 + "8"]]
    text = table(("", "what it is"), rows)
    assert [row[-1] for row in text.splitlines()[1:]] == ["7", "8"]


def test_copies_of_seeds_are_no_part_of_the_share() -> None:
    counts = {"proposals": 1300, "copies": 300, "structural": 90, "functional": 0, "twin": 10}
    words = hit_words(counts, {"saved": 1.0, "hashed": 2.0})
    assert "10 % of candidates, 300 copies of seeds apart" in words
    assert "copies" not in hit_words({**counts, "copies": 0}, {})


def test_what_was_confirmed_is_said_as_it_is() -> None:
    closing = {"lines": 10, "confirmed": 10, "functions": 14, "seeds": 8, "seconds": 3.0}
    assert closing_words(closing).startswith("the first 10 lines: 14 leaders")
    assert closing_words({**closing, "confirmed": 3}).startswith("3 of the first 10 lines")
