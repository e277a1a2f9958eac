"""The contract tests must be able to fail: strategies with one fault each, and the test that finds it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from evo.space import Breed, Reevaluate
from evo.strategies.random import RandomSearch
from evo.strategies.regularized import RegularizedEvolution, RegularizedOptions
from evo.strategies.truncation import TruncationGA, TruncationOptions
from evo.testing.strategies import Rehearsal, StrategyContract, _all_fail
from tests.evo.strategies.problems import Bits, BitsOptions


class DrawsByCall(RandomSearch):
    """Draws from one stream a call of ask instead of one a candidate."""

    def ask(self, first_id, n, streams):
        rng = streams(first_id, "sample")
        return [Breed(self.space.sample(rng)) for _ in range(n)]


class LearnsByCall(RegularizedEvolution):
    """Takes in the first result of each call alone."""

    def tell(self, results):
        super().tell(results[:1])


class Forgets(RegularizedEvolution):
    """Restores everything but the population's order."""

    def restore(self, state, fetch):
        super().restore({**state, "population": state["population"][::-1]}, fetch)


class UsesTheGlobalGenerator(RandomSearch):
    def ask(self, first_id, n, streams):
        return [Breed(tuple(random.choices((0, 1), k=40))) for _ in range(n)]


class ReevaluatesTheFuture(RandomSearch):
    def ask(self, first_id, n, streams):
        proposals = super().ask(first_id, n, streams)
        return [*proposals[:-1], Reevaluate(first_id)] if len(proposals) > 1 else proposals


class Peeks(RandomSearch):
    """Draws from the stream of another candidate."""

    def ask(self, first_id, n, streams):
        streams(first_id + n, "sample").random()
        return super().ask(first_id, n, streams)


class KeepsResults(RandomSearch):
    """State that is no JSON."""

    def state(self):
        return {**super().state(), "last": np.float32(1.0)}


class Overasks(RandomSearch):
    def ask(self, first_id, n, streams):
        return super().ask(first_id, n + 1, streams)


class GivesUp(RegularizedEvolution):
    """Proposes nothing more when everything failed."""

    def ask(self, first_id, n, streams):
        return super().ask(first_id, n, streams) if first_id < 20 or self._members else []


class CountsWhileWaiting(TruncationGA):
    """Changes its state when asked in vain."""

    def ask(self, first_id, n, streams):
        proposals = super().ask(first_id, n, streams)
        if not proposals:
            self._initial.proposed += 1
        return proposals


CONTRACT = StrategyContract()


def regularized(strategy):
    return lambda: strategy(Bits(), RegularizedOptions(population=12, tournament=3, initial="sample"))


def plain(strategy):
    return lambda: strategy(Bits())


def cut(make):
    CONTRACT.test_proposals_do_not_depend_on_how_asking_and_telling_are_cut(make, 7)


def restored(make):
    CONTRACT.test_a_restored_strategy_goes_on_identically(make, 0)


def failing(make):
    CONTRACT.test_survives_failures_nan_and_infinities(make, _all_fail)


@pytest.mark.parametrize(
    ("make", "test"),
    [
        (plain(DrawsByCall), cut),
        (regularized(LearnsByCall), cut),
        (regularized(Forgets), restored),
        (plain(UsesTheGlobalGenerator), CONTRACT.test_touches_no_global_random_state),
        (plain(ReevaluatesTheFuture), CONTRACT.test_names_earlier_candidates_as_parents_and_re_evaluates_told_ones),
        (plain(Peeks), CONTRACT.test_draws_from_the_streams_of_the_candidates_it_proposes_alone),
        (plain(KeepsResults), CONTRACT.test_its_state_is_plain_json_that_names_told_candidates_alone),
        (plain(Overasks), CONTRACT.test_the_same_seed_gives_the_same_run_and_another_seed_another),
        (regularized(GivesUp), failing),
        (
            lambda: CountsWhileWaiting(Bits(), TruncationOptions(population=10, parents=3, elites=0)),
            CONTRACT.test_while_it_waits_asking_again_changes_nothing,
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_faulty_strategy_is_found(make, test):
    with pytest.raises((AssertionError, TypeError, KeyError)):
        test(make)


def test_a_contract_without_strategy_says_what_is_missing():
    with pytest.raises(NotImplementedError, match="must provide the fixture make_strategy"):
        StrategyContract.make_strategy.__wrapped__(CONTRACT)


def test_rehearsal_tells_what_the_space_evaluates():
    rehearsal = Rehearsal(RandomSearch(Bits(BitsOptions(length=2))), seed=3)
    rehearsal.run(20, lag=4)
    assert rehearsal.untold > 0
    for candidate_id, told in rehearsal.told.items():
        assert told.values == (float(sum(told.genome)),)
        twins = [i for i in rehearsal.told if rehearsal.told[i].genome == told.genome]
        assert told.function == min(twins)
        assert told.new == (told.function == candidate_id)


def test_rehearsal_keeps_the_lag():
    rehearsal = Rehearsal(RandomSearch(Bits()))
    rehearsal.run(40, chunk=4, lag=10)
    assert len(rehearsal.told) == 40 - 4 - 10


def test_rehearsal_re_evaluates_under_the_replicates_asked_for():
    space = Bits(BitsOptions(noise=1.0))
    options = TruncationOptions(population=4, parents=2, elites=2, replicates=3)
    rehearsal = Rehearsal(TruncationGA(space, options))
    rehearsal.ask(4)
    rehearsal.tell()
    rehearsal.ask(2)
    rehearsal.tell()
    first, second = rehearsal.told[4], rehearsal.told[5]
    assert first.operator == "reevaluate"
    assert len(first.observations) == 3
    assert first.values[0] == pytest.approx(np.mean([values[0] for _, values in first.observations]))
    assert [seed for seed, _ in first.observations] == [seed for seed, _ in second.observations]
    assert rehearsal.told[0].observations == ()
