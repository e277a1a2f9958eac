"""The baselines as they are used in practice: every figure that torch would let one change, written out here."""

import pytest
import torch

from search_spaces.lion.judge import optimizers
from search_spaces.lion.judge.networks import Perceptron, materialise
from search_spaces.lion.judge.subjects import BASELINES

ADAMW = {"betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False, "maximize": False}
EXPECTED = {
    "AdamW": [(torch.optim.AdamW, ADAMW)],
    "NAdam": [
        (
            torch.optim.NAdam,
            {"betas": (0.9, 0.999), "eps": 1e-8, "momentum_decay": 4e-3, "decoupled_weight_decay": True,
             "maximize": False},
        )
    ],
    "SGD": [(torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "dampening": 0, "maximize": False})],
    "Lion": [(optimizers.Lion, {"betas": (0.9, 0.99)})],
    "Muon": [
        (
            torch.optim.Muon,
            {"momentum": 0.95, "nesterov": True, "ns_steps": 5, "eps": 1e-7, "adjust_lr_fn": "match_rms_adamw",
             "ns_coefficients": (3.4445, -4.775, 2.0315)},
        ),
        (torch.optim.AdamW, ADAMW),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_has_the_figures_of_its_literature(name):
    network = materialise(lambda: Perceptron((5, 7, 7, 3)), torch.Generator().manual_seed(0))
    made = BASELINES[name].build(network, 0.01, 0.1)
    assert [type(optimizer) for optimizer in made] == [kind for kind, _ in EXPECTED[name]]
    for optimizer, (_, figures) in zip(made, EXPECTED[name], strict=True):
        for group in optimizer.param_groups:
            assert {key: group[key] for key in figures} == figures
            assert (group["lr"], group["weight_decay"]) == (0.01, 0.1)


def test_the_table_of_boxes():
    """Each figure is part of the protocol: a change of it is a change of the judgement."""
    assert {name: (b.lr, b.weight_decay) for name, b in BASELINES.items()} == {
        "AdamW": (3.2e-3, 0.128), "NAdam": (3.2e-3, 0.128), "SGD": (0.16, 3.2e-4), "Lion": (8e-4, 0.64),
        "Muon": (6.4e-3, 0.128),
    }  # fmt: skip


@pytest.mark.parametrize("name", BASELINES)
def test_one_step_is_what_the_figures_say(name):
    """Of a bias, where no baseline orthogonalises, by the formulas of the papers."""
    layer = torch.nn.Linear(1, 1).double()
    with torch.no_grad():
        layer.bias.fill_(2.0)
    for parameter in layer.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    for optimizer in BASELINES[name].build(layer, 0.1, 0.3):
        optimizer.step()
    nesterov = 0.5 + 0.3 * 2.0
    mu1, mu2 = (0.9 * (1 - 0.5 * 0.96 ** (step * 4e-3)) for step in (1, 2))
    nadam = mu2 * 0.1 * 0.5 / (1 - mu1 * mu2) + (1 - mu1) * 0.5 / (1 - mu1)
    after = {
        "AdamW": 2.0 * (1 - 0.1 * 0.3) - 0.1,
        "NAdam": 2.0 * (1 - 0.1 * 0.3) - 0.1 * nadam / 0.5,
        "SGD": 2.0 - 0.1 * (nesterov + 0.9 * nesterov),
        "Lion": 2.0 * (1 - 0.1 * 0.3) - 0.1,
        "Muon": 2.0 * (1 - 0.1 * 0.3) - 0.1,
    }
    assert layer.bias.item() == pytest.approx(after[name], rel=1e-6)


def test_a_network_of_one_dense_layer_leaves_muon_nothing():
    (only,) = optimizers.muon(torch.nn.Linear(3, 2), 0.01, 0.1)
    assert isinstance(only, torch.optim.AdamW)


def test_muon_finds_hidden_matrices_of_networks_that_are_not_ours():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)
    )
    first, second = optimizers.muon(network, 0.01, 0.1)
    assert [id(p) for p in first.param_groups[0]["params"]] == [id(network[2].weight)]
    assert any(p is network[4].weight for p in second.param_groups[0]["params"])
