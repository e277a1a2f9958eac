"""AZ-NAS's metrics against numpy, the rules for blocks, and the rank sum."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from proxies.errors import ProxyError, UnsupportedModelError
from proxies.network import AZ_METRICS, Settings, az_nas, score, score_many
from proxies.network.az import blocks_of, entropy, features_of, trainability
from proxies.network.working import RandomImages, copied, draw_weights, stream
from tests.proxies.network.networks import CLASSES, batch, residual

NAMES = ["az_expressivity", "az_progressivity", "az_trainability"]


def test_they_agree_with_numpy():
    images, labels = batch()
    found = score(residual(), (images, labels), NAMES, seed=2)
    network = copied(residual())
    draw_weights(network, stream(2, "az weights"), fan_in_scaled=True)
    features = [network.stem(RandomImages(images, 2)("az"))]
    features[0] = features[0].detach().requires_grad_(True)
    for block in network.blocks:
        features.append(block(features[-1]))
    entropies = []
    for feature in features:
        rows = feature.detach().double().permute(0, 2, 3, 1).reshape(-1, feature.shape[1]).numpy()
        shares = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
        shares = shares / shares.sum()
        entropies.append(-np.sum(shares * np.log(shares + 1e-8)))
    assert found["az_expressivity"] == pytest.approx(sum(entropies), rel=1e-5)
    assert found["az_progressivity"] == pytest.approx(min(np.diff(entropies)), rel=1e-4)
    directions, scores = stream(2, "az directions"), []
    for given_, feature in reversed(list(itertools.pairwise(features))):
        back = torch.randint(2, feature.shape, generator=directions) * 2.0 - 1
        gradient = torch.autograd.grad(feature, given_, back, retain_graph=True)[0]
        if gradient.shape[2] != back.shape[2]:
            gradient = nn.functional.pixel_unshuffle(gradient, 2)
        matrix = np.einsum("nihw,nohw->io", gradient.double().numpy(), back.double().numpy())
        top = np.linalg.svd(matrix / (back.numel() / back.shape[1]), compute_uv=False)[0]
        scores.append(2 - top - 1 / (top + 1e-6))
    assert found["az_trainability"] == pytest.approx(np.mean(scores), rel=1e-4)


def test_complexity_is_flops():
    found = score(residual(), batch(), ["flops", "az_complexity"])
    assert found["az_complexity"] == found["flops"] > 0


def test_entropy_is_largest_for_equal_variances_and_zero_for_constants():
    rows = torch.linalg.qr(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)))[0]
    rows = rows - rows.mean(0)
    apart = torch.linalg.qr(rows)[0]
    assert entropy(apart) == pytest.approx(math.log(4), rel=1e-3)
    assert entropy(apart * torch.tensor([1.0, 1e-4, 1e-4, 1e-4])) == pytest.approx(0, abs=1e-3)
    assert entropy(torch.full((5, 3, 2, 2), 0.3)) == pytest.approx(0, abs=1e-6)
    assert math.isnan(entropy(torch.full((5, 3), math.inf)))


def test_trainability_is_zero_for_a_rotation_and_worst_where_nothing_or_the_same_comes_back():
    x = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    turned = torch.einsum("oc,nchw->nohw", rotation, x)
    assert trainability(x, turned, stream(0, "a")) == pytest.approx(0, abs=2e-3)
    assert trainability(x, 3 * turned, stream(0, "a")) == pytest.approx(2 - 3 - 1 / 3, abs=2e-2)
    worst = 2 - 1e6
    assert trainability(x, x * 1.0, stream(0, "a")) == worst
    assert trainability(x, torch.zeros_like(x).requires_grad_(True), stream(0, "a")) == worst
    assert trainability(x, (x * 0.0), stream(0, "a")) == pytest.approx(worst)
    with pytest.raises(UnsupportedModelError, match="no consecutive blocks"):
        trainability(x, nn.functional.interpolate(x, scale_factor=2), stream(0, "a"))


@pytest.mark.parametrize("size", [7, 8])
def test_strides_stack_positions_as_channels(size):
    layer = nn.Conv2d(2, 3, 3, 2, 1, bias=False)
    x = torch.randn(32, 2, size, size, generator=torch.Generator().manual_seed(0), requires_grad=True)
    feature = layer(x)
    value = trainability(x, feature, stream(4, "a"))
    back = torch.randint(2, feature.shape, generator=stream(4, "a")) * 2.0 - 1
    gradient = torch.autograd.grad(feature, x, back, retain_graph=True)[0]
    gradient = nn.functional.pixel_unshuffle(nn.functional.pad(gradient, (0, 8 - size, 0, 8 - size)), 2)
    matrix = torch.einsum("nihw,nohw->io", gradient, back) / (32 * 16)
    top = float(torch.linalg.svdvals(matrix)[0])
    assert value == pytest.approx(2 - top - 1 / (top + 1e-6), rel=1e-4)


class Wrapped(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


def test_blocks_are_modules_with_children_and_runs_of_plain_layers():
    model = residual()
    assert [block[-1] for block in blocks_of(Wrapped(Wrapped(model)))] == [
        model.stem[1],
        *model.blocks,
        model.classifier,
    ]
    layers = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(3, 4, 1), nn.Dropout(),
        nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, CLASSES),
    )  # fmt: skip
    assert blocks_of(layers) == [list(layers[:3]), [layers[5]], [layers[8], layers[9]], [layers[10]]]


def test_features_are_the_blocks_outputs_without_the_logits():
    network = copied(residual("inplace"))
    images = batch()[0]
    features = features_of(network, images)
    assert [tuple(feature.shape[1:]) for feature in features] == [(4, 6, 6), (4, 6, 6), (6, 3, 3), (6, 3, 3)]
    torch.testing.assert_close(features[0].detach(), network.stem(images).detach())
    torch.testing.assert_close(features[1].detach(), network.blocks[0](features[0].detach().clone()).detach())


def test_blocks_by_name():
    names = ("stem", "blocks.1", "blocks.2")
    found = score(residual(), batch(), NAMES, settings=Settings(blocks=names))
    assert found != score(residual(), batch(), NAMES)
    with pytest.raises(ProxyError, match=r"blocks\.7"):
        score(residual(), batch(), NAMES, settings=Settings(blocks=("stem", "blocks.7")))
    with pytest.raises(UnsupportedModelError, match="blocks"):
        score(nn.Sequential(nn.Flatten(), nn.Linear(72, CLASSES)), batch(), NAMES)


def test_a_dead_block_leaves_the_others_their_value():
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(x)

    model = residual()
    model.blocks.insert(1, Dead())
    found = score(model, batch(), NAMES)
    assert found["az_trainability"] < -1e5
    assert math.isfinite(found["az_expressivity"])
    assert found["az_progressivity"] < -0.5


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 1000))
def test_the_rank_sum_sees_ranks_alone_and_is_zero_for_the_best_of_all(count, seed):
    rng = np.random.default_rng(seed)
    scores = {name: rng.normal(size=count) for name in AZ_METRICS}
    combined = az_nas(scores)
    assert combined.shape == (count,)
    assert (combined <= 0).all()
    np.testing.assert_allclose(az_nas({name: np.exp(3 * column) for name, column in scores.items()}), combined)
    order = rng.permutation(count)
    np.testing.assert_allclose(az_nas({name: column[order] for name, column in scores.items()}), combined[order])
    best = {name: np.append(column, column.max() + 1) for name, column in scores.items()}
    assert az_nas(best)[-1] == 0
    assert int(np.argmax(az_nas(best))) == count


def test_nan_ranks_lowest_and_columns_must_fit():
    combined = az_nas({"a": [1.0, math.nan, 3.0]})
    np.testing.assert_allclose(combined, np.log([2 / 3, 1 / 3, 1]))
    for wrong in ({}, {"a": [1.0], "b": [1.0, 2.0]}, {"a": []}):
        with pytest.raises(ProxyError):
            az_nas(wrong)


def test_a_pool_is_scored_and_ranked():
    scores = score_many((residual(seed=seed) for seed in range(3)), batch(), AZ_METRICS)
    assert az_nas(scores).shape == (3,)
