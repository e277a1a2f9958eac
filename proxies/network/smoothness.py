"""zen: how far the last feature map moves when a random image does, with Gaussian weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from proxies.errors import UnsupportedModelError
from proxies.network.watching import Call, Observer, Watching


def zen(network: nn.Module, images: Tensor, moved: Tensor) -> float:
    """ln mean_n ||f(x) - f(x')||_1 + sum over batch norms of ln sqrt(mean over channels of the variance).

    Lin et al. (2021), algorithm 1. f(x) is the last tensor (n, channels, ...) of more than one position, or (n, tokens,
    features), that any function returns from the first layer on, which is what global pooling receives; without such,
    what the last linear layer receives. The variances are those of the batch x (unbiased).

    Args:
        network: with Gaussian weights, in training mode.
        images: x, (n, ...).
        moved: x'.
    """
    with torch.no_grad():
        first, logarithm = _features(network, images)
        second, _ = _features(network, moved)
        distance = float((first - second).abs().flatten(1).sum(1).mean())
    return math.log(distance) + logarithm if 0 < distance < math.inf else math.nan


def _features(network: nn.Module, images: Tensor) -> tuple[Tensor, float]:
    last = _Last(len(images))
    variances: list[float] = []

    def measured(call: Call) -> Tensor:
        """Batch norm that writes the batch's variance, which it computes anyway, where it can be read."""
        given, scale, shift = call.input, call.arguments.get("weight"), call.arguments.get("bias")
        mean, variance = given.new_zeros(given.shape[1]), given.new_ones(given.shape[1])
        output = nn.functional.batch_norm(
            given, mean, variance, scale, shift, True, 1.0, call.arguments.get("eps", 1e-5)
        )
        variances.append(float(variance.double().mean()))
        return output

    given = images.clone()  # a model may change its input in place
    with Watching([last], instead={"batch_norm": measured}, each=last.see):
        network(given)
    features = last.map if last.map is not None else last.given
    if features is None:
        raise UnsupportedModelError("no feature map and no linear layer was seen", "leave zen out: metrics=[...]")
    return features, math.fsum(0.5 * math.log(variance) if variance > 0 else -math.inf for variance in variances)


class _Last(Observer):
    """The last feature map seen, and what the last linear layer was given."""

    kinds = frozenset({"convolution", "linear"})

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._began = False
        self.map: Tensor | None = None
        self.given: Tensor | None = None

    def see(self, tensor: Tensor) -> None:
        if self._began and tensor.ndim > 2 and len(tensor) == self._samples and tensor.shape[2:].numel() > 1:
            self.map = tensor

    def before(self, call: Call) -> None:
        self._began = True
        if call.kind == "linear":
            self.given = call.input
