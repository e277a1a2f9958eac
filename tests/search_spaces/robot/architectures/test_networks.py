"""Networks of cells: exact parameter counts, the cell's arithmetic, seeds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from search_spaces.robot.architectures.nb201 import NAMES
from search_spaces.robot.architectures.networks import FULL, REDUCED, Cell, Reduction, network

NONE, SKIP, ONE, THREE, POOL = NAMES


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("classes", "base"), [(10, 73_306), (100, 79_156), (120, 80_456)])
@pytest.mark.parametrize("operations", [(NONE,) * 6, (ONE, THREE, POOL, SKIP, THREE, NONE), (THREE,) * 6])
def test_the_full_size_has_the_benchmarks_parameters(classes, base, operations):
    # shared/spec/robot.md, section 4: base + 28,000 a 1 x 1 and 243,040 a 3 x 3 convolution
    expected = base + 28_000 * operations.count(ONE) + 243_040 * operations.count(THREE)
    assert parameters(network(operations, replace(FULL, classes=classes))) == expected


def test_the_full_size_has_fifteen_cells_and_two_reductions():
    blocks = [type(block) for block in network((SKIP,) * 6).body]
    assert blocks == ([Cell] * 5 + [Reduction]) * 2 + [Cell] * 5


@pytest.mark.parametrize(("skeleton", "side"), [(FULL, 32), (FULL, 16), (REDUCED, 14), (REDUCED, 28)])
@torch.no_grad()
def test_networks_give_logits_and_stages_of_half_the_size(skeleton, side):
    skeleton = replace(skeleton, cells=1)
    model = network((ONE, POOL, SKIP, THREE, NONE, SKIP), skeleton)
    sizes = []
    for block in model.body:
        block.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape[1:])))
    assert model(torch.zeros(2, skeleton.inputs, side, side)).shape == (2, 10)
    size, c = -(-side // skeleton.stem_stride), skeleton.channels
    half = -(-size // 2)
    quarter = -(-half // 2)
    expected = [(c, size), (2 * c, half), (2 * c, half), (4 * c, quarter), (4 * c, quarter)]
    assert sizes == [(channels, side, side) for channels, side in expected]


@torch.no_grad()
def test_a_cell_is_the_sum_over_paths():
    cell = Cell((POOL, SKIP, ONE, SKIP, THREE, POOL), 3).eval()
    x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    edge = cell.edges
    first = edge["01"](x)
    second = edge["02"](x) + edge["12"](first)
    torch.testing.assert_close(cell(x), edge["03"](x) + edge["13"](first) + edge["23"](second))


@torch.no_grad()
def test_pooling_does_not_count_what_lies_outside():
    cell = Cell((NONE, NONE, NONE, POOL, NONE, NONE), 1)
    torch.testing.assert_close(cell(torch.ones(1, 1, 3, 3)), torch.ones(1, 1, 3, 3))


@torch.no_grad()
def test_a_dead_cell_answers_zero_and_its_network_always_the_same():
    cell = Cell((THREE, ONE, NONE, NONE, NONE, NONE), 2)
    assert not cell(torch.ones(1, 2, 4, 4)).any()
    model = network((NONE,) * 6, REDUCED).eval()
    outputs = model(torch.randn(3, 1, 14, 14, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def test_weights_depend_on_the_seed_alone_and_leave_the_global_state():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (network((THREE,) * 6, REDUCED, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    state = first.state_dict()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in state.items())
    assert not torch.equal(state["stem.0.weight"], other.state_dict()["stem.0.weight"])


def test_an_unreached_edge_has_its_parameters_too():
    unreached = network((THREE, NONE, NONE, SKIP, NONE, NONE), REDUCED)
    without = network((NONE, NONE, NONE, SKIP, NONE, NONE), REDUCED)
    each = sum(9 * c * c + 2 * c for c in (8, 16, 32))
    assert parameters(unreached) - parameters(without) == each


def test_every_operation_but_none_keeps_channels_and_size():
    x = torch.zeros(1, 4, 7, 7)
    for name in NAMES[1:]:
        assert Cell((NONE, NONE, NONE, name, NONE, NONE), 4)(x).shape == x.shape
    assert isinstance(Cell((SKIP,) * 6, 4).edges["01"], nn.Identity)
