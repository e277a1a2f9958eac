"""The copy of a model that the metrics work on: its modes, its layers, its weights drawn anew; random streams by name.

The caller's model is only read. A copy runs in training mode, since the field computes these metrics with the batch's
own normalisation; dropout is off.
"""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from proxies.errors import ProxyError, UnsupportedModelError

_LAYERS = (nn.Conv2d, nn.Linear)
_DRAWN = (nn.modules.conv._ConvNd, nn.Linear)
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def copied(model: nn.Module) -> nn.Module:
    """A deep copy in training mode, dropout in evaluation mode, that asks for no gradient.

    Raises:
        UnsupportedModelError: the model cannot be copied.
    """
    # a module has a dozen dictionaries, mostly empty; deepcopy would take longer over them than a forward pass takes
    memo: dict[int, object] = {
        id(value): type(value)()
        for module in model.modules()
        for value in vars(module).values()
        if type(value) in (dict, OrderedDict) and not value
    }
    try:
        network: nn.Module = copy.deepcopy(model, memo)
    except Exception as error:
        raise UnsupportedModelError(
            f"the model cannot be copied: {type(error).__name__}: {error}",
            "keep tensors with a gradient history, locks and open files out of its attributes",
        ) from error
    network.zero_grad(set_to_none=True)
    network.train().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    return network


def restore(network: nn.Module, model: nn.Module) -> None:
    """Give the copy the model's parameters and buffers again."""
    with torch.no_grad():
        for mine, theirs in zip(network.parameters(), model.parameters(), strict=True):
            mine.copy_(theirs)
        for mine, theirs in zip(network.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)


def layer_weights(network: nn.Module) -> list[nn.Parameter]:
    """The weights of the Conv2d and Linear modules, each once, in the order of the modules.

    Raises:
        UnsupportedModelError: there is none, or one is computed from other parameters (a parametrization, old weight
            normalisation, pruning).
    """
    found: dict[int, nn.Parameter] = {}
    for name, module in network.named_modules():
        if not isinstance(module, _LAYERS):
            continue
        weight = module._parameters.get("weight")
        if weight is None or parametrize.is_parametrized(module, "weight"):
            raise UnsupportedModelError(
                f"the weight of {name or 'the model'} is computed from other parameters",
                "make parametrizations, weight normalisation and pruning permanent first",
            )
        found.setdefault(id(weight), weight)
    if not found:
        raise UnsupportedModelError("the model has no Conv2d and no Linear module", "the metrics look at their weights")
    return list(found.values())


def draw_weights(network: nn.Module, generator: torch.Generator, fan_in_scaled: bool) -> None:
    """Draw the weights of convolutions and linear layers from a normal distribution; biases 0, norms the identity.

    Args:
        network: changed in place; parameters of other modules stay.
        generator: on the CPU.
        fan_in_scaled: standard deviation sqrt(2 / fan-in) (Kaiming) instead of 1.
    """
    with torch.no_grad():
        drawn: set[int] = set()
        for module in network.modules():
            if isinstance(module, _DRAWN):
                weight = module.weight
                if id(weight) not in drawn:
                    drawn.add(id(weight))
                    values = torch.randn(weight.shape, generator=generator, dtype=torch.float32)
                    weight.copy_(values.mul_((2.0 / weight[0].numel()) ** 0.5) if fan_in_scaled else values)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, _NORMS) and getattr(module, "weight", None) is not None:
                module.weight.fill_(1)
                if module.bias is not None:
                    module.bias.zero_()


def stream(seed: int, purpose: str) -> torch.Generator:
    """A generator on the CPU for one purpose: what one metric draws never depends on which others are asked for."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class RandomImages:
    """Normal images of a batch's shape, drawn once and kept for all networks of a call.

    Args:
        like: the batch's images (n, ...): shape, type and device.
        seed: the caller's.
    """

    def __init__(self, like: Tensor, seed: int) -> None:
        self._like, self._seed = like, seed
        self._kept: dict[tuple[str, int], Tensor] = {}

    def __call__(self, purpose: str, count: int | None = None) -> Tensor:
        """Images (count, ...), count that of the batch by default; not to be changed in place."""
        count = len(self._like) if count is None else count
        if (purpose, count) not in self._kept:
            drawn = torch.randn(
                (count, *self._like.shape[1:]), generator=stream(self._seed, purpose), dtype=torch.float32
            )
            self._kept[purpose, count] = drawn.to(self._like.device, self._like.dtype)
        return self._kept[purpose, count]


def reseed(seed: int, devices: Sequence[int] = ()) -> None:
    """Set torch's global generators (inside `isolated`), for models that draw while they run: each pass alike."""
    torch.default_generator.manual_seed(seed)
    for device in devices:
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def check_model(model: nn.Module, images: Tensor) -> None:
    """Whether the model's parameters have values and share device and type with the images.

    Raises:
        ProxyError: they do not.
        UnsupportedModelError: the model has lazy parameters.
    """
    for parameter in model.parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise UnsupportedModelError("the model has lazy parameters without values", "run it on a batch once")
        if parameter.is_floating_point() and (parameter.device, parameter.dtype) != (images.device, images.dtype):
            raise ProxyError(
                f"the model is {parameter.dtype} on {parameter.device}, the images {images.dtype} on {images.device}",
                "move one to the other: images.to(device, dtype)",
            )
