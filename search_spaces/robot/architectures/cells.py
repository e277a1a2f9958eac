"""Cells as values and as text: tuples of operations' places, strings, NASLib's tuples, and numbers."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from evo.errors import InvalidGenomeError
from evo.options import did_you_mean
from search_spaces.robot.architectures.networks import EDGES

Cell = tuple[int, ...]
"""Places of the operations on `EDGES` in the space's names."""


@dataclass(frozen=True, slots=True)
class CellCode:
    """A space of cells, and how its members are written. All methods raise InvalidGenomeError for what is no member.

    Attributes:
        name: of the space.
        names: the operations.
        naslib: the operations in the order of NASLib's codes.
        naslib_edges: the edges in the order of NASLib's tuples.
    """

    name: str
    names: tuple[str, ...]
    naslib: tuple[str, ...]
    naslib_edges: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return int(len(self.names) ** len(EDGES))

    def cells(self) -> Iterator[Cell]:
        """All of them, by number."""
        return product(range(len(self.names)), repeat=len(EDGES))

    def operations(self, cell: Sequence[int]) -> tuple[str, ...]:
        """Names of a cell's operations, in the order of `EDGES`."""
        return tuple(self.names[place] for place in self.checked(cell))

    def from_operations(self, operations: Sequence[str]) -> Cell:
        """The cell with these operations on `EDGES`."""
        for name in operations:
            if name not in self.names:
                known = ", ".join(self.names)
                raise InvalidGenomeError(
                    f"{self.name} has no operation {name!r}", did_you_mean(name, self.names) or f"known: {known}"
                )
        return self.checked([self.names.index(name) for name in operations])

    def to_string(self, cell: Sequence[int]) -> str:
        """The benchmark's string: "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"."""
        parts: dict[int, str] = {}
        for (start, end), name in zip(EDGES, self.operations(cell), strict=True):
            parts[end] = parts.get(end, "|") + f"{name}~{start}|"
        return "+".join(parts[end] for end in sorted(parts))

    def from_string(self, text: str) -> Cell:
        """The cell of such a string."""
        written = [
            (int(start) if start.isdecimal() else -1, end, name)
            for end, part in enumerate(text.strip().split("+"), 1)
            for name, _, start in (edge.rpartition("~") for edge in part.strip("|").split("|"))
        ]
        if tuple((start, end) for start, end, _ in written) != EDGES:
            raise InvalidGenomeError(f"{text!r} is no cell of {self.name}", "write |op~0|+|op~0|op~1|+|op~0|op~1|op~2|")
        return self.from_operations([name for _, _, name in written])

    def to_naslib(self, cell: Sequence[int]) -> tuple[int, ...]:
        """NASLib's tuple."""
        by_edge = dict(zip(EDGES, self.operations(cell), strict=True))
        return tuple(self.naslib.index(by_edge[edge]) for edge in self.naslib_edges)

    def from_naslib(self, codes: Sequence[int] | str) -> Cell:
        """The cell of NASLib's tuple, or of its text "(4, 3, 3, 0, 0, 0)"."""
        if isinstance(codes, str):
            try:
                codes = ast.literal_eval(codes.strip())
            except (ValueError, SyntaxError) as error:
                raise InvalidGenomeError(f"{codes!r} is no tuple of NASLib's", 'write "(4, 3, 3, 0, 0, 0)"') from error
        if not _places(codes, len(self.naslib)):
            raise InvalidGenomeError(
                f"{codes!r} is no tuple of {self.name}", f"give {len(EDGES)} codes from 0 to {len(self.naslib) - 1}"
            )
        by_edge = dict(zip(self.naslib_edges, codes, strict=True))
        return self.from_operations([self.naslib[by_edge[edge]] for edge in EDGES])

    def to_number(self, cell: Sequence[int]) -> int:
        """A cell's number from 0: its places read as digits, the first edge's first. (Not the `idx` of the published
        tables, which is the random order of NAS-Bench-201's file.)"""
        number = 0
        for place in self.checked(cell):
            number = number * len(self.names) + place
        return number

    def from_number(self, number: int) -> Cell:
        """The cell of a number."""
        if not 0 <= number < len(self):
            raise InvalidGenomeError(f"{self.name} has no cell number {number}", f"give 0 to {len(self) - 1}")
        places = []
        for _ in EDGES:
            number, place = divmod(number, len(self.names))
            places.append(place)
        return tuple(reversed(places))

    def checked(self, cell: Sequence[int]) -> Cell:
        """The cell as a tuple."""
        if not _places(cell, len(self.names)):
            raise InvalidGenomeError(
                f"{cell!r} is no cell of {self.name}", f"give {len(EDGES)} numbers from 0 to {len(self.names) - 1}"
            )
        return tuple(map(int, cell))


def _places(values: object, count: int) -> bool:
    return (
        isinstance(values, Sequence)
        and not isinstance(values, str)
        and len(values) == len(EDGES)
        and all(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count for value in values)
    )
