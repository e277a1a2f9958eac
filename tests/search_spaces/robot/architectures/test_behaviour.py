"""The behavioural hash finds the classes that the canonical forms prove, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces.robot.architectures import nb201, tnb101
from search_spaces.robot.architectures.behaviour import (
    behaviour,
    behavioural_hash,
    cell_behaviour,
    probe_images,
    tie_weights,
)
from search_spaces.robot.architectures.canonical import canonical_form
from search_spaces.robot.architectures.networks import FULL, REDUCED, network
from tests.search_spaces.robot.architectures.every_cell import every_behaviour

CASES = [(nb201.CODE, True, 4_660), (nb201.CODE, False, 4_930), (tnb101.CODE, True, 871)]
NONE, SKIP, ONE, THREE, POOL = nb201.NAMES


def form(code, cell, linear):
    return canonical_form(code.operations(cell), "linear" if linear else "strict")


@pytest.mark.parametrize(("code", "linear", "count"), CASES)
def test_over_all_cells_it_finds_exactly_the_canonical_classes(code, linear, count):
    values = every_behaviour(code.names, pooling_is_linear=linear)
    hashes = [behavioural_hash(row) for row in values]
    forms = [form(code, cell, linear) for cell in code.cells()]
    assert len(set(hashes)) == len(set(forms)) == len(set(zip(hashes, forms, strict=True))) == count


@pytest.mark.parametrize(("code", "linear", "count"), CASES)
def test_each_cells_own_network_gives_the_hash_of_all_cells_at_once(code, linear, count):
    values = every_behaviour(code.names, pooling_is_linear=linear, seed=3)
    numbers = np.random.default_rng(0).choice(len(code), 60, replace=False)
    for number in map(int, numbers):
        alone = cell_behaviour(code.operations(code.from_number(number)), pooling_is_linear=linear, seed=3)
        assert behavioural_hash(alone) == behavioural_hash(values[number])


@pytest.mark.slow
@pytest.mark.parametrize("linear", [True, False])
def test_every_cells_own_network_is_in_its_canonical_class(linear):
    of_form, of_hash = {}, {}
    for cell in nb201.CODE.cells():
        found = behavioural_hash(cell_behaviour(nb201.CODE.operations(cell), pooling_is_linear=linear))
        expected = form(nb201.CODE, cell, linear)
        assert of_form.setdefault(expected, found) == found
        assert of_hash.setdefault(found, expected) == expected


@pytest.mark.parametrize("skeleton", [REDUCED, FULL], ids=("reduced", "full"))
@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ((SKIP, NONE, NONE, NONE, THREE, NONE), (NONE, NONE, NONE, THREE, NONE, NONE), True),
        ((THREE, NONE, SKIP, NONE, NONE, SKIP), (THREE, NONE, NONE, NONE, SKIP, NONE), True),
        ((THREE, SKIP, SKIP, NONE, NONE, POOL), (THREE, NONE, NONE, POOL, POOL, NONE), True),
        ((THREE, NONE, NONE, NONE, ONE, NONE), (ONE, NONE, NONE, NONE, THREE, NONE), False),
        ((SKIP, NONE, NONE, THREE, NONE, NONE), (SKIP, NONE, NONE, THREE, THREE, NONE), False),
    ],
)
def test_it_takes_whole_networks_of_any_size(skeleton, first, second, same):
    images = probe_images(0, skeleton.inputs, 8)
    one, two = (behaviour(network(operations, skeleton), images) for operations in (first, second))
    assert (behavioural_hash(one) == behavioural_hash(two)) == same


def test_a_layers_weights_depend_on_what_it_is_and_not_on_where_it_stands():
    model = nn.Sequential(
        nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3, dilation=2), nn.BatchNorm2d(3), nn.Linear(3, 2)
    )
    tie_weights(model, 1)
    assert torch.equal(model[0].weight, model[1].weight)
    assert torch.equal(model[0].bias, model[1].bias)
    assert not torch.equal(model[0].weight, model[2].weight)
    assert torch.equal(model[3].weight, torch.ones(3))
    first = model[0].weight.clone()
    assert not torch.equal(tie_weights(model, 2)[0].weight, first)


def test_the_hash_ignores_rounding_and_sees_scale():
    values = torch.tensor([0.12345, -1.7, 0.0], dtype=torch.float64)
    assert behavioural_hash(values) == behavioural_hash(values * (1 + 1e-14))
    assert behavioural_hash(values) != behavioural_hash(values * 2)
    assert behavioural_hash(values) != behavioural_hash(values + 1e-4)
    assert behavioural_hash(torch.zeros(3, dtype=torch.float64)) == behavioural_hash(
        torch.zeros(3, dtype=torch.float64)
    )
