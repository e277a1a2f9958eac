"""The evaluator: tables of proxies, scores of the search rows, screened, ranked, correlated with the accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xxhash

from evo.space import Observation, Request
from kernels.ranks import kendall, spearman, spearman_top
from search_spaces.emq.expression import Expression, expression
from search_spaces.emq.language import Genome
from search_spaces.emq.operators import FLIPS
from search_spaces.emq.options import EMQOptions
from search_spaces.emq.problem import Problem
from search_spaces.emq.scoring import Scored, rank_digests, score, score_samples
from search_spaces.emq.tables import Tables

VERSION = 4
"""Of the fitness: raise it when equal proxies would get other values."""


def scored(tables: Tables, expressions: Sequence[Expression], places: np.ndarray) -> Scored:
    """Scores of configurations by proxies.

    Args:
        tables: of the network.
        expressions: n that were not rejected.
        places: (m, layers), configurations as indices of choices.
    """
    over_layers = [row for row, e in enumerate(expressions) if e.aggregation != FLIPS]
    stacked = np.empty((len(over_layers), len(tables.choices), tables.n_layers))
    for at, row in enumerate(over_layers):
        stacked[at] = tables.table(expressions[row])
    some = [expressions[row] for row in over_layers]
    found = score(stacked, places, [e.aggregation for e in some], [not e.released for e in some])
    if len(some) == len(expressions):
        return found
    whole = Scored(
        np.zeros((len(expressions), len(places))),
        np.ones(len(expressions), np.int64),
        np.full(len(expressions), "", object),
    )
    for row, e in enumerate(expressions):
        if e.aggregation == FLIPS:
            _put(whole, [row], score_samples(tables.table(e), tables.margins, places))
    _put(whole, over_layers, found)
    return whole


def _put(whole: Scored, rows: Sequence[int], found: Scored) -> None:
    at = np.array(rows, np.int64)
    whole.scores[at], whole.signs[at], whole.rejected[at] = found.scores, found.signs, found.rejected


def fitness_of(scores: np.ndarray, accuracy: np.ndarray, options: EMQOptions) -> np.ndarray:
    """The rank correlation that the options name, (n,) float64, larger is better.

    Args:
        scores: (n, m) float64.
        accuracy: (m,) float64.
        options: `fitness` and `top`.
    """
    if options.fitness == "spearman":
        return spearman(scores, accuracy)
    if options.fitness == "kendall":
        return kendall(scores, accuracy)
    return spearman_top(scores, accuracy, (options.top,))[:, 0]


class EMQEvaluator:
    """Fitness of proxies on the search rows: its mean over batches of images.

    A proxy whose fitness on the first batch is below `options.screen` keeps that one, and the other batches are not
    looked at. An observation's fingerprint is the digest of the proxy's rank vectors over the search rows on the
    batches that were looked at: what fitness depends on, and nothing else. Its `extra` holds the orientation on the
    first batch and the fitness on each, or why it was rejected.

    Args:
        options: of the space.
        problem: the search network.
    """

    def __init__(self, options: EMQOptions, problem: Problem) -> None:
        self._options = options
        share = max(1, options.memory_mb // len(problem.search))
        self._tables = [Tables(gathered, share) for gathered in problem.search]
        rows = problem.search_rows
        self._places = problem.places[rows]
        self._accuracy = problem.accuracy[rows]

    def evaluate(self, requests: Sequence[Request]) -> list[list[Observation]]:
        found: list[Observation] = [_rejected("invalid")] * len(requests)
        expressions = [expression(request.genome) for request in requests]
        rows = [row for row, e in enumerate(expressions) if e.term is not None]
        if rows:
            for row, observation in zip(rows, self._observe([expressions[row] for row in rows]), strict=True):
                found[row] = observation
        for row, e in enumerate(expressions):
            if e.term is None:
                found[row] = _rejected(e.rejected)
        # nothing is drawn: each seed sees the same
        return [[o] * len(request.seeds) for o, request in zip(found, requests, strict=True)]

    def _observe(self, expressions: Sequence[Expression]) -> list[Observation]:
        first, values, digests = self._on(0, expressions)
        seen = [[value] for value in values]
        kept = [row for row, value in enumerate(values) if not first.rejected[row] and value >= self._options.screen]
        reasons = list(first.rejected)
        for batch in range(1, len(self._tables)):
            kept = [row for row in kept if not reasons[row]]
            if not kept:
                break
            result, values, more = self._on(batch, [expressions[row] for row in kept])
            for row, value, digest, reason in zip(kept, values, more, result.rejected, strict=True):
                seen[row].append(value)
                digests[row] = xxhash.xxh3_128_digest(digests[row] + digest)
                reasons[row] = reason
        return [
            _rejected(reason) if reason else _observation(found, int(sign), digest)
            for reason, found, sign, digest in zip(reasons, seen, first.signs, digests, strict=True)
        ]

    def _on(self, batch: int, expressions: Sequence[Expression]) -> tuple[Scored, list[float], list[bytes]]:
        """Scores, fitness and digests on one batch."""
        result = scored(self._tables[batch], expressions, self._places)
        values = fitness_of(result.scores, self._accuracy, self._options).tolist()
        return result, values, rank_digests(result.scores)


def _observation(values: list[float], sign: int, digest: bytes) -> Observation:
    total = 0.0
    for value in values:
        total += value
    value = total / len(values)
    status: Any = "ok" if value == value else "nan"  # NaN: constant among the rows it scores highest
    extra: dict[str, Any] = {"sign": sign}
    if len(values) > 1:
        extra["batches"] = [round(v, 6) for v in values]
    return Observation((value,), status, None, extra, "", digest)


def _rejected(reason: str) -> Observation:
    return Observation((), "invalid", None, {"rejected": reason}, f"rejected: {reason}")


__all__ = ["VERSION", "EMQEvaluator", "Genome", "fitness_of", "scored"]
