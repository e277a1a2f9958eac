import math

import pytest

from evo.errors import ConfigError
from evo.seeds import Streams
from evo.strategies import build_strategy
from evo.strategies.restart import Restart, RestartOptions, with_seeds
from evo.testing.strategies import Rehearsal, StrategyContract
from tests.evo.strategies.problems import Bits, BitsOptions, told

SMALL = {"population": 8, "tournament": 3, "initial": "mutated"}


def make(space=None, **options):
    options = {"strategy": "regularized", "options": SMALL, "after": 12, **options}
    return Restart(space or Bits(BitsOptions(length=12)), RestartOptions(**options))


class TestRestartContract(StrategyContract):
    @pytest.fixture(params=["best", "seed", "limited", "truncation", "nested", "rounds", "nested rounds"])
    def make_strategy(self, request):
        rounds = {"options": {**SMALL, "reevaluate_every": 4, "reevaluate_top": 2}, "after": 9}
        truncation = {"population": 10, "parents": 3, "elites": 2, "replicates": 2}
        options = {
            "best": {"to": "best"},
            "seed": {"to": "seed", "tolerance": 1.0},
            "limited": {"limit": 1, "after": 3},
            "truncation": {"strategy": "truncation", "options": truncation},
            "nested": {"strategy": "restart", "options": {"options": SMALL, "after": 5, "to": "seed"}},
            "rounds": rounds,
            "nested rounds": {"strategy": "restart", "options": {**rounds, "to": "seed"}, "after": 30},
        }[request.param]
        return lambda: make(**options)


def proposals(strategy, first_id, n):
    return strategy.ask(first_id, n, Streams(0))


def flat(first, n, value=1.0, **rest):
    return [told(first + i, (value,), genome=(0,) * 12, **rest) for i in range(n)]


def test_restarts_at_the_ask_after_a_plateau():
    strategy = make(after=5)
    proposals(strategy, 0, 20)
    strategy.tell(flat(0, 5))  # the first is the best so far, then four without improvement
    proposals(strategy, 20, 1)
    assert strategy.starts == (0,)
    strategy.tell(flat(5, 1))
    assert strategy.starts == (0,)
    proposals(strategy, 21, 1)
    assert strategy.starts == (0, 21)


def test_an_improvement_puts_it_off():
    strategy = make(after=5)
    proposals(strategy, 0, 20)
    strategy.tell([*flat(0, 5), told(5, (2.0,), genome=(1,) * 12), *flat(6, 4)])
    proposals(strategy, 20, 1)
    assert strategy.starts == (0,)


def test_an_improvement_within_the_tolerance_does_not():
    strategy = make(after=5, tolerance=1.5)
    proposals(strategy, 0, 20)
    strategy.tell([*flat(0, 4), told(4, (2.0,), genome=(1,) * 12), *flat(5, 1)])
    proposals(strategy, 20, 1)
    assert strategy.starts == (0, 20)


def test_reaching_a_later_rung_is_an_improvement():
    strategy = make(after=3)
    proposals(strategy, 0, 20)
    strategy.tell([*flat(0, 3, 5.0), told(3, (1.0,), rung=1, genome=(1,) * 12), *flat(4, 2, 9.0)])
    proposals(strategy, 20, 1)
    assert strategy.starts == (0,)
    assert strategy.best.id == 3


def test_repeats_of_known_functions_do_not_count():
    strategy = make(after=3)
    proposals(strategy, 0, 40)
    strategy.tell([*flat(0, 1), *flat(1, 30, function=0)])
    proposals(strategy, 40, 1)
    assert strategy.starts == (0,)


def test_failures_count_as_distinct_functions():
    strategy = make(after=3)
    proposals(strategy, 0, 10)
    strategy.tell([*flat(0, 1), told(1), told(2, (math.nan,)), told(3)])
    proposals(strategy, 10, 1)
    assert strategy.starts == (0, 10)


def test_from_the_best_the_population_begins_with_it_and_names_it():
    strategy = make(after=3, to="best")
    proposals(strategy, 0, 10)
    strategy.tell([told(0, (1.0,), genome=(0,) * 12), told(1, (7.0,), genome=(1,) * 7 + (0,) * 5), *flat(2, 3)])
    first, second = proposals(strategy, 10, 2)
    assert (first.genome, first.parents, first.operator) == ((1,) * 7 + (0,) * 5, (1,), "restart")
    assert (second.parents, second.operator) == ((10,), "flip")
    assert sum(second.genome) in (6, 8)


def test_from_the_seed_it_begins_as_at_first():
    strategy = make(after=3, to="seed")
    proposals(strategy, 0, 10)
    strategy.tell([told(0, (7.0,), genome=(1,) * 12), *flat(1, 3)])
    (first,) = proposals(strategy, 10, 1)
    assert (first.genome, first.parents, first.operator) == ((0,) * 12, (), "seed")
    assert strategy.best.id == 0


def test_late_results_of_an_earlier_start_count_for_the_best_alone():
    strategy = make(after=3, to="seed")
    proposals(strategy, 0, 10)
    strategy.tell(flat(0, 4))
    proposals(strategy, 10, 1)
    strategy.tell([told(4, (9.0,), genome=(1,) * 12), *flat(5, 5)])
    assert strategy.best.id == 4
    assert strategy.inner.state()["population"] == []
    proposals(strategy, 11, 1)
    assert strategy.starts == (0, 10)


def test_a_start_is_judged_against_its_own_best():
    strategy = make(after=3, to="seed")
    proposals(strategy, 0, 10)
    strategy.tell(flat(0, 4, 9.0))
    proposals(strategy, 10, 10)
    strategy.tell([told(10 + i, (float(i),), genome=(0,) * 12) for i in range(8)])
    proposals(strategy, 20, 1)
    assert strategy.starts == (0, 10)
    assert strategy.best.id == 0


def test_the_limit_is_kept():
    strategy = make(after=1, limit=2, to="seed")
    first = 0
    for _ in range(6):
        proposals(strategy, first, 3)
        strategy.tell(flat(first, 3))
        first += 3
    assert strategy.starts == (0, 3, 6)


def test_infinite_bests_survive_json():
    strategy = make(after=50)
    proposals(strategy, 0, 2)
    strategy.tell([told(0, (-math.inf,), genome=(0,) * 12)])
    rehearsal = Rehearsal(strategy)
    rehearsal.told = {0: told(0, (-math.inf,), genome=(0,) * 12)}
    assert rehearsal.fork(make(after=50)).strategy.state() == strategy.state()


def test_a_strategy_that_begins_from_samples_cannot_restart_from_the_best():
    with pytest.raises(ConfigError, match="begins from samples alone"):
        make(options={"initial": "sample"})


def test_options_of_the_inner_strategy_are_checked():
    with pytest.raises(ConfigError, match="no option 'tournment'"):
        make(options={"tournment": 3})


@pytest.mark.parametrize("options", [{"after": 0}, {"tolerance": -1.0}, {"to": "top"}, {"limit": -1}])
def test_options_out_of_range_are_refused_by_name(options):
    (name,) = options
    with pytest.raises(ConfigError, match=rf"restart\.{name} is"):
        RestartOptions(**options)


def again(candidate_id, of, value, first, seed=1, **rest):
    """The re-evaluation of candidate `of`, whose first value was `first`, with one fresh observation."""
    result = told(candidate_id, (value,), function=of, operator="reevaluate", parents=(of,), new=False, **rest)
    return result._replace(observations=((seed, (value,)),), before=(first,))


def test_a_restart_begins_from_the_best_mean_and_not_from_a_lucky_score():
    strategy = make(after=4, to="best")
    proposals(strategy, 0, 10)
    lucky, solid = (1,) * 7 + (0,) * 5, (1,) * 6 + (0,) * 6
    strategy.tell([told(0, (9.0,), genome=lucky), told(1, (6.0,), genome=solid)])
    assert strategy.best.id == 0
    strategy.tell([again(2, 0, 1.0, 9.0, genome=lucky), again(3, 1, 7.0, 6.0, genome=solid)])
    assert (strategy.best.id, strategy.best.values) == (1, (6.5,))
    strategy.tell(flat(4, 4))
    (first,) = proposals(strategy, 10, 1)
    assert (first.genome, first.parents, first.operator) == (solid, (1,), "restart")


def test_a_score_without_re_evaluation_is_not_what_a_restart_begins_from():
    strategy = make(after=4, to="best")
    proposals(strategy, 0, 12)
    strategy.tell([told(0, (5.0,), genome=(1,) * 12), again(1, 0, 5.0, 5.0, genome=(1,) * 12)])
    strategy.tell([told(2, (50.0,), genome=(0,) * 12), *flat(3, 4)])
    (first,) = proposals(strategy, 12, 1)
    assert (first.genome, first.parents) == ((1,) * 12, (0,))


def test_an_improvement_that_proves_to_be_luck_does_not_put_a_restart_off():
    def told_so_far(refuted):
        strategy = make(after=6)
        proposals(strategy, 0, 30)
        strategy.tell([told(0, (5.0,), genome=(1,) * 12), again(1, 0, 5.0, 5.0, genome=(1,) * 12)])
        strategy.tell([*flat(2, 3), told(5, (9.0,), genome=(0,) * 12)])
        strategy.tell([again(6, 5, -1.0 if refuted else 9.0, 9.0, genome=(0,) * 12), *flat(7, 2)])
        proposals(strategy, 30, 1)
        return strategy.starts

    assert told_so_far(refuted=True) == (0, 30)
    assert told_so_far(refuted=False) == (0,)


def test_a_claim_that_nobody_evaluates_again_holds_as_it_always_did():
    strategy = make(after=3)
    proposals(strategy, 0, 30)
    strategy.tell([told(0, (5.0,), genome=(1,) * 12), again(1, 0, 5.0, 5.0, genome=(1,) * 12)])
    strategy.tell([*flat(2, 2), told(4, (9.0,), genome=(0,) * 12), *flat(5, 2)])
    proposals(strategy, 30, 1)
    assert strategy.starts == (0,)
    strategy.tell(flat(7, 1))
    proposals(strategy, 31, 1)
    assert strategy.starts == (0, 31)


def test_a_fresh_start_knows_the_means_of_earlier_ones():
    rounds = {**SMALL, "initial": "seed", "reevaluate_every": 2, "reevaluate_top": 1}
    strategy = make(after=3, to="seed", options=rounds)
    proposals(strategy, 0, 8)
    seed = (0,) * 12
    strategy.tell([told(0, (9.0,), genome=seed), again(1, 0, 1.0, 9.0, genome=seed), *flat(2, 4)])
    first = proposals(strategy, 20, 1)
    assert strategy.starts == (0, 20)
    assert first[0].operator == "seed"
    strategy.tell([told(20, (9.0,), genome=seed, function=0)])
    proposals(strategy, 21, 1)
    assert strategy.inner._keys == [(0, 5.0)]


def test_rounds_rarer_than_restarts_are_refused():
    with pytest.raises(ConfigError, match=r"restart\.after is 12, not more than the 12 distinct functions"):
        make(options={**SMALL, "reevaluate_every": 12})


def test_restarts_leave_a_trap():
    """A deceptive problem: the number of ones, but all zeros is worth most. Climbing never finds it again once it
    has left; restarts from the seed tell it each time, and the best of all starts is kept."""

    def deceptive(result):
        return result._replace(values=(30.0 if sum(result.genome) == 0 else result.values[0],))

    rehearsal = Rehearsal(make(to="seed", after=20), outcome=deceptive)
    rehearsal.run(400)
    assert len(rehearsal.strategy.starts) > 3
    assert rehearsal.strategy.best.values == (30.0,)


def test_with_seeds_changes_the_seeds_and_nothing_else():
    space = Bits(BitsOptions(length=3))
    other = with_seeds(space, [(1, 1, 1)])
    assert other.seeds() == ((1, 1, 1),)
    assert other.name == "bits"
    assert other.canonical((1, 0, 1)) == space.canonical((1, 0, 1))
    strategy = build_strategy("regularized", other, {"population": 2, "crossover": 0.5})
    assert strategy.ask(0, 1, Streams(0))[0].genome == (1, 1, 1)
