"""Selection on arrays: scores, rankings, tournaments, Pareto ranks and crowding, for whole populations at once.

Everything here is a pure function of arrays. Scores point upwards (larger is better) whatever an objective's own
direction; a candidate that reached a later rung beats every one that did not; one without a value comes last.
Ties go to the smaller id, so that an order never depends on the order in which results came.

A strategy that selects by something else (novelty, a mixture, a model's forecast) puts that in `Scores.values` and
uses the same functions: `scores(...)._replace(values=novelty[:, None])`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evo.space import Objective, Told

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Scores(NamedTuple):
    """What selection looks at, one row a candidate.

    Attributes:
        ids: candidate ids, int64 (n,).
        rungs: index of the last rung that gave a value, int64 (n,); -1 for a candidate without a value.
        values: float64 (n, n_objectives), larger is better, never NaN; -inf where there is no value.
    """

    ids: Ints
    rungs: Ints
    values: Floats


def scores(told: Sequence[Told], objectives: Sequence[Objective]) -> Scores:
    """Scores of told results.

    A result has no value if its values are missing, too few, or NaN; an infinity is a value.

    Args:
        told: n results.
        objectives: the space's objectives, in the order of `Told.values`.
    """
    width = len(objectives)
    signs = np.array([1.0 if objective.direction == "maximise" else -1.0 for objective in objectives])
    missing = (np.nan,) * width
    rows = [result.values if len(result.values) == width else missing for result in told]
    values = np.array(rows, np.float64).reshape(len(told), width) * signs
    rungs = np.fromiter((result.rung for result in told), np.int64, len(told))
    failed = np.isnan(values).any(axis=1) | (rungs < 0)
    rungs[failed] = -1
    values[failed] = -np.inf
    return Scores(np.fromiter((result.id for result in told), np.int64, len(told)), rungs, values)


def score_key(objectives: Sequence[Objective]) -> Callable[[Told], tuple[float, ...] | None]:
    """The same order for one result at a time, for strategies that are told continuously.

    Returns:
        A function from a result to a tuple (rung, value, value, ...) that compares as `ranking` does (larger is
        better, the first objective first), or None for a result without a value.
    """
    signs = tuple(1.0 if objective.direction == "maximise" else -1.0 for objective in objectives)

    if len(signs) == 1:  # the common case, told a million times
        (sign,) = signs

        def key_of_one(result: Told) -> tuple[float, ...] | None:
            values = result.values
            if result.rung < 0 or len(values) != 1 or values[0] != values[0]:
                return None
            return (result.rung, sign * values[0])

        return key_of_one

    def key(result: Told) -> tuple[float, ...] | None:
        values = result.values
        if result.rung < 0 or len(values) != len(signs) or any(value != value for value in values):
            return None
        return (result.rung, *(sign * value for sign, value in zip(signs, values, strict=True)))

    return key


def ranking(given: Scores) -> Ints:
    """Rows from best to worst, int64 (n,): by rung, then by the first objective, the second, ..., then by id."""
    keys: list[Any] = [given.ids]
    keys.extend(-given.values[:, column] for column in reversed(range(given.values.shape[1])))
    keys.append(-given.rungs)
    return np.lexsort(keys)


def places(order: Ints) -> Ints:
    """The inverse of an order: the place of each row, 0 for the best, int64 (n,)."""
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place


def distinct(order: Ints, functions: Ints) -> Ints:
    """The rows of an order that are the first of their function, in order, (n_functions,).

    Args:
        order: rows from best to worst, (n,).
        functions: function id of each row, (n,).
    """
    _, first = np.unique(functions[order], return_index=True)
    return order[np.sort(first)]


def truncation(given: Scores, n: int) -> Ints:
    """The rows of the best `n` candidates that have a value, best first, (at most n,). Also gives elites."""
    best = ranking(given)[:n]
    return best[given.rungs[best] >= 0]


def tournament(place: Ints, size: int, n: int, rng: np.random.Generator) -> Ints:
    """The winners of `n` tournaments, rows (n,).

    Args:
        place: place of each row, (n_rows,), 0 the best (see `places`); equal places tie, and the first drawn wins.
        size: contestants a tournament, drawn uniformly with replacement.
        n: number of tournaments.
        rng: draws n x size integers.
    """
    drawn = rng.integers(len(place), size=(n, size))
    winners: Ints = drawn[np.arange(n), np.argmin(place[drawn], axis=1)]
    return winners


def roulette(weights: Floats, n: int, rng: np.random.Generator) -> Ints:
    """Rows drawn with probability in proportion to their weight, with replacement, (n,).

    Args:
        weights: finite and not negative, (n_rows,); if all are zero, each row is equally likely.
    """
    total = np.cumsum(weights)
    if total[-1] <= 0:
        return rng.integers(len(weights), size=n)
    # The right side, so that a row of weight zero owns no point of the line; the last row with weight ends it.
    drawn = np.searchsorted(total, rng.random(n) * total[-1], side="right")
    rows: Ints = np.minimum(drawn, np.flatnonzero(weights)[-1])
    return rows


def linear_ranking_weights(place: Ints, pressure: float) -> Floats:
    """Weights for `roulette` that fall linearly with the place (Baker, 1985), summing to 1, (n_rows,).

    Args:
        place: place of each row, 0 the best, all different.
        pressure: expected offspring of the best row, from 1 (uniform) to 2 (the worst gets none).
    """
    n = len(place)
    if n == 1:
        return np.ones(1)
    return (pressure - 2.0 * (pressure - 1.0) * place / (n - 1)) / n


def uniform_parents(n_rows: int, n: int, rng: np.random.Generator) -> Ints:
    """Rows drawn uniformly with replacement, (n,)."""
    return rng.integers(n_rows, size=n)


def pareto_ranks(given: Scores) -> Ints:
    """The front each row belongs to, 0 for the non-dominated, int64 (n,).

    Fronts are formed among candidates that reached the same rung; those of a later rung come before all of an
    earlier one, and candidates without a value share the last front.
    """
    import moocore

    ranks = np.zeros(len(given.ids), np.int64)
    offset = 0
    values = _finite(given.values)
    for rung in np.unique(given.rungs)[::-1]:
        rows = np.flatnonzero(given.rungs == rung)
        # All without a value are equal (-inf), so the one call serves them too.
        front = moocore.pareto_rank(np.ascontiguousarray(values[rows]), maximise=True)
        ranks[rows] = front + offset
        offset += int(front.max()) + 1
    return ranks


def _finite(values: Floats) -> Floats:
    """Values in the same order, column by column, and finite: moocore 0.3.2 gives wrong ranks or a segmentation
    fault for infinities in three columns. Dominance looks at order alone, so the ranks are the same."""
    if np.isfinite(values).all():
        return values
    columns = [np.unique(column, return_inverse=True)[1] for column in values.T]
    return np.column_stack(columns).astype(np.float64)


def crowding_distance(values: Floats, fronts: Ints, ids: Ints) -> Floats:
    """Crowding distance within each front (Deb et al., 2002, section III.B), float64 (n,); larger is lonelier.

    For each objective a candidate adds the gap between its two neighbours over the front's range; the ends of a
    front get infinity. An objective that is constant over a front adds nothing but its ends. Infinite values are
    moved to the largest or smallest finite value of their column.

    Args:
        values: (n, n_objectives), any direction, no NaN.
        fronts: front of each row, (n,).
        ids: candidate ids, (n,); decide which of several equal rows is the end of a front.
    """
    n = len(values)
    distance = np.zeros(n)
    if n == 0:
        return distance
    for column in values.T:
        finite = column[np.isfinite(column)]
        clipped = np.clip(column, finite.min(), finite.max()) if len(finite) else np.zeros(n)
        clipped = clipped / max(float(np.abs(clipped).max()), np.finfo(np.float64).tiny)  # differences cannot overflow
        order = np.lexsort((ids, clipped, fronts))
        ordered, front = clipped[order], fronts[order]
        starts = np.flatnonzero(np.r_[True, front[1:] != front[:-1]])
        ends = np.r_[starts[1:], n] - 1
        spread = np.repeat(ordered[ends] - ordered[starts], ends - starts + 1)
        gaps = np.zeros(n)
        gaps[1:-1] = ordered[2:] - ordered[:-2]
        with np.errstate(divide="ignore", invalid="ignore"):
            gaps = np.where(spread > 0, gaps / spread, 0.0)
        gaps[starts] = gaps[ends] = np.inf
        distance[order] += gaps
    return distance


def nsga2_order(given: Scores, functions: Ints | None = None) -> Ints:
    """Rows from best to worst as NSGA-II sorts them: by front, then by crowding distance, then by id, int64 (n,).

    Args:
        given: scores of n candidates.
        functions: None, or function ids (n,): then copies (same function, same values) come after all others, in
            the same order among themselves, since a copy holds a place of the population and adds nothing.
    """
    if len(given.ids) == 0:
        return np.zeros(0, np.int64)
    if functions is None:
        ranks = pareto_ranks(given)
        return np.lexsort((given.ids, -crowding_distance(given.values, ranks, given.ids), ranks))
    by_id = np.argsort(given.ids, kind="stable")
    rows = np.column_stack((functions, given.rungs, given.values))[by_id]
    _, first = np.unique(rows, axis=0, return_index=True)
    original = np.zeros(len(by_id), bool)
    original[by_id[first]] = True
    parts = []
    for rows_of_part in (np.flatnonzero(original), np.flatnonzero(~original)):
        part = Scores(given.ids[rows_of_part], given.rungs[rows_of_part], given.values[rows_of_part])
        parts.append(rows_of_part[nsga2_order(part)])
    return np.concatenate(parts)
