"""The final comparison on a table: test accuracy of the finalists, beside what random search finds in the same pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from search_spaces.robot.space import Genome, Robot

QUERIES = 20
"""Of the random search: the budget of a run by default."""
SEARCHES = 1000
"""Random searches behind its line."""
WORDS = {
    "spread": f"values of the table; random search: mean and middle 95 % of {SEARCHES:,} searches of {QUERIES} queries"
}


def rows(space: Robot, genomes: Sequence[Genome]) -> list[dict[str, Any]]:
    """One row a test accuracy and finalist, after random search, the pool's best and its median.

    No search sees test accuracies. Random search queries architectures of the pool that differ, and takes that with the
    best objective. Where the table has no test accuracy of an architecture there is no row; where it has it for a part
    of the pool alone, all lines are of that part.
    """
    problem, found = space.problem, []
    for name, values in problem.reported.items():
        known = np.isfinite(values)
        if not known.any():
            continue
        task = f"{problem.name}, {name}"
        if problem.accuracy is not None:
            mean, low, high = random_search(problem.accuracy[known], values[known])
            found.append(_row("random search", task, mean, None, (low, high)))
        best, median = float(values[known].max()), float(np.median(values[known]))
        found += [_row("best of the pool", task, best, None), _row("median of the pool", task, median, None)]
        for index, genome in enumerate(genomes):
            row = space.row(genome)
            if row is not None and known[row]:
                found.append(_row(f"finalist {index + 1}", task, float(values[row]), index))
    return found


def random_search(
    objective: np.ndarray, reported: np.ndarray, queries: int = QUERIES, searches: int = SEARCHES
) -> tuple[float, float, float]:
    """What the best of some architectures drawn at random, without replacement, comes to.

    Args:
        objective: (n,) what the search sees, larger is better; NaN is never the best.
        reported: (n,) what is reported of the architecture that it takes.
        queries: architectures a search; all of the pool where it has fewer.
        searches: how many are drawn, from a fixed seed.

    Returns:
        Mean, 2.5 % and 97.5 % quantile of the reported values.
    """
    rng = np.random.Generator(np.random.Philox(key=[0, 0x5EA2C4]))
    seen = np.where(np.isfinite(objective), objective, -np.inf)
    queries = min(queries, len(seen))
    drawn = np.stack([rng.choice(len(seen), queries, replace=False) for _ in range(searches)])
    taken = drawn[np.arange(searches), seen[drawn].argmax(1)]
    low, high = np.quantile(reported[taken], [0.025, 0.975])
    return float(reported[taken].mean()), float(low), float(high)


def _row(
    name: str, task: str, value: float, index: int | None, bounds: tuple[float, float] | None = None
) -> dict[str, Any]:
    low, high = bounds or (value, value)
    return {
        "name": name, "task": task, "metric": "test accuracy", "values": [value], "genome_index": index,
        "interval": [value, low, high, 1 if bounds is None else SEARCHES], "words": WORDS,
    }  # fmt: skip
