"""Which bit configurations a benchmark holds: random, distinct, and spread from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search_spaces.emq.benchmark.errors import BenchmarkError


def random_configurations(n_layers: int, choices: Sequence[int], rows: int, seed: int = 0) -> np.ndarray:
    """Distinct random configurations; the first of a longer table are those of a shorter one.

    Every other row draws each layer's bits uniformly. In a long row's mean those fluctuations cancel, so the rows
    between draw the shares of the choices first, from a flat Dirichlet distribution: accuracies then reach from those
    of nearly all 2 bits to those of nearly all 8.

    Args:
        n_layers: columns.
        choices: the bits that a layer may have.
        rows: how many.
        seed: of the draws.

    Returns:
        (rows, n_layers) int8.

    Raises:
        BenchmarkError: there are not that many configurations.
    """
    # counted in logarithms: a power of this size may not be a float
    if rows > 0 and np.log(rows) > n_layers * np.log(len(choices)) - np.log(2):
        raise BenchmarkError(
            f"{rows} distinct rows of {n_layers} layers with {len(choices)} choices: half of all there are, or more",
            "ask for fewer rows, or give more choices",
        )
    rng = np.random.Generator(np.random.Philox(key=[seed, 0xE39]))
    seen: set[bytes] = set()
    found: list[np.ndarray] = []
    values = np.array(choices, np.int8)
    while len(found) < rows:
        shares = np.full(len(values), 1 / len(values)) if len(found) % 2 else rng.dirichlet(np.ones(len(values)))
        row = rng.choice(values, n_layers, p=shares)
        if row.tobytes() not in seen:
            seen.add(row.tobytes())
            found.append(row)
    return np.array(found, np.int8).reshape(rows, n_layers)
