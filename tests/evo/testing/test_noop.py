"""The no-op space keeps the contract of a space, and its options do what they say."""

import json

import numpy as np
import pytest

from evo.errors import ConfigError
from evo.seeds import Streams
from evo.space import Request
from evo.testing.noop import FAULTS, NoOpOptions, NoOpSpace, has_fault, misbehave, mix
from evo.testing.spaces import SpaceContract


class TestNoOpSpace(SpaceContract):
    @pytest.fixture(scope="class")
    @classmethod
    def space(cls):
        return NoOpSpace()


class TestNoOpSpaceWithEveryOption(SpaceContract):
    @pytest.fixture(scope="class")
    @classmethod
    def space(cls):
        return NoOpSpace(
            NoOpOptions(
                alphabet=1000,
                functions=10,
                objectives=2,
                cost=True,
                behaviour=3,
                noise=0.1,
                rungs=3,
                replicates=2,
                hurdle=0.5,
                hurdle_after=4,
                faults={"inf": 3},
            )
        )


def draw(space, n, seed=0):
    streams = Streams(seed)
    return [space.sample(streams(i, "sample")) for i in range(n)]


def evaluate(space, genomes, seeds=(1,)):
    requests = [Request(i, g, space.rungs[-1].name, seeds) for i, g in enumerate(genomes)]
    return space.evaluator(None).evaluate(requests)


def test_genomes_are_distinct_unless_an_alphabet_limits_them():
    assert len(set(draw(NoOpSpace(), 2000))) == 2000
    assert set(draw(NoOpSpace(NoOpOptions(alphabet=7)), 200)) == set(range(7))


def test_mutants_and_crossings_stay_in_the_alphabet():
    space, streams = NoOpSpace(NoOpOptions(alphabet=5)), Streams(1)
    genomes = [space.mutate(3, streams(i, "m")).genome for i in range(50)]
    genomes += [space.crossover(3, 4, streams(i, "x")).genome for i in range(50)]
    assert set(genomes) <= set(range(5))


def test_genomes_of_one_function_share_the_fingerprint_and_the_value_but_not_the_key():
    space = NoOpSpace(NoOpOptions(functions=10))
    rows = space.fingerprint([3, 13, 4]).values
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])
    values = [a[0].values for a in evaluate(space, [3, 13, 4])]
    assert values[0] == values[1] != values[2]
    assert space.canonical(3) != space.canonical(13)


def test_without_functions_there_is_no_fingerprint():
    assert NoOpSpace().fingerprint([1, 2]) is None


def test_noise_depends_on_the_seed_and_nothing_else_does():
    noisy, exact = NoOpSpace(NoOpOptions(noise=0.5)), NoOpSpace()
    a, b = evaluate(noisy, [9], (1, 2))[0]
    assert a.values != b.values
    a, b = evaluate(exact, [9], (1, 2))[0]
    assert a.values == b.values


def test_objectives_costs_behaviour_and_rungs_follow_the_options():
    space = NoOpSpace(NoOpOptions(objectives=2, cost=True, behaviour=4, rungs=2, replicates=3, hurdle=0.25))
    assert [o.name for o in space.objectives] == ["loss", "score", "bits"]
    assert space.costs(7) == {"bits": 3.0}
    assert [(r.replicates, r.hurdle) for r in space.rungs] == [(1, 0.25), (3, None)]
    observation = evaluate(space, [7])[0][0]
    assert len(observation.values) == 2
    assert len(observation.behaviour) == 4


def test_values_fill_the_unit_interval():
    values = np.array([a[0].values[0] for a in evaluate(NoOpSpace(), draw(NoOpSpace(), 4000))])
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.03


@pytest.mark.parametrize("kind", FAULTS)
def test_about_one_function_in_n_has_a_fault(kind):
    share = np.mean([has_fault(g, kind, 8) for g in range(8000)])
    assert 0.1 < share < 0.15


def test_faults_are_what_they_are_called():
    genomes = range(200)
    space = NoOpSpace(NoOpOptions(faults={"nan": 4, "inf": 5, "invalid": 6}))
    values = [a[0].values[0] for a in evaluate(space, genomes)]
    assert [np.isnan(v) for v in values] == [has_fault(g, "nan", 4) for g in genomes]
    assert sum(map(np.isinf, values)) > 10
    assert [space.canonical(g) is None for g in genomes] == [has_fault(g, "invalid", 6) for g in genomes]
    with pytest.raises(ArithmeticError, match="raises"):
        evaluate(NoOpSpace(NoOpOptions(faults={"raises": 1})), [3])
    misbehave("nan", 1)


def test_mixing_is_a_bijection_on_a_sample():
    assert len({mix(i) for i in range(10_000)}) == 10_000


@pytest.mark.parametrize(
    "options",
    [
        {"alphabet": 0},
        {"functions": 2**64},
        {"objectives": 3},
        {"rungs": 0},
        {"replicates": 0},
        {"faults": {"melts": 2}},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError) as raised:
        NoOpSpace(NoOpOptions(**options))
    assert raised.value.hint


def test_export_and_report_repeat_the_value(tmp_path):
    space = NoOpSpace()
    written = space.export(11, tmp_path / "found.py", {"run": "r"})
    found = {}
    exec(written.read_text(), found)
    assert found["VALUES"] == evaluate(space, [11])[0][0].values
    rows = space.report([11, 12], [0, 1], None)
    assert rows[0]["values"] == [found["VALUES"][0]] * 2
    assert json.loads(json.dumps(rows)) == rows
