"""What was measured so far, row by row; see `search_spaces.building.journal`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search_spaces.building.journal import LineJournal


class RowJournal(LineJournal):
    """Counts of correct answers by row; opened, it appends.

    Attributes:
        counts: one count a seed, by row.
    """

    def __init__(self, path: Path, identity: str) -> None:
        super().__init__(path, identity)
        self.counts: dict[int, tuple[int, ...]] = {}
        for entry in self.entries:
            self._count(entry)

    def add_row(self, row: int, counts: Sequence[int]) -> None:
        """Keep a row: when this returns it is on disk."""
        self.add({"row": row, "correct": list(counts)})
        self._count(self.entries[-1])

    def _count(self, entry: dict[str, Any]) -> None:
        self.counts[entry["row"]] = tuple(entry["correct"])
