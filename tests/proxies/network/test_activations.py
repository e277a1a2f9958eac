"""naswot and swap from ReLU states, meco from channels: direct computations, and every way to write a ReLU."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from proxies.errors import UnsupportedModelError
from proxies.network import Settings, score
from proxies.network.activations import ReluPatterns, meco, naswot, swap
from proxies.network.watching import Watching
from tests.proxies.network.networks import CLASSES, batch, plain, residual


def patterns_of(*inputs: torch.Tensor, columns: int = 16) -> ReluPatterns:
    """What is seen when these tensors go through ReLUs."""
    found = ReluPatterns(len(inputs[0]), columns)
    with Watching([found]):
        for x in inputs:
            torch.relu(x)
    return found


def states_of(model: nn.Module, images: torch.Tensor) -> np.ndarray:
    """(units, samples) whether on, from the inputs of the ReLU modules."""
    seen = []
    handles = [
        module.register_forward_pre_hook(lambda m, args: seen.append((args[0] > 0).flatten(1).T.numpy()))
        for module in model.modules()
        if isinstance(module, nn.ReLU)
    ]
    model(images.clone())
    for handle in handles:
        handle.remove()
    return np.concatenate(seen)


def test_naswot_and_swap_agree_with_states_seen_by_hooks():
    model, (images, labels) = plain(dtype=torch.float32), batch(6)
    states = states_of(plain(dtype=torch.float32), images)
    agree = np.array([[np.sum(states[:, i] == states[:, j]) for j in range(6)] for i in range(6)], float)
    found = score(model, (images, labels), ["naswot", "swap"])
    assert found["naswot"] == pytest.approx(np.linalg.slogdet(agree)[1])
    assert found["swap"] == len({tuple(row) for row in states})
    three = score(model, (images, labels), ["swap"], settings=Settings(swap_samples=3))
    assert three["swap"] == len({tuple(row) for row in states[:, :3]})


@pytest.mark.parametrize("relu", ["inplace", "functional", "torch", "method", "clamp"])
def test_a_relu_counts_once_however_it_is_written(relu):
    names = ["naswot", "swap", "flops"]
    assert score(residual(relu), batch(), names) == pytest.approx(score(residual("module"), batch(), names))


def test_dead_and_equal_samples_have_no_determinant():
    assert math.isnan(naswot(patterns_of(-torch.ones(4, 7)).agreement()))
    x = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    assert math.isfinite(naswot(patterns_of(x).agreement()))
    x[2] = x[1]
    assert math.isnan(naswot(patterns_of(x).agreement()))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**20), st.integers(2, 8), st.integers(1, 30))
def test_agreement_is_units_minus_hamming_distance_and_naswot_ignores_the_order_of_samples(seed, samples, units):
    x = torch.randn(samples, units, generator=torch.Generator().manual_seed(seed))
    found = patterns_of(x[:, : units // 2 + 1], x[:, units // 2 + 1 :])
    on = (x > 0).numpy()
    for i in range(samples):
        for j in range(samples):
            assert float(found.agreement()[i, j]) == np.sum(on[i] == on[j])
    assert found.distinct == len({tuple(column) for column in on.T})
    assert found.units == units
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed + 1))
    assert naswot(patterns_of(x[order]).agreement()) == pytest.approx(naswot(found.agreement()), abs=1e-6, nan_ok=True)


def test_regularised_swap():
    assert swap(120, 1000) == 120
    assert swap(120, 1000, mu=1000, sigma=1e4) == 120
    assert swap(120, 900, mu=1000, sigma=1e4) == pytest.approx(120 * math.exp(-1))
    model = residual()
    params = sum(p.numel() for p in model.parameters())
    found = score(model, batch(), ["swap"], settings=Settings(swap_mu=params + 50.0, swap_sigma=2500.0))
    assert found["swap"] == pytest.approx(score(model, batch(), ["swap"])["swap"] * math.exp(-1))


def test_a_model_without_relu_is_refused_by_name():
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.GELU(), nn.Linear(5, CLASSES))
    for metric in ("naswot", "swap"):
        with pytest.raises(UnsupportedModelError, match="ReLU"):
            score(model, batch(4, (6,)), [metric])
    with pytest.raises(UnsupportedModelError, match="no convolution"):
        score(model, batch(4, (6,)), ["meco"])
    assert score(model, batch(4, (6,)), ["snip", "jacov"])["snip"] > 0


def test_meco_is_the_smallest_eigenvalue_of_each_layers_correlations():
    model = residual()
    drawn = score(model, batch(), ["meco"], seed=3)["meco"]
    from proxies.network.working import RandomImages

    image = RandomImages(batch()[0], 3)("meco", 1)
    expected = 0.0
    with torch.no_grad():
        model.train()
        outputs = []
        handles = [
            m.register_forward_hook(lambda module, args, output: outputs.append(output[0].flatten(1).double().numpy()))
            for m in model.modules()
            if isinstance(m, nn.Conv2d)
        ]
        model(image)
        for handle in handles:
            handle.remove()
    assert len(outputs) == 8
    for channels in outputs:
        expected += max(0.0, float(np.linalg.eigvalsh(np.corrcoef(channels))[0]))
    assert drawn == pytest.approx(expected, rel=1e-6)


def test_meco_of_given_maps():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 20, generator=generator, dtype=torch.float64)
    apart = torch.linalg.qr((rows - rows.mean(1, keepdim=True)).T)[0].T
    assert meco([apart]) == pytest.approx(1)
    assert meco([apart, apart * 5 + 1]) == pytest.approx(2)
    alike = rows.clone()
    alike[1] = 2 * alike[0]
    assert meco([alike]) == pytest.approx(0, abs=1e-12)
    constant = rows.clone()
    constant[1] = 4.0
    assert meco([constant]) == pytest.approx(0, abs=1e-12)
    assert meco([rows[:, :3]]) == 0.0  # three positions cannot tell three channels apart
