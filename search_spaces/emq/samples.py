"""What the arithmetic works on: tensors of all layers at all bit-widths, sampled, each kind in one flat array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How tensors of one kind lie in a flat array: layer after layer, each row by row.

    Attributes:
        rows, columns: (layers,) int64, of the sample.
        width: (layers,) float64, columns of the whole tensor, which `columns` stand for.
        height: (layers,) float64, rows that a sum over the tensor counts: output channels of a weight; 1 for kinds
            whose rows are samples of the batch, over which a sum is a mean.
    """

    rows: np.ndarray
    columns: np.ndarray
    width: np.ndarray
    height: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """(layers,) int64: elements of the sample."""
        return self.rows * self.columns

    @property
    def starts(self) -> np.ndarray:
        """(layers,) int64: where each layer begins."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def total(self) -> int:
        """Elements of all layers."""
        return int(self.sizes.sum())


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The inputs of proxies on one network.

    Attributes:
        layers: names, in the order of the columns of configurations.
        choices: bit-widths, ascending.
        layouts: of the kinds "weight", "output" and "input".
        values: by input, (1, n) float64 where the bit-width does not matter and (choices, n) where it does; n the total
            of its kind's layout, or the number of layers for a scalar.
    """

    layers: tuple[str, ...]
    choices: tuple[int, ...]
    layouts: Mapping[str, Layout]
    values: Mapping[str, np.ndarray]


def grid(rows: int, columns: int, most: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Which rows and columns of a matrix are kept: evenly strided, at most `most` elements.

    With r = min(rows, max(isqrt(most), most // columns)) rows and k = min(columns, most // r) columns, row i is
    i * rows // r and column j is j * columns // k. None keeps all.

    Returns:
        Indices (r,) and (k,), ascending.
    """
    if most is None:
        r, k = rows, columns
    else:
        r = min(rows, max(isqrt(most), most // columns))
        k = min(columns, max(1, most // r))
    return np.arange(r) * rows // r, np.arange(k) * columns // k


def layout_of(shapes: Sequence[tuple[int, int]], most: int | None, counts_rows: bool) -> Layout:
    """The layout of matrices of these shapes, sampled by `grid`.

    Args:
        shapes: (rows, columns) of each layer's whole tensor.
        most: elements kept a layer; None: all.
        counts_rows: False where rows are the samples of a batch.
    """
    kept = [tuple(map(len, grid(r, k, most))) for r, k in shapes]
    return Layout(
        np.array([r for r, _ in kept], np.int64),
        np.array([k for _, k in kept], np.int64),
        np.array([k for _, k in shapes], np.float64),
        np.array([r if counts_rows else 1 for r, _ in shapes], np.float64),
    )


def sampled(matrix: Any, most: int | None) -> Any:
    """The kept part of a matrix (rows, columns), numpy or torch."""
    rows, columns = grid(matrix.shape[0], matrix.shape[1], most)
    return matrix[rows][:, columns]


def derived(layout: Layout, kind: str) -> Layout:
    """The layout of a derived kind, from that of its parent: "weight/rows" from "weight" ..."""
    what, ones = kind.rsplit("/", 1)[1], np.ones_like(layout.rows)
    if what == "rows":
        return Layout(layout.rows, ones, np.ones_like(layout.width), layout.height)
    if what == "gram":
        return Layout(layout.rows, layout.rows, layout.rows.astype(np.float64), layout.height)
    pairs = np.maximum(layout.rows * (layout.rows - 1) // 2, 1)
    return Layout(pairs, ones, np.ones_like(layout.width), pairs.astype(np.float64))
