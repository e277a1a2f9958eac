"""The numpy path: whole arrays of rows at a time, a bounded number of elements each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kernels.ranks.sums import Sums

# Elements of one temporary: with some twenty of them alive, 40 MB.
_ELEMENTS = 1 << 18


def _chunks(n: int, elements_each: int) -> Iterator[slice]:
    size = max(1, _ELEMENTS // max(1, elements_each))
    return (slice(start, min(n, start + size)) for start in range(0, n, size))


def _ties(sorted_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last place of each element's tie group, of rows in ascending order."""
    n, m = sorted_rows.shape
    places = np.arange(m)
    differs = np.ones((n, m + 1), np.bool_)
    np.not_equal(sorted_rows[:, 1:], sorted_rows[:, :-1], out=differs[:, 1:m])
    first = np.maximum.accumulate(np.where(differs[:, :-1], places, 0), axis=1)
    last = np.minimum.accumulate(np.where(differs[:, 1:], places, m)[:, ::-1], axis=1)[:, ::-1]
    return first, last


def _centred(values: np.ndarray) -> np.ndarray:
    """Twice the average ranks of each row, less m + 1: float64 whole numbers of sum 0; 0 in a row with a NaN."""
    n, m = values.shape
    ranks = np.empty((n, m))
    for part in _chunks(n, m):
        rows = values[part]
        order = np.argsort(rows, axis=1, kind="stable")
        first, last = _ties(np.take_along_axis(rows, order, axis=1))
        np.put_along_axis(ranks[part], order, (first + last + (1 - m)).astype(np.float64), axis=1)
    ranks[np.isnan(values).any(axis=1)] = 0.0
    return ranks


def average_ranks(values: np.ndarray) -> np.ndarray:
    """`kernels.ranks.average_ranks` of a checked array."""
    ranks = 0.5 * (_centred(values) + (values.shape[1] + 1))
    ranks[np.isnan(values).any(axis=1)] = np.nan
    return ranks


def spearman_sums(scores: np.ndarray, targets: np.ndarray) -> Sums:
    """As in c_path. The matrix product is exact in any order: whole numbers below 2^53."""
    left, right = _centred(scores), _centred(targets)
    return Sums(left @ right.T, np.square(left).sum(axis=1, keepdims=True), np.square(right).sum(axis=1))


def _inversions(permutations: np.ndarray) -> np.ndarray:
    """Inversions (n,) of permutations (n, m) of 0..m-1.

    A merge sort turned upside down, so that all rows take the same steps: split by the highest bit of the value, the
    order kept; each 1 before a 0 is an inversion that no lower bit can show; then split both halves by the next bit.
    """
    n, m = permutations.shape
    bits = max(1, int(m - 1).bit_length())
    values = np.empty((n, 1 << bits), np.int64)
    values[:, :m] = permutations
    values[:, m:] = np.arange(m, 1 << bits)  # padding in its place: no inversions
    total = np.zeros(n, np.int64)
    for bit in reversed(range(bits)):
        half = 1 << bit
        groups = values.reshape(n, -1, 2 * half)
        ones = (groups & half) != 0
        before = np.cumsum(ones, axis=2)
        total += np.where(ones, 0, before).sum(axis=(1, 2))
        place = np.where(ones, half + before - 1, np.arange(2 * half) - before)
        split = np.empty_like(groups)
        np.put_along_axis(split, place, groups, axis=2)
        values = split.reshape(n, -1)
    return total


def _equal_pairs(*sorted_keys: np.ndarray) -> np.ndarray:
    """Pairs (n,) of places that agree in all keys (n, m); places that do are neighbours."""
    n, m = sorted_keys[0].shape
    places = np.arange(m)
    differs = np.zeros((n, m), np.bool_)
    for keys in sorted_keys:
        differs[:, 1:] |= keys[:, 1:] != keys[:, :-1]
    return (places - np.maximum.accumulate(np.where(differs, places, 0), axis=1)).sum(axis=1)


def kendall_sums(scores: np.ndarray, targets: np.ndarray) -> Sums:
    """As in c_path."""
    n, m = scores.shape
    pairs = m * (m - 1) // 2
    products, left, right = np.zeros((n, len(targets))), np.zeros((n, 1)), np.zeros(len(targets))
    for number, target in enumerate(targets):
        if np.isnan(target).any():
            continue
        columns = np.argsort(target, kind="stable")
        in_order = target[columns]
        group = np.concatenate(([0], np.cumsum(in_order[1:] != in_order[:-1])))
        target_ties = int(_equal_pairs(group[None])[0])
        right[number] = pairs - target_ties
        for part in _chunks(n, m):
            rows = scores[part][:, columns]
            # By score, then target: column k of this order is the place k of the permutation below.
            order = np.argsort(rows, axis=1, kind="stable")
            in_order = np.take_along_axis(rows, order, axis=1)
            groups = group[order]
            ties = _equal_pairs(in_order)
            swaps = _inversions(np.argsort(groups, axis=1, kind="stable"))
            products[part, number] = pairs - ties - target_ties + _equal_pairs(in_order, groups) - 2 * swaps
            left[part, 0] = pairs - ties
    bad = np.isnan(scores).any(axis=1)
    products[bad] = left[bad] = 0.0
    return Sums(products, left, right)


def top_sums(scores: np.ndarray, targets: np.ndarray, counts: Sequence[int]) -> Sums:
    """As in c_path."""
    shape = (len(scores), len(targets), len(counts))
    products, left, right = np.zeros(shape), np.zeros((shape[0], 1, shape[2])), np.zeros(shape)
    bad, bad_targets = np.isnan(scores).any(axis=1), np.isnan(targets).any(axis=1)
    for part in _chunks(*scores.shape):
        best = np.argsort(-scores[part], axis=1, kind="stable")  # stable: of equal scores, the smaller index
        for place, count in enumerate(counts):
            chosen = best[:, :count]
            ranks = _centred(np.take_along_axis(scores[part], chosen, axis=1))
            left[part, 0, place] = np.square(ranks).sum(axis=1)
            for number, target in enumerate(targets):
                others = _centred(target[chosen])
                products[part, number, place] = (ranks * others).sum(axis=1)
                right[part, number, place] = np.square(others).sum(axis=1)
    for array in (products, left, right):
        array[bad] = 0.0
    products[:, bad_targets] = right[:, bad_targets] = 0.0
    return Sums(products, left, right)


def bootstrap_sums(scores: np.ndarray, target: np.ndarray, indices: np.ndarray) -> Sums:
    """As in c_path: ranks from how often each column was drawn, one row after the other."""
    n, b, m = len(scores), len(indices), scores.shape[1]
    products, left, right = np.zeros((n, b)), np.zeros((n, b)), np.zeros(b)
    for part in _chunks(b, max(m, indices.shape[1])):
        drawn = np.zeros((part.stop - part.start, m))
        np.add.at(drawn, (np.arange(len(drawn))[:, None], indices[part]), 1.0)
        ranks = _weighted(target[0], drawn)
        if ranks is None:
            continue
        right[part] = (drawn * np.square(ranks)).sum(axis=1)
        for row in range(n):
            found = _weighted(scores[row], drawn)
            if found is not None:
                products[row, part] = (drawn * found * ranks).sum(axis=1)
                left[row, part] = (drawn * np.square(found)).sum(axis=1)
    return Sums(products, left, right)


def _weighted(values: np.ndarray, drawn: np.ndarray) -> np.ndarray | None:
    """Centred ranks (b, m) of values (m,), each column standing for itself `drawn` (b, m) times; None if one is NaN."""
    if np.isnan(values).any():
        return None
    order = np.argsort(values, kind="stable")
    in_order = values[order]
    differs = np.concatenate(([True], in_order[1:] != in_order[:-1]))
    size = np.add.reduceat(drawn[:, order], np.flatnonzero(differs), axis=1)
    through = np.cumsum(size, axis=1)
    ranks = np.empty_like(drawn)
    # 2 * (drawn below) + (drawn in the group) - (drawn in all), as 2 * through - size - all.
    ranks[:, order] = (2.0 * through - size - through[:, -1:])[:, np.cumsum(differs) - 1]
    return ranks
