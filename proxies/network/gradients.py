"""Metrics of the loss's gradient by the weights: grad_norm, snip, plain, grasp, fisher, zico; and synflow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from proxies.network.watching import Call, Watching


def grad_norm(gradients: Sequence[Tensor]) -> float:
    """Sum over layers of ||dL/dW||_2."""
    return math.fsum(torch.stack([gradient.norm() for gradient in gradients]).tolist())


def l2_norm(weights: Sequence[Tensor]) -> float:
    """Sum over layers of ||W||_2."""
    return math.fsum(float(weight.detach().norm()) for weight in weights)


def snip(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> float:
    """Sum of |W dL/dW| over all weights: |dL/dc| for a mask c = 1 on each (Lee et al., 2019)."""
    return math.fsum(float((w.detach() * g).abs().sum()) for w, g in zip(weights, gradients, strict=True))


def plain(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> float:
    """Minus the sum of W dL/dW; see the registry for the sign."""
    return -math.fsum(float((w.detach() * g).double().sum()) for w, g in zip(weights, gradients, strict=True))


def grasp(weights: Sequence[Tensor], products: Sequence[Tensor]) -> float:
    """Minus the sum of W (H g), given the products H g (Wang et al., 2020)."""
    return -math.fsum(float((w.detach() * h).double().sum()) for w, h in zip(weights, products, strict=True))


def fisher(
    outputs: Sequence[Tensor], gradients: Sequence[Tensor], sizes: Sequence[int], linear: Sequence[bool]
) -> float:
    """Sum over layers and channels of size * mean_n (sum over positions of a dL/da)^2 / 2.

    Args:
        outputs: for each call of a layer its output a: (n, channels, ...) of a convolution, (n, ..., features) of a
            linear layer.
        gradients: dL/da.
        sizes: weights of one channel of the layer.
        linear: whether it is a linear layer.
    """
    total = 0.0
    for output, gradient, size, last in zip(outputs, gradients, sizes, linear, strict=True):
        product = output.detach() * gradient
        if product.ndim > 2:
            product = product.flatten(1, -2).sum(1) if last else product.flatten(2).sum(2)
        total += 0.5 * size * float(product.square().mean(0).double().sum())
    return total


def zico(parts: Sequence[Sequence[Tensor]]) -> float:
    """Sum over layers of ln sum_w mean|g_w| / std(g_w) over parts of the batch (Li et al., 2023).

    As in their code: population deviation; weights without deviation are left out, and layers that have only such. A
    network in which no gradient flows has 0, the smallest value there is.

    Args:
        parts: for each part of the batch the gradients of all layers.
    """
    stacked = torch.stack([torch.cat([gradient.flatten() for gradient in part]) for part in parts]).double()
    deviation = stacked.std(0, correction=0)
    # a layer without deviation anywhere keeps a sum of 0; every other ratio is 1 at least
    ratios = torch.where(deviation > 0, stacked.abs().mean(0) / deviation, torch.zeros_like(deviation))
    sums = [float(layer.sum()) for layer in ratios.split([gradient.numel() for gradient in parts[0]])]
    return math.fsum(math.log(value) if value != 0 else 0.0 for value in sums)


def synflow(network: nn.Module, weights: Sequence[nn.Parameter], sample: Tensor) -> float:
    """ln sum |W dR/dW|, R the sum of outputs for one sample of ones, all parameters and buffers made positive.

    Normalisations (batch, group, layer, instance) pass their input on, as Tanaka et al. (2020) treat batch norm: else
    scales would cancel. NaN where nothing flows or the flow overflows.

    Args:
        network: a copy; it is left in float64 with positive parameters.
        weights: of its layers.
        sample: (1, ...), for the shape and device.
    """
    network.double()
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.is_floating_point():
                tensor.abs_()
    for weight in weights:
        weight.requires_grad_(True)

    def passed_on(call: Call) -> Tensor:
        return call.input

    with Watching(instead={"batch_norm": passed_on, "norm": passed_on}):
        flow = network(torch.ones_like(sample, dtype=torch.float64)).sum()
    if not flow.requires_grad:
        return math.nan
    gradients = torch.autograd.grad(flow, list(weights), allow_unused=True, materialize_grads=True)
    total = math.fsum(float((w.detach() * g).abs().sum()) for w, g in zip(weights, gradients, strict=True))
    return math.log(total) if 0 < total < math.inf else math.nan
