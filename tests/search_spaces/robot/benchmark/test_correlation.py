"""Correlations of the benchmark against scipy; what counts as worst; the ceiling."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from search_spaces.robot.benchmark.correlation import ceiling, correlations, of_the_mean


def drawn(n=60):
    rng = np.random.default_rng(0)
    accuracy = rng.normal(size=n)
    return rng, accuracy, accuracy + rng.normal(size=n)


def test_estimates_are_scipys_and_lie_in_their_intervals():
    _, accuracy, metric = drawn()
    found = correlations({"a": metric, "b": -metric, "tied": metric.round()}, accuracy)
    for name, values in (("a", metric), ("b", -metric), ("tied", metric.round())):
        assert found[name].estimate == pytest.approx(spearmanr(values, accuracy)[0])
        assert found[name].low < found[name].estimate < found[name].high
    assert found["a"].low == pytest.approx(-found["b"].high)


def test_what_is_undefined_counts_as_worst_and_untrained_cells_do_not_count():
    _, accuracy, metric = drawn()
    undefined = metric.copy()
    undefined[:3] = np.nan
    lowest = metric.copy()
    lowest[:3] = -1e9
    assert correlations({"m": undefined}, accuracy) == correlations({"m": lowest}, accuracy)
    untrained = accuracy.copy()
    untrained[10:20] = np.nan
    kept = np.isfinite(untrained)
    assert correlations({"m": metric}, untrained)["m"].estimate == pytest.approx(
        spearmanr(metric[kept], accuracy[kept])[0]
    )


def test_infinite_values_are_ranked():
    accuracy = np.arange(10.0)
    metric = accuracy.copy()
    metric[0], metric[-1] = -np.inf, np.inf
    assert correlations({"m": metric}, accuracy)["m"].estimate == pytest.approx(1)


def test_the_ceiling_is_the_mean_over_pairs_of_seeds():
    rng, accuracy, _ = drawn()
    seeds = accuracy + rng.normal(0, 0.3, (3, 60))
    expected = np.mean([spearmanr(seeds[i], seeds[j])[0] for i, j in ((0, 1), (0, 2), (1, 2))])
    found = ceiling(seeds)
    assert found.estimate == pytest.approx(expected)
    assert found.low < expected < found.high
    assert np.isnan(ceiling(seeds[:1]).estimate)


def test_the_mean_of_more_trainings_is_steadier():
    assert of_the_mean(0.8, 1) == pytest.approx(0.8)
    assert of_the_mean(0.8, 2) == pytest.approx(1.6 / 1.8)
    assert np.isnan(of_the_mean(-0.5, 2))
