"""The spaces of cells as `ArchitectureSpace`: NAS-Bench-201 in two sizes, and TransNAS-Bench-101's micro cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from search_spaces.robot.architectures import nb201, tnb101
from search_spaces.robot.architectures.canonical import Definition, canonical_form
from search_spaces.robot.architectures.cells import Cell, CellCode
from search_spaces.robot.architectures.networks import FULL, REDUCED, CellNetwork, Skeleton, network


class CellSpace:
    """Networks made of copies of one cell.

    Args:
        code: which cells.
        skeleton: what surrounds them.
        identity: which cells are the same function: a definition of `canonical.py`.
        name: of the space; None: of the code.
    """

    mutates = True
    enumerable = True

    def __init__(
        self, code: CellCode, skeleton: Skeleton, identity: Definition = "strict", name: str | None = None
    ) -> None:
        self.code, self.skeleton, self.identity = code, skeleton, identity
        self.name = name or code.name
        canonical_form(code.operations((0,) * 6), identity)  # tells of an unknown definition now

    def sample(self, rng: np.random.Generator) -> Cell:
        """A uniformly random cell."""
        return self.code.from_number(int(rng.integers(len(self.code))))

    def mutate(self, architecture: Sequence[int], rng: np.random.Generator) -> Cell:
        """The cell with another operation on one edge, both drawn uniformly."""
        cell = list(self.code.checked(architecture))
        edge = int(rng.integers(len(cell)))
        cell[edge] = (cell[edge] + 1 + int(rng.integers(len(self.code.names) - 1))) % len(self.code.names)
        return tuple(cell)

    def encode(self, architecture: Sequence[int]) -> str:
        return self.code.to_string(architecture)

    def decode(self, text: str) -> Cell:
        return self.code.from_string(text)

    def canonical(self, architecture: Sequence[int]) -> bytes:
        return canonical_form(self.code.operations(architecture), self.identity).encode()

    def build(self, architecture: Sequence[int], *, seed: int = 0) -> CellNetwork:
        return network(self.code.operations(architecture), self.skeleton, seed=seed)

    def all(self) -> Iterator[Cell]:
        """Every cell, by number."""
        return self.code.cells()


def nb201_space(
    *, channels: int = 16, cells: int = 5, inputs: int = 3, classes: int = 10, identity: Definition = "strict"
) -> CellSpace:
    """NAS-Bench-201 as published, for 32 x 32 colour images."""
    skeleton = replace(FULL, channels=channels, cells=cells, inputs=inputs, classes=classes)
    return CellSpace(nb201.CODE, skeleton, identity)


def nb201_small_space(
    *, channels: int = 8, cells: int = 1, inputs: int = 1, classes: int = 10, identity: Definition = "strict"
) -> CellSpace:
    """The same cells in the reduced network of the shipped benchmark, for 14 x 14 grey images."""
    skeleton = replace(REDUCED, channels=channels, cells=cells, inputs=inputs, classes=classes)
    return CellSpace(nb201.CODE, skeleton, identity, "nb201-small")


def tnb101_micro_space(
    *, channels: int = 8, cells: int = 1, inputs: int = 1, classes: int = 10, identity: Definition = "strict"
) -> CellSpace:
    """TransNAS-Bench-101's micro cells in NAS-Bench-201's skeleton, reduced. The benchmark's own networks (64 channels
    and more, 256 x 256 images, a decoder for each task) are not built here: its tables have what they gave."""
    skeleton = replace(REDUCED, channels=channels, cells=cells, inputs=inputs, classes=classes)
    return CellSpace(tnb101.CODE, skeleton, identity)


SPACES: Mapping[str, Callable[..., CellSpace]] = {
    "nb201": nb201_space,
    "nb201-small": nb201_small_space,
    "tnb101-micro": tnb101_micro_space,
}
"""What `architecture_space` knows by name."""
