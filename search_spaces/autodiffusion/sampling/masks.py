"""Skipping blocks of a network at chosen calls, for chosen samples of a batch; hooks that can be taken off again.

What a skipped block gives, as the paper defines it: a ResNet block its shortcut (after the parameter-free resampling
that it does inside), an attention block and a transformer block their input. Long skip connections, resampling
convolutions and the blocks' neighbours stay as they are; nothing is rescaled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from evo.errors import ConfigError


def _resnet(block: Any, x: Tensor, *rest: Any, **named: Any) -> Tensor:
    for resample in (block.upsample, block.downsample):
        if resample is not None:
            x = resample(x)
    if block.conv_shortcut is not None:
        x = block.conv_shortcut(x)
    return x if block.output_scale_factor == 1 else x / block.output_scale_factor


def _input(block: Any, hidden_states: Tensor, *rest: Any, **named: Any) -> Tensor:
    return hidden_states


def _two_streams(block: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, *rest: Any, **named: Any) -> Any:
    return encoder_hidden_states, hidden_states


_SKIPS: dict[str, Callable[..., Any]] = {
    "ResnetBlock2D": _resnet,
    "Attention": _input,
    "BasicTransformerBlock": _input,
    "SanaTransformerBlock": _input,
    "LuminaNextDiTBlock": _input,
    "HunyuanDiTBlock": _input,
    "JointTransformerBlock": _two_streams,
}
"""By the name of the block's class in diffusers."""
KINDS = {"ResnetBlock2D": "resnet", "Attention": "attention"}
"""What other classes are called: "transformer"."""


def blocks_of(network: nn.Module) -> list[str]:
    """Names of the blocks that can be skipped, in the order of the network's modules (names as in
    `network.named_modules()`); none within another."""
    found: list[str] = []
    for name, module in network.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if type(module).__name__ in _SKIPS and not inside:
            found.append(name)
    return found


def kind_of(network: nn.Module, block: str) -> str:
    """ "resnet", "attention" or "transformer"."""
    return KINDS.get(type(network.get_submodule(block)).__name__, "transformer")


class Skipping:
    """Lets blocks of a network be skipped until it is closed; a context manager.

    with Skipping(network, blocks_of(network)) as skipping:
        skipping.set(mask)
        network(x, t)

    A block that all samples of a batch skip is not computed. Where some do, it is computed for all and its output taken
    for the others, so that no sample's bits depend on its company.

    Args:
        network: a torch module.
        blocks: names of modules; a mask's columns.

    Raises:
        ConfigError: a name is no module of the network, or nobody knows what skipping it means.
    """

    def __init__(self, network: nn.Module, blocks: Sequence[str]) -> None:
        self.blocks = tuple(blocks)
        self._undo: list[tuple[nn.Module, Any]] = []
        self._masks: list[Tensor | bool] = [False] * len(self.blocks)
        modules = dict(network.named_modules())
        for name in self.blocks:
            if name not in modules:
                raise ConfigError(f"the network has no block {name!r}", "see blocks_of(network)")
            if type(modules[name]).__name__ not in _SKIPS:
                raise ConfigError(
                    f"{name!r} is a {type(modules[name]).__name__}, which cannot be skipped",
                    f"blocks are {', '.join(sorted(_SKIPS))}",
                )
        for column, name in enumerate(self.blocks):
            self._hook(modules[name], column)

    def _hook(self, block: nn.Module, column: int) -> None:
        compute, skip = block.forward, _SKIPS[type(block).__name__]
        self._undo.append((block, block.__dict__.get("forward")))

        def forward(*given: Any, **named: Any) -> Any:
            mask = self._masks[column]
            if mask is False:
                return compute(*given, **named)
            if mask is True:
                return skip(block, *given, **named)
            return _chosen(mask, skip(block, *given, **named), compute(*given, **named))

        block.forward = forward

    def set(self, mask: Tensor | None) -> None:
        """What the next calls skip.

        Args:
            mask: (n, blocks) bool, a row a sample of the batch; None: nothing is skipped.
        """
        if mask is None:
            self._masks = [False] * len(self.blocks)
            return
        if mask.ndim != 2 or mask.shape[1] != len(self.blocks):
            raise ConfigError(f"a mask of shape {tuple(mask.shape)} for {len(self.blocks)} blocks", "(n, blocks)")
        every, some = mask.all(0).tolist(), mask.any(0).tolist()
        self._masks = [True if every[i] else mask[:, i] if some[i] else False for i in range(len(self.blocks))]

    def close(self) -> None:
        """Take the hooks off: the network is as it was."""
        for block, before in reversed(self._undo):
            if before is None:
                block.__dict__.pop("forward", None)
            else:
                block.forward = before
        self._undo = []

    def __enter__(self) -> Skipping:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _chosen(mask: Tensor, skipped: Any, computed: Any) -> Any:
    if isinstance(computed, tuple):
        return tuple(_chosen(mask, one, other) for one, other in zip(skipped, computed, strict=True))
    if computed is None:
        return None
    return torch.where(mask.view(-1, *[1] * (computed.ndim - 1)), skipped, computed)
