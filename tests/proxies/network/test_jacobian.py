"""jacov and epe_nas against Jacobians taken sample by sample and numpy's correlations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from proxies.network import score
from proxies.network.activations import correlations
from proxies.network.jacobian import epe_nas, jacov
from tests.proxies.network.networks import CLASSES, batch, plain, residual


def rows_of(model: nn.Module, images: torch.Tensor) -> np.ndarray:
    """d(sum of outputs)/d(image), one sample after another."""
    rows = []
    for image in images:
        x = image[None].clone().requires_grad_(True)
        rows.append(torch.autograd.grad(model(x * 1.0).sum(), x)[0].flatten().numpy())
    return np.stack(rows)


def test_both_agree_with_a_loop_over_samples():
    model, (images, labels) = plain(), batch(dtype=torch.float64)
    rows = rows_of(model, images)
    values = np.linalg.eigvalsh(np.corrcoef(rows))
    found = score(model, (images, labels), ["jacov", "epe_nas"])
    assert found["jacov"] == pytest.approx(-np.sum(np.log(values + 1e-5) + 1 / (values + 1e-5)), rel=1e-6)
    expected = 0.0
    for label in range(CLASSES):
        matrix = np.corrcoef(rows[labels.numpy() == label])
        expected += abs(np.sum(np.log(np.abs(matrix) + 1e-5)))
    assert found["epe_nas"] == pytest.approx(expected, rel=1e-6)


def test_batch_norm_uses_the_batch():
    model, (images, labels) = residual().double().eval(), batch(dtype=torch.float64)
    x = images.clone().requires_grad_(True)
    model.train()
    direct = torch.autograd.grad(model(x).sum(), x)[0]
    model.eval()
    assert score(model, (images, labels), ["jacov"])["jacov"] == pytest.approx(jacov(direct))


def test_uncorrelated_rows_are_the_best_and_equal_rows_the_worst():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(6, 40, generator=generator, dtype=torch.float64)
    rows = rows - rows.mean(1, keepdim=True)
    apart = torch.linalg.qr(rows.T)[0].T
    assert jacov(apart) == pytest.approx(-6 * (math.log(1 + 1e-5) + 1 / (1 + 1e-5)), rel=1e-6)
    alike = rows[:1].repeat(6, 1)
    # eigenvalues 6, 0, 0, 0, 0, 0
    worst = -(math.log(6 + 1e-5) + 1 / (6 + 1e-5) + 5 * (math.log(1e-5) + 1e5))
    assert jacov(alike) == pytest.approx(worst, rel=1e-6)
    assert jacov(apart) > jacov(rows) > jacov(alike)


def test_many_classes_compare_their_normalised_sums():
    rows = torch.randn(7, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels = torch.tensor([3, 3, 3, 150, 150, 7, 7])
    sums = []
    for label in (3, 7, 150):
        matrix = np.atleast_2d(np.corrcoef(rows[labels == label].numpy()))
        sums.append(np.sum(np.log(np.abs(matrix) + 1e-5)) / len(matrix))
    expected = sum(abs(a - b) for a in sums for b in sums) / 3
    assert epe_nas(rows, labels, 200) == pytest.approx(expected, rel=1e-9)


def test_a_sample_without_gradient_gives_nan():
    jacobian = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    jacobian[2] = 0
    assert math.isnan(jacov(jacobian))
    assert math.isnan(epe_nas(jacobian, torch.tensor([0, 0, 1, 1]), 2))
    dead = nn.Sequential(nn.Flatten(), nn.Linear(6, CLASSES))
    nn.init.zeros_(dead[1].weight)
    found = score(dead, batch(4, (6,)), ["jacov", "epe_nas"])
    assert math.isnan(found["jacov"])
    assert math.isnan(found["epe_nas"])


def test_correlations_are_numpys_and_undefined_for_constant_rows():
    rows = torch.randn(5, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(correlations(rows).numpy(), np.corrcoef(rows.numpy()), atol=1e-12)
    rows[1] = 0.1  # not exactly representable: its mean differs from it by rounding
    matrix = correlations(rows)
    assert bool(matrix[1].isnan().all())
    assert bool(matrix[0, [0, 2, 3, 4]].isfinite().all())
