"""Scores of all configurations by many proxies as array arithmetic: a gather and a sum, screened, oriented, digested.

Rows of a batch never meet: additions run over the layers in order, whatever else is in the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash

from kernels.ranks import average_ranks

FLAT = 1e-9
"""Relative: what varies by less than this varies by rounding."""
NOT_FINITE, CONSTANT, BIT_FREE, UNORIENTED = "not finite", "constant", "bit-independent", "unoriented"


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What n proxies say of m configurations.

    Attributes:
        scores: (n, m) float64 whole numbers: oriented, and rounded so that equal scores are equal to the bit; 0 where
            rejected.
        signs: (n,) int64, what the raw scores were multiplied by: 1 or -1.
        rejected: (n,) object: "" or why, of `NOT_FINITE`, `BIT_FREE`, `CONSTANT`, `UNORIENTED`.
    """

    scores: np.ndarray
    signs: np.ndarray
    rejected: np.ndarray


def places_of(bits: np.ndarray, choices: Sequence[int]) -> np.ndarray:
    """Configurations (m, layers) of bits, each one of the ascending choices, as their indices, int64."""
    return np.searchsorted(np.array(choices), np.asarray(bits, np.int64))


def raw_scores(tables: np.ndarray, places: np.ndarray, aggregations: Sequence[str]) -> np.ndarray:
    """Sums, or maxima, over the layers.

    Args:
        tables: (n, choices, layers) float64.
        places: (m, layers) whole numbers, indices of choices.
        aggregations: n times "mean" or "max"; a mean is returned as the sum, which ranks alike.

    Returns:
        (n, m) float64.
    """
    n, _, layers = tables.shape
    total = np.zeros((n, len(places)))
    largest = np.array([a == "max" for a in aggregations], bool)
    some = bool(largest.any())
    top = np.full((int(largest.sum()), len(places)), -np.inf)
    for layer in range(layers):
        column = tables[:, :, layer].take(places[:, layer], axis=1)
        total += column
        if some:
            np.maximum(top, column[largest], out=top)
    if some:
        total[largest] = top
    return total


def score(tables: np.ndarray, places: np.ndarray, aggregations: Sequence[str], oriented: Sequence[bool]) -> Scored:
    """Scores of configurations by proxies.

    Scores are rounded to the larger of 2^-32 of their range and 2^-42 of the largest sum of terms' sizes, so that ties
    are ties whatever the order of additions; what ranges over less than `FLAT` is constant.

    Args:
        tables: (n, choices, layers) float64.
        places: (m, layers), indices of choices.
        aggregations: as for `raw_scores`.
        oriented: whether a proxy's sign is turned so that most bits everywhere is above fewest bits everywhere.
    """
    n, choices, layers = tables.shape
    rejected = np.full(n, "", object)
    finite = np.isfinite(tables).all(axis=(1, 2))
    usable = np.where(finite[:, None, None], tables, 0.0)
    size = np.abs(usable).max(axis=1)  # (n, layers)
    range_of_bits = usable.max(axis=1) - usable.min(axis=1)
    flat = (range_of_bits <= FLAT * size).all(axis=1)
    extremes = np.repeat(np.array([[0], [choices - 1]]), layers, axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        raw = raw_scores(usable, np.concatenate([places, extremes]), aggregations)
        finite &= np.isfinite(raw).all(axis=1)
        raw = np.where(finite[:, None], raw, 0.0)
        magnitude = np.zeros(n)
        for layer in range(layers):
            magnitude += size[:, layer]
        magnitude = np.where(np.isfinite(magnitude), magnitude, np.finfo(float).max)
        span = raw.max(axis=1) - raw.min(axis=1)
        constant = ~(span > FLAT * magnitude)
        step = np.maximum(span * 2.0**-32, magnitude * 2.0**-42)
        whole = np.rint(raw / np.where(step > 0.0, step, 1.0)[:, None])
    direction = np.sign(whole[:, -1] - whole[:, -2]).astype(np.int64)
    signs = np.where(np.array(oriented, bool), direction, 1)
    for reason, mask in ((UNORIENTED, signs == 0), (CONSTANT, constant), (BIT_FREE, flat), (NOT_FINITE, ~finite)):
        rejected[mask] = reason
    bad = rejected != ""
    scores = np.where(bad[:, None], 0.0, whole[:, :-2] * signs[:, None]) + 0.0  # no negative zeros
    return Scored(scores, np.where(bad, 1, signs), rejected)


def rank_digests(scores: np.ndarray) -> list[bytes]:
    """16 bytes a row that are equal where the tie-aware ranks are."""
    ranks = average_ranks(scores)
    doubled = np.ascontiguousarray((2.0 * ranks).astype("<i4"))
    return [xxhash.xxh3_128_digest(row) for row in doubled]
