"""The kernel of per-sample gradients against one backward pass a sample; its condition number and trace."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from proxies.errors import UnsupportedModelError
from proxies.network import score
from proxies.network.kernel import ntk_cond, ntk_trace
from tests.proxies.network.networks import CLASSES, batch, plain, residual, weights_of


def looped(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    rows = []
    for image, label in zip(images, labels, strict=True):
        logit = model(image[None].clone())[0, label]
        gradients = torch.autograd.grad(logit, weights_of(model), allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    stacked = torch.stack(rows)
    return stacked @ stacked.T


def assert_agrees(model: nn.Module, direct: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    expected = looped(direct, images, labels)
    values = torch.linalg.eigvalsh(expected)
    found = score(model, (images, labels), ["ntk_cond", "ntk_trace"])
    assert found["ntk_trace"] == pytest.approx(float((expected.trace() / len(images)).sqrt()), rel=1e-6)
    assert found["ntk_cond"] == pytest.approx(-float(values[-1] / values[0]), rel=1e-4)
    assert found["ntk_cond"] <= -1


def test_without_normalisation():
    images, labels = batch(6, dtype=torch.float64)
    assert_agrees(plain(), plain(), images, labels)


def test_batch_norm_with_its_statistics_held_fixed():
    model, (images, labels) = residual().double(), batch(6, dtype=torch.float64)
    direct = copy.deepcopy(model)
    for module in direct.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0, generator=torch.Generator().manual_seed(5))
    model.load_state_dict(direct.state_dict())
    # the batch's statistics as running ones; torch's running variance is the unbiased one
    sizes = {}
    for module in direct.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            module.register_forward_pre_hook(lambda m, args: sizes.__setitem__(m, args[0].numel() // args[0].shape[1]))
    direct.train()(images)
    for module, size in sizes.items():
        module.running_var.mul_((size - 1) / size)
    assert_agrees(model, direct.eval(), images, labels)


class Odd(nn.Module):
    """Strides, groups, dilation, padding of other kinds, a layer that runs twice, one whose output is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, stride=2, padding=1, dilation=1)
        self.grouped = nn.Conv2d(4, 4, 3, padding="same", groups=2, dilation=2)
        self.reflected = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        self.twice = nn.Conv2d(4, 4, 1)
        self.idle = nn.Conv2d(4, 2, (1, 3))
        self.tokens = nn.Linear(4, 3)
        self.classifier = nn.Linear(3, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.reflected(torch.tanh(self.grouped(self.first(x)))))
        self.idle(x)
        x = self.twice(torch.tanh(self.twice(x)))
        return self.classifier(torch.tanh(self.tokens(x.flatten(2).transpose(1, 2))).mean(1))


def test_convolutions_and_linear_layers_of_every_kind():
    torch_state = torch.get_rng_state()
    torch.manual_seed(1)
    model = Odd().double()
    torch.set_rng_state(torch_state)
    images, labels = batch(5, (2, 8, 8), dtype=torch.float64)
    assert_agrees(model, copy.deepcopy(model), images, labels)


def test_it_is_cut_into_channels_where_it_is_large(monkeypatch):
    images, labels = batch(6, dtype=torch.float64)
    whole = score(plain(), (images, labels), ["ntk_cond", "ntk_trace"])
    monkeypatch.setattr("proxies.network.kernel._LIMIT", 200)
    assert score(plain(), (images, labels), ["ntk_cond", "ntk_trace"]) == pytest.approx(whole)


def test_values_of_given_kernels():
    assert ntk_cond(torch.diag(torch.tensor([1.0, 2.0, 8.0], dtype=torch.float64))) == pytest.approx(-8)
    assert ntk_trace(torch.diag(torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64))) == pytest.approx(math.sqrt(3))
    assert math.isnan(ntk_cond(torch.zeros(3, 3, dtype=torch.float64)))
    assert math.isnan(ntk_cond(torch.full((3, 3), math.nan, dtype=torch.float64)))
    # rank 1: as far as float32 can tell
    assert ntk_cond(torch.ones(4, 4, dtype=torch.float64)) == pytest.approx(-1 / (4 * torch.finfo(torch.float32).eps))


def test_a_layer_that_does_not_run_on_samples_is_refused():
    class Folded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.last = nn.Linear(3, 3), nn.Linear(6, CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.inner(x.reshape(-1, 3)).reshape(len(x), 6))

    with pytest.raises(UnsupportedModelError, match="ntk_cond"):
        score(Folded(), batch(4, (6,)), ["ntk_trace"])
    assert score(Folded(), batch(4, (6,)), ["snip"])["snip"] > 0
