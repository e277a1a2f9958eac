"""Which cells the benchmark trains: one of each of some functional classes, drawn with equal chances."""

from __future__ import annotations

from functools import cache

import numpy as np

from evo.errors import ConfigError
from search_spaces.robot.architectures.canonical import classes
from search_spaces.robot.architectures.cells import Cell
from search_spaces.robot.architectures.nb201 import CODE, NAMES

CLASSES = 4_660
"""Functional classes of NAS-Bench-201's cells, with pooling taken as linear."""


def drawn(count: int, seed: int) -> tuple[Cell, ...]:
    """Cells of `count` classes drawn without replacement; fewer are the beginning of more.

    Every class has the same chance, however many cells it has (the one of the dead cells too), and is represented by
    its simplest: so no edge of it is without effect, and no time is spent on computing one.

    Raises:
        ConfigError: more than there are.
    """
    if count > CLASSES:
        raise ConfigError(f"{count} functionally distinct cells were asked for; there are {CLASSES}", "give fewer")
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(CLASSES)
    return tuple(_simplest()[place] for place in order[:count])


@cache
def _simplest() -> tuple[Cell, ...]:
    return tuple(CODE.from_operations(members[0]) for members in classes(NAMES, "linear").values())
