"""The compiled path: hands rows to ranks.c; one thread, the interpreter lock released."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kernels.build import CLibrary
from kernels.ranks.sums import Sums

LIBRARY = CLibrary("ranks", [Path(__file__).parent / "ranks.c"])

# Rows whose orders are kept while the resamples pass by: 1.6 MB at 400 columns.
_BOOTSTRAP_ROWS = 512

_ARGUMENTS = {
    "average_ranks": "llpip",
    "spearman": "lllpipppp",
    "kendall": "lllpipppp",
    "spearman_top": "lllpiplpppp",
    "spearman_bootstrap": "llpipllpppp",
}
_TYPES: dict[str, Any] = {"l": ctypes.c_long, "i": ctypes.c_int, "p": ctypes.c_void_p}


@functools.lru_cache(maxsize=8)
def _function(name: str) -> ctypes._CFuncPtr:
    function: ctypes._CFuncPtr = getattr(LIBRARY.load(), name)
    function.argtypes = [_TYPES[letter] for letter in _ARGUMENTS[name]]
    function.restype = ctypes.c_int
    return function


def _call(name: str, *arguments: Any) -> None:
    """Arrays go as their addresses."""
    plain = (argument.ctypes.data if isinstance(argument, np.ndarray) else argument for argument in arguments)
    if _function(name)(*plain):
        raise MemoryError("no memory to sort a row in")


def _rows(array: np.ndarray) -> np.ndarray:
    return np.require(array, None, "CA")


def _targets(array: np.ndarray) -> np.ndarray:
    return np.require(array, np.float64, "CA")


def average_ranks(values: np.ndarray) -> np.ndarray:
    """`kernels.ranks.average_ranks` of a checked array."""
    values = _rows(values)
    ranks = np.empty(values.shape)
    _call("average_ranks", *values.shape, values, values.itemsize == 4, ranks)
    return ranks


def _sums(name: str, scores: np.ndarray, targets: np.ndarray) -> Sums:
    scores, targets = _rows(scores), _targets(targets)
    products, left, right = np.empty((len(scores), len(targets))), np.empty((len(scores), 1)), np.empty(len(targets))
    _call(
        name, *scores.shape, len(targets), scores, scores.itemsize == 4, targets, products, left, right
    )  # fmt: skip
    return Sums(products, left, right)


def spearman_sums(scores: np.ndarray, targets: np.ndarray) -> Sums:
    """Sums over centred ranks: products (n, t), left (n, 1), right (t,)."""
    return _sums("spearman", scores, targets)


def kendall_sums(scores: np.ndarray, targets: np.ndarray) -> Sums:
    """Pairs: concordant less discordant (n, t), untied by the scores (n, 1), by the target (t,)."""
    return _sums("kendall", scores, targets)


def top_sums(scores: np.ndarray, targets: np.ndarray, counts: Sequence[int]) -> Sums:
    """Sums over the `counts` columns of highest score: products and right (n, t, s), left (n, 1, s)."""
    scores, targets, kept = _rows(scores), _targets(targets), np.asarray(counts, np.int64)
    shape = (len(scores), len(targets), len(kept))
    products, left, right = np.empty(shape), np.empty((shape[0], 1, shape[2])), np.empty(shape)
    single = scores.itemsize == 4
    _call("spearman_top", *scores.shape, shape[1], scores, single, targets, shape[2], kept, products, left, right)
    return Sums(products, left, right)


def bootstrap_sums(scores: np.ndarray, target: np.ndarray, indices: np.ndarray) -> Sums:
    """Sums over the columns drawn: products and left (n, b), right (b,)."""
    scores, target = _rows(scores), _targets(target)
    shape = len(scores), len(indices)
    products, left, right = np.empty(shape), np.empty(shape), np.empty(shape[1])
    single = scores.itemsize == 4
    for start in range(0, max(1, len(scores)), _BOOTSTRAP_ROWS):
        part = slice(start, start + _BOOTSTRAP_ROWS)
        rows, found, squares = scores[part], products[part], left[part]
        _call("spearman_bootstrap", *rows.shape, rows, single, target, *indices.shape, indices, found, squares, right)
    return Sums(products, left, right)
