"""AZ-NAS (Lee & Ham, CVPR 2024): expressivity, progressivity and trainability of a network's blocks; the rank sum.

Blocks are found thus, unless `Settings.blocks` names them: containers (Sequential, ModuleList) are opened, and a module
that is all there is but for plain layers; what is left are blocks, except that of plain layers a convolution or linear
layer opens a block and the norms and activations after it belong to it; other plain layers (pooling, flattening, a norm
after a block) are none. A block's feature is its last output of its first layer's shape; the logits are no feature.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from proxies.errors import ProxyError, UnsupportedModelError

_WORST = 2.0 - 1.0 / 1e-6
"""Trainability of a block through which nothing flows back."""
AZ_METRICS = ("az_expressivity", "az_progressivity", "az_trainability", "az_complexity")
"""The four metrics that are aggregated."""

_OPENING = (nn.modules.conv._ConvNd, nn.Linear)
_CLOSED = (
    nn.modules.pooling._AvgPoolNd, nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd, nn.Flatten, nn.modules.dropout._DropoutNd,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AZ:
    """Three of the four metrics; the fourth is the number of FLOPs."""

    expressivity: float
    progressivity: float
    trainability: float


def blocks_of(model: nn.Module, names: Sequence[str] | None = None) -> list[list[nn.Module]]:
    """The blocks of a model, each as the modules that may give its feature: one, or a run of plain layers.

    Raises:
        ProxyError: a name is no module's.
    """
    if names is not None:
        modules = dict(model.named_modules())
        unknown = [name for name in names if name not in modules]
        if unknown:
            raise ProxyError(f"no module is called {', '.join(unknown)}", "see model.named_modules()")
        return [[modules[name]] for name in names]
    flat = _opened(model)
    while True:
        weighty = [module for module in flat if list(module.children()) or isinstance(module, _OPENING)]
        if len(weighty) != 1 or not list(weighty[0].children()):
            break
        flat = _opened(weighty[0])
    blocks: list[list[nn.Module]] = []
    running = False
    for module in flat:
        if list(module.children()):
            blocks.append([module])
            running = False
        elif isinstance(module, _OPENING):
            blocks.append([module])
            running = True
        elif running and not isinstance(module, _CLOSED):
            blocks[-1].append(module)
        else:
            running = False
    return blocks


def _opened(module: nn.Module) -> list[nn.Module]:
    found: list[nn.Module] = []
    for child in module.children():
        if isinstance(child, (nn.Sequential, nn.ModuleList)):
            found.extend(_opened(child))
        else:
            found.append(child)
    return found


def features_of(network: nn.Module, images: Tensor, names: Sequence[str] | None = None) -> list[Tensor]:
    """Features of the blocks on images in the order in which they arise, each in the graph of the next.

    The first asks for a gradient; the weights need not.

    Raises:
        UnsupportedModelError: fewer than two blocks.
    """
    blocks = blocks_of(network, names)
    kept: list[tuple[int, Tensor]] = []
    handles = []

    def hook_of(place: int) -> Callable[[nn.Module, tuple, object], Tensor | None]:
        def hook(module: nn.Module, given: tuple, output: object) -> Tensor | None:
            if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != len(images):
                return None
            if kept and kept[-1][0] == place and module is not blocks[place][0]:
                if kept[-1][1].shape != output.shape:
                    return None
                kept.pop()
            # where nothing flows back (a cell of zeros), the blocks after it still have a feature to come from
            feature = output if output.requires_grad else output.detach().requires_grad_(True)
            kept.append((place, feature))
            return feature.clone()  # the next block may work in place

        return hook

    try:
        for place, modules in enumerate(blocks):
            for module in modules:
                handles.append(module.register_forward_hook(hook_of(place)))
        outputs = network(images.clone())
    finally:
        for handle in handles:
            handle.remove()
    features = [feature for _, feature in kept]
    if names is None and features and isinstance(outputs, Tensor) and features[-1].shape == outputs.shape:
        features.pop()  # the logits
    if len(features) < 2:
        raise UnsupportedModelError(
            f"AZ-NAS's metrics compare blocks, and {len(features)} was found",
            "name them: Settings(blocks=(...)), or leave the az_ metrics out",
        )
    return features


def az(features: Sequence[Tensor], generator: torch.Generator) -> AZ:
    """The metrics from the features of consecutive blocks.

    Args:
        features: of at least two blocks, (n, channels, ...) each, in one graph.
        generator: on the CPU; draws the Rademacher vectors.
    """
    entropies = [entropy(feature) for feature in features]
    scores = []
    for place in reversed(range(1, len(features))):
        scores.append(trainability(features[place - 1], features[place], generator))
    return AZ(
        expressivity=math.fsum(entropies),
        progressivity=min(b - a for a, b in itertools.pairwise(entropies)),
        trainability=math.fsum(scores) / len(scores),
    )


def entropy(feature: Tensor) -> float:
    """-sum p ln(p + 1e-8) over the normalised eigenvalues of the channels' covariance; 0 for constant channels.

    Args:
        feature: (n, channels, ...), samples and positions are observations.
    """
    rows = _rows(feature.detach())
    rows = rows - rows.mean(0)
    covariance = (rows.T @ rows).double() / len(rows)
    if not bool(torch.isfinite(covariance).all()):
        return math.nan
    values = torch.linalg.eigvalsh(covariance).clamp(min=0)
    total = float(values.sum())
    if total == 0:
        return 0.0
    shares = values / total
    return float(-(shares * (shares + 1e-8).log()).sum())


def trainability(given: Tensor, feature: Tensor, generator: torch.Generator) -> float:
    """2 - s - 1 / (s + 1e-6), s the largest singular value of the mean of g_in g_out^T over samples and positions.

    g_out is a Rademacher vector at the block's output, g_in what its backward pass makes of it; where the block has a
    stride, the positions of g_in that belong to one of g_out are stacked as channels. A block that passes gradients on
    unchanged, or none, has the value of s = 0, -999,998 (the former is -inf in their code).

    Args:
        given: the block's input feature, in the graph of the next.
        feature: its output feature.
        generator: on the CPU.
    """
    back = torch.randint(2, feature.shape, generator=generator).mul_(2).sub_(1).to(feature)
    gradient = None
    if feature.requires_grad:
        (gradient,) = torch.autograd.grad(feature, given, back, retain_graph=True, allow_unused=True)
    if gradient is None or (gradient.shape == back.shape and torch.equal(gradient, back)):
        return _WORST
    rows_out, rows_in = _rows(back), _rows(_stacked(gradient, back.shape[2:]))
    if len(rows_in) != len(rows_out):
        raise UnsupportedModelError(
            f"features of {tuple(given.shape)} and {tuple(feature.shape)} are no consecutive blocks",
            "name the blocks: Settings(blocks=(...)), or leave az_trainability out",
        )
    matrix = (rows_in.T @ rows_out).double() / len(rows_out)
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    if not bool(torch.isfinite(matrix).all()):
        return math.nan
    value = math.sqrt(max(0.0, float(torch.linalg.eigvalsh(matrix.T @ matrix)[-1])))
    return 2.0 - value - 1.0 / (value + 1e-6)


def _rows(feature: Tensor) -> Tensor:
    """(n, channels, ...) to (n * positions, channels)."""
    return feature.flatten(2).transpose(1, 2).reshape(-1, feature.shape[1]) if feature.ndim > 2 else feature


def _stacked(gradient: Tensor, sizes: Sequence[int]) -> Tensor:
    """Positions of a window as channels, so that (n, channels, *positions) has these sizes (pixel unshuffle).

    Where the stride is no whole number the positions are filled up with zeros.
    """
    if gradient.ndim <= 2 or tuple(gradient.shape[2:]) == tuple(sizes):
        return gradient
    positions = gradient.shape[2:]
    if not sizes:
        return gradient.flatten(1)
    if len(sizes) != len(positions) or any(p < s for p, s in zip(positions, sizes, strict=True)):
        return gradient
    strides = [-(-p // s) for p, s in zip(positions, sizes, strict=True)]
    missing = [size * stride - p for size, stride, p in zip(sizes, strides, positions, strict=True)]
    gradient = nn.functional.pad(gradient, [side for amount in reversed(missing) for side in (0, amount)])
    split = [part for size, stride in zip(sizes, strides, strict=True) for part in (size, stride)]
    cut = gradient.reshape(*gradient.shape[:2], *split)
    order = [0, 1, *range(3, cut.ndim, 2), *range(2, cut.ndim, 2)]
    return cut.permute(order).reshape(len(gradient), -1, *sizes)


def az_nas(scores: Mapping[str, Sequence[float]]) -> np.ndarray:
    """The combined score of a pool: sum over metrics of ln(rank / n), the worst rank 1 and the best n.

    Args:
        scores: metric to its values over the pool, larger is better; the four of `AZ_METRICS`, or any. NaN ranks
            lowest (with -inf), ties have their mean rank.

    Returns:
        (n,) float64, larger is better, at most 0.

    Raises:
        ProxyError: no metric, or values of different lengths.
    """
    columns = [np.asarray(values, np.float64) for values in scores.values()]
    if not columns or len({column.shape for column in columns}) != 1 or columns[0].ndim != 1 or not columns[0].size:
        raise ProxyError("the scores are no columns of one length", "give {metric: n values, one a network}")
    ranked = [rankdata(np.where(np.isnan(column), -np.inf, column)) for column in columns]
    return np.sum([np.log(ranks / len(ranks)) for ranks in ranked], axis=0)
