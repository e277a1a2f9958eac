"""Metrics of the loss's gradient against closed forms and against autograd used one metric at a time."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from proxies.errors import ProxyError
from proxies.network import Settings, score
from tests.proxies.network.networks import CLASSES, batch, loss_gradients, plain, residual, weights_of


def linear_classifier(features: int = 6) -> nn.Sequential:
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, CLASSES)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(CLASSES, features, generator=generator, dtype=torch.float64))
    return model


def test_a_linear_classifier_has_its_closed_forms():
    model = linear_classifier()
    images, labels = batch(8, (6,), dtype=torch.float64)
    weight = model[1].weight.detach()
    shares = torch.softmax(images @ weight.T + model[1].bias.detach(), 1)
    missed = shares - F.one_hot(labels, CLASSES)
    gradient = missed.T @ images / 8
    found = score(model, (images, labels), ["grad_norm", "snip", "plain", "l2_norm", "fisher", "params", "flops"])
    assert found["grad_norm"] == pytest.approx(float(gradient.norm()))
    assert found["snip"] == pytest.approx(float((gradient * weight).abs().sum()))
    assert found["plain"] == pytest.approx(-float((gradient * weight).sum()))
    assert found["l2_norm"] == pytest.approx(float(weight.norm()))
    outputs = images @ weight.T + model[1].bias.detach()
    assert found["fisher"] == pytest.approx(6 * 0.5 * float((outputs * missed / 8).square().mean(0).sum()))
    assert found["params"] == 6 * CLASSES + CLASSES
    assert found["flops"] == 6 * CLASSES


def test_grasp_of_a_linear_classifier_is_minus_weight_times_hessian_times_gradient():
    model = linear_classifier(3)
    images, labels = batch(8, (3,), dtype=torch.float64)
    bias = model[1].bias.detach()

    def loss(flat: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(images @ flat.reshape(CLASSES, 3).T + bias, labels)

    flat = model[1].weight.detach().flatten()
    hessian = torch.autograd.functional.hessian(loss, flat)
    gradient = torch.func.grad(loss)(flat)
    assert score(model, (images, labels), ["grasp"])["grasp"] == pytest.approx(-float(flat @ hessian @ gradient))


@pytest.mark.parametrize("relu", ["module", "inplace", "functional", "method"])
def test_a_network_with_batch_norm_agrees_with_one_metric_at_a_time(relu):
    model, (images, labels) = residual(relu).double(), batch(dtype=torch.float64)
    direct = copy.deepcopy(model).train()
    weights, gradients = weights_of(direct), loss_gradients(direct, images, labels)
    found = score(model, (images, labels), ["grad_norm", "snip", "plain", "grasp", "fisher"])
    assert found["grad_norm"] == pytest.approx(sum(float(g.norm()) for g in gradients))
    assert found["snip"] == pytest.approx(
        sum(float((g * w.detach()).abs().sum()) for g, w in zip(gradients, weights, strict=True))
    )
    assert found["plain"] == pytest.approx(
        -sum(float((g * w.detach()).sum()) for g, w in zip(gradients, weights, strict=True))
    )
    second = loss_gradients(direct, images, labels, create_graph=True)
    sum((g.detach() * h).sum() for g, h in zip(gradients, second, strict=True)).backward()
    assert found["grasp"] == pytest.approx(-sum(float((w.detach() * w.grad).sum()) for w in weights))
    assert found["fisher"] == pytest.approx(direct_fisher(direct, images, labels))


def direct_fisher(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Outputs and their gradients from hooks; each layer's output goes on as a copy."""
    seen: list[tuple[torch.Tensor, nn.Module]] = []

    def hook(module, args, output):
        output.retain_grad()
        seen.append((output, module))
        return output * 1.0

    handles = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    F.cross_entropy(model(images), labels).backward()
    for handle in handles:
        handle.remove()
    total = 0.0
    for output, module in seen:
        product = (output * output.grad).detach()
        by_channel = product.flatten(2).sum(2) if product.ndim == 4 else product
        for channel in range(by_channel.shape[1]):
            total += 0.5 * float((by_channel[:, channel] ** 2).mean()) * module.weight[channel].numel()
    return total


def test_outputs_that_a_relu_overwrites_are_seen_as_they_were():
    model, (images, labels) = plain(), batch(dtype=torch.float64)
    other = copy.deepcopy(model)
    for module in other.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    names = ["fisher", "grasp", "ntk_trace", "snip"]
    assert score(model, (images, labels), names) == pytest.approx(score(other, (images, labels), names))
    assert score(model, (images, labels), ["fisher"])["fisher"] == pytest.approx(direct_fisher(other, images, labels))


def test_a_weight_that_batch_norm_follows_adds_nothing_to_plain():
    model, (images, labels) = residual().double(), batch(dtype=torch.float64)
    direct = copy.deepcopy(model)
    gradients = loss_gradients(direct, images, labels)
    normalised = [direct.stem[0].weight] + [w for b in direct.blocks for w in (b.first.weight, b.second.weight)]
    for weight, gradient in zip(weights_of(direct), gradients, strict=True):
        if any(weight is other for other in normalised):
            assert abs(float((weight.detach() * gradient).sum())) < 1e-4 * float(
                weight.detach().norm() * gradient.norm()
            )


@pytest.mark.parametrize("parts", [2, 3])
def test_zico_is_the_ratio_of_mean_and_deviation_over_parts(parts):
    model, (images, labels) = residual().double(), batch(9, dtype=torch.float64)
    direct = copy.deepcopy(model).train()
    rows = [
        [g.flatten().numpy() for g in loss_gradients(direct, x, y)]
        for x, y in zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True)
    ]
    expected = 0.0
    for layer in range(len(rows[0])):
        stacked = np.stack([row[layer] for row in rows])
        deviation = stacked.std(0)
        kept = deviation != 0
        expected += math.log(float((np.abs(stacked).mean(0)[kept] / deviation[kept]).sum()))
    found = score(model, (images, labels), ["zico"], settings=Settings(zico_parts=parts))
    assert found["zico"] == pytest.approx(expected)


def test_zico_without_any_gradient_is_zero_and_too_small_a_batch_is_refused():
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(108, CLASSES))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    assert score(model, (torch.zeros(4, 2, 6, 6), torch.arange(4)), ["zico"])["zico"] == 0.0
    with pytest.raises(ProxyError, match="2 parts"):
        score(model, batch(3), ["zico"])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 2**16))
def test_synflow_of_linear_layers_is_the_sum_of_path_products(widths, seed):
    # R = 1' |W_k| ... |W_1| 1, and every layer's sum |W dR/dW| is R
    generator = torch.Generator().manual_seed(seed)
    sizes = [3, *widths, CLASSES]
    layers = [nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(sizes)]
    flow = torch.ones(3, dtype=torch.float64)
    for layer in layers:
        with torch.no_grad():
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
        flow = layer.weight.detach().double().abs() @ flow
    model = nn.Sequential(nn.Flatten(), *layers)
    found = score(model, batch(4, (3,)), ["synflow"])["synflow"]
    assert found == pytest.approx(math.log(len(layers) * float(flow.sum())))


def test_synflow_removes_normalisation_of_every_kind_and_survives_depth():
    def deep(norm):
        torch.manual_seed(0)
        return nn.Sequential(*(nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), norm()) for _ in range(80)), nn.Flatten(),
                             nn.Linear(8, CLASSES, bias=False))  # fmt: skip

    state = torch.get_rng_state()
    values = [
        score(deep(norm), batch(4, (2, 2, 2)), ["synflow"])["synflow"]
        for norm in (nn.Identity, lambda: nn.BatchNorm2d(2), lambda: nn.GroupNorm(1, 2), lambda: nn.InstanceNorm2d(2))
    ]
    torch.set_rng_state(state)
    assert values == pytest.approx([values[0]] * 4, rel=1e-12)
    wide = nn.Sequential(*(nn.Linear(16, 16, bias=False) for _ in range(40)), nn.Linear(16, CLASSES))
    with torch.no_grad():
        for layer in wide:
            layer.weight.fill_(1e5)
    # far beyond float32's range
    assert score(wide, batch(4, (16,)), ["synflow"])["synflow"] > 88 * 2


def test_synflow_where_nothing_flows_is_nan():
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3), nn.Linear(3, CLASSES))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.zero_()
    assert math.isnan(score(model, batch(4, (6,)), ["synflow"])["synflow"])
