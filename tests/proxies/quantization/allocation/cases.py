"""Small problems whose every configuration can be listed."""

from __future__ import annotations

import itertools

import numpy as np

from proxies.quantization.allocation import Budget, Problem, Scorer, problem
from proxies.quantization.allocation.problem import total
from proxies.quantization.layers import LayerShape


def shape(name, weights, positions=1):
    return LayerShape(name, "linear", weights, 0, 1, positions, (1,))


def shapes(weights, positions=None):
    return [shape(f"l{i}", w, p) for i, (w, p) in enumerate(zip(weights, positions or [1] * len(weights), strict=True))]


def listed(posed: Problem) -> np.ndarray:
    """All places that are allowed and fit."""
    every = np.array(list(itertools.product(*(np.flatnonzero(row) for row in posed.allowed))))
    return every[posed.fits(every)]


def brute_force(posed: Problem, table: np.ndarray) -> float:
    """The best score of any configuration."""
    return float(total(table, listed(posed)).max())


def table_scorer(layers, values, bits, additive=True):
    """A scorer whose proxy is the sum of a table (layers, bits)."""
    columns = {b: i for i, b in enumerate(bits)}

    def scores(configs):
        return total(values, np.vectorize(columns.get)(configs))

    return Scorer("table", tuple(layers), scores, (lambda wanted: values[:, [columns[b] for b in wanted]])
                  if additive else None)  # fmt: skip


def random_problem(seed, layers=5, bits=(2, 3, 4, 8), fixed=None):
    """(problem, table): a budget somewhere between the least and the most."""
    rng = np.random.default_rng(seed)
    made = shapes(rng.integers(1, 50, layers).tolist(), rng.integers(1, 20, layers).tolist())
    free = problem(made, None, bits, fixed)
    least = int(np.where(free.allowed, free.sizes(), 2**60).min(1).sum())
    most = int(np.where(free.allowed, free.sizes(), -1).max(1).sum())
    limit = least + rng.random() * (most - least)
    posed = problem(made, Budget(size_mib=float(limit) / 2**23), bits, fixed)
    return posed, rng.standard_normal(posed.allowed.shape) * 10.0 ** rng.integers(-6, 7)
