"""Rounds of re-evaluation: who is asked for again, under which numbers, and that no lucky score is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from evo.errors import ConfigError
from evo.seeds import Streams
from evo.space import BaseSpace, Breed, Objective, Observation, Reevaluate, Rung, Variation
from evo.strategies._pool import Pool
from evo.strategies.regularized import ROUNDS, RegularizedEvolution, RegularizedOptions
from evo.testing.strategies import Rehearsal
from tests.evo.strategies.problems import Bits, BitsOptions, told

ROUND = {"initial": "sample", "tournament": 4, "reevaluate_every": 4, "reevaluate_top": 2, "reevaluate_replicates": 3}


def make(space=None, **options):
    return RegularizedEvolution(space or Bits(), RegularizedOptions(**{"population": 8, **ROUND, **options}))


def results(*values, first=0, **rest):
    return [told(first + i, (value,), genome=(0,) * 40, **rest) for i, value in enumerate(values)]


def again(candidate_id, of, *observed, first, status="ok", function=None):
    mean = (sum(observed) / len(observed),) if observed else ()
    result = told(
        candidate_id, mean, status, function=of if function is None else function, operator="reevaluate",
        parents=(of,), new=False, genome=(0,) * 40, rung=0,
    )  # fmt: skip
    seeds = tuple((100 * candidate_id + i, (value,)) for i, value in enumerate(observed))
    return result._replace(observations=seeds, before=(first,))


def reevaluated(proposals):
    return [(p.candidate, p.replicates) for p in proposals if isinstance(p, Reevaluate)]


def ask(strategy, first_id, n):
    return strategy.ask(first_id, n, Streams(0))


class TestWhoIsAskedForAgain:
    def test_the_best_distinct_functions_best_first_when_enough_are_new(self):
        strategy = make()
        ask(strategy, 0, 8)
        strategy.tell(results(1.0, 5.0, 3.0))
        assert reevaluated(ask(strategy, 8, 4)) == []
        strategy.tell(results(4.0, first=3))
        proposals = ask(strategy, 12, 4)
        assert reevaluated(proposals) == [(1, (1, 2, 3)), (3, (1, 2, 3))]
        assert [isinstance(p, Breed) for p in proposals] == [False, False, True, True]
        assert reevaluated(ask(strategy, 16, 4)) == [], "one round, then the count begins anew"

    def test_copies_of_one_function_take_one_place(self):
        strategy = make()
        ask(strategy, 0, 8)
        strategy.tell([*results(9.0, 9.0, 9.0, function=0), *results(1.0, 2.0, 3.0, first=3)])
        assert reevaluated(ask(strategy, 12, 4)) == [(0, (1, 2, 3)), (5, (1, 2, 3))]

    def test_hits_do_not_bring_a_round_nearer(self):
        strategy = make()
        ask(strategy, 0, 8)
        strategy.tell([*results(1.0), *results(*[1.0] * 30, first=1, function=0)])
        assert reevaluated(ask(strategy, 40, 4)) == []

    def test_the_best_ever_told_is_asked_for_though_it_died(self):
        strategy = make(population=2)
        ask(strategy, 0, 8)
        strategy.tell(results(50.0, 1.0, 2.0, 3.0))
        assert reevaluated(ask(strategy, 12, 4)) == [(0, (1, 2, 3)), (3, (1, 2, 3)), (2, (1, 2, 3))]

    def test_later_rounds_use_numbers_not_used_before_for_the_function(self):
        strategy = make(reevaluate_top=1)
        ask(strategy, 0, 8)
        strategy.tell(results(1.0, 2.0, 3.0, 9.0))
        assert reevaluated(ask(strategy, 8, 1)) == [(3, (1, 2, 3))]
        strategy.tell([again(8, 3, 9.0, 9.0, 9.0, first=9.0), *results(1.0, 1.0, 1.0, 1.0, first=20)])
        assert reevaluated(ask(strategy, 30, 1)) == [(3, (4, 5, 6))]

    def test_one_that_is_out_for_re_evaluation_is_not_asked_for_again(self):
        strategy = make(reevaluate_top=1)
        ask(strategy, 0, 8)
        strategy.tell(results(1.0, 2.0, 3.0, 9.0))
        assert reevaluated(ask(strategy, 8, 1)) == [(3, (1, 2, 3))]
        strategy.tell(results(1.0, 1.0, 1.0, 1.0, first=20))
        assert reevaluated(ask(strategy, 30, 2)) == []

    def test_a_round_goes_on_in_the_next_ask_where_this_one_was_too_short(self):
        strategy = make()
        ask(strategy, 0, 8)
        strategy.tell(results(1.0, 2.0, 3.0, 4.0))
        assert reevaluated(ask(strategy, 8, 1)) == [(3, (1, 2, 3))]
        assert reevaluated(ask(strategy, 9, 5)) == [(2, (1, 2, 3))]

    def test_those_that_a_hurdle_stopped_are_not(self):
        class TwoRungs(Bits):
            rungs = (Rung("screen"), Rung("search", 2))

        strategy = make(TwoRungs())
        ask(strategy, 0, 8)
        strategy.tell([*results(9.0, 9.0, 9.0, status="stopped", rung=0), *results(1.0, first=3, rung=1)])
        assert reevaluated(ask(strategy, 8, 3)) == [(3, (2, 3, 4))], "and numbers begin beyond the first evaluation's"

    def test_a_function_is_left_alone_after_many(self):
        strategy = make(reevaluate_top=1)
        ask(strategy, 0, 8)
        strategy.tell(results(9.0))
        numbers = []
        for first in range(0, 20 * (ROUNDS + 5), 20):
            strategy.tell(results(1.0, 1.0, 1.0, 1.0, first=first + 1))
            given = dict(reevaluated(ask(strategy, first + 10, 3)))
            if 0 in given:
                numbers += given[0]
                strategy.tell([again(first + 10, 0, 9.0, 9.0, 9.0, first=9.0)])
        assert numbers == list(range(1, 1 + 3 * ROUNDS))


class TestPooledScores:
    def prepared(self, **options):
        """Candidate 0 with a lucky 9, and 1, ..., 4 worth what their ids say; 0 and 4 are being evaluated again."""
        strategy = make(tournament=64, **options)
        ask(strategy, 0, 8)
        strategy.tell(results(9.0, 1.0, 2.0, 3.0, 4.0))
        assert [c for c, _ in reevaluated(ask(strategy, 8, 2))] == [0, 4]
        return strategy

    def parents(self, strategy, first_id=1000, n=30):
        return {p.parents[0] for p in ask(strategy, first_id, n) if isinstance(p, Breed) and p.parents}

    def test_a_lucky_member_loses_its_place_at_once(self):
        strategy = self.prepared()
        assert self.parents(strategy) == {0}
        strategy.tell([again(8, 0, 0.0, 0.0, 1.0, first=9.0)])
        assert self.parents(strategy) == {4}

    def test_every_living_member_and_every_later_hit_of_the_function_has_the_mean(self):
        strategy = self.prepared()
        strategy.tell(results(9.0, function=0, first=5))
        strategy.tell([again(8, 0, 0.0, 0.0, 1.0, first=9.0)])
        strategy.tell(results(9.0, function=0, first=6))
        ask(strategy, 100, 1)
        keys = dict(zip(strategy.state()["population"], strategy._keys, strict=True))
        assert keys[0] == keys[5] == keys[6] == (0, 2.5)
        assert keys[4] == (0, 4.0)

    def test_one_that_fails_on_a_fresh_seed_loses_against_everybody(self):
        strategy = self.prepared()
        strategy.tell([again(8, 0, first=9.0, status="failed")])
        strategy.tell(results(9.0, function=0, first=5))
        assert self.parents(strategy) == {4}
        assert strategy._keys[0] == strategy._keys[5] == (-1.0, -math.inf)

    def test_a_time_out_says_nothing(self):
        strategy = self.prepared()
        strategy.tell([again(8, 0, first=9.0, status="timeout")])
        assert self.parents(strategy) == {0}

    def test_a_mean_counts_the_first_evaluation_by_its_replicates(self):
        class Four(Bits):
            rungs = (Rung("search", 4),)

        strategy = make(Four(), tournament=64)
        ask(strategy, 0, 8)
        strategy.tell(results(9.0, 1.0, 1.0, 1.0))
        ask(strategy, 8, 2)
        strategy.tell([again(8, 0, 1.0, 2.0, 3.0, first=9.0)])
        ask(strategy, 20, 1)
        assert strategy._keys[0] == (0, (4 * 9.0 + 6.0) / 7)

    def test_the_order_in_which_re_evaluations_are_told_does_not_matter(self):
        given = [(8, (0.1, 0.7, 1e-9)), (9, (0.3, -0.2, 5e8)), (10, (1 / 3, 2 / 3, 7.0))]
        found = set()
        for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
            pool = Pool(Bits())
            for index in order:
                candidate_id, observed = given[index]
                pool.tell(again(candidate_id, 3, *observed, first=0.1))
            found.add(pool.key(3))
        assert len(found) == 1


class TestForgetting:
    def test_the_longest_untouched_is_forgotten_and_what_is_out_is_kept(self):
        pool = Pool(Bits(), limit=3)
        for function in (1, 2, 3):
            assert pool.numbers(function, 100 + function, 2) == (1, 2)
            pool.tell(again(100 + function, function, 1.0, 1.0, first=5.0))
        pool.tell(told(7, (5.0,), function=1))  # a hit: 1 is in use
        pool.numbers(2, 200, 2)  # 2 is out again
        pool.numbers(4, 201, 2)
        assert [pool.known(function) for function in (1, 2, 3, 4)] == [True, True, False, False]
        assert pool.asked(3) == 0

    def test_members_of_a_forgotten_function_have_their_own_score_again_as_after_a_restore(self):
        strategy = make(tournament=64)
        strategy._pool = Pool(Bits(), limit=2)
        ask(strategy, 0, 8)
        first = results(9.0, 1.0, 2.0, 3.0)
        strategy.tell(first)
        ask(strategy, 8, 1)
        strategy.tell([again(8, 0, 0.0, 0.0, 0.0, first=9.0)])
        ask(strategy, 20, 1)
        assert strategy._keys[0] == (0, 9.0 / 4)
        for function in (1, 2):
            strategy.tell([again(20 + function, function, 1.0, first=1.0)])
        ask(strategy, 30, 1)
        assert strategy._keys[0] == (0, 9.0)


@dataclass(frozen=True)
class NoisyOptions:
    """`luck`: standard deviation of a seed's effect on one genome."""

    luck: float = 3.0


class NoisyEvaluator:
    def __init__(self, luck: float) -> None:
        self.luck = luck

    def evaluate(self, requests):
        return [[self._one(request.genome, seed) for seed in request.seeds] for request in requests]

    def _one(self, genome, seed):
        luck = self.luck * np.random.default_rng([seed, genome]).standard_normal()
        return Observation((-0.01 * abs(genome - 500) + luck,))


class Noisy(BaseSpace):
    """A thousand integers with a peak at 500 worth 0, and five at the ends worth -5; luck is worth as much."""

    name = "noisy"
    Options = NoisyOptions
    objectives = (Objective("worth", "maximise"),)
    rungs = (Rung("search"),)

    def sample(self, rng):
        return int(rng.integers(1000))

    def mutate(self, genome, rng):
        return Variation(int(np.clip(genome + rng.integers(-100, 101), 0, 999)), "step")

    def canonical(self, genome):
        return genome.to_bytes(2, "big")

    def evaluator(self, prepared):
        return NoisyEvaluator(self.options.luck)


def worth(genome):
    return -0.01 * abs(genome - 500)


@pytest.mark.parametrize("seed", range(4))
def test_on_a_noisy_problem_the_lucky_score_is_dropped_and_the_best_is_what_it_says(seed):
    space = Noisy(NoisyOptions())
    plain = Rehearsal(RegularizedEvolution(space, RegularizedOptions(population=30, initial="sample")), seed)
    plain.run(700)
    lucky = plain.best()
    assert lucky.values[0] > 5.0 > 0.0 >= worth(lucky.genome), "the best of hundreds of draws is luck"

    options = RegularizedOptions(
        population=30, initial="sample", reevaluate_every=25, reevaluate_top=5, reevaluate_replicates=5
    )
    rounds = Rehearsal(RegularizedEvolution(space, options), seed)
    rounds.run(700)
    rounds.tell()
    best = rounds.strategy._pool.best()
    luckiest = rounds.best()
    assert best.function != luckiest.function or best.values[0] < luckiest.values[0] - 2.0
    assert best.values[0] - worth(best.genome) < (lucky.values[0] - worth(lucky.genome)) / 2
    again = [p for p in rounds.proposals if isinstance(p, Reevaluate)]
    used = {(rounds.told[p.candidate].function, number) for p in again for number in p.replicates}
    assert len(used) == 5 * len(again), "no function is evaluated twice under one number"


@pytest.mark.parametrize(
    "options", [{"reevaluate_every": 0}, {"reevaluate_top": 0}, {"reevaluate_replicates": 0}], ids=str
)
def test_options_out_of_range_are_refused_by_name(options):
    (name,) = options
    with pytest.raises(ConfigError, match=rf"regularized\.{name} is"):
        RegularizedOptions(**options)


def test_without_rounds_nothing_is_kept_for_them():
    rehearsal = Rehearsal(RegularizedEvolution(Bits(BitsOptions(length=12)), RegularizedOptions(population=8)))
    rehearsal.run(60)
    assert all(isinstance(p, Breed) for p in rehearsal.proposals)
    assert rehearsal.strategy._results == []
    assert rehearsal.strategy.state()["pool"] is None
