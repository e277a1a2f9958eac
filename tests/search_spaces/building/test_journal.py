"""The journal of builds: what is added is there after any cut; other damage and other builds are told."""

from __future__ import annotations

import pytest

from search_spaces.building.errors import BenchmarkError, DamagedBenchmarkError
from search_spaces.building.journal import LineJournal

ENTRIES = [{"row": number, "value": number / 7} for number in range(5)]


@pytest.fixture
def path(tmp_path):
    with LineJournal(tmp_path / "work" / "j.jsonl", "abc") as journal:
        for entry in ENTRIES:
            journal.add(entry)
        assert journal.entries == ENTRIES
    return journal.path


def entries(path):
    with LineJournal(path, "abc") as journal:
        return journal.entries


def test_what_was_added_is_read_to_the_bit(path):
    assert entries(path) == ENTRIES


def test_a_file_cut_anywhere_keeps_all_whole_lines_and_goes_on(path):
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        kept = max(0, content[:length].count(b"\n") - 1)
        with LineJournal(path, "abc") as journal:
            assert journal.entries == ENTRIES[:kept]
            for entry in ENTRIES[kept:]:
                journal.add(entry)
        assert path.read_bytes() == content


def test_damage_before_the_last_line_is_told(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedBenchmarkError, match=r"line \d of"):
        entries(path)


def test_another_builds_journal_is_refused_and_kept(path):
    before = path.read_bytes()
    with pytest.raises(BenchmarkError, match="other settings") as caught:
        LineJournal(path, "xyz")
    assert "-o" in caught.value.hint
    assert path.read_bytes() == before
