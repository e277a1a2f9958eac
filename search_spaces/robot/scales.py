"""How a pool scaled its metrics, as constants: so that one more network can be scored as the pool's were."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import numpy as np

from search_spaces.robot.options import RobotOptions
from search_spaces.robot.pool import Pool, compressed, heavy
from search_spaces.robot.stored import Scale, StoredPool
from search_spaces.robot.tables import Table


def stored_pool(
    options: RobotOptions, table: Table, rows: np.ndarray, pool: Pool, digest: str, dropped: Mapping[str, str]
) -> StoredPool:
    """A pool with the constants of its scaling.

    Args:
        options: how it was scaled.
        table: where it comes from.
        rows: of the table, those of the pool.
        pool: of these rows.
        digest: of the problem.
        dropped: metrics that were left out, and why.
    """
    named = () if options.log in ("auto", "none") else tuple(name.strip() for name in options.log.split(","))
    scales = []
    for name in pool.metrics:
        values = table.metric(name)[rows]
        log = heavy(values) if options.log == "auto" else name in named
        scales.append(scale_of(values, log, options.scaling == "rank"))
    columns = tuple(array("d", pool.scaled[:, column].tolist()) for column in range(len(pool.metrics)))
    return StoredPool(table.name, pool.architectures, pool.metrics, columns, tuple(scales), dropped, digest)


def scale_of(values: np.ndarray, log: bool, rank: bool) -> Scale:
    """The scale of (n,) raw values, as `search_spaces.robot.pool` scales them."""
    divisor: float | None = None
    size = np.abs(values)
    inside = size[np.isfinite(size) & (size > 0.0)]
    if log and len(inside):
        divisor = float(np.median(inside))
        values = compressed(values)
    there = np.sort(values[np.isfinite(values)])
    if not len(there):
        return Scale(divisor, 0.0, 0.0)
    if rank:
        return Scale(divisor, *_rank_ends(there), tuple(there.tolist()))
    return Scale(divisor, float(there[0]), float(there[-1]))


def scaled(values: np.ndarray, scale: Scale) -> np.ndarray:
    """(k,) raw values of any networks to about [0, 1]: below 0 and above 1 for values outside the pool's range."""
    found = np.zeros(len(values))
    if scale.log is not None:
        values = np.sign(values) * np.log1p(np.abs(values) / scale.log)
    there = np.isfinite(values)
    inside = values[there]
    if scale.ranks is not None:
        pool = np.array(scale.ranks)
        below, upto = np.searchsorted(pool, inside, "left"), np.searchsorted(pool, inside, "right")
        inside = below + (upto - below + 1) / 2
    if scale.high > scale.low:
        found[there] = (inside - scale.low) / (scale.high - scale.low)
    return found


def _rank_ends(ascending: np.ndarray) -> tuple[float, float]:
    """The mean ranks of the smallest and the largest value."""
    first = int(np.searchsorted(ascending, ascending[0], "right"))
    last = len(ascending) - int(np.searchsorted(ascending, ascending[-1], "left"))
    return (first + 1) / 2, len(ascending) - (last - 1) / 2
