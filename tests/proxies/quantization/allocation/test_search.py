"""The integer program finds what listing every configuration finds; evolution finds it too, and never overspends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.errors import ProxyError
from proxies.quantization.allocation import Budget, EvolutionOptions, evolve, pareto_front, problem, solve
from proxies.quantization.allocation.front import exact_front, undominated
from proxies.quantization.allocation.problem import total
from proxies.quantization.allocation.variation import Variation
from tests.proxies.quantization.allocation.cases import (
    brute_force,
    listed,
    random_problem,
    shapes,
    table_scorer,
)

QUICK = EvolutionOptions(evaluations=3000, population=24, patience=10)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100_000), st.integers(1, 5))
def test_the_integer_program_finds_the_optimum(seed, layers):
    posed, table = random_problem(seed, layers, fixed={"l0": 6} if seed % 3 == 0 else None)
    found = solve(posed, table)
    best = brute_force(posed, table)
    assert found.optimal
    assert posed.fits(found.places[None])[0]
    assert posed.allowed[np.arange(layers), found.places].all()
    assert found.score == total(table, found.places[None])[0]
    assert found.score == pytest.approx(best, abs=1e-9 * np.abs(table).sum())
    assert found.bound >= best - 1e-9 * np.abs(table).sum()
    assert found.bound == pytest.approx(found.score, abs=1e-8 * np.abs(table).sum())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100_000))
def test_two_limits_hold_at_once(seed):
    rng = np.random.default_rng(seed)
    made = shapes(rng.integers(1, 50, 4).tolist(), rng.integers(1, 20, 4).tolist())
    free = problem(made, None)
    row = rng.integers(0, 4, (1, 4))
    costs = free.costs_of(row[0])
    posed = problem(made, Budget(size_mib=costs["size_mib"], giga_bops=costs["giga_bops"]))
    table = np.cumsum(rng.random(free.allowed.shape), 1)
    assert solve(posed, table).score == pytest.approx(brute_force(posed, table), rel=1e-9)


def test_of_equal_bits_the_fewest_are_taken_and_a_constant_table_spends_nothing():
    posed = problem(shapes([5, 7]), Budget(mean_bits=8))
    assert posed.config(solve(posed, np.array([[0, 1, 1, 1.0], [1, 1, 1, 1]])).places) == {"l0": 3, "l1": 2}
    assert posed.config(solve(posed, np.zeros((2, 4))).places) == {"l0": 2, "l1": 2}


def test_a_limit_is_kept_to_the_bit_for_layers_of_very_different_sizes():
    made = shapes([1, 3, 10**9 + 7, 10**6 + 3])
    table = np.tile([0.0, 1, 2, 3], (4, 1))
    for spare in (0, 1, 2, 4):
        limit = 2 * sum(s.weights for s in made) + (10**9 + 7) + spare
        posed = problem(made, Budget(size_mib=limit / 2**23))
        assert solve(posed, table).score == brute_force(posed, table)


@pytest.mark.parametrize(
    ("table", "says"),
    [(np.zeros((2, 3)), "expected"), (np.full((2, 4), np.nan), "layer l0 is not finite"),
     (np.array([[0, 0, 0, 1e308]] * 2), "more than a float64")],
)  # fmt: skip
def test_tables_that_cannot_be_solved_are_refused(table, says):
    with pytest.raises(ProxyError, match=says):
        solve(problem(shapes([1, 2]), Budget(mean_bits=3)), table)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 100_000), st.integers(1, 8))
def test_evolution_reaches_the_optimum_of_additive_proxies(seed, layers):
    posed, table = random_problem(seed, layers)
    scorer = table_scorer(posed.shapes, table, posed.bits)
    found = evolve(posed, scorer.scores, QUICK)
    assert posed.fits(found.places[None])[0]
    assert found.score == pytest.approx(solve(posed, table).score, abs=1e-9 * np.abs(table).sum())
    assert not found.optimal
    assert found.evaluations <= QUICK.evaluations


def test_evolution_finds_what_no_sum_can_express():
    posed, _ = random_problem(5, 6)

    def score(configs):  # the worst layer counts
        return -(np.abs(configs - [3, 8, 2, 4, 3, 2]) * [1, 2, 3, 1, 2, 3]).max(1).astype(float)

    best = score(posed.configs(listed(posed))).max()
    assert evolve(posed, score, QUICK).score == best


def test_evolution_repeats_itself_and_scores_nothing_twice():
    posed, table = random_problem(11, 7)
    scorer, seen = table_scorer(posed.shapes, table, posed.bits), []

    def score(configs):
        seen.extend(map(bytes, configs))
        assert posed.fits(np.searchsorted(posed.bits, configs)).all()
        return scorer.scores(configs)

    first = evolve(posed, score, QUICK)
    assert len(seen) == len(set(seen)) == first.evaluations
    again = evolve(posed, scorer.scores, QUICK)
    assert (first.places == again.places).all()
    assert first.evaluations == again.evaluations


def test_evolution_keeps_to_its_evaluations_and_takes_nan_for_the_worst():
    posed, _ = random_problem(3, 7)
    few = evolve(posed, lambda c: c.sum(1).astype(float), EvolutionOptions(evaluations=10, population=4))
    assert few.evaluations == 10
    found = evolve(posed, lambda c: np.where(c[:, 0] == 2, 1.0, np.nan), QUICK)
    assert posed.config(found.places)["l0"] == 2
    with pytest.raises(ProxyError, match="no configuration with a number"):
        evolve(posed, lambda c: np.full(len(c), np.nan), QUICK)
    with pytest.raises(ProxyError, match="gives scores"):
        evolve(posed, lambda c: c.astype(float), QUICK)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000), st.integers(1, 9))
def test_every_variation_fits_and_is_allowed(seed, layers):
    posed, _ = random_problem(seed, layers, fixed={"l0": 5} if seed % 2 else None)
    rng, vary = np.random.default_rng(seed), Variation(posed)
    people = vary.first(12, rng)
    children = vary.children(people, people[::-1], rng)
    around = vary.neighbours(people[0])
    for rows in (people, children, around):
        assert posed.fits(rows).all()
        assert posed.allowed[np.arange(layers), rows].all()
    distance = (around != people[0]).sum(1)
    assert set(distance.tolist()) <= {1, 2}
    single = {bytes(r) for r in listed(posed)[(listed(posed) != people[0]).sum(1) == 1]} if layers < 5 else set()
    assert single <= {bytes(r) for r in around}


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 100_000))
def test_a_front_is_exact_ascending_and_undominated(seed):
    posed, table = random_problem(seed, 4)
    front = exact_front(posed, table, 9, "size_mib")
    sizes = [posed.costs_of(s.places)["size_mib"] for s in front]
    values = [s.score for s in front]
    assert sizes == sorted(set(sizes))
    assert values == sorted(set(values))
    every = listed(problem(posed.shapes, None, posed.bits))
    spent, scores = total(posed.sizes(), every), total(table, every)
    for size, value in zip(sizes, values, strict=True):
        assert value == pytest.approx(scores[spent <= size * 2**23].max(), abs=1e-9 * np.abs(table).sum())


def test_an_evolved_front_lies_on_the_exact_one():
    posed, table = random_problem(8, 5)
    table = np.sort(table, 1)
    every = listed(problem(posed.shapes, None, posed.bits))
    spent, scores = total(posed.sizes(), every), total(table, every)
    scorer = table_scorer(posed.shapes, table, posed.bits, additive=False)
    front = pareto_front(scorer, points=500, evolution=QUICK)
    true = {(spent[p] / 2**23, scores[p]) for p in undominated(scores, spent)}
    found = {(a.size_mib, a.score) for a in front}
    assert found == true
    thin = pareto_front(scorer, points=5, evolution=QUICK)
    assert 2 <= len(thin) <= 5
    assert {thin[0].size_mib, thin[-1].size_mib} == {min(true)[0], max(true)[0]}


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 5)), min_size=1, max_size=30))
def test_undominated_points_are_those_that_nothing_beats(points):
    scores, costs = (np.array(values, float) for values in zip(*points, strict=True))
    kept = undominated(scores, costs)
    beats = [
        any((s >= t and c <= d) and (s > t or c < d) for s, c in points) for t, d in points
    ]  # fmt: skip
    assert {points[i] for i in kept} == {p for p, beaten in zip(points, beats, strict=True) if not beaten}
    assert len({points[i] for i in kept}) == len(kept)
