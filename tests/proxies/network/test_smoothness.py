"""zen against a closed form and against hooks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from proxies.network import Settings, score
from proxies.network.smoothness import zen
from proxies.network.working import RandomImages, copied, draw_weights, stream
from tests.proxies.network.networks import CLASSES, batch, residual


def test_a_linear_network_moves_as_far_as_its_weights_move_the_step():
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)
    )
    images, step = torch.randn(2, 5, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    distance = model[0](step).abs().flatten(1).sum(1).mean()
    assert zen(model, images, images + step) == pytest.approx(math.log(float(distance.detach())), rel=1e-5)
    # twice the step: ln 2 more
    assert zen(model, images, images + 2 * step) - zen(model, images, images + step) == pytest.approx(
        math.log(2), rel=1e-4
    )


def test_batch_norms_add_the_logarithm_of_their_scale():
    images, labels = batch()
    drawn, sizes = copied(residual()), []
    draw_weights(drawn, stream(5, "zen weights"), fan_in_scaled=False)
    x = RandomImages(images, 5)("zen")
    moved = x + 0.01 * RandomImages(images, 5)("zen step")

    def scale(module, args):
        sizes.append(0.5 * math.log(float(args[0].double().var((0, 2, 3)).mean())))

    handles = [m.register_forward_pre_hook(scale) for m in drawn.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        first = drawn.blocks(drawn.stem(x))
        for handle in handles:
            handle.remove()
        second = drawn.blocks(drawn.stem(moved))
    expected = math.log(float((first - second).abs().flatten(1).sum(1).mean())) + sum(sizes)
    assert len(sizes) == 7
    assert score(residual(), (images, labels), ["zen"], seed=5)["zen"] == pytest.approx(expected, rel=1e-5)


def test_without_feature_maps_the_last_linear_layers_input_is_taken():
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, CLASSES))
    images, step = torch.randn(2, 7, 6, generator=torch.Generator().manual_seed(1))
    distance = model[0](step).abs().sum(1).mean()
    assert zen(model, images, images + step) == pytest.approx(math.log(float(distance.detach())), rel=1e-5)


def test_images_are_no_feature_map_and_tokens_are_one():
    generator = torch.Generator().manual_seed(1)
    images, step = torch.randn(2, 7, 2, 3, 3, generator=generator)

    class Centred(nn.Sequential):
        def forward(self, x):
            return super().forward(x - 0.5)

    flat = Centred(nn.Flatten(), nn.Linear(18, 5, bias=False), nn.Linear(5, CLASSES))
    distance = flat[1](step.flatten(1)).abs().sum(1).mean()
    assert zen(flat, images, images + step) == pytest.approx(math.log(float(distance.detach())), rel=1e-5)

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 6, bias=False), nn.Linear(6, CLASSES)

        def forward(self, x):
            return self.second(self.first(x.flatten(1, 2)).mean(1))

    tokens = Tokens()
    distance = tokens.first(step.flatten(1, 2)).abs().flatten(1).sum(1).mean()
    assert zen(tokens, images, images + step) == pytest.approx(math.log(float(distance.detach())), rel=1e-5)


def test_weights_are_drawn_anew_and_the_seed_decides():
    images, labels = batch()
    values = {seed: score(residual(seed=0), (images, labels), ["zen"], seed=seed)["zen"] for seed in (0, 1)}
    assert values[0] != values[1]
    assert score(residual(seed=9), (images, labels), ["zen"], seed=0)["zen"] == values[0]
    near = score(residual(), (images, labels), ["zen"], settings=Settings(zen_step=0.001))["zen"]
    assert near < values[0] - 1  # a tenth of the step


def test_a_network_that_does_not_move_is_nan():
    class Zero(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(2, CLASSES, 1)

        def forward(self, x):
            return (self.layer(x) * 0).mean((2, 3))

    assert math.isnan(score(Zero(), batch(), ["zen"])["zen"])
