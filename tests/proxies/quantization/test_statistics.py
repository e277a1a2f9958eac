"""Gathered statistics are what they say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from proxies.errors import MissingStatisticError, ProxyError
from proxies.quantization import GROUPS, WeightScheme, gather, score, squared_error
from tests.proxies.quantization.networks import images, seeded, small_net


@pytest.fixture(scope="module")
def statistics():
    return gather(small_net(), images(6), torch.arange(6) % 4, seed=1)


def test_layers_are_named_in_the_models_order(statistics):
    assert statistics.names == ("conv1", "conv2", "fc")
    assert statistics["conv2"].name == "conv2"
    assert len(statistics) == 3
    assert statistics.groups == set(GROUPS)
    with pytest.raises(MissingStatisticError, match="conv3"):
        statistics["conv3"]


def test_activations_are_those_of_the_layers(statistics):
    net, x = small_net(), images(6)
    with torch.no_grad():
        first = net.conv1(x)
        second = net.norm(first).relu()
        torch.testing.assert_close(statistics["conv1"].input, x)
        torch.testing.assert_close(statistics["conv1"].output, first)
        torch.testing.assert_close(statistics["conv2"].input, second)
        torch.testing.assert_close(statistics["conv2"].output, net.conv2(second))


def test_what_follows_in_place_does_not_change_an_activation():
    net = seeded(lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(inplace=True), nn.Linear(5, 2), nn.Tanh()))
    x = images(4, 1, 3).flatten(1)[:, :3]
    layer = gather(net, x, collect=["activations"])["0"]
    with torch.no_grad():
        expected = net[0](x)
    assert float(expected.min()) < 0
    torch.testing.assert_close(layer.output, expected)


def test_gradients_are_those_of_backward(statistics):
    net, x = small_net(), images(6)
    loss = nn.functional.cross_entropy(net(x), torch.arange(6) % 4)
    loss.backward()
    assert statistics.loss == pytest.approx(float(loss.detach()))
    for layer in statistics:
        torch.testing.assert_close(layer.gradient, net.get_submodule(layer.name).weight.grad)
        assert not layer.gradient.requires_grad
        assert not layer.weight.requires_grad
    net.zero_grad()
    net(torch.ones_like(x)).sum().backward()
    for layer in statistics:
        torch.testing.assert_close(layer.virtual_gradient, net.get_submodule(layer.name).weight.grad)


def test_the_virtual_gradient_by_hand():
    net = seeded(lambda: nn.Sequential(nn.Linear(3, 2)))
    (layer,) = gather(net, torch.randn(5, 3), collect=["virtual_gradients"])
    assert layer.virtual_gradient.tolist() == [[5.0] * 3] * 2


def test_without_targets_the_models_own_predictions_are_the_labels():
    net, x = small_net(), images(6)
    labels = net(x).argmax(1)
    ours, given = gather(net, x, collect=["gradients"]), gather(net, x, labels, collect=["gradients"])
    assert ours.loss == given.loss
    assert torch.equal(ours["conv1"].gradient, given["conv1"].gradient)


def test_errors_are_the_quantizers(statistics):
    for layer in statistics:
        weight = small_net().get_submodule(layer.name).weight
        assert layer.errors == {bits: squared_error(weight, bits) for bits in (2, 3, 4, 8)}
    assert statistics.error_table([4, 2])[1].tolist() == [statistics["conv2"].errors[b] for b in (4, 2)]
    with pytest.raises(MissingStatisticError, match="5 bits"):
        statistics.error_table([4, 5])
    scheme = WeightScheme("tensor", True, "minmax")
    other = gather(small_net(), images(2), collect=["errors"], scheme=scheme, bits=[5])
    assert other["fc"].errors == {5: squared_error(small_net().fc.weight, 5, scheme)}


def test_the_same_seed_gives_the_same_numbers(statistics):
    again = gather(small_net(), images(6), torch.arange(6) % 4, seed=1)
    other = gather(small_net(), images(6), torch.arange(6) % 4, seed=2)
    for layer in statistics:
        assert layer.hessian_trace == again[layer.name].hessian_trace
        assert layer.synflow == again[layer.name].synflow
        assert layer.synflow != other[layer.name].synflow
        assert torch.equal(layer.gradient, other[layer.name].gradient)


def test_only_what_was_asked_for_is_gathered():
    statistics = gather(small_net(), images(2), collect=["gradients"])
    layer = statistics["conv1"]
    assert layer.gradient is not None
    assert [layer.output, layer.hessian_trace, layer.errors, layer.synflow, statistics.similarity] == [None] * 5
    with pytest.raises(MissingStatisticError, match="hessian_trace"):
        statistics.require(["hessian_trace"])


def test_training_mode_changes_nothing():
    """Statistics are those of evaluation mode: no dropout, the running statistics of batch normalisation."""
    trained = gather(small_net().train(), images(6), collect=["gradients", "activations"])
    plain = gather(small_net(), images(6), collect=["gradients", "activations"])
    assert trained.loss == plain.loss
    assert torch.equal(trained["fc"].gradient, plain["fc"].gradient)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_the_callers_mode_changes_nothing(mode):
    plain = gather(small_net(), images(3), collect=["gradients", "hessian_eigenvalue"])
    net, x = small_net(), images(3)
    with mode():
        found = gather(net, x, collect=["gradients", "hessian_eigenvalue"])
    assert found.loss == plain.loss
    assert found["conv1"].hessian_eigenvalue == plain["conv1"].hessian_eigenvalue


def test_frozen_parameters_are_measured_too():
    frozen = gather(small_net().requires_grad_(False), images(3), collect=["gradients"])
    plain = gather(small_net(), images(3), collect=["gradients"])
    assert torch.equal(frozen["conv1"].gradient, plain["conv1"].gradient)


def test_a_model_of_two_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(3, 2), nn.Linear(4, 2)

        def forward(self, a, b):
            return self.left(a) * self.right(b)

    statistics = gather(seeded(Two), (torch.ones(5, 3), torch.ones(5, 4)))
    assert statistics["right"].shape.macs == 8


def test_a_layer_without_influence_has_zeros():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            self.idle(x)
            return self.used(x)

    layer = gather(seeded(Idle), torch.ones(2, 3))["idle"]
    assert not layer.gradient.any()
    assert not layer.virtual_gradient.any()
    assert (layer.hessian_trace.value, layer.hessian_eigenvalue.value) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"collect": ["gradient"]}, "no group of statistics is called gradient"),
        ({"collect": "gradients"}, "no group"),
        ({"loss": lambda o, t: o.sum() * float("nan")}, "the loss is"),
        ({"loss": lambda o, t: o}, "the loss is"),
        ({"batch": torch.ones(0, 2, 8, 8)}, "samples"),
        ({"batch": []}, "batch"),
        ({"model": nn.Sequential(nn.Linear(8, 8), nn.Flatten(0))}, "expected a tensor"),
    ],
)
def test_what_cannot_be_measured_is_refused(settings, says):
    with pytest.raises(ProxyError, match=says):
        gather(**{"model": small_net(), "batch": images(2), **settings})


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (torch.full((3,), 99), "the model gives 4 classes, labels reach from 99 to 99"),
        (torch.tensor([0, -1, 2]), "labels reach from -1 to 2"),
        (torch.zeros(2, dtype=torch.long), r"labels of shape \(2,\) for outputs of shape \(3, 4\)"),
    ],
)
def test_labels_that_are_no_classes_of_the_model_are_refused(labels, says):
    with pytest.raises(ProxyError, match=says):
        score(small_net(), {"conv1": 4, "conv2": 4, "fc": 4}, images(3), "snip", labels=labels)
    with pytest.raises(ProxyError, match=says):
        gather(small_net(), images(3), labels, collect=["gradients"])


def test_labels_have_one_name_at_a_time():
    labels = torch.zeros(3, dtype=torch.long)
    bits = {"conv1": 4, "conv2": 4, "fc": 4}
    assert score(small_net(), bits, images(3), "snip", labels=labels) == score(
        small_net(), bits, images(3), "snip", targets=labels
    )
    with pytest.raises(ProxyError, match="two names of one argument"):
        score(small_net(), bits, images(3), "snip", labels=labels, targets=labels)
