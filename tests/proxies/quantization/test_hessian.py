"""Traces and eigenvalues: exact on quadratic losses, within their stated errors on a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from proxies.errors import ProxyError
from proxies.quantization import HessianOptions, gather
from tests.proxies.quantization.networks import images, seeded, small_net

CURVATURE = ("hessian_trace", "hessian_eigenvalue")


def half_square(outputs, targets):
    return 0.5 * outputs.square().sum()


def linear(inputs, outputs):
    return seeded(lambda: nn.Sequential(nn.Linear(inputs, outputs, bias=False).double()))


def test_a_diagonal_hessian_is_exact_after_any_number_of_vectors():
    """Loss 0.5 |W x|^2 over inputs x_k = a_k e_k: the Hessian is diag(a^2), once for each output."""
    a = torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64)
    (layer,) = gather(linear(3, 2), torch.diag(a), collect=CURVATURE, loss=half_square)
    assert (layer.hessian_trace.value, layer.hessian_trace.error) == (2 * 14.0, 0.0)
    assert layer.hessian_trace.iterations == HessianOptions().least_samples
    assert layer.hessian_trace.converged
    assert layer.hessian_eigenvalue.converged
    assert abs(layer.hessian_eigenvalue.value - 9) <= layer.hessian_eigenvalue.error + 1e-12


def test_a_quadratic_loss_has_the_trace_of_its_inputs():
    """The Hessian of 0.5 |W X|^2 is I kron X^T X: trace out |X|^2, top eigenvalue sigma_max(X)^2."""
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    options = HessianOptions(samples=400, trace_tolerance=0.01, iterations=500, eigenvalue_tolerance=1e-6)
    (layer,) = gather(linear(6, 3), x, collect=CURVATURE, loss=half_square, hessian=options)
    trace, top = layer.hessian_trace, layer.hessian_eigenvalue
    assert abs(trace.value - 3 * float(x.square().sum())) < 4 * trace.error
    assert top.value == pytest.approx(float(torch.linalg.matrix_norm(x, 2)) ** 2, rel=1e-6)
    assert top.converged


def test_a_negative_trace_is_estimated_and_stops():
    x = torch.eye(3, dtype=torch.float64)
    (layer,) = gather(linear(3, 2), x, collect=CURVATURE, loss=lambda outputs, _: -half_square(outputs, _))
    assert layer.hessian_trace.value == -6.0
    assert layer.hessian_trace.iterations == 8
    assert layer.hessian_eigenvalue.value == pytest.approx(-1.0)


def test_a_loss_linear_in_the_weights_has_no_curvature():
    (layer,) = gather(linear(3, 2), torch.eye(3, dtype=torch.float64), collect=CURVATURE, loss=lambda o, _: o.sum())
    assert (layer.hessian_trace.value, layer.hessian_eigenvalue.value) == (0.0, 0.0)
    assert layer.hessian_trace.converged
    assert layer.hessian_eigenvalue.converged


def test_estimates_lie_within_their_errors_of_the_full_hessian():
    net, x = small_net().double(), images(6).double()
    labels = torch.arange(6) % 4
    options = HessianOptions(samples=300, trace_tolerance=0.02, iterations=300, eigenvalue_tolerance=1e-4)
    statistics = gather(net, x, labels, collect=CURVATURE, hessian=options, seed=5)
    for layer in statistics:

        def loss(weight, name=layer.name):
            outputs = torch.func.functional_call(net, {f"{name}.weight": weight}, (x,))
            return nn.functional.cross_entropy(outputs, labels)

        full = torch.autograd.functional.hessian(loss, layer.weight).reshape([layer.weight.numel()] * 2)
        eigenvalues = torch.linalg.eigvalsh(full)
        top = eigenvalues[eigenvalues.abs().argmax()]
        assert abs(layer.hessian_trace.value - float(full.trace())) < 4 * layer.hessian_trace.error
        assert layer.hessian_trace.error < 0.3 * abs(float(full.trace()))
        assert layer.hessian_eigenvalue.value == pytest.approx(float(top), rel=1e-3)
        assert (eigenvalues - layer.hessian_eigenvalue.value).abs().min() <= layer.hessian_eigenvalue.error + 1e-12


def test_a_layers_estimates_do_not_depend_on_the_others_measured():
    both = gather(small_net(), images(4), collect=CURVATURE)
    alone = gather(small_net(), images(4), collect=CURVATURE, layers=["fc"])
    assert both["fc"].hessian_trace == alone["fc"].hessian_trace
    assert both["fc"].hessian_eigenvalue == alone["fc"].hessian_eigenvalue


def test_an_estimate_that_ran_out_of_steps_says_so():
    options = HessianOptions(samples=3, least_samples=2, trace_tolerance=1e-9, iterations=2, eigenvalue_tolerance=1e-9)
    layer = gather(small_net(), images(4), collect=CURVATURE, hessian=options)["conv2"]
    assert (layer.hessian_trace.converged, layer.hessian_trace.iterations) == (False, 3)
    assert (layer.hessian_eigenvalue.converged, layer.hessian_eigenvalue.iterations) == (False, 2)
    assert layer.hessian_eigenvalue.error > 0
    with pytest.raises(ProxyError, match="no estimate"):
        HessianOptions(samples=1)
