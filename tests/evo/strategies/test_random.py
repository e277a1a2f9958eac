import pytest

from evo.errors import ConfigError
from evo.strategies.random import RandomOptions, RandomSearch
from evo.testing.strategies import Rehearsal, StrategyContract
from tests.evo.strategies.problems import Bits


class TestRandomContract(StrategyContract):
    @pytest.fixture(params=["sample", "mixed"])
    def make_strategy(self, request):
        return lambda: RandomSearch(Bits(), RandomOptions(initial=request.param))


def test_samples_alone_by_default():
    rehearsal = Rehearsal(RandomSearch(Bits()))
    rehearsal.run(20)
    assert {proposal.operator for proposal in rehearsal.proposals} == {"sample"}


def test_mixed_begins_with_the_seeds():
    rehearsal = Rehearsal(RandomSearch(Bits(), RandomOptions(initial="mixed")))
    rehearsal.run(5)
    assert [proposal.operator for proposal in rehearsal.proposals] == ["seed"] + ["sample"] * 4


def test_other_beginnings_are_refused():
    with pytest.raises(ConfigError, match=r"random\.initial is 'seed'"):
        RandomOptions(initial="seed")
