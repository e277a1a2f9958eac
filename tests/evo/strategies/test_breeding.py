import numpy as np
import pytest

from evo.errors import ConfigError
from evo.seeds import Streams
from evo.space import Variation
from evo.strategies import Breeder, InitialCandidates, Parent, draw_indices, has_crossover
from evo.strategies.restart import with_seeds
from tests.evo.strategies.problems import Bits, BitsOptions, BitsWithoutCrossover

ZEROS, ONES = Parent(3, (0,) * 40), Parent(4, (1,) * 40)


def test_indices_are_uniform_and_below_the_size():
    drawn = draw_indices(np.random.default_rng(0), 7, 7000)
    assert set(drawn) == set(range(7))
    assert np.allclose(np.bincount(drawn) / 7000, 1 / 7, atol=0.02)


def test_crossover_is_found_in_the_class_on_the_instance_and_behind_other_seeds():
    assert has_crossover(Bits())
    assert not has_crossover(BitsWithoutCrossover())
    assert has_crossover(with_seeds(Bits(), []))
    assert not has_crossover(with_seeds(BitsWithoutCrossover(), []))
    given = BitsWithoutCrossover()
    given.crossover = lambda a, b, rng: Variation(a, "given")
    assert has_crossover(given)


def test_seeds_in_turn_until_told_to_explore():
    space = with_seeds(Bits(), [(0,) * 40, (1,) * 40])
    initial = InitialCandidates(space, "seed", "x.initial")
    proposals = [initial.propose(10 + i, Streams(0)) for i in range(5)]
    assert [sum(p.genome) for p in proposals] == [0, 40, 0, 40, 0]
    mutant = initial.propose(15, Streams(0), explore=True)
    assert (mutant.operator, mutant.parents, sum(mutant.genome)) == ("flip", (11,), 39)


def test_exploring_still_begins_with_the_seeds():
    initial = InitialCandidates(Bits(), "mutated", "x.initial")
    assert initial.propose(0, Streams(0), explore=True).operator == "seed"


def test_mixed_without_seeds_is_samples():
    initial = InitialCandidates(Bits(BitsOptions(seeds=False)), "mixed", "x.initial")
    assert initial.propose(0, Streams(0)).operator == "sample"


def test_salt_reaches_every_kind_of_proposal():
    for kind in ("seed", "mutated", "mixed", "sample"):
        initial = InitialCandidates(Bits(), kind, "x.initial")
        assert {initial.propose(i, Streams(0), salt=9).salt for i in range(4)} == {9}
    assert Breeder(Bits(), 1.0, 0.5, "x").child(5, Streams(0), (ZEROS, ONES), 9).salt == 9
    assert Breeder(Bits(), 0.0, 1.0, "x").child(5, Streams(0), (ZEROS,), 9).salt == 9


@pytest.mark.parametrize(("crossover", "mutation"), [(0.3, 1.0), (0.8, 0.25)])
def test_children_are_crossed_and_mutated_as_often_as_asked(crossover, mutation):
    breeder = Breeder(Bits(), crossover, mutation, "x")
    operators = [breeder.child(i, Streams(0), (ZEROS, ONES)).operator for i in range(1500)]
    shares = [operators.count(operator) / 1500 for operator in ("flip", "uniform", "uniform+flip")]
    assert np.allclose(shares, [1 - crossover, crossover * (1 - mutation), crossover * mutation], atol=0.04)


def test_a_candidate_is_not_crossed_with_itself():
    child = Breeder(Bits(), 1.0, 1.0, "x").child(5, Streams(0), (ZEROS, ZEROS))
    assert (child.parents, child.operator) == ((3,), "flip")


def test_seeds_that_are_not_there_are_an_error():
    with pytest.raises(ConfigError, match=r"x\.initial is 'mutated'"):
        InitialCandidates(Bits(BitsOptions(seeds=False)), "mutated", "x.initial")
