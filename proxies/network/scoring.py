"""Scores of networks: one model, or many with what can be shared drawn once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import numpy as np
from torch import nn

from proxies.network import activations, gradients, jacobian
from proxies.network import kernel as kernels
from proxies.network.passes import Evidence, gather
from proxies.network.registry import checked_names, needs_of
from proxies.network.settings import Batch, Settings, checked_batch
from proxies.network.working import RandomImages, check_model
from proxies.quantization.layers import isolated


def score(
    model: nn.Module,
    batch: Batch,
    metrics: Iterable[str] | None = None,
    *,
    seed: int = 0,
    settings: Settings = Settings(),
) -> dict[str, float]:
    """Training-free metrics of a network; larger predicts the better one, for every metric.

    The model is copied and only read: parameters, gradients, buffers, modes, hooks, `requires_grad` and the global
    random state are as before, also after an error. A value depends on the model, the batch, the seed and the
    settings, not on which other metrics are asked for. Values that are not finite are given as NaN.

    Args:
        model: images (n, ...) to logits (n, classes); seen in training mode with dropout off, so that batch norms use
            the batch. Hooks that are registered on it also run on the copy.
        batch: images (n, ...) floating and labels (n,) whole numbers; n >= 2, for zico 4; the field takes 64.
        metrics: names of `METRICS`; None for all. Only what they need is computed.
        seed: of random images, weights and directions.
        settings: constants of the metrics.

    Raises:
        UnknownProxyError: a name is no metric's.
        ProxyError: the batch has the wrong shape or type, too few samples, or labels out of range.
        UnsupportedModelError: the model lacks what a metric looks at: Conv2d or Linear weights (all but params and
            flops), ReLUs (naswot, swap), convolutions (meco), two blocks (az_*), or the samples in the first dimension
            of every layer (ntk_*).
    """
    names = checked_names(metrics)
    images, labels = checked_batch(batch)
    return _score(model, (images, labels), names, seed, settings, RandomImages(images, seed))


def score_many(
    models: Iterable[nn.Module],
    batch: Batch,
    metrics: Iterable[str] | None = None,
    *,
    seed: int = 0,
    settings: Settings = Settings(),
) -> dict[str, np.ndarray]:
    """`score` of many networks on one batch, to the bit what `score` gives for each alone.

    The batch is checked and the random images are drawn once. Networks of different wiring share no arithmetic;
    processes are the caller's.

    Args:
        models: consumed one by one: a generator keeps one network in memory.
        batch, metrics, seed, settings: as in `score`.

    Returns:
        metric to (n_models,) float64.
    """
    names = checked_names(metrics)
    images, labels = checked_batch(batch)
    random_images = RandomImages(images, seed)
    rows = [_score(model, (images, labels), names, seed, settings, random_images) for model in models]
    return {name: np.array([row[name] for row in rows], np.float64) for name in names}


def _score(
    model: nn.Module,
    batch: Batch,
    names: tuple[str, ...],
    seed: int,
    settings: Settings,
    random_images: RandomImages,
) -> dict[str, float]:
    images, labels = batch
    check_model(model, images)
    with isolated(model, seed):
        # a clone: labels made in inference mode cannot be kept for a backward pass
        found = gather(model, images, labels.clone(), needs_of(names), settings, random_images, seed)
        values = {name: float(FORMULAS[name](found, batch, settings)) for name in names}
    return {name: value if math.isfinite(value) else math.nan for name, value in values.items()}


Formula = Callable[[Evidence, Batch, Settings], float]

FORMULAS: Mapping[str, Formula] = MappingProxyType(
    {
        "params": lambda found, batch, settings: found.params,
        "flops": lambda found, batch, settings: found.flops,
        "grad_norm": lambda found, batch, settings: gradients.grad_norm(found.gradients),
        "snip": lambda found, batch, settings: gradients.snip(found.weights, found.gradients),
        "grasp": lambda found, batch, settings: gradients.grasp(found.weights, found.products),
        "fisher": lambda found, batch, settings: found.fisher,
        "synflow": lambda found, batch, settings: found.synflow,
        "jacov": lambda found, batch, settings: jacobian.jacov(found.jacobian),
        "naswot": lambda found, batch, settings: activations.naswot(found.patterns.agreement()),
        "l2_norm": lambda found, batch, settings: gradients.l2_norm(found.weights),
        "plain": lambda found, batch, settings: gradients.plain(found.weights, found.gradients),
        "epe_nas": lambda found, batch, settings: jacobian.epe_nas(found.jacobian, batch[1], found.classes),
        "zen": lambda found, batch, settings: found.zen,
        "ntk_cond": lambda found, batch, settings: kernels.ntk_cond(found.kernel),
        "ntk_trace": lambda found, batch, settings: kernels.ntk_trace(found.kernel),
        "meco": lambda found, batch, settings: activations.meco(found.maps),
        "zico": lambda found, batch, settings: gradients.zico(found.parts),
        "swap": lambda found, batch, settings: activations.swap(
            found.patterns.distinct, found.params, settings.swap_mu, settings.swap_sigma
        ),
        "az_expressivity": lambda found, batch, settings: found.az.expressivity,
        "az_progressivity": lambda found, batch, settings: found.az.progressivity,
        "az_trainability": lambda found, batch, settings: found.az.trainability,
        "az_complexity": lambda found, batch, settings: found.flops,
    }
)
"""The value of each metric from what the passes found."""
