"""Scores of bit configurations by any proxy: one configuration of a model, or many from gathered statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from proxies.errors import ProxyError
from proxies.quantization.bits import BitConfig
from proxies.quantization.hessian import HessianOptions
from proxies.quantization.layers import Batch, quantizable
from proxies.quantization.statistics import Statistics, gather
from proxies.quantization.uniform import WeightScheme
from proxies.registry import ExportedProxy, load_proxy


def score(
    model: nn.Module,
    bits: Mapping[str, int],
    batch: Batch,
    proxy: Any = "hawq_v2",
    *,
    labels: Tensor | None = None,
    layers: Iterable[str] | None = None,
    scheme: WeightScheme = WeightScheme(),
    hessian: HessianOptions = HessianOptions(),
    seed: int = 0,
    targets: Tensor | None = None,
) -> float:
    """The score of one bit configuration of a model, larger for the better predicted accuracy.

    Gathers what the proxy needs and nothing else; for many configurations, `gather` once and call `scores`.

    Args:
        model: gives logits (batch, classes); left as it is.
        bits: layer to weight bits, exactly for the layers.
        batch: what the model is called with.
        proxy: a name, a path of an exported file, "module:attr", a proxy, or a function score(model, bits, batch),
            which gets no other argument (an exported one the labels, too).
        labels: (samples,); None for the model's own predictions.
        layers: names of the quantized layers; None for all Conv2d and Linear.
        scheme, hessian, seed: as in `gather`.
        targets: another name of `labels`.

    Raises:
        BitConfigError: bits for other layers than these.
        UnknownProxyError: no such proxy.
        ProxyError, UnsupportedModelError: as `gather`; or a function gives no finite number.
    """
    labels = one_of(labels, targets)
    found = load_proxy(proxy) if isinstance(proxy, str) else proxy
    layers = None if layers is None else list(layers)
    config = BitConfig(bits).of(quantizable(model, layers))
    if not hasattr(found, "scores"):
        value = float(called(found, found, model, dict(config), batch, *labels_for(found, labels)))
        if not math.isfinite(value):
            raise ProxyError(f"proxy {proxy!r} gives {value}", "check the model and the batch")
        return value
    statistics = gather(
        model,
        batch,
        labels,
        layers=layers,
        collect=found.needs,
        bits=tuple(sorted(set(config.values()))),
        scheme=scheme,
        hessian=hessian,
        seed=seed,
    )
    return float(found.scores(statistics, [config.row(statistics.names)])[0])


def one_of(labels: Tensor | None, targets: Tensor | None) -> Tensor | None:
    """The labels under either name; ProxyError for both."""
    if labels is not None and targets is not None:
        raise ProxyError("labels and targets are two names of one argument", "give labels=... alone")
    return targets if labels is None else labels


def labels_for(function: Any, labels: Tensor | None) -> list[Tensor]:
    """What a function of a model is given beside the batch: a function of one's own takes three arguments, an exported
    file's takes labels too."""
    return [] if labels is None or not isinstance(function, ExportedProxy) else [labels]


def called(proxy: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments); what an exported file refuses (ValueError) as a ProxyError."""
    if not isinstance(proxy, ExportedProxy):
        return function(*arguments)
    try:
        return function(*arguments)
    except ValueError as error:
        raise ProxyError(f"proxy {proxy.name}: {error}") from error


def scores(statistics: Statistics, configs: Any, proxy: Any = "hawq_v2") -> np.ndarray:
    """Scores of many configurations by one proxy.

    Args:
        statistics: with the groups that the proxy needs.
        configs: (n, layers) whole numbers, columns in the order of `statistics.names` (`config_table` makes it).
        proxy: a name, "module:attr", or a proxy.

    Returns:
        (n,) float64, larger for the better predicted accuracy.

    Raises:
        BitConfigError: another shape, or bits out of range.
        MissingStatisticError: the proxy needs what was not gathered.
        ProxyError: the proxy is a function of a model, which statistics do not hold.
    """
    found = load_proxy(proxy) if isinstance(proxy, str) else proxy
    if not hasattr(found, "scores"):
        raise ProxyError(f"proxy {proxy!r} scores a model, not statistics", "call score(model, bits, batch, proxy)")
    return found.scores(statistics, configs)
