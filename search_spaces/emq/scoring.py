"""Scores of all configurations by many proxies as array arithmetic: a gather and a sum, screened, oriented, digested.

Rows of a batch never meet: additions run over the layers in order, whatever else is in the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash
from scipy.special import ndtr

from kernels.ranks import average_ranks

FLAT = 1e-9
"""Relative: what varies by less than this varies by rounding."""
TINY = 1e-300
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
    _, choices, layers = tables.shape
    finite = np.isfinite(tables).all(axis=(1, 2))
    usable = np.where(finite[:, None, None], tables, 0.0)
    size = np.abs(usable).max(axis=1)  # (n, layers)
    with np.errstate(over="ignore", invalid="ignore"):
        raw = raw_scores(usable, with_extremes(places, choices), aggregations)
        magnitude = np.zeros(len(tables))
        for layer in range(layers):
            magnitude += size[:, layer]
    magnitude = np.where(np.isfinite(magnitude), magnitude, np.finfo(float).max)
    flat = (usable.max(axis=1) - usable.min(axis=1) <= FLAT * size).all(axis=1)
    return _screened(raw, magnitude, finite, flat, oriented)


def score_samples(table: np.ndarray, margins: np.ndarray, places: np.ndarray) -> Scored:
    """Scores of configurations by a proxy of the aggregation "flips" (`operators.AGGREGATIONS`), screened likewise.

    Args:
        table: (choices, layers, samples) float64, none negative.
        margins: (samples,) float64, none negative.
        places: (m, layers), indices of choices.
    """
    choices = len(table)
    finite = np.isfinite(table).all()
    usable = table if finite else np.zeros_like(table)
    raw = kept_share(usable, margins, with_extremes(places, choices))[None]
    size = usable.max(axis=0)
    flat = (size - usable.min(axis=0) <= FLAT * size).all()
    return _screened(raw, np.ones(1), np.array([finite]), np.array([flat]), [True])


def kept_share(table: np.ndarray, margins: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(m,) float64: the mean over samples of Phi(margin / sqrt(sum over layers)). Arguments as `score_samples`."""
    total = np.zeros((len(places), len(margins)))
    with np.errstate(over="ignore"):
        for layer in range(places.shape[1]):
            total += table[:, layer].take(places[:, layer], axis=0)
    share: np.ndarray = ndtr(margins / np.sqrt(total + TINY)).mean(axis=1)
    return share


def with_extremes(places: np.ndarray, choices: int) -> np.ndarray:
    """Configurations, then fewest bits everywhere and most bits everywhere."""
    extremes = np.repeat(np.array([[0], [choices - 1]]), places.shape[1], axis=1)
    return np.concatenate([places, extremes])


def _screened(
    raw: np.ndarray, magnitude: np.ndarray, finite: np.ndarray, flat: np.ndarray, oriented: Sequence[bool]
) -> Scored:
    """Rounded, oriented and judged: raw (n, m + 2) of `with_extremes`, the rest (n,)."""
    rejected = np.full(len(raw), "", object)
    finite = finite & np.isfinite(raw).all(axis=1)
    raw = np.where(finite[:, None], raw, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
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
