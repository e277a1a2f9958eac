"""Saliencies of layers for hand-made proxies: Synflow, and the similarity of layers' outputs."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from proxies.errors import ProxyError
from proxies.quantization.layers import quantizable


def linear_cka(outputs: Sequence[Tensor], centred: bool = True) -> Tensor:
    """Linear centred kernel alignment of each pair of layers (Kornblith et al., 2019, section 3).

    CKA_ij = <K_i, K_j> / (|K_i| |K_j|) with K the Gram matrix of the samples' features; OMPQ calls it the
    orthogonality matrix ORM (1: same subspace, 0: orthogonal).

    Args:
        outputs: for each layer (batch, ...).
        centred: whether features are centred over the batch.

    Returns:
        (layers, layers) float64 on the CPU, in [0, 1], 1 on the diagonal; a layer of constant output has 0 with others.
    """
    grams = []
    for output in outputs:
        features = output.detach().double().reshape(len(output), -1)
        if centred:
            features = features - features.mean(0, keepdim=True)
        gram = features @ features.T
        norm = gram.norm()
        grams.append((gram / norm if norm > 0 else gram).flatten().cpu())
    stacked = torch.stack(grams)
    similarity = (stacked @ stacked.T).clamp(0, 1)
    similarity.fill_diagonal_(1.0)
    return similarity


def synflow(
    model: nn.Module, inputs: Sequence[Tensor], layers: Iterable[str], generator: torch.Generator
) -> Mapping[str, float]:
    """Synaptic flow of each layer, sum |W dR/dW|, R the sum of outputs on an all-ones sample.

    As in EMQ's repository: the weights of the layers are drawn anew from N(0, 1), and all parameters and buffers made
    positive (Tanaka et al., 2020, keep the trained weights). In float64: the flow grows by orders a layer.

    Args:
        model: a copy in evaluation mode; it is copied again.
        inputs: of the model; one sample's shape is taken.
        layers: names.
        generator: on the CPU.

    Raises:
        ProxyError: the flow overflows.
    """
    model = copy.deepcopy(model).double()
    modules = quantizable(model, layers)
    with torch.no_grad():
        for module in modules.values():
            drawn = torch.randn(module.weight.shape, generator=generator, dtype=torch.float64)
            module.weight.copy_(drawn)
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.abs_()
    weights = [module.weight.requires_grad_(True) for module in modules.values()]
    flow = model(*(ones_like(x[:1], torch.float64) for x in inputs)).sum()
    gradients = torch.autograd.grad(flow, weights, allow_unused=True, materialize_grads=True)
    values = {
        name: float((weight.detach() * gradient).abs().sum())
        for name, weight, gradient in zip(modules, weights, gradients, strict=True)
    }
    if not all(math.isfinite(value) for value in values.values()):
        raise ProxyError("Synflow overflows float64 in this model", "leave it out: collect without 'synflow'")
    return values


def ones_like(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """All ones; whole numbers (indices) stay what they are."""
    return torch.ones_like(x, dtype=dtype) if x.is_floating_point() else x
