import moocore
import numpy as np
import pytest

from evo.errors import ConfigError
from evo.strategies import draw_indices
from evo.strategies.nsga2 import NSGA2, NSGA2Options
from evo.strategies.random import RandomSearch
from evo.strategies.select import nsga2_order, scores
from evo.testing.strategies import Rehearsal, StrategyContract
from tests.evo.strategies.problems import Bits, BitsWithoutCrossover, Schaffer, told

OBJECTIVES = Schaffer.objectives


def make(space=None, **options):
    return NSGA2(space or Schaffer(), NSGA2Options(**options))


class TestNSGA2Contract(StrategyContract):
    @pytest.fixture(
        params=[{"crossover": 0.9}, {"children": 7}, {"children": 40, "tournament": 1}], ids=lambda o: next(iter(o))
    )
    def make_strategy(self, request):
        return lambda: make(population=16, **request.param)


class TestNSGA2ContractFromSeeds(StrategyContract):
    @pytest.fixture
    def make_strategy(self):
        return lambda: make(Bits(), population=10, initial="mutated")


def test_waits_for_each_generation():
    rehearsal = Rehearsal(make(population=10, children=4))
    sizes = []
    for _ in range(4):
        sizes.append(len(rehearsal.ask(100)))
        assert rehearsal.ask(1) == []
        rehearsal.tell()
    assert sizes == [10, 4, 4, 4]
    assert rehearsal.strategy.generation == 4


def test_survivors_are_the_first_of_members_and_children_together():
    rehearsal = Rehearsal(make(population=10, children=6))
    rehearsal.run(10)
    rehearsal.tell()
    members = list(rehearsal.strategy.population)
    for _ in range(5):
        first = len(rehearsal.proposals)
        rehearsal.ask(6)
        rehearsal.tell()
        together = members + [rehearsal.told[i] for i in range(first, first + 6)]
        order = nsga2_order(scores(together, OBJECTIVES))
        members = list(rehearsal.strategy.population)
        assert [m.id for m in members] == [together[row].id for row in order[:10]]


def test_the_lower_row_of_the_sorted_population_wins_the_tournament():
    rehearsal = Rehearsal(make(population=10))
    rehearsal.run(10)
    rehearsal.tell()
    members = rehearsal.strategy.population
    for candidate_id, proposal in enumerate(rehearsal.ask(10), 10):
        drawn = draw_indices(rehearsal.streams(candidate_id, "tournament"), 10, 2)
        assert proposal.parents == (members[min(drawn)].id,)


def test_copies_do_not_crowd_out_the_front():
    strategy = make(population=3)
    rehearsal = Rehearsal(strategy)
    rehearsal.ask(3)
    genome = (0.0,) * 3
    strategy.tell(
        [
            told(0, (0.0, 1.0), genome=genome),
            told(1, (0.0, 1.0), genome=genome, function=0),
            told(2, (1.0, 2.0), genome=genome),
        ]
    )
    assert [member.id for member in strategy.population] == [0, 2, 1]


def test_what_has_no_value_does_not_live_on():
    strategy = make(population=3)
    Rehearsal(strategy).ask(3)
    strategy.tell([told(0), told(1, (1.0, 1.0)), told(2, (float("nan"), 0.0))])
    assert [member.id for member in strategy.population] == [1]


def test_crossover_needs_a_space_that_has_one():
    with pytest.raises(ConfigError, match="has no crossover"):
        make(BitsWithoutCrossover(), crossover=0.9)


@pytest.mark.parametrize("options", [{"population": 0}, {"children": 0}, {"tournament": 0}, {"mutation": -0.1}])
def test_options_out_of_range_are_refused_by_name(options):
    (name,) = options
    with pytest.raises(ConfigError, match=rf"nsga2\.{name} is"):
        NSGA2Options(**options)


def test_covers_a_known_front():
    """Schaffer's front is (3 t^2, 3 (t - 2)^2), t in [0, 2]: hypervolume and spread of 40 members after 2,000."""
    reference = np.array([12.0, 12.0])
    t = np.linspace(0.0, 2.0, 2001)
    front = np.column_stack((3 * t**2, 3 * (t - 2) ** 2))
    whole = moocore.hypervolume(front, ref=reference)
    for seed in range(2):
        evolved = Rehearsal(make(population=40, crossover=0.9), seed)
        evolved.run(2000)
        values = np.array([member.values for member in evolved.strategy.population])
        assert moocore.hypervolume(values, ref=reference) > 0.97 * whole
        # Every part of the front has a member near it.
        nearest = np.sqrt(((front[:, None] - values[None]) ** 2).sum(axis=2)).min(axis=1)
        assert nearest.max() < 1.5
        sampled = Rehearsal(RandomSearch(Schaffer()), seed)
        sampled.run(2000)
        found = np.array([result.values for result in sampled.told.values()])
        assert moocore.hypervolume(found, ref=reference) < 0.93 * whole
