import math

import numpy as np
import pytest
from deap import base, tools
from deap.tools.emo import assignCrowdingDist
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evo.space import Objective
from evo.strategies import select
from evo.strategies.select import Scores
from tests.evo.strategies.problems import told

MINIMISE, MAXIMISE = Objective("loss"), Objective("score", "maximise")

# Few different values, so that ties, duplicates and infinities are common.
coordinates = st.sampled_from([-math.inf, -1.0, 0.0, 0.25, 0.5, 1.0, 3.0, math.inf])


def points(min_columns=1, max_columns=3, elements=coordinates, max_rows=25):
    shapes = st.tuples(st.integers(1, max_rows), st.integers(min_columns, max_columns))
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=elements))


def as_scores(values, rungs=None):
    n = len(values)
    return Scores(np.arange(n), np.zeros(n, np.int64) if rungs is None else np.asarray(rungs), values)


def dominates(a, b):
    return bool((a >= b).all() and (a > b).any())


class TestScores:
    def test_point_upwards_whatever_the_direction(self):
        given_scores = select.scores([told(3, (1.0, 2.0)), told(4, (5.0, -6.0))], (MINIMISE, MAXIMISE))
        assert given_scores.values.tolist() == [[-1.0, 2.0], [-5.0, -6.0]]
        assert given_scores.ids.tolist() == [3, 4]

    def test_missing_too_few_and_nan_values_are_no_values(self):
        results = [told(0), told(1, (1.0,)), told(2, (math.nan, 1.0)), told(3, (1.0, 1.0), rung=-1)]
        given_scores = select.scores(results, (MINIMISE, MAXIMISE))
        assert given_scores.rungs.tolist() == [-1] * 4
        assert (given_scores.values == -math.inf).all()

    def test_infinity_is_a_value(self):
        given_scores = select.scores([told(0, (math.inf,)), told(1)], (MINIMISE,))
        assert given_scores.rungs.tolist() == [0, -1]
        assert select.ranking(given_scores).tolist() == [0, 1]

    def test_of_nothing_are_empty(self):
        given_scores = select.scores([], (MINIMISE, MAXIMISE))
        assert given_scores.values.shape == (0, 2)
        assert select.ranking(given_scores).tolist() == []
        assert select.nsga2_order(given_scores).tolist() == []

    @given(st.lists(st.tuples(st.integers(-1, 2), coordinates | st.just(math.nan), coordinates), min_size=1))
    def test_key_orders_one_at_a_time_as_ranking_does(self, rows):
        results = [told(i, row[1:], rung=row[0]) for i, row in enumerate(rows)]
        objectives = (MINIMISE, MAXIMISE)
        key = select.score_key(objectives)
        with_value = [r for r in results if key(r) is not None]
        best_first = sorted(with_value, key=lambda r: (*(-part for part in key(r)), r.id))
        order = select.ranking(select.scores(results, objectives))
        assert [results[row].id for row in order][: len(best_first)] == [r.id for r in best_first]

    def test_key_of_one_objective_agrees_with_that_of_several(self):
        for result in (told(0), told(1, (2.0,), rung=3), told(2, (math.nan,)), told(3, (2.0,), rung=-1)):
            key = select.score_key((MAXIMISE,))(result)
            assert key == ((3, 2.0) if result.id == 1 else None)


class TestRanking:
    def test_compares_the_rung_before_the_value(self):
        assert select.ranking(as_scores(np.array([[9.0], [1.0], [5.0]]), [0, 1, -1])).tolist() == [1, 0, 2]

    def test_breaks_ties_by_the_next_objective_then_by_the_smaller_id(self):
        values = np.array([[1.0, 0.0], [1.0, 2.0], [1.0, 2.0]])
        assert select.ranking(Scores(np.array([5, 9, 7]), np.zeros(3, np.int64), values)).tolist() == [2, 1, 0]

    @given(points())
    def test_places_invert_it(self, values):
        order = select.ranking(as_scores(values))
        assert (order[select.places(order)] == np.arange(len(values))).all()

    def test_truncation_leaves_out_what_has_no_value(self):
        given_scores = as_scores(np.array([[1.0], [-math.inf], [3.0]]), [0, -1, 0])
        assert select.truncation(given_scores, 3).tolist() == [2, 0]
        assert select.truncation(given_scores, 1).tolist() == [2]

    def test_distinct_keeps_the_first_of_each_function(self):
        order, functions = np.array([3, 1, 0, 2]), np.array([7, 5, 7, 5])
        assert select.distinct(order, functions).tolist() == [3, 0]


class TestDrawing:
    def test_a_tournament_is_won_by_the_best_place_drawn(self):
        place = np.random.default_rng(1).permutation(30)
        winners = select.tournament(place, 4, 500, np.random.default_rng(2))
        drawn = np.random.default_rng(2).integers(30, size=(500, 4))
        assert (place[winners] == place[drawn].min(axis=1)).all()

    def test_larger_tournaments_press_harder(self):
        place = np.arange(100)
        means = [select.tournament(place, k, 4000, np.random.default_rng(0)).mean() for k in (1, 2, 8)]
        # The expected minimum of k uniform draws from 0..n-1 is about n / (k + 1).
        assert np.allclose(means, [49.5, 33.0, 10.6], atol=2.0)

    def test_roulette_draws_in_proportion_and_never_weight_zero(self):
        drawn = select.roulette(np.array([0.0, 1.0, 0.0, 3.0, 0.0]), 8000, np.random.default_rng(0))
        shares = np.bincount(drawn, minlength=5) / 8000
        assert np.allclose(shares, [0.0, 0.25, 0.0, 0.75, 0.0], atol=0.02)
        assert shares[[0, 2, 4]].sum() == 0

    def test_roulette_without_weight_is_uniform(self):
        drawn = select.roulette(np.zeros(4), 4000, np.random.default_rng(0))
        assert np.allclose(np.bincount(drawn, minlength=4) / 4000, 0.25, atol=0.03)

    def test_linear_ranking_gives_the_best_its_pressure_and_sums_to_one(self):
        weights = select.linear_ranking_weights(np.array([2, 0, 1, 3]), 1.6)
        assert weights.sum() == pytest.approx(1.0)
        assert weights[1] * 4 == pytest.approx(1.6)
        assert weights[3] * 4 == pytest.approx(0.4)
        assert select.linear_ranking_weights(np.array([0]), 2.0).tolist() == [1.0]

    def test_uniform_parents_are_uniform(self):
        drawn = select.uniform_parents(5, 5000, np.random.default_rng(0))
        assert np.allclose(np.bincount(drawn, minlength=5) / 5000, 0.2, atol=0.02)


class TestPareto:
    @given(points(), st.data())
    def test_ranks_peel_off_fronts_rung_by_rung(self, values, data):
        rungs = np.array(data.draw(st.lists(st.integers(-1, 1), min_size=len(values), max_size=len(values))))
        values = np.where(rungs[:, None] < 0, -np.inf, values)
        ranks = select.pareto_ranks(as_scores(values, rungs))

        def beats(a, b):
            return rungs[a] > rungs[b] or (rungs[a] == rungs[b] and dominates(values[a], values[b]))

        expected, rest, front = np.zeros(len(values), np.int64), set(range(len(values))), 0
        while rest:
            best = {row for row in rest if not any(beats(other, row) for other in rest)}
            expected[list(best)] = front
            rest, front = rest - best, front + 1
        # Fronts of different rungs are never merged; within a rung the definition is the usual one.
        assert ranks.tolist() == expected.tolist()

    @settings(max_examples=50)
    @given(points(2, 3, st.floats(-100, 100, allow_subnormal=False).map(lambda x: round(x, 3))))
    def test_ranks_agree_with_deap(self, values):
        individuals = deap_individuals(values)
        ranks = select.pareto_ranks(as_scores(values))
        for number, front in enumerate(tools.sortNondominated(individuals, len(individuals))):
            assert {individual.row for individual in front} == set(np.flatnonzero(ranks == number).tolist())

    @settings(max_examples=50)
    @given(st.integers(1, 40), st.integers(2, 3), st.integers(0, 2**32 - 1))
    def test_crowding_agrees_with_deap_where_values_differ(self, n, columns, seed):
        values = np.random.default_rng(seed).normal(size=(n, columns))
        fronts = select.pareto_ranks(as_scores(values))
        ours = select.crowding_distance(values, fronts, np.arange(n))
        for front in range(fronts.max() + 1):
            rows = np.flatnonzero(fronts == front)
            individuals = deap_individuals(values[rows])
            assignCrowdingDist(individuals)
            theirs = np.array([individual.fitness.crowding_dist for individual in individuals])
            assert np.allclose(ours[rows], theirs * columns)  # DEAP divides by the number of objectives

    @given(points(1, 3))
    def test_crowding_is_never_nan_and_ends_of_fronts_are_infinite(self, values):
        fronts = select.pareto_ranks(as_scores(values))
        distance = select.crowding_distance(values, fronts, np.arange(len(values)))
        assert not np.isnan(distance).any()
        for front in range(fronts.max() + 1):
            assert np.isinf(distance[fronts == front]).any()

    def test_crowding_of_huge_values_does_not_overflow(self):
        values = np.array([[-1.7e308], [0.0], [1.7e308]])
        distance = select.crowding_distance(values, np.zeros(3, np.int64), np.arange(3))
        assert distance.tolist() == [math.inf, 1.0, math.inf]

    @given(points(2, 2))
    def test_nsga2_order_is_by_front_then_crowding(self, values):
        given_scores = as_scores(values)
        order = select.nsga2_order(given_scores)
        ranks = select.pareto_ranks(given_scores)
        distance = select.crowding_distance(values, ranks, given_scores.ids)
        keys = [(ranks[row], -distance[row], row) for row in order]
        assert keys == sorted(keys)

    def test_nsga2_order_puts_copies_last(self):
        values = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [-1.0, -1.0], [0.0, 1.0]])
        functions = np.array([0, 0, 2, 3, 4])
        order = select.nsga2_order(as_scores(values), functions).tolist()
        assert order[-1] == 1  # the copy of row 0; row 4 has the same values but is another function
        assert order[3] == 3
        assert set(order[:3]) == {0, 2, 4}

    def test_nsga2_order_does_not_depend_on_the_order_of_rows(self):
        rng = np.random.default_rng(3)
        values = rng.integers(4, size=(60, 2)).astype(float)
        given_scores, functions = as_scores(values), rng.integers(20, size=60)
        ids = given_scores.ids[select.nsga2_order(given_scores, functions)]
        shuffle = rng.permutation(60)
        shuffled = Scores(given_scores.ids[shuffle], given_scores.rungs, values[shuffle])
        assert (shuffled.ids[select.nsga2_order(shuffled, functions[shuffle])] == ids).all()


def deap_individuals(values):
    fitness = type("Fitness", (base.Fitness,), {"weights": (1.0,) * values.shape[1]})

    class Individual:
        def __init__(self, row):
            self.row = row
            self.fitness = fitness(values[row].tolist())

    return [Individual(row) for row in range(len(values))]
