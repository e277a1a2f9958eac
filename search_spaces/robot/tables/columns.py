"""Reading one CSV file, plain or gzipped, into columns of text and of numbers."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np

from search_spaces.robot.tables.errors import TableError

NOT_FINITE = -1e8
"""What NAS-Bench-Suite-Zero writes for a metric that came out as NaN or infinite."""


@dataclass(frozen=True, slots=True)
class Columns:
    """A CSV file's columns as text.

    Attributes:
        path: of the file.
        text: by header, one string a row.
    """

    path: Path
    text: dict[str, list[str]]

    def __len__(self) -> int:
        return len(next(iter(self.text.values()), []))

    def __contains__(self, name: str) -> bool:
        return name in self.text

    def column(self, *names: str) -> list[str]:
        """The first of these columns that is there; TableError where none is."""
        for name in names:
            if name in self.text:
                return self.text[name]
        raise TableError(
            f"{self.path} has no column {' or '.join(names)}", f"its columns are: {', '.join(self.text) or 'none'}"
        )

    def numbers(self, name: str, missing: float = np.nan) -> np.ndarray:
        """(rows,) float64; an empty cell is `missing`, and what NAS-Bench-Suite-Zero writes for no number is NaN.

        Raises:
            TableError: a cell that is no number.
        """
        cells = self.column(name)
        try:
            found = np.array([float(cell) if cell else missing for cell in cells], np.float64)
        except ValueError:
            row = next(i for i, cell in enumerate(cells) if cell and not _is_number(cell))
            raise TableError(
                f"{self.path}, line {row + 2}, column {name}: {cells[row]!r} is no number",
                "write a number, or leave the cell empty",
            ) from None
        found[(found == NOT_FINITE) | ~np.isfinite(found)] = np.nan
        return found

    def where(self, name: str, value: str) -> Columns:
        """The rows that have this value in that column."""
        keep = [i for i, cell in enumerate(self.column(name)) if cell == value]
        return Columns(self.path, {header: [cells[i] for i in keep] for header, cells in self.text.items()})


def read_columns(path: Path) -> Columns:
    """Read a CSV file with a header line.

    Raises:
        TableError: no such file; not a CSV file; a row with another number of cells than the header.
    """
    if not path.is_file():
        raise TableError(f"there is no file {path}", "give the path of a .csv or .csv.gz file")
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with cast("IO[str]", opened(path, "rt", encoding="utf-8", newline="")) as file:
            rows = list(csv.reader(file))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path} cannot be read as CSV: {error}", "is it whole, and CSV?") from error
    if len(rows) < 2:
        raise TableError(f"{path} has no row below its header")
    header = rows[0]
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise TableError(f"{path}, line {line} has {len(row)} cells where the header has {len(header)}")
    return Columns(path, {name: list(cells) for name, cells in zip(header, zip(*rows[1:], strict=True), strict=True)})


def positions(keys: Sequence[str], path: Path) -> dict[str, int]:
    """Row by key; TableError where a key stands twice."""
    found = {key: row for row, key in enumerate(keys)}
    if len(found) != len(keys):
        twice = next(key for row, key in enumerate(keys) if found[key] != row)
        raise TableError(f"{path} has two rows of {twice!r}", "keep one row an architecture and data set")
    return found


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
