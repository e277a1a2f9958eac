"""Shapes, sizes and bit operations, by hand and against OMPQ's published configurations."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from proxies.errors import BitConfigError, UnsupportedModelError
from proxies.quantization import (
    PLAIN,
    RELEASED,
    BitConfig,
    all_giga_bops,
    expand,
    giga_bops,
    layer_shapes,
    size_mib,
    sizes_mib,
)
from tests.proxies.quantization.networks import ResNet18, images, resnet18_groups, seeded, small_net

PUBLISHED = Path("/work/shared/data/emq")


@pytest.fixture(scope="module")
def resnet18():
    with torch.device("meta"):
        return layer_shapes(ResNet18(), torch.zeros(1, 3, 224, 224))


def test_shapes_by_hand():
    conv1, conv2, fc = layer_shapes(small_net(), images(5))
    assert (conv1.weights, conv1.biases, conv1.out_channels, conv1.positions) == (108, 0, 6, 64)
    assert (conv2.weights, conv2.biases, conv2.macs) == (6 * 3 * 9, 6, 6 * 3 * 9 * 64)
    assert (fc.kind, fc.weights, fc.biases, fc.macs, fc.output_shape) == ("linear", 24, 4, 24, (4,))
    assert conv1.output_shape == (6, 8, 8)


def test_sizes_by_hand():
    shapes = layer_shapes(small_net(), images(2))
    bits = {"fc": 8, "conv1": 2, "conv2": 4}
    assert size_mib(bits, shapes) == (2 * 108 + 4 * 162 + 8 * 24) / 8 / 2**20
    assert size_mib(bits, shapes, RELEASED) == (2 * 120 + 4 * 174 + 8 * 28) / 8 / 2**20
    assert giga_bops(bits, shapes) == (2 * 108 * 64 + 4 * 162 * 64 + 8 * 24) * 8 / 1e9
    assert giga_bops(bits, shapes, RELEASED) == (2 * 138 * 64 + 4 * 192 * 64 + 8 * 52) * 5 / 1e9
    assert sizes_mib([[2, 4, 8]], shapes, PLAIN).tolist() == [size_mib(bits, shapes)]
    assert all_giga_bops([[2, 4, 8], [8, 8, 8]], shapes)[0] == giga_bops(bits, shapes)
    with pytest.raises(BitConfigError, match="conv2"):
        size_mib({"fc": 8, "conv1": 2}, shapes)


def test_resnet18_has_the_parameters_of_the_published_rule(resnet18):
    """The rule of EMQ's and OMPQ's lists: p = conv weights + 2 C_out, with the downsampling; fc 513 * 1000."""
    parameters = {shape.name: RELEASED.parameters(shape) for shape in resnet18}
    groups = resnet18_groups(parameters)
    entries = {group: sum(parameters[name] for name in members) for group, members in groups.items()}
    assert len(parameters) == 21
    assert len(entries) == 18
    assert entries["conv1"] == 3 * 64 * 49 + 2 * 64
    assert entries["layer2.0.conv2"] == 128 * 128 * 9 + 64 * 128 + 4 * 128
    assert entries["fc"] == 513 * 1000
    assert sum(shape.macs for shape in resnet18) == 1_814_073_344  # 1.8 billion, He et al. (2016), table 1


def test_one_size_for_uniform_bits_of_resnet18(resnet18):
    names = [shape.name for shape in resnet18]
    weights = sum(shape.weights for shape in resnet18)
    assert size_mib(BitConfig.uniform(names, 8), resnet18) == weights / 2**20
    assert weights == 11_678_912  # 11,689,512 parameters less 9,600 of batch normalisation and 1,000 biases


def published(name):
    path = PUBLISHED / name
    if not path.is_file():
        pytest.skip(f"the published configurations are not here: {path}")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_layer_costs_are_the_published_ones(resnet18):
    rows = published("resnet18_ptq_layer_costs.csv")
    shapes = {shape.name: shape for shape in resnet18}
    groups = resnet18_groups(shapes)
    assert len(rows) == len(groups)
    for row, (group, members) in zip(rows, groups.items(), strict=True):
        assert row["layer"].startswith(group)
        assert int(row["params_counted"]) == sum(RELEASED.parameters(shapes[name]) for name in members)
        assert int(row["flops_counted"]) == sum(RELEASED.operations(shapes[name]) for name in members)


def test_the_six_configurations_of_ompq_have_their_published_sizes(resnet18):
    """Issue 4's regression: budgets of 3, 3.5, 4, 4.5, 5 and 5.5 MB."""
    rows = [r for r in published("ptq_selected_bit_configs.csv") if r["arch"] == "resnet18"]
    found = {
        float(row["size_budget_mb"]): json.loads(row["bit_cfg_json"]) for row in rows if row["proxy"] == "root_seed"
    }
    names = [shape.name for shape in resnet18]
    table = expand([found[budget] for budget in sorted(found)], resnet18_groups(names), names)
    sizes = [round(float(size), 4) for size in sizes_mib(table, resnet18, RELEASED)]
    assert sizes == [2.9983, 3.4988, 4.0000, 4.4994, 4.9997, 5.4997]


def test_a_layer_that_runs_twice_counts_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            return self.fc(self.fc(x))

    (shape,) = layer_shapes(seeded(Twice), torch.ones(2, 3))
    assert (shape.weights, shape.macs) == (9, 18)


def test_a_layer_that_does_not_run_is_named():
    net = small_net()
    net.unused = nn.Linear(2, 2)
    with pytest.raises(UnsupportedModelError, match="unused did not run"):
        layer_shapes(net, images(2))
    assert len(layer_shapes(net, images(2), layers=["conv1", "conv2", "fc"])) == 3


def test_layers_that_cannot_be_told_apart_are_refused():
    net = small_net()
    net.conv2.weight = net.conv1.weight
    with pytest.raises(UnsupportedModelError, match="conv1 and conv2 share"):
        layer_shapes(net, images(2))
    with pytest.raises(UnsupportedModelError, match="called conv9"):
        layer_shapes(net, images(2), layers=["conv9"])
    with pytest.raises(UnsupportedModelError, match="no Conv2d or Linear"):
        layer_shapes(nn.ReLU(), images(2))
