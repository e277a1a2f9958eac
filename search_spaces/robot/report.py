"""The final comparison: test accuracy of the finalists, beside what the pool's table holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from search_spaces.robot.space import Genome, Robot


def rows(space: Robot, genomes: Sequence[Genome]) -> list[dict[str, Any]]:
    """One row a test accuracy and finalist, after the pool's best and its median, which no search sees."""
    problem, found = space.problem, []
    for name, values in problem.reported.items():
        task = f"{problem.name}, {name}"
        known = (("best of the pool", float(np.nanmax(values))), ("median of the pool", float(np.nanmedian(values))))
        for title, value in known:
            found.append(_row(title, task, value, None))
        for index, genome in enumerate(genomes):
            row = space.row(genome)
            if row is not None:
                found.append(_row(f"finalist {index + 1}", task, float(values[row]), index))
    return found


def _row(name: str, task: str, value: float, index: int | None) -> dict[str, Any]:
    return {"name": name, "task": task, "metric": "test accuracy", "values": [value], "genome_index": index}
