"""Features of images: what a Fréchet distance is taken on."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evo.errors import ConfigError
from search_spaces.autodiffusion.fid.classifier import Classifier
from search_spaces.autodiffusion.models.tensors import bytes_of

MICRO_BATCH = 250
"""Images a call of the network; a last call of fewer is filled up, as rounding may depend on their number."""


@dataclass(frozen=True, slots=True, eq=False)
class Extractor:
    """Something that turns images into features.

    Attributes:
        name: for people.
        compute: (m, c, h, w) float32 in [-1, 1] -> (m, d) float.
        size: d.
        digest: hexadecimal; equal digests, equal features.
    """

    name: str
    compute: Callable[[Tensor], Tensor]
    size: int
    digest: str

    def features(self, images: Tensor) -> np.ndarray:
        """(n, d) float64 of images (n, c, h, w); a row depends on its image alone, to the bit.

        Raises:
            ConfigError: an extractor of one's own returns another shape.
        """
        rows = np.empty((len(images), self.size))
        with torch.no_grad():
            for start in range(0, len(images), MICRO_BATCH):
                batch = images[start : start + MICRO_BATCH]
                count = len(batch)
                if count < MICRO_BATCH:
                    batch = torch.cat([batch, batch.new_zeros(MICRO_BATCH - count, *batch.shape[1:])])
                found = self.compute(batch.contiguous())
                if tuple(found.shape) != (MICRO_BATCH, self.size):
                    raise ConfigError(
                        f"features {self.name} are {tuple(found.shape)} for {MICRO_BATCH} images",
                        f"return ({MICRO_BATCH}, {self.size}), a row an image",
                    )
                rows[start : start + count] = found[:count].double().numpy()
        return rows


def of_classifier(network: Classifier, name: str) -> Extractor:
    """The features of a trained classifier, which is switched to evaluation."""
    network.eval().requires_grad_(False)
    return Extractor(name, network.features, int(network.settings["features"]), digest_of(network))


def own_extractor(spec: str, shape: tuple[int, int, int]) -> Extractor:
    """An extractor of the user's own.

    Args:
        spec: "module:attr" of a network, of a function of images, or of a function without arguments that returns
            either. Called with (m, c, h, w) float32 in [-1, 1] on the CPU, it gives (m, d).
        shape: (c, h, w) of an image.

    Raises:
        ConfigError: it cannot be imported or called, or returns something else.
    """
    found = _found(spec)
    probe = torch.randn((4, *shape), generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    compute, given = _computed(found, probe, spec)
    if not isinstance(given, Tensor) or given.ndim != 2 or len(given) != len(probe) or given.shape[1] < 2:
        got = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        raise ConfigError(f"features {spec} are {got} for images {tuple(probe.shape)}", "return a tensor (images, d)")
    if not bool(torch.isfinite(given).all()):
        raise ConfigError(f"features {spec} are not finite for random images", "check the network's weights")
    if isinstance(compute, nn.Module):
        digest = digest_of(compute)
    else:
        # a function has no weights to look at: what it computes stands for it, without its last bits
        text = f"{spec} {np.array2string(given.double().numpy(), precision=3, threshold=10**9)}"
        digest = hashlib.sha256(text.encode()).hexdigest()
    return Extractor(spec, compute, int(given.shape[1]), digest)


def digest_of(network: nn.Module) -> str:
    """Hexadecimal SHA-256 of a network's class and state."""
    state = hashlib.sha256(type(network).__qualname__.encode())
    for name, tensor in sorted(network.state_dict().items()):
        state.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        state.update(bytes_of(tensor))
    return state.hexdigest()


def _computed(found: Any, probe: Tensor, spec: str) -> tuple[Callable[[Tensor], Tensor], Any]:
    """What computes features, and those of the probe."""
    hint = "name a network or a function of images (n, c, h, w), or a function without arguments that returns one"
    if not callable(found):
        raise ConfigError(f"features {spec} is {type(found).__name__}", hint)
    if not isinstance(found, nn.Module):
        import inspect

        try:
            needed = [p for p in inspect.signature(found).parameters.values() if p.default is p.empty]
        except (TypeError, ValueError):
            needed = [None]  # type: ignore[list-item] # a builtin: taken for a function of images
        if not needed:
            found = found()
    if isinstance(found, nn.Module):
        found.eval().requires_grad_(False)
    try:
        with torch.no_grad():
            return found, found(probe)
    except Exception as error:
        raise ConfigError(f"features {spec} fail on images {tuple(probe.shape)}: {error}", hint) from error


def _found(spec: str) -> Any:
    module, _, attribute = spec.partition(":")
    if not module or not attribute:
        raise ConfigError(f"features is {spec!r}", "give module:attr, say my_features:network")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise ConfigError(
            f"features {spec} cannot be had: {type(error).__name__}: {error}",
            "check the name; modules are looked for where the command runs, and on PYTHONPATH",
        ) from error
