"""The final comparison of a live run: finalists trained again, and judged on test images for the first time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from search_spaces.robot.live.evaluator import trained
from search_spaces.robot.live.recipe import Recipe
from search_spaces.robot.stored import StoredPool

FRESH = 1_000_000
"""Seeds of the report begin here; the search trains from others."""
RANDOM = "random of the pool"


def rows(recipe: Recipe, pool: StoredPool, architectures: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Test accuracy in percent, one value a seed: an architecture drawn from the pool, a new one each seed, and each
    finalist, all trained from the same weights' seeds, which the search did not use."""
    pictures = recipe.pictures()
    task = f"{pool.name.partition(' on ')[0]}, {len(pictures.test_labels):,} test images"
    rng = np.random.Generator(np.random.Philox(key=[0, 0x7E57]))
    drawn = [pool.architectures[int(rng.integers(len(pool.architectures)))] for _ in seeds]

    def values(names: Sequence[str]) -> list[float]:
        return [100 * trained(recipe, name, FRESH + seed).test for name, seed in zip(names, seeds, strict=True)]

    found = [_row(RANDOM, task, values(drawn), None)]
    for index, name in enumerate(architectures):
        found.append(_row(f"finalist {index + 1}", task, values([name] * len(seeds)), index))
    return found


def _row(name: str, task: str, values: list[float], index: int | None) -> dict[str, Any]:
    return {"name": name, "task": task, "metric": "test accuracy, %", "values": values, "genome_index": index}
