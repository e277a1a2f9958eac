"""The pool: architectures with their scaled metrics; a vector of weights ranks it.

Scores are sums over metrics of weight times scaled metric, formed metric by metric, so that they do not depend, to the
bit, on how a machine multiplies matrices; of equal scores the earlier row comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from search_spaces.robot.tables import Table, TableError

Scaling = Literal["minmax", "rank"]
Identity = Literal["class", "architecture"]
HEAVY = 1000.0
"""A metric whose range is so many times that of its middle half has a heavy tail, for `log: auto`."""
COMPLETE = 0.9
"""Share of rows that a metric must have a value for to be taken where none are named."""


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Distinct items that are ranked, n of them.

    Attributes:
        architectures: (n,) encodings: of each functional class the first, or all.
        metrics: (m,) names.
        scaled: (n, m) float64 in [0, 1]; 0 where the metric has no value.
        row: by encoding, the row of the item it belongs to; holds every architecture of the table.
    """

    architectures: tuple[str, ...]
    metrics: tuple[str, ...]
    scaled: np.ndarray
    row: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.architectures)

    def scores(self, weights: Sequence[float]) -> np.ndarray:
        """(n,) float64, larger is better.

        Raises:
            ValueError: not one weight a metric.
        """
        if len(weights) != len(self.metrics):
            raise ValueError(f"{len(weights)} weights for the {len(self.metrics)} metrics {', '.join(self.metrics)}")
        total = np.zeros(len(self.architectures))
        for column, weight in enumerate(weights):
            if weight:
                total += weight * self.scaled[:, column]
        return total

    def top(self, weights: Sequence[float]) -> int:
        """The row of the highest score."""
        return int(np.argmax(self.scores(weights)))

    def order(self, weights: Sequence[float]) -> np.ndarray:
        """(n,) rows, highest score first."""
        return np.argsort(-self.scores(weights), kind="stable")


def pool_of(
    table: Table,
    metrics: Sequence[str] = (),
    scaling: Scaling = "minmax",
    log: Sequence[str] | Literal["auto"] = "auto",
    identity: Identity = "class",
) -> tuple[Pool, np.ndarray]:
    """The pool of a table, and (n,) the rows of the table that its items stand for.

    Args:
        table: the table.
        metrics: names; empty: all that have a value for nine rows in ten, but for duplicates of each other.
        scaling: of each metric over the whole pool: "minmax" to [0, 1], or "rank", average ranks to [0, 1].
        log: names of metrics to be put on a logarithmic scale first, or "auto": those with a heavy tail. The scale is
            sign(x) ln(1 + |x| / s), s the median of |x|, which takes either sign and any size.
        identity: "class": one item a functional class, its first architecture; "architecture": all.

    Raises:
        TableError: a metric that the table has not.
    """
    rows = np.arange(len(table))
    of_row = rows
    if identity == "class" and table.classes is not None:
        _, rows, of_row = np.unique(table.classes, return_index=True, return_inverse=True)
        order = np.argsort(rows)
        rows, of_row = rows[order], np.argsort(order)[of_row]
    names = tuple(metrics) or complete(table)
    if log != "auto":
        for name in log:
            if name not in names:
                raise TableError(f"options.log names {name!r}, which is no metric of the pool", ", ".join(names))
    scaled = np.empty((len(rows), len(names)))
    for column, name in enumerate(names):
        values = table.metric(name)[rows]
        if heavy(values) if log == "auto" else name in log:
            values = compressed(values)
        scaled[:, column] = scale(values, scaling)
    row = dict(zip(table.architectures, of_row.tolist(), strict=True))
    return Pool(tuple(table.architectures[i] for i in rows), names, scaled, row), rows


def complete(table: Table) -> tuple[str, ...]:
    """Names of the metrics that have a value for nine rows in ten."""
    found = tuple(name for name, values in table.metrics.items() if np.isfinite(values).mean() >= COMPLETE)
    if not found:
        raise TableError(f"table {table.name!r} has no metric with values for {COMPLETE:.0%} of its architectures")
    return found


def heavy(values: np.ndarray) -> bool:
    """Whether the range of (n,) values, NaN left out, is very many times that of their middle half."""
    low, high = np.nanquantile(values, [0.25, 0.75])
    return bool(np.nanmax(values) - np.nanmin(values) > HEAVY * (high - low) > 0.0)


def compressed(values: np.ndarray) -> np.ndarray:
    """sign(x) ln(1 + |x| / s), s the median of |x| that is not 0; (n,), monotone, NaN stays."""
    size = np.abs(values)
    inside = size[np.isfinite(size) & (size > 0.0)]
    if not len(inside):
        return values
    with np.errstate(over="ignore"):
        return np.sign(values) * np.log1p(size / float(np.median(inside)))


def scale(values: np.ndarray, scaling: Scaling) -> np.ndarray:
    """(n,) to [0, 1] over the pool; 0 where there is no value, and everywhere where all are alike."""
    there = np.isfinite(values)
    found = np.zeros(len(values))
    if not there.any():
        return found
    inside = values[there]
    if scaling == "rank":
        from scipy.stats import rankdata

        inside = rankdata(inside)
    low, high = float(inside.min()), float(inside.max())
    if high > low:
        found[there] = (inside - low) / (high - low)
    return found
