"""The neural tangent kernel of a batch from one backward pass: per-sample gradients layer by layer; its two metrics.

A sample's gradient by a layer's weight is the contraction of what went into the layer with what came back for that
sample. One backward pass of the sum over samples gives all that comes back, provided that samples do not meet: batch
normalisation's statistics are held fixed in this pass (`FixedStatistics`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from proxies.errors import UnsupportedModelError
from proxies.network.watching import Call, Observer

_LIMIT = 2**25
"""Most elements of per-sample gradients held at once."""


@dataclass(slots=True)
class LayerCall:
    """One run of a Conv2d or Linear layer: which weight, what went in, what came out (both in the graph)."""

    place: int
    kind: str
    weight: Tensor
    arguments: dict[str, Any]
    output: Tensor
    version: int


class LayerCalls(Observer):
    """Keeps the calls of layers with known weights.

    Args:
        weights: of the layers.
        clone: the network goes on with a copy of each output, so that what follows may change it in place.
    """

    kinds = frozenset({"convolution", "linear"})

    def __init__(self, weights: Sequence[Tensor], clone: bool = False) -> None:
        self._places = {id(weight): place for place, weight in enumerate(weights)}
        self._clone = clone
        self.calls: list[LayerCall] = []

    def after(self, call: Call) -> None:
        """Keep the call, if it is a layer's."""
        weight = call.arguments["weight"]
        place = self._places.get(id(weight))
        if place is None:
            return
        output = call.output
        self.calls.append(LayerCall(place, call.kind, weight, call.arguments, output, output._version))
        if self._clone:
            call.output = output.clone()

    def overwritten(self) -> bool:
        """Whether an output was changed in place after it was kept."""
        return any(call.output._version != call.version for call in self.calls)


class FixedStatistics(Observer):
    """While `active`, batch norms that use the batch's statistics pass gradients back as if these were constants."""

    kinds = frozenset({"batch_norm"})

    def __init__(self) -> None:
        self.active = False

    def after(self, call: Call) -> None:
        """Hook the backward node of the call (of this graph alone)."""
        node = call.output.grad_fn
        if not call.arguments.get("training") or node is None or not call.input.requires_grad:
            return
        given, scale, epsilon = call.input.detach(), call.arguments.get("weight"), call.arguments.get("eps", 1e-5)

        def fixed(inputs: tuple[Tensor | None, ...], outputs: tuple[Tensor, ...]) -> tuple[Tensor | None, ...] | None:
            if not self.active or inputs[0] is None:
                return None
            across = [0, *range(2, given.ndim)]
            factor = (given.var(across, correction=0) + epsilon).rsqrt()
            if scale is not None:
                factor = factor * scale.detach()
            return outputs[0] * factor.reshape(1, -1, *[1] * (given.ndim - 2)), *inputs[1:]

        node.register_hook(fixed)


def kernel(calls: Sequence[LayerCall], gradients: Sequence[Tensor], samples: int) -> Tensor:
    """(samples, samples) float64: inner products of the samples' gradients by all weights of the layers called.

    Args:
        calls: of layers; a layer called several times has the sum of its calls' gradients.
        gradients: for each call d(sum of the samples' functions) / d(output).
        samples: of the batch.

    Raises:
        UnsupportedModelError: a layer runs on something whose first dimension is not the samples.
    """
    total = torch.zeros(samples, samples, dtype=torch.float64)
    by_weight: dict[int, list[tuple[LayerCall, Tensor]]] = {}
    for call, gradient in zip(calls, gradients, strict=True):
        if len(call.output) != samples:
            raise UnsupportedModelError(
                f"a layer runs on {tuple(call.arguments['input'].shape)} in a batch of {samples} samples",
                "the kernel needs the samples in the first dimension: leave ntk_cond and ntk_trace out",
            )
        by_weight.setdefault(call.place, []).append((call, gradient))
    for runs in by_weight.values():
        first, gradient = runs[0]
        if len(runs) == 1 and first.kind == "linear" and gradient.ndim == 2:
            given = first.arguments["input"].detach()
            total += ((given @ given.T) * (gradient @ gradient.T)).double().cpu()  # <a b', c d'> = <a, c> <b, d>
            continue
        channels = len(first.weight)
        whole = any(call.arguments.get("groups", 1) != 1 for call, _ in runs)
        step = channels if whole else max(1, min(channels, _LIMIT // (samples * first.weight[0].numel())))
        for start in range(0, channels, step):
            part = slice(start, start + step)
            rows = sum(_per_sample(call, gradient, part) for call, gradient in runs)
            total += (rows @ rows.T).double().cpu()
    return total


def _per_sample(call: LayerCall, gradient: Tensor, part: slice) -> Tensor:
    """Gradients by the weights of some output channels, (samples, weights)."""
    given, weight = call.arguments["input"].detach(), call.weight.detach()[part]
    if call.kind == "linear":
        return torch.einsum("n...o,n...i->noi", gradient[..., part], given).flatten(1)
    settings = call.arguments
    dimensions = weight.ndim - 2
    plain = all(
        settings.get(key, value) in (value, [value] * dimensions, (value,) * dimensions)
        for key, value in (("stride", 1), ("padding", 0), ("groups", 1))
    )
    if plain and weight[0, 0].numel() == 1:
        return (gradient[:, part].flatten(2) @ given.flatten(2).transpose(1, 2)).flatten(1)

    if isinstance(settings.get("padding", 0), str):
        keys = {key: settings[key] for key in ("stride", "padding", "dilation", "groups") if key in settings}
        function = (torch.conv1d, torch.conv2d, torch.conv3d)[dimensions - 1]

        def one(x: Tensor, back: Tensor) -> Tensor:
            return torch.func.vjp(lambda w: function(x[None], w, **keys), weight)[1](back[None])[0]

        return torch.func.vmap(one)(given, gradient[:, part]).flatten(1)
    # all samples in one convolution, a group each: what vmap makes of it, without its overhead; a tenth of the time of
    # unfolding (64 x 16 channels x 16 x 16). The weights' values are not read.
    samples, groups = len(given), settings.get("groups", 1)
    back = gradient[:, part].reshape(1, -1, *gradient.shape[2:])
    stride, padding, dilation = (
        _spread(settings.get(key, default), dimensions)
        for key, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    return torch.ops.aten.convolution_backward(
        back, given.reshape(1, -1, *given.shape[2:]), weight.new_empty((samples * len(weight), *weight.shape[1:])),
        None, stride, padding, dilation, False, [0] * dimensions, samples * groups, (False, True, False),
    )[1].reshape(samples, -1)  # fmt: skip


def _spread(value: int | Sequence[int], dimensions: int) -> list[int]:
    return [value] * dimensions if isinstance(value, int) else list(value)


def ntk_cond(matrix: Tensor) -> float:
    """Minus the condition number of the kernel.

    In float32 a smallest eigenvalue below n * eps of the largest is rounding; it is taken as that, so that the value
    is never below -1 / (n eps) (-131,072 for 64 samples). NaN for a kernel of zeros.

    Args:
        matrix: (n, n) float64.
    """
    if not bool(torch.isfinite(matrix).all()):
        return math.nan
    values = torch.linalg.eigvalsh(matrix)
    largest = float(values[-1])
    if not largest > 0:
        return math.nan
    return -largest / max(float(values[0]), len(values) * torch.finfo(torch.float32).eps * largest)


def ntk_trace(matrix: Tensor) -> float:
    """sqrt(trace / n) of the kernel (n, n)."""
    return math.sqrt(float(matrix.trace()) / len(matrix))
