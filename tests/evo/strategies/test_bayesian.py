"""Bayesian optimisation of vectors with greedy exploitation: contract, samplers, the published rules, regression."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.errors import ConfigError
from evo.seeds import Streams
from evo.strategies import build_strategy
from evo.strategies._gaussian import fit, matern, upper_confidence_bound
from evo.strategies._linear import fit_weights
from evo.strategies._vectors import SAMPLERS, History
from evo.strategies.bayesian import BayesianOptimisation, BayesianOptions
from evo.testing.strategies import Rehearsal, StrategyContract
from tests.evo.engine import query, run
from tests.evo.strategies.problems import Bits, told
from tests.evo.strategies.ranked import Featureless, Ranked, RankedOptions

RANKED = "tests.evo.strategies.ranked:Ranked"


def make(space=None, **options):
    return BayesianOptimisation(space or Ranked(), BayesianOptions(**options))


class TestBayesianContract(StrategyContract):
    candidates = 40

    @pytest.fixture(
        params=[
            {"sampler": "random", "explore": 12},
            {"sampler": "qmc", "explore": None},
            {"sampler": "cmaes", "explore": 25, "batch": 4},
        ],
        ids=lambda options: options["sampler"],
    )
    def make_strategy(self, request):
        return lambda: make(**request.param)


class TestPublishedContract(StrategyContract):
    candidates = 14

    @pytest.fixture
    def make_strategy(self):
        return lambda: make(preset="published", explore=5, batch=2)


def a_history(told_count=6, seed=3, pending=0):
    rng = np.random.default_rng(seed)
    low, high = np.array([-1.0, 0.0, 5.0]), np.array([1.0, 0.5, 9.0])
    points = rng.uniform(low, high, size=(told_count + pending, 3))
    values = rng.standard_normal(told_count + pending)
    drawn = np.arange(told_count + pending) % 3 > 0
    return History(low, high, points, values, told_count, drawn, told_count, 11, 2.576)


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize("count", [0, 1, 12])
def test_a_sampler_stays_in_the_box_and_repeats_itself(name, count):
    history = a_history(count, pending=2 if count else 0)
    first, again = (SAMPLERS[name](history, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.shape == (3,)
    assert np.all(history.low <= first)
    assert np.all(first <= history.high)


@pytest.mark.parametrize("name", ["ucb", "gp", "tpe"])
def test_a_model_goes_where_values_are_high(name):
    """Far more often in the half with the high values than an even draw would be."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, size=(24, 2))
    low, high = np.full(2, -1.0), np.ones(2)
    history = History(low, high, points, 5 * points[:, 0], 24, np.ones(24, bool), 24, 1, 0.1)
    drawn = [SAMPLERS[name](history, np.random.default_rng(seed)) for seed in range(5)]
    assert np.mean([x[0] for x in drawn]) > 0.5


def test_cmaes_narrows_on_what_was_told():
    """After generations of values that fall away from a point, draws lie nearer to it than the box's spread."""
    rng = np.random.default_rng(1)
    goal = np.array([0.5, -0.5])
    points = goal + 0.2 * rng.standard_normal((60, 2))
    values = -((points - goal) ** 2).sum(axis=1)
    low, high = np.full(2, -1.0), np.ones(2)
    history = History(low, high, points, values, 60, np.ones(60, bool), 60, 1, 1.0)
    drawn = np.array([SAMPLERS["cmaes"](history, np.random.default_rng(seed)) for seed in range(20)])
    assert np.sqrt(((drawn - goal) ** 2).sum(axis=1)).mean() < 0.4


def test_qmc_spreads_more_evenly_than_chance():
    base = a_history(0)
    drawn = [SAMPLERS["qmc"](History(**{**fields(base), "number": i}), np.random.default_rng(0)) for i in range(16)]
    cells = np.floor((np.array(drawn)[:, 0] - base.low[0]) / (base.high[0] - base.low[0]) * 16)
    assert sorted(cells.tolist()) == list(range(16))


def fields(history):
    return {name: getattr(history, name) for name in History.__dataclass_fields__}


# The Gaussian process.


def test_a_gaussian_process_agrees_with_scikit_learn():
    """Same length scale by likelihood, same mean and deviation: scikit-learn is what the published code used."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern

    rng = np.random.default_rng(2)
    points = rng.uniform(-1, 1, size=(9, 4))
    values = 80 + 5 * np.sin(2 * points[:, 0]) + points[:, 1]
    at = rng.uniform(-1, 1, size=(7, 4))
    theirs = GaussianProcessRegressor(
        Matern(nu=2.5), alpha=1e-6, normalize_y=True, n_restarts_optimizer=5, random_state=0
    ).fit(points, values)
    ours = fit(points, values, np.random.default_rng(0))
    assert ours.scale == pytest.approx(theirs.kernel_.length_scale, rel=1e-3)
    mean, sd = theirs.predict(at, return_std=True)
    found, spread = ours.predict(at)
    assert found == pytest.approx(mean, rel=1e-4)
    assert spread == pytest.approx(sd, rel=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_the_gradient_of_the_bound_is_that_of_its_value(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, size=(6, 3))
    posterior = fit(points, rng.standard_normal(6), rng)
    at, step = rng.uniform(-1, 1, 3), 1e-6
    value, slope = posterior.bound(at, 2.576)
    mean, sd = posterior.predict(at[None])
    assert value == pytest.approx(float(mean[0] + 2.576 * sd[0]), rel=1e-9, abs=1e-9)
    if sd[0] < 1e-4:
        return  # next to a point that was told, the deviation has a kink
    for axis in range(3):
        ahead, behind = at.copy(), at.copy()
        ahead[axis] += step
        behind[axis] -= step
        difference = (posterior.bound(ahead, 2.576)[0] - posterior.bound(behind, 2.576)[0]) / (2 * step)
        assert slope[axis] == pytest.approx(difference, rel=1e-3, abs=1e-3)


def test_the_bound_is_maximised_as_well_as_a_fine_grid_does():
    rng = np.random.default_rng(8)
    points = rng.uniform(-1, 1, size=(7, 1))
    posterior = fit(points, np.cos(3 * points[:, 0]), rng)
    found = upper_confidence_bound(posterior, np.array([-1.0]), np.array([1.0]), 2.576, rng)
    grid = np.linspace(-1, 1, 5001)[:, None]
    mean, sd = posterior.predict(grid)
    assert posterior.bound(found, 2.576)[0] >= (mean + 2.576 * sd).max() - 1e-6


def test_matern_is_one_at_no_distance_and_falls():
    values = matern(np.linspace(0.0, 5.0, 50))
    assert values[0] == 1.0
    assert np.all(np.diff(values) < 0)


def test_repeated_points_do_not_break_the_fit():
    points = np.zeros((5, 2))
    posterior = fit(points, np.arange(5.0), np.random.default_rng(0))
    mean, _ = posterior.predict(np.zeros((1, 2)))
    assert mean[0] == pytest.approx(2.0, abs=0.1)


# The regression.


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_a_regression_without_noise_finds_the_weights(seed):
    rng = np.random.default_rng(seed)
    features, weights = rng.random((30, 4)), rng.standard_normal(4)
    found = fit_weights(features, 7.0 + features @ weights)
    assert found.weights == pytest.approx(weights, abs=1e-2)
    assert found.intercept == pytest.approx(7.0, abs=1e-2)


def test_a_regression_of_noise_alone_shrinks_its_weights():
    """Evidence tells noise from signal: weights of pure noise stay far below those of least squares."""
    rng = np.random.default_rng(4)
    features = rng.random((20, 6))
    shrunk, plain = [], []
    for _ in range(40):
        values = rng.standard_normal(20)
        centred = features - features.mean(axis=0)
        plain.append(np.linalg.norm(np.linalg.lstsq(centred, values - values.mean(), rcond=None)[0]))
        shrunk.append(np.linalg.norm(fit_weights(features, values).weights))
    assert np.mean(shrunk) < 0.5 * np.mean(plain)


def test_the_regression_is_that_of_scikit_learn_at_its_ratio():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(6)
    features = rng.random((15, 3))
    values = features @ np.array([1.0, 0.0, -2.0]) + 0.1 * rng.standard_normal(15)
    ours = fit_weights(features, values)
    centred = features - features.mean(axis=0)
    ratio = float((ours.precision - centred.T @ centred)[0, 0])
    theirs = Ridge(alpha=ratio).fit(features, values)
    assert ours.weights == pytest.approx(theirs.coef_, rel=1e-6)
    assert ours.intercept == pytest.approx(theirs.intercept_, rel=1e-6)


def test_the_regression_of_one_value_has_no_direction():
    found = fit_weights(np.array([[0.1, 0.9]]), np.array([3.0]))
    assert np.array_equal(found.weights, np.zeros(2))
    assert found.intercept == 3.0


# The search.


def operators(rehearsal):
    return [proposal.operator for proposal in rehearsal.proposals]


def rehearsed(strategy, until, seed=7):
    rehearsal = Rehearsal(strategy, seed=seed)
    rehearsal.run(until)
    return rehearsal


def test_the_published_search_probes_once_then_models_then_exploits():
    found = operators(rehearsed(make(preset="published", explore=5), 9))
    assert found == ["uniform", *["ucb"] * 4, *["greedy"] * 4]


def test_a_warm_start_tries_the_sum_and_each_axis_alone():
    rehearsal = rehearsed(make(warm_start="units+sum", explore=4), 4)
    assert [p.genome for p in rehearsal.proposals] == [(1.0,) * 3, (1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)]


def test_the_warm_start_alone_may_be_all_exploration():
    found = operators(rehearsed(make(explore=0), 7))
    assert found == [*["warm start"] * 4, *["greedy"] * 3]


def test_exploitation_walks_down_the_chosen_ranking_and_skips_what_is_known():
    rehearsal = rehearsed(make(preset="published", sampler="random", explore=6), 20)
    space = rehearsal.space
    explored = {space.item(p.genome) for p in rehearsal.proposals[:6]}
    best = max(range(6), key=lambda i: (rehearsal.told[i].values[0], i))
    order = [i for i in space.greedy(rehearsal.proposals[best].genome) if i not in explored]
    assert [p.genome for p in rehearsal.proposals[6:]] == order[:14]
    assert rehearsal.proposals[6].parents == (best,)


def test_of_equally_good_vectors_the_published_search_exploits_the_last():
    strategy = make(preset="published", explore=2)
    strategy.ask(0, 1, Streams(0))
    strategy.tell([told(0, (1.0,), genome=(1.0, 0.0, 0.0))])
    strategy.ask(1, 1, Streams(0))
    strategy.tell([told(1, (1.0,), genome=(0.0, 1.0, 0.0))])
    (proposal,) = strategy.ask(2, 1, Streams(0))
    assert proposal.parents == (1,)


def test_the_regression_exploits_what_all_values_say_not_the_luckiest():
    """Noise as large as the signal: over many seeds the regression's picks have the better true mean."""
    space = Ranked(RankedOptions(items=400, noise=0.3))
    clean = space.table @ np.array(space.options.hidden)

    def mean_of(choice):
        found = []
        for seed in range(12):
            rehearsal = rehearsed(make(space, sampler="random", explore=14, choice=choice), 30, seed)
            found += [clean[p.genome] for p in rehearsal.proposals if p.operator == "greedy"]
        return np.mean(found)

    assert mean_of("regression") > mean_of("observed")


def test_where_everything_is_known_nothing_more_is_proposed():
    rehearsal = Rehearsal(make(Ranked(RankedOptions(items=6)), sampler="random", explore=5), seed=7)
    while asked := rehearsal.ask(1):
        rehearsal.tell()
        last = asked[0]
    assert last.operator == "greedy"
    assert len({rehearsal.space.canonical(p.genome) for p in rehearsal.proposals}) == 6


def test_a_search_of_everything_ends_and_says_so(tmp_path):
    strategy = {"name": "bayesian", "options": {"sampler": "random", "explore": 5}}
    budget = {"evaluations": 1000, "stall": 2000}
    result = run(tmp_path, "whole", space=RANKED, options={"items": 6}, strategy=strategy, budget=budget)
    assert (result.state, result.reason) == ("finished", "strategy has nothing more to propose")
    assert result.status["functions"] == 6


def test_where_nothing_had_a_value_it_draws_evenly():
    failed = Rehearsal(
        make(warm_start="none"), seed=3, outcome=lambda t: t._replace(values=(), status="failed", rung=-1)
    )
    failed.run(30)
    assert set(operators(failed)) == {"random"}


def test_a_minimised_objective_is_searched_the_other_way():
    low = rehearsed(make(Ranked(RankedOptions(direction="minimise")), sampler="random", explore=10), 25)
    high = rehearsed(make(sampler="random", explore=10), 25)
    assert low.plain() == high.plain()


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_optunas_samplers_search_and_go_on_after_a_restore(sampler):
    whole = rehearsed(make(sampler=sampler, explore=8), 10)
    assert operators(whole).count(sampler) == 4
    half = rehearsed(make(sampler=sampler, explore=8), 6)
    rest = half.fork(make(sampler=sampler, explore=8))
    rest.run(10)
    assert rest.plain() == whole.plain()


def test_no_more_proposals_are_out_than_the_batch():
    rehearsal = Rehearsal(make(sampler="random", batch=3, explore=6), seed=1)
    assert len(rehearsal.ask(8)) == 3
    assert rehearsal.ask(8) == []
    rehearsal.tell(1)
    assert len(rehearsal.ask(8)) == 1


def test_the_engine_runs_it_to_a_budget_of_distinct_items(tmp_path):
    """Repeats cost nothing: as many evaluations as were asked for, of different items, then it ends."""
    finished = run(
        tmp_path, "ranked", space=RANKED, budget={"evaluations": 12},
        strategy={"name": "bayesian", "options": {"sampler": "random", "explore": 30}},
        loop={"chunk": 4, "lag": 4, "block": 1, "span": 4},
    )  # fmt: skip
    assert query(finished, "SELECT count(DISTINCT function) FROM observations") == [(12,)]
    assert query(finished, "SELECT count(*) > 12 FROM proposals") == [(1,)]


def test_the_engine_and_a_rehearsal_propose_the_same(tmp_path):
    """One proposal out at a time: the engine's chunks and lag leave no trace."""
    options = {"sampler": "random", "explore": 8}
    finished = run(
        tmp_path, "ranked", space=RANKED, strategy={"name": "bayesian", "options": options}, budget={"proposals": 20},
        loop={"chunk": 8, "lag": 16, "block": 4},
    )  # fmt: skip
    rehearsal = rehearsed(make(**options), 20)
    found = [
        (json.loads(genome), operator) for genome, operator in query(finished, "SELECT genome, operator FROM proposals")
    ]
    assert found == [(rehearsal.space.encode(p.genome), p.operator) for p in rehearsal.proposals]


def test_a_space_without_a_box_is_refused():
    with pytest.raises(ConfigError, match="box"):
        build_strategy("bayesian", Bits())


def test_a_regression_without_features_is_refused():
    strategy = make(Featureless(), sampler="random", explore=2, warm_start="none")
    rehearsal = Rehearsal(strategy, seed=1)
    rehearsal.run(2, lag=0)
    rehearsal.tell()
    with pytest.raises(ConfigError, match="features"):
        rehearsal.ask(1)


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "best"}, {"sampler": "nuts"}, {"explore": -1}, {"explore": 0, "warm_start": "none"}, {"batch": 0},
        {"kappa": -1.0}, {"choice": "luck"}, {"warm_start": "hot"}, {"uniform_first": -1},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match="bayesian"):
        BayesianOptions(**options)


def test_what_a_preset_leaves_open_can_be_set():
    given = BayesianOptions(preset="published", warm_start="units")
    assert (given.sampler, given.warm_start, given.uniform_first, given.choice) == ("ucb", "units", 1, "observed")
