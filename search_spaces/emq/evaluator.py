"""The evaluator: tables of proxies, scores of the search rows, screened, ranked, correlated with the accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evo.space import Observation, Request
from kernels.ranks import kendall, spearman, spearman_top
from search_spaces.emq.expression import Expression, expression
from search_spaces.emq.language import Genome
from search_spaces.emq.options import EMQOptions
from search_spaces.emq.problem import Problem
from search_spaces.emq.scoring import Scored, rank_digests, score
from search_spaces.emq.tables import Tables

VERSION = 1
"""Of the fitness: raise it when equal proxies would get other values."""


def scored(tables: Tables, expressions: Sequence[Expression], places: np.ndarray) -> Scored:
    """Scores of configurations by proxies.

    Args:
        tables: of the network.
        expressions: n that were not rejected.
        places: (m, layers), configurations as indices of choices.
    """
    stacked = np.empty((len(expressions), len(tables.choices), tables.n_layers))
    for row, e in enumerate(expressions):
        stacked[row] = tables.table(e)
    return score(stacked, places, [e.aggregation for e in expressions], [not e.released for e in expressions])


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
    """Fitness of proxies on the search rows.

    An observation's fingerprint is the digest of the proxy's rank vector over these rows: what fitness depends on, and
    nothing else. Its `extra` holds the orientation, or why it was rejected.

    Args:
        options: of the space.
        problem: the search network.
    """

    def __init__(self, options: EMQOptions, problem: Problem) -> None:
        self._options = options
        self._tables = Tables(problem.gathered, options.memory_mb)
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
        result = scored(self._tables, expressions, self._places)
        values = fitness_of(result.scores, self._accuracy, self._options).tolist()
        digests = rank_digests(result.scores)
        observations = []
        for row, (value, digest) in enumerate(zip(values, digests, strict=True)):
            if result.rejected[row]:
                observations.append(_rejected(result.rejected[row]))
            else:
                # NaN: constant among the rows it scores highest
                status: Any = "ok" if value == value else "nan"
                extra = {"sign": int(result.signs[row])}
                observations.append(Observation((value,), status, None, extra, "", digest))
        return observations


def _rejected(reason: str) -> Observation:
    return Observation((), "invalid", None, {"rejected": reason})


__all__ = ["VERSION", "EMQEvaluator", "Genome", "fitness_of", "scored"]
