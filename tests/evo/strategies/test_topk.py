"""The running top k: the contract, what is kept, who breeds."""

from __future__ import annotations

import pytest

from evo.errors import ConfigError
from evo.strategies.topk import TopK, TopKOptions
from evo.testing.strategies import Rehearsal, StrategyContract
from tests.evo.strategies.problems import Bits, BitsWithoutCrossover, Schaffer, told


def make(space=None, **options):
    return TopK(space or Bits(), TopKOptions(**options))


class TestTopKContract(StrategyContract):
    @pytest.fixture(
        params=[{"crossover": 0.7}, {"newcomers": 0.3, "tournament": 3}, {"population": 1}], ids=lambda o: next(iter(o))
    )
    def make_strategy(self, request):
        return lambda: make(**{"population": 6, "first": 10, **request.param})


class TestTopKContractWithTwoObjectives(StrategyContract):
    @pytest.fixture
    def make_strategy(self):
        return lambda: make(Schaffer(), population=6, first=10)


def test_it_keeps_the_best_functions_of_all_time_each_once():
    rehearsal = Rehearsal(make(population=5, first=12))
    rehearsal.run(80)
    rehearsal.tell()
    firsts = {}
    for result in rehearsal.told.values():
        firsts.setdefault(result.function, result)
    sign = 1.0 if Bits.objectives[0].direction == "minimise" else -1.0
    wanted = sorted(firsts.values(), key=lambda t: (sign * t.values[0], t.id))[:5]
    assert rehearsal.strategy.state()["members"] == [t.id for t in wanted]
    assert rehearsal.strategy.best.id == wanted[0].id
    assert rehearsal.strategy.fresh == len(firsts)


def test_it_never_waits_and_parents_are_members():
    rehearsal = Rehearsal(make(population=4, first=8))
    rehearsal.ask(20)
    assert all(p.parents == () for p in rehearsal.proposals)
    rehearsal.tell()
    members = set(rehearsal.strategy.state()["members"])
    children = rehearsal.ask(30)
    assert len(children) == 30
    assert {parent for child in children for parent in child.parents} <= members


def test_who_has_no_value_never_enters():
    strategy = make(population=3, first=1)
    strategy.tell([told(0, ()), told(1, (2.0,)), told(2, (float("nan"),))])
    assert strategy.state()["members"] == [1]


def test_newcomers_are_samples():
    rehearsal = Rehearsal(make(population=3, first=4, newcomers=1.0))
    rehearsal.run(30)
    assert {p.operator for p in rehearsal.proposals[12:]} == {"sample"}


def test_options_are_checked():
    for wrong in ({"population": 0}, {"first": 0}, {"tournament": 0}, {"newcomers": 2.0}, {"initial": "none"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            make(**wrong)
    with pytest.raises(ConfigError, match="no crossover"):
        make(BitsWithoutCrossover(), crossover=0.5)
