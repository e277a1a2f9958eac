"""Architecture spaces by name, and users' own: what is required, what is filled in, what is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evo.errors import ConfigError, InvalidGenomeError
from search_spaces.robot.architectures import architecture_space
from search_spaces.robot.architectures.cell_space import SPACES
from tests.search_spaces.robot.architectures import own

HERE = "tests.search_spaces.robot.architectures.own"
ALL = (*SPACES, f"{HERE}:Least", f"{HERE}:Whole", f"{HERE}:OBJECT", f"{HERE}:Seeded")


def rng(seed=0):
    return np.random.Generator(np.random.Philox(key=seed))


@pytest.mark.parametrize("spec", ALL)
def test_every_space_keeps_the_contract(spec):
    space = architecture_space(spec)
    sampled = [space.sample(rng(seed)) for seed in range(5)]
    assert sampled == [space.sample(rng(seed)) for seed in range(5)]
    assert len({hash(architecture) for architecture in sampled}) > 1
    for architecture in sampled:
        assert space.decode(space.encode(architecture)) == architecture
        assert architecture_space(spec).decode(space.encode(architecture)) == architecture
        assert isinstance(space.canonical(architecture), bytes)
    state = torch.get_rng_state()
    first, again, other = (space.build(sampled[0], seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [next(iter(model.parameters())) for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert spec.endswith("Seeded") or not torch.equal(weights[0], weights[2])
    if space.mutates:
        child = space.mutate(sampled[0], rng(9))
        assert child != sampled[0]
        assert space.decode(space.encode(child)) == child
    if space.enumerable:
        every = list(space.all())
        assert len(set(every)) == len(every)
        assert set(sampled) <= set(every)


@pytest.mark.parametrize("spec", SPACES)
def test_a_cells_mutation_changes_one_edge(spec):
    space = architecture_space(spec)
    parent = space.sample(rng())
    children = [space.mutate(parent, rng(seed)) for seed in range(60)]
    assert all(sum(a != b for a, b in zip(parent, child, strict=True)) == 1 for child in children)
    assert len(set(children)) > 10


def test_sizes_are_options():
    space = architecture_space("nb201-small", channels=4, classes=7, inputs=2)
    model = space.build(space.sample(rng()))
    assert model(torch.zeros(2, 2, 14, 14)).shape == (2, 7)
    assert model.stem[0].out_channels == 4


def test_identity_is_an_option():
    one, two = (3, 1, 1, 0, 0, 4), (3, 0, 0, 4, 4, 0)
    strict, linear = architecture_space("nb201"), architecture_space("nb201", identity="linear")
    assert strict.canonical(one) != strict.canonical(two)
    assert linear.canonical(one) == linear.canonical(two)
    with pytest.raises(ConfigError, match="sctrict"):
        architecture_space("nb201", identity="sctrict")


def test_without_decode_an_architecture_is_its_seed_and_identity_its_text():
    space = architecture_space(own.Least, layers=1)
    sampled = [space.sample(rng(seed)) for seed in range(40)]
    texts = [space.encode(architecture) for architecture in sampled]
    assert len(set(texts)) == 40
    assert {text.split(" @")[0] for text in texts} <= {str(width) for width in range(2, 9)}
    assert len({space.canonical(architecture) for architecture in sampled}) <= 7
    assert not space.mutates
    assert not space.enumerable
    with pytest.raises(ConfigError, match="no mutation"):
        space.mutate(sampled[0], rng())
    with pytest.raises(ConfigError, match="enumerated"):
        space.all()


@pytest.mark.parametrize("text", ["5-5", "5-5 @x", "9-9 @1", " @1"])
def test_a_text_that_its_seed_does_not_give_is_told(text):
    with pytest.raises(InvalidGenomeError, match="no architecture"):
        architecture_space(own.Least).decode(text)


def test_a_users_build_may_take_the_seed_itself():
    space = architecture_space(f"{HERE}:Seeded")
    assert space.build(space.sample(rng()), seed=12).seed == 12


@pytest.mark.parametrize(
    ("spec", "options", "told"),
    [
        ("nb301", {}, "nb301"),
        ("nb201", {"depth": 3}, "depth"),
        ("no_such_module:Space", {}, "no_such_module"),
        (f"{HERE}:Leest", {}, "Leest"),
        (f"{HERE}:Lacking", {}, "encode, build"),
        (f"{HERE}:OBJECT", {"layers": 2}, "takes no options"),
        (f"{HERE}:Least", {"depth": 2}, "depth"),
    ],
)
def test_what_is_no_space_is_told(spec, options, told):
    with pytest.raises(ConfigError, match=told) as caught:
        architecture_space(spec, **options)
    assert caught.value.hint


def test_what_is_no_module_is_told():
    space = architecture_space(f"{HERE}:NoModule")
    with pytest.raises(ConfigError, match="str"):
        space.build(space.sample(rng()))
