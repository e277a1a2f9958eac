"""The contract tests of a space catch each way to break the contract."""

import os
import random

import numpy as np
import pytest

from evo.space import BaseSpace, Fingerprints, Observation, Preparation, Rung, Variation
from evo.testing.compare import close
from evo.testing.noop import NoOpEvaluator, NoOpOptions, NoOpSpace
from evo.testing.spaces import SpaceContract


class Breaks(NoOpEvaluator):
    """An evaluator whose answers depend on what they must not."""

    calls = 0

    def __init__(self, how):
        super().__init__(NoOpOptions())
        self.how = how

    def evaluate(self, requests):
        answers = super().evaluate(requests)
        self.calls += 1
        shift = {"batch": len(requests), "calls": self.calls, "nan": float("nan"), "short": 0.0}[self.how]
        changed = [[Observation((o.values[0] + shift,)) for o in a] for a in answers]
        return changed[:-1] if self.how == "short" else changed


class ImpureSample(NoOpSpace):
    def sample(self, rng):
        return random.getrandbits(60)


class ConstantSample(NoOpSpace):
    def sample(self, rng):
        return 5


class Unchanging(NoOpSpace):
    def mutate(self, genome, rng):
        return Variation(genome, "mutate")


class Lists(NoOpSpace):
    """Genomes are lists, changed in place."""

    def sample(self, rng):
        return [super().sample(rng)]

    def seeds(self):
        return ([1],)

    def mutate(self, genome, rng):
        genome[0] += 1
        return Variation(genome, "mutate")

    def canonical(self, genome):
        return bytes([genome[0] % 256])


class Tuples(NoOpSpace):
    """Genomes are tuples that come back from JSON as lists."""

    def sample(self, rng):
        return (super().sample(rng),)

    def seeds(self):
        return ((1,),)

    def mutate(self, genome, rng):
        return Variation((super().mutate(genome[0], rng).genome,), "mutate")

    def crossover(self, a, b, rng):
        return Variation(a, "crossover")

    def canonical(self, genome):
        return bytes([genome[0] % 256])


class KeyOfTheProcess(NoOpSpace):
    def canonical(self, genome):
        return f"{os.getpid()}{genome}".encode()


class KeyTooCoarse(NoOpSpace):
    """Equal keys for functions that the fingerprint tells apart."""

    def __init__(self, options=None):
        super().__init__(NoOpOptions(functions=1000))

    def canonical(self, genome):
        return bytes([self.function(genome) % 2])


class PrintOfTheBatch(NoOpSpace):
    def fingerprint(self, genomes):
        return Fingerprints(np.full((len(genomes), 2), float(len(genomes))))


class BadCosts(NoOpSpace):
    def costs(self, genome):
        return {"bits": float("inf")}


class Declares(NoOpSpace):
    rungs = ()

    def __init__(self, options=None):
        super().__init__(options)
        self.rungs = (Rung("a"), Rung("a"))


class NeedsProject(NoOpSpace):
    def export(self, genome, path, origin):
        path.parent.mkdir(parents=True)
        path.write_text("import evo.space\n")
        return path


BROKEN = [
    (ImpureSample, "test_sample_is_pure"),
    (ImpureSample, "test_no_method_draws_from_a_global_generator"),
    (ConstantSample, "test_samples_differ"),
    (Unchanging, "test_mutants_differ"),
    (Lists, "test_mutate_is_pure_and_stays_in_the_space"),
    (Lists, "test_genomes_are_hashable"),
    (Tuples, "test_genomes_round_trip_through_json_text"),
    (KeyOfTheProcess, "test_canonical_is_the_same_in_another_process"),
    (KeyTooCoarse, "test_equal_canonical_keys_mean_equal_fingerprints"),
    (PrintOfTheBatch, "test_a_fingerprint_does_not_depend_on_its_batch"),
    (BadCosts, "test_costs_are_json_numbers_for_the_cost_objectives"),
    (Declares, "test_declarations_are_complete"),
    (NeedsProject, "test_export_imports_without_this_project"),
]


def run(space, name, tmp_path):
    """One contract test on one space, its fixtures made by hand."""
    contract = SpaceContract()
    made = {"space": space, "prepared": None, "tmp_path": tmp_path}
    genomes = [*space.seeds(), *(space.sample(np.random.default_rng(i)) for i in range(8))]
    if isinstance(space, KeyTooCoarse):
        contract.equivalents = lambda space, genomes: [
            (a, b) for a in genomes for b in genomes if space.canonical(a) == space.canonical(b)
        ]
    made |= {"genomes": genomes, "evaluated": genomes[:4]}
    method = getattr(contract, name)
    names = method.__code__.co_varnames[1 : method.__code__.co_argcount]
    method(**{n: made[n] for n in names})


@pytest.mark.parametrize(("broken", "test"), BROKEN, ids=lambda v: getattr(v, "__name__", v))
def test_a_broken_space_fails_the_test_that_is_for_it(broken, test, tmp_path):
    with pytest.raises((AssertionError, TypeError, ValueError)):
        run(broken(), test, tmp_path)


@pytest.mark.parametrize("test", sorted({test for _, test in BROKEN}))
def test_a_sound_space_passes_it(test, tmp_path):
    run(NoOpSpace(), test, tmp_path)


@pytest.mark.parametrize(
    ("how", "test"),
    [
        ("batch", "test_evaluation_does_not_depend_on_who_shares_the_call"),
        ("calls", "test_evaluation_does_not_depend_on_who_shares_the_call"),
        ("nan", "test_seed_genomes_evaluate_to_numbers"),
        ("short", "test_an_evaluator_gives_one_observation_a_seed"),
        ("calls", "test_two_seeds_give_two_observations"),
    ],
)
def test_a_broken_evaluator_fails_the_test_that_is_for_it(how, test, tmp_path):
    space = NoOpSpace()
    space.evaluator = lambda prepared: Breaks(how)
    with pytest.raises((AssertionError, ValueError)):
        run(space, test, tmp_path)


def test_a_space_without_methods_of_its_own_says_which_are_missing():
    space = BaseSpace()
    with pytest.raises(NotImplementedError, match="sample"):
        space.sample(np.random.default_rng(0))
    assert space.prepare(Preparation(None, None, None)) is None


def test_rows_are_close_to_the_bits_their_columns_keep():
    def prints(values, bits, groups=None):
        return Fingerprints(np.array([values]), np.array(bits), None, groups and np.array(groups))

    base = prints([1.0, 1e-6, 3.0], [20, 20, 0])
    assert close(base, prints([1.0 + 1e-7, 1e-6, 3.0], [20, 20, 0]), 0)
    assert not close(base, prints([1.0 + 1e-4, 1e-6, 3.0], [20, 20, 0]), 0)
    assert close(base, prints([1.0, 1.2e-6, 3.0], [20, 20, 0]), 0), "against the scale of the group"
    assert not close(prints([1.0, 1e-6], [20, 20], [0, 1]), prints([1.0, 1.2e-6], [20, 20], [0, 1]), 0)
    assert not close(base, prints([1.0, 1e-6, np.nextafter(3.0, 4)], [20, 20, 0]), 0), "exact columns"
    assert close(prints([np.nan, np.inf], [9, 9]), prints([np.nan, np.inf], [9, 9]), 0)
    assert not close(prints([np.nan, np.inf], [9, 9]), prints([np.nan, -np.inf], [9, 9]), 0)
