"""Any proxy as an allocator sees it: scores of configurations of one model, and a table where the proxy is a sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from proxies.errors import ProxyError
from proxies.quantization.hessian import HessianOptions
from proxies.quantization.layers import Batch, LayerShape, layer_shapes
from proxies.quantization.scoring import called, labels_for, one_of
from proxies.quantization.statistics import Statistics, gather
from proxies.quantization.uniform import WeightScheme
from proxies.registry import load_proxy


@dataclass(frozen=True, slots=True)
class Scorer:
    """A proxy of one model.

    Attributes:
        name: of the proxy.
        shapes: of the layers, in the order of a configuration's columns.
        scores: (n, layers) int64 bits -> (n,) float64, larger is better.
        table: bits -> (layers, len(bits)) float64 whose sum over layers ranks as `scores` does; None where the proxy
            is not additive.
        costly: whether a score takes a pass of the model, so that searches must make do with few.
    """

    name: str
    shapes: tuple[LayerShape, ...]
    scores: Callable[[np.ndarray], np.ndarray]
    table: Callable[[Sequence[int]], np.ndarray] | None
    costly: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Of the layers."""
        return tuple(shape.name for shape in self.shapes)


def scorer(
    subject: nn.Module | Statistics,
    proxy: Any = "hawq_v2",
    batch: Batch | None = None,
    *,
    labels: Tensor | None = None,
    layers: Sequence[str] | None = None,
    bits: Sequence[int] = (2, 3, 4, 8),
    scheme: WeightScheme = WeightScheme(),
    hessian: HessianOptions = HessianOptions(),
    seed: int = 0,
    targets: Tensor | None = None,
) -> Scorer:
    """A proxy of a model, gathered for once.

    Args:
        subject: a model, or statistics that hold what the proxy needs.
        proxy: a name, a path, "module:attr", a proxy, or a function score(model, bits, batch).
        batch: what the model is called with; not for statistics.
        labels: of the batch, (samples,); None for the model's own predictions.
        layers: names of the layers; None for all Conv2d and Linear.
        bits: all that a layer may have: statistics that depend on the bits are gathered for these.
        scheme, hessian, seed: as in `gather`.
        targets: another name of `labels`.

    Raises:
        ProxyError: a model without a batch, or a function of a model for statistics; see also `gather`.
        UnknownProxyError: no such proxy.
    """
    labels = one_of(labels, targets)
    found = load_proxy(proxy) if isinstance(proxy, str) else proxy
    name = str(getattr(found, "name", getattr(found, "__name__", type(found).__name__)))
    if isinstance(subject, Statistics):
        if not hasattr(found, "scores"):
            raise ProxyError(f"proxy {name} scores a model, not statistics", "give the model and a batch")
        return _of_statistics(name, found, subject)
    if batch is None:
        raise ProxyError("a model is scored on a batch", "give batch=..., what the model is called with")
    if hasattr(found, "scores"):
        gathered = gather(
            subject, batch, labels, layers=layers, collect=found.needs, bits=tuple(sorted(set(bits))), scheme=scheme,
            hessian=hessian, seed=seed,
        )  # fmt: skip
        return _of_statistics(name, found, gathered)
    return _of_function(name, found, subject, batch, layers, labels)


def _of_statistics(name: str, proxy: Any, statistics: Statistics) -> Scorer:
    table = getattr(proxy, "table", None)
    return Scorer(
        name,
        statistics.shapes,
        lambda configs: proxy.scores(statistics, configs),
        None if table is None else lambda bits: np.asarray(table(statistics, bits), np.float64),
    )


def _of_function(
    name: str, function: Any, model: nn.Module, batch: Batch, layers: Sequence[str] | None, labels: Tensor | None
) -> Scorer:
    more = labels_for(function, labels)
    together = getattr(function, "score_all", None)
    shapes = layer_shapes(model, batch, layers)
    names = [shape.name for shape in shapes]

    def scores(configs: np.ndarray) -> np.ndarray:
        given = [dict(zip(names, map(int, row), strict=True)) for row in configs]
        if together is not None:
            return np.array(called(function, together, model, given, batch, *more), np.float64)
        return np.array([float(called(function, function, model, bits, batch, *more)) for bits in given], np.float64)

    def table(bits: Sequence[int]) -> np.ndarray:
        terms: Mapping[str, Mapping[int, float]] = called(
            function, function.table, model, batch, tuple(bits), names, *more
        )
        missing = [name for name in names if name not in terms]
        if missing:
            raise ProxyError(f"the table of proxy {name} lacks {', '.join(missing)}", "it must name every layer")
        found = np.array([[terms[layer][b] for b in bits] for layer in names], np.float64)
        # a function with a table promises that its score is a growing function of the sum: held to it here, once
        ends = np.array([[bits[0]] * len(names), [bits[-1]] * len(names)])
        sums, values = found[:, [0, -1]].sum(0), scores(ends)
        scale = max(float(np.abs(found).sum()), abs(float(values[0])), math.ulp(1.0))
        if not np.allclose(sums, values, rtol=1e-9, atol=1e-12 * scale):
            raise ProxyError(
                f"the table of proxy {name} sums to {sums.tolist()} where its score is {values.tolist()}",
                "a table must hold each layer's part of the score",
            )
        return found

    additive = callable(getattr(function, "table", None))
    return Scorer(name, shapes, scores, table if additive else None, costly=True)
