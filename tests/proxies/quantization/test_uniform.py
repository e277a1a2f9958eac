"""Grids: closed forms, the error bound of half a step, and what the search for the scale gains."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.errors import ProxyError
from proxies.quantization import ActivationScheme, WeightScheme, fit_activation, fit_weight, squared_error

SCHEMES = st.builds(
    WeightScheme, st.sampled_from(["channel", "tensor"]), st.booleans(), st.sampled_from(["mse", "minmax"])
)

QUICK = settings(deadline=None, max_examples=40)


def weights(seed, shape=(5, 7), spread=1.0, shift=0.0):
    return spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + shift


@given(st.integers(0, 999), st.integers(2, 9), st.booleans(), st.sampled_from([0.0, 3.0, -3.0]))
@QUICK
def test_with_the_full_range_no_error_exceeds_half_a_step(seed, bits, symmetric, shift):
    w = weights(seed, shift=shift)
    for granularity in ("channel", "tensor"):
        grid = fit_weight(w, bits, WeightScheme(granularity, symmetric, "minmax"))
        assert bool(((grid.quantize(w) - w).abs() <= grid.scale * 0.5 * (1 + 1e-4)).all())


@given(st.integers(0, 999), st.integers(2, 8), SCHEMES)
@QUICK
def test_a_quantized_tensor_has_its_levels_and_stays_itself(seed, bits, scheme):
    w = weights(seed, shift=0.3)
    grid = fit_weight(w, bits, scheme)
    q = grid.quantize(w)
    for row in q if scheme.granularity == "channel" else [q]:
        assert len(row.unique()) <= 2**bits
    torch.testing.assert_close(grid.quantize(q), q, rtol=1e-6, atol=1e-7)
    assert not grid.quantize(torch.zeros_like(w)).any(), "zero is on every grid"


@given(st.integers(0, 999), st.integers(2, 8), st.booleans(), st.sampled_from(["channel", "tensor"]))
@QUICK
def test_the_searched_scale_is_never_worse_than_the_full_range(seed, bits, symmetric, granularity):
    w = weights(seed)
    found = squared_error(w, bits, WeightScheme(granularity, symmetric, "mse"))
    assert found <= squared_error(w, bits, WeightScheme(granularity, symmetric, "minmax"))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_searched_scale_is_near_the_best_of_a_fine_search(bits):
    w = weights(3, (1, 4000))
    found = squared_error(w, bits, WeightScheme("tensor", True))
    grid = fit_weight(w, bits, WeightScheme("tensor", True, "minmax"))
    best = torch.inf
    for share in torch.linspace(0.02, 1.1, 1500):
        step = grid.scale * share
        q = torch.round(w / step).clamp(grid.low, grid.high) * step
        best = min(best, float((q - w).double().square().sum()))
    assert best <= found * 1.0001
    assert found <= best * 1.002
    assert found < 0.8 * squared_error(w, bits, WeightScheme("tensor", True, "minmax"))


def test_a_grid_by_hand():
    w = torch.tensor([[-1.0, 0.0, 0.9, 2.0]])
    grid = fit_weight(w, 2, WeightScheme(symmetric=False, scale="minmax"))
    assert (grid.scale.item(), grid.zero_point.item(), grid.low, grid.high) == (1.0, 1.0, 0, 3)
    assert grid.quantize(w).tolist() == [[-1.0, 0.0, 1.0, 2.0]]
    grid = fit_weight(w, 2, WeightScheme(symmetric=True, scale="minmax"))
    assert (grid.scale.item(), grid.low, grid.high) == (2.0, -2, 1)
    assert grid.quantize(w).tolist() == [[-0.0, 0.0, 0.0, 2.0]]
    assert squared_error(torch.tensor([[-1.0, 0.0, 0.9, 2.0]]), 2, WeightScheme(scale="minmax")) == pytest.approx(0.01)


@given(st.integers(0, 99), SCHEMES)
@QUICK
def test_a_channels_grid_is_its_own(seed, scheme):
    w = weights(seed, (4, 9))
    grid = fit_weight(w, 3, WeightScheme("channel", scheme.symmetric, scheme.scale))
    alone = fit_weight(w[2:3], 3, WeightScheme("channel", scheme.symmetric, scheme.scale))
    assert grid.scale[2].item() == alone.scale[0].item()


@pytest.mark.parametrize("value", [0.0, 1e-42, 5.0, -5.0])
def test_constant_channels_are_kept(value):
    w = torch.full((2, 3), value)
    for symmetric in (True, False):
        q = fit_weight(w, 4, WeightScheme(symmetric=symmetric)).quantize(w)
        torch.testing.assert_close(q, w, rtol=1e-6, atol=1e-30)


def test_more_bits_never_hurt_much():
    errors = [squared_error(weights(5, (8, 50)), bits) for bits in range(2, 9)]
    assert all(after < 0.5 * before for before, after in itertools.pairwise(errors))


@pytest.mark.parametrize("bits", [1, 17, 4.0, True])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ProxyError, match="bits"):
        fit_weight(weights(0), bits)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(ProxyError, match="NaN"):
        fit_weight(torch.tensor([[1.0, value]]), 4)


def test_calibration_of_activations():
    x = weights(7, (3000,)).relu()
    x[0] = 1000.0
    whole = fit_activation(x, 8, ActivationScheme(scale="minmax"))
    assert whole.scale.item() == pytest.approx(1000 / 255)
    clipped = fit_activation(x, 8, ActivationScheme(scale="percentile", percentile=99.9))
    assert clipped.scale.item() == pytest.approx(x.sort().values[-4].item() / 255)
    assert whole.scale.ndim == 0

    def error(grid, x):
        return (grid.quantize(x) - x).square().sum()

    x[0] = 6.0
    searched = fit_activation(x, 4, ActivationScheme(scale="mse"))
    assert error(searched, x) < error(fit_activation(x, 4, ActivationScheme(scale="minmax")), x)


def test_calibration_on_a_sample_is_decided_by_the_seed():
    x = weights(8, (5000,))
    scheme = ActivationScheme(samples=64)
    grids = [fit_activation(x, 4, scheme, torch.Generator().manual_seed(seed)).scale.item() for seed in (0, 0, 1, 2)]
    assert grids[0] == grids[1]
    assert len(set(grids)) > 1


@pytest.mark.parametrize("wrong", [{"granularity": "row"}, {"scale": "max"}])
def test_unknown_schemes_are_refused(wrong):
    with pytest.raises(ProxyError):
        WeightScheme(**wrong)
    with pytest.raises(ProxyError):
        ActivationScheme(percentile=40)
