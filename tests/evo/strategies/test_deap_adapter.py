import operator
import random

import numpy as np
import pytest
from deap import base, gp, tools

from evo.errors import ConfigError, InvalidGenomeError
from evo.space import BaseSpace
from evo.strategies.deap_adapter import deap_operators, seeded_globals
from evo.strategies.regularized import RegularizedEvolution, RegularizedOptions
from evo.testing.strategies import Rehearsal, StrategyContract
from tests.evo.strategies.problems import Bits

TOOLBOX = base.Toolbox()
TOOLBOX.register("mutate", tools.mutFlipBit, indpb=0.1)
TOOLBOX.register("mate", tools.cxTwoPoint)
OPERATORS = deap_operators(mutate=TOOLBOX.mutate, mate=TOOLBOX.mate)


class DeapBits(Bits):
    """Bits varied by DEAP's operators."""

    def mutate(self, genome, rng):
        return OPERATORS.mutate(genome, rng)

    def crossover(self, a, b, rng):
        return OPERATORS.crossover(a, b, rng)


class TestContractWithDeapOperators(StrategyContract):
    candidates = 60

    @pytest.fixture
    def make_strategy(self):
        return lambda: RegularizedEvolution(DeapBits(), RegularizedOptions(population=10, crossover=0.5))


def global_states():
    return random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2]  # noqa: NPY002


def draws(rng):
    with seeded_globals(rng):
        return random.random(), np.random.random()  # noqa: NPY002


def test_globals_are_seeded_from_the_generator_alone():
    assert draws(np.random.default_rng(5)) == draws(np.random.default_rng(5))
    assert draws(np.random.default_rng(5)) != draws(np.random.default_rng(6))


def test_globals_are_put_back_also_after_an_error():
    def broken(individual):
        random.random()
        raise RuntimeError("broken")

    before = global_states()
    draws(np.random.default_rng(0))
    with pytest.raises(RuntimeError):
        deap_operators(mutate=broken).mutate((1, 2), np.random.default_rng(0))
    assert global_states() == before


def test_genomes_are_copied_and_tuples_unpacked():
    genome = (0, 1) * 20
    variation = OPERATORS.mutate(genome, np.random.default_rng(1))
    assert genome == (0, 1) * 20
    assert isinstance(variation.genome, tuple)
    assert variation.genome != genome
    assert variation.operator == "mutFlipBit"


def test_crossover_gives_the_first_child():
    variation = OPERATORS.crossover((0,) * 20, (1,) * 20, np.random.default_rng(1))
    assert set(variation.genome) == {0, 1}
    assert variation.operator == "cxTwoPoint"


def test_an_operator_that_forgets_the_tuple_is_named():
    def forgets(individual):
        return individual

    with pytest.raises(InvalidGenomeError, match="forgets returned list, not a tuple of 1"):
        deap_operators(mutate=forgets).mutate((1,), np.random.default_rng(0))


def test_missing_operators_are_config_errors():
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="no DEAP crossover"):
        deap_operators(mutate=TOOLBOX.mutate).crossover((1,), (0,), rng)
    with pytest.raises(ConfigError, match="no DEAP mutation"):
        deap_operators(mate=TOOLBOX.mate).mutate((1,), rng)
    with pytest.raises(ConfigError, match="got no operator"):
        deap_operators()


class Trees(BaseSpace):
    """Expression trees of DEAP's genetic programming, as tuples of nodes."""

    name = "trees"

    def __init__(self):
        super().__init__()
        self.primitives = gp.PrimitiveSet("MAIN", 1)
        self.primitives.addPrimitive(operator.add, 2)
        self.primitives.addPrimitive(operator.mul, 2)
        self.primitives.addTerminal(1.0, name="one")
        toolbox = base.Toolbox()
        toolbox.register("fresh", gp.genFull, pset=self.primitives, min_=0, max_=2)
        toolbox.register(
            "mutate", gp.mutUniform, expr=lambda pset, type_: toolbox.fresh(type_=type_), pset=self.primitives
        )
        self.deap = deap_operators(toolbox.mutate, gp.cxOnePoint, to_individual=gp.PrimitiveTree)

    def sample(self, rng):
        with seeded_globals(rng):
            return tuple(gp.genFull(self.primitives, 1, 2))


def test_genetic_programming_trees_are_varied_too():
    space = Trees()
    one, other = (space.sample(np.random.default_rng(seed)) for seed in (1, 2))
    for seed in range(20):
        for variation in (
            space.deap.mutate(one, np.random.default_rng(seed)),
            space.deap.crossover(one, other, np.random.default_rng(seed)),
        ):
            function = gp.compile(gp.PrimitiveTree(variation.genome), space.primitives)
            assert isinstance(function(2.0), float)


def test_evolution_with_deap_operators_finds_ones():
    rehearsal = Rehearsal(
        RegularizedEvolution(DeapBits(), RegularizedOptions(population=30, tournament=5, crossover=0.5))
    )
    rehearsal.run(800)
    assert rehearsal.best().values[0] >= 36
