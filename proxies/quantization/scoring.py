"""Scores of bit configurations by any proxy: one configuration of a model, or many from gathered statistics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from proxies.errors import ProxyError
from proxies.quantization.bits import BitConfig
from proxies.quantization.hessian import HessianOptions
from proxies.quantization.layers import Batch, quantizable
from proxies.quantization.statistics import Statistics, gather
from proxies.quantization.uniform import WeightScheme
from proxies.registry import load_proxy


def score(
    model: nn.Module,
    bits: Mapping[str, int],
    batch: Batch,
    proxy: Any = "hawq_v2",
    *,
    targets: Tensor | None = None,
    layers: Iterable[str] | None = None,
    scheme: WeightScheme = WeightScheme(),
    hessian: HessianOptions = HessianOptions(),
    seed: int = 0,
) -> float:
    """The score of one bit configuration of a model, larger for the better predicted accuracy.

    Gathers what the proxy needs and nothing else; for many configurations, `gather` once and call `scores`.

    Args:
        model: gives logits (batch, classes); left as it is.
        bits: layer to weight bits, exactly for the layers.
        batch: what the model is called with.
        proxy: a name, "module:attr", a proxy, or a function score(model, bits, batch), which gets no other argument.
        targets: labels; None for the model's own predictions.
        layers: names of the quantized layers; None for all Conv2d and Linear.
        scheme, hessian, seed: as in `gather`.

    Raises:
        BitConfigError: bits for other layers than these.
        UnknownProxyError: no such proxy.
        ProxyError, UnsupportedModelError: as `gather`; or a function gives no finite number.
    """
    found = load_proxy(proxy) if isinstance(proxy, str) else proxy
    layers = None if layers is None else list(layers)
    config = BitConfig(bits).of(quantizable(model, layers))
    if not hasattr(found, "scores"):
        value = float(found(model, dict(config), batch))
        if not math.isfinite(value):
            raise ProxyError(f"proxy {proxy!r} gives {value}", "check the model and the batch")
        return value
    statistics = gather(
        model,
        batch,
        targets,
        layers=layers,
        collect=found.needs,
        bits=tuple(sorted(set(config.values()))),
        scheme=scheme,
        hessian=hessian,
        seed=seed,
    )
    return float(found.scores(statistics, [config.row(statistics.names)])[0])


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
