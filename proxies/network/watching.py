"""Seeing the torch functions that a forward pass calls, whether a module or `torch.nn.functional` calls them.

Nothing is attached to the model: a `TorchFunctionMode` stands above the calls. What a Python function of
`torch.nn.functional` calls inside itself is not seen again, so a ReLU counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_POOL = ("input", "kernel_size")
_CLAMP = ("input", "min", "max")

FUNCTIONS: Mapping[Callable[..., Any], tuple[str, tuple[str, ...]]] = {
    torch.conv1d: ("convolution", _CONVOLUTION),
    torch.conv2d: ("convolution", _CONVOLUTION),
    torch.conv3d: ("convolution", _CONVOLUTION),
    F.linear: ("linear", ("input", "weight", "bias")),
    F.batch_norm: ("batch_norm", _NORM),
    F.group_norm: ("norm", ("input",)),
    F.layer_norm: ("norm", ("input",)),
    F.instance_norm: ("norm", ("input",)),
    **{
        function: ("relu", ("input",))
        for function in (
            F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6, F.leaky_relu, F.leaky_relu_,
            F.prelu, torch.prelu, F.rrelu, F.rrelu_,
        )
    },
    F.hardtanh: ("clamp", ("input", "min_val", "max_val")),
    **{
        function: ("clamp", _CLAMP)
        for function in (
            torch.clamp, torch.clamp_, torch.clamp_min, torch.clamp_min_,
            Tensor.clamp, Tensor.clamp_, Tensor.clamp_min, Tensor.clamp_min_,
        )
    },
    F.avg_pool2d: ("pool", _POOL),
    F.max_pool2d: ("pool", _POOL),
    torch.max_pool2d: ("pool", _POOL),
    F.adaptive_avg_pool2d: ("global_pool", ("input",)),
    F.adaptive_max_pool2d: ("global_pool", ("input",)),
    **{
        function: ("product", ("input", "other"))
        for function in (torch.matmul, torch.mm, torch.bmm, Tensor.matmul, Tensor.mm, Tensor.bmm, Tensor.__matmul__)
    },
    Tensor.mean: ("mean", ("input", "dim")),
    torch.mean: ("mean", ("input", "dim")),
}  # fmt: skip
"""Function to (kind, names of its first arguments)."""


@dataclass(slots=True)
class Call:
    """One call of a function of `FUNCTIONS`: its kind, its arguments by name, and (afterwards) its output."""

    kind: str
    arguments: dict[str, Any]
    output: Tensor | None = None

    @property
    def input(self) -> Tensor:
        """The first argument."""
        return self.arguments["input"]


class Observer:
    """Sees calls of some kinds; `kinds` says which. May put another tensor into `call.output`."""

    kinds: frozenset[str] = frozenset()

    def before(self, call: Call) -> None:
        """Before the call, which may work in place."""

    def after(self, call: Call) -> None:
        """After it."""


class Watching(TorchFunctionMode):
    """Inside `with Watching(observers)`, they see what is called.

    Args:
        observers: in the order in which they are asked.
        instead: kind to what takes the place of the call, given the call; e.g. a norm that passes its input on.
        each: is given every tensor that any function returns.
    """

    def __init__(
        self,
        observers: Iterable[Observer] = (),
        instead: Mapping[str, Callable[[Call], Tensor]] | None = None,
        each: Callable[[Tensor], None] | None = None,
    ) -> None:
        super().__init__()
        self._observers = tuple(observers)
        self._instead = dict(instead or {})
        self._each = each

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Route a call."""
        kwargs = kwargs or {}
        known = FUNCTIONS.get(func)
        if known is None:
            output = func(*args, **kwargs)
        else:
            call = Call(known[0], dict(zip(known[1], args, strict=False)) | kwargs)
            if call.kind == "clamp":
                call.kind = "relu" if _is_relu(call.arguments) else "other"
            if "self" in call.arguments:
                call.arguments["input"] = call.arguments.pop("self")
            watchers = [observer for observer in self._observers if call.kind in observer.kinds]
            for observer in watchers:
                observer.before(call)
            instead = self._instead.get(call.kind)
            call.output = instead(call) if instead else func(*args, **kwargs)
            for observer in watchers:
                observer.after(call)
            output = call.output
        if self._each is not None and isinstance(output, Tensor):
            self._each(output)
        return output


def _is_relu(arguments: Mapping[str, Any]) -> bool:
    low = arguments.get("min", arguments.get("min_val"))
    return isinstance(low, (int, float)) and low == 0
