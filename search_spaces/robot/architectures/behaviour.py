"""Which networks compute the same function, found out by running them with random weights.

Two cells that do the same with their convolutions on other edges are one function only if the convolutions are equal,
too. So weights belong to an operation, not to a place: every layer of one type, shape and settings gets the same random
weights, wherever it stands in the network. What then gives the same outputs is the same expression in its operations,
which is what `canonical.py` decides by algebra.

Three accidents of the initialisation would merge more than that, and are kept out. Networks run in evaluation mode,
where a fresh batch normalisation is the identity (in training mode it forgets the scale of its input, and a convolution
of x+x were one of x). ReLU modules are replaced by SiLU, which is zero at zero, too: without biases a network of ReLUs
is positively homogeneous, and 3(x+x) were 3(x)+3(x): 120 classes fewer, until the first step of training. And all is
float64, so that sums of another order agree to about 1e-15, where other functions differ by far more than 1e-6.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from search_spaces.robot.architectures.networks import Skeleton, network

DIGITS = 6
"""Decimal digits of the outputs, relative to the largest, that a hash looks at."""
PROBE = Skeleton(channels=3, cells=1, stages=1, inputs=2, classes=8)
"""A network around a cell that is just large enough: one cell of three channels."""


class OpaquePool(nn.Module):
    """Stands for average pooling where its linearity is not to be known: a pooling of a curved function."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x + torch.sin(x))


def behaviour(model: nn.Module, images: Tensor, *, seed: int = 0) -> Tensor:
    """What a network computes, once the same operations have the same weights.

    Args:
        model: its parameters and ReLUs are replaced; it ends in float64 and evaluation mode. (A ReLU that is called as
            a function stays one: then 3(x+x) and 3(x)+3(x) are taken for the same.)
        images: (n, channels, height, width).
        seed: of the weights.

    Returns:
        Its outputs as one float64 vector.
    """
    prepared(model, seed)
    with torch.no_grad():
        outputs: Tensor = model(images.double())
        return outputs.flatten()


def behavioural_hash(values: Tensor, digits: int = DIGITS) -> bytes:
    """16 bytes, equal where the values agree to so many digits of the largest.

    Two vectors that agree to 1e-15 get different hashes if a value lies that close to the border of two cells of the
    grid: once in 1e8 values or so; then a function is counted twice, and nothing else.
    """
    scale = float(values.abs().max()) or 1.0
    cells = torch.round(values / scale * 10**digits).to(torch.int64)
    return hashlib.blake2b(cells.numpy().tobytes() + _magnitude(scale), digest_size=16).digest()


def cell_behaviour(operations: Sequence[str], *, pooling_is_linear: bool = True, seed: int = 0) -> Tensor:
    """What a cell computes inside the network `PROBE`.

    Args:
        operations: names on the cell's edges.
        pooling_is_linear: False: pooling is taken for some function of which nothing is known, so that pool(a)+pool(b)
            is not pool(a+b): 4,930 functions of NAS-Bench-201's cells instead of 4,660.
        seed: of weights and images.

    Returns:
        (n,) float64; `behavioural_hash` of it identifies the function.
    """
    model = network(operations, PROBE)
    if not pooling_is_linear:
        replaced(model, nn.AvgPool2d, OpaquePool)
    return behaviour(model, probe_images(seed), seed=seed)


def probe_images(seed: int, channels: int = PROBE.inputs, side: int = 5) -> Tensor:
    """(2, channels, side, side) float64, normally distributed."""
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def prepared(model: nn.Module, seed: int) -> nn.Module:
    """The model as `behaviour` runs it; in place."""
    replaced(model, nn.ReLU, lambda relu: nn.SiLU())
    return tie_weights(model.double().eval(), seed)


def tie_weights(model: nn.Module, seed: int) -> nn.Module:
    """Replace all weights and biases but those of normalisations by random ones that depend on the layer's type, shape
    and settings, and on `seed`; in place."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, _NormBase):
                continue
            for name, parameter in module.named_parameters(recurse=False):
                kind = f"{seed} {type(module).__qualname__} {module.extra_repr()} {name} {tuple(parameter.shape)}"
                key = int.from_bytes(hashlib.blake2b(kind.encode(), digest_size=6).digest(), "little")
                drawn = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(key), dtype=torch.float64)
                fan_in = math.prod(parameter.shape[1:])
                parameter.copy_(drawn * math.sqrt(2 / fan_in))
    return model


def _magnitude(scale: float) -> bytes:
    # the outputs of networks that differ in nothing but a factor are different, too
    return f"{scale:.{DIGITS}e}".encode()


def replaced(model: nn.Module, kind: type[nn.Module], by: Callable[[nn.Module], nn.Module]) -> None:
    """Replace the submodules of a type, in place."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, kind):
                setattr(module, name, by(child))
