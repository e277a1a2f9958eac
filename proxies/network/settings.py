"""What a caller may choose about the metrics, and the batch that they are computed on, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from proxies.errors import ProxyError

Batch = tuple[Tensor, Tensor]
"""Images (n, ...) floating, labels (n,) whole numbers from 0 on."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Constants of the metrics; the defaults are the publications'.

    Attributes:
        zico_parts: into how many parts of like size the batch is cut for zico; 2 or more.
        swap_samples: how many of the batch's first samples swap looks at, 2 to 20. With many samples all patterns
            differ and the metric is the number of ReLUs.
        swap_mu: for the regularised swap, which is swap times exp(-(params - swap_mu)^2 / swap_sigma): the number of
            parameters that is wanted.
        swap_sigma: how sharply, in parameters squared. Both None: the plain one.
        zen_step: distance of the two images of zen.
        blocks: names of the modules whose outputs are AZ-NAS's features, in any order; None: found as az.py says.
    """

    zico_parts: int = 2
    swap_samples: int = 16
    swap_mu: float | None = None
    swap_sigma: float | None = None
    zen_step: float = 0.01
    blocks: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.zico_parts < 2:
            raise ProxyError(f"zico_parts is {self.zico_parts}", "a deviation takes 2 parts or more")
        if not 2 <= self.swap_samples <= 20:
            raise ProxyError(f"swap_samples is {self.swap_samples}", "give 2 to 20")
        if (self.swap_mu is None) != (self.swap_sigma is None):
            raise ProxyError("of swap_mu and swap_sigma one is missing", "give both, or neither")
        if self.swap_sigma is not None and not self.swap_sigma > 0:
            raise ProxyError(f"swap_sigma is {self.swap_sigma}", "it must be positive")
        if not (math.isfinite(self.zen_step) and self.zen_step > 0):
            raise ProxyError(f"zen_step is {self.zen_step}", "it must be a positive number")


def checked_batch(batch: Batch) -> Batch:
    """The images and labels, detached.

    Raises:
        ProxyError: they are no pair of tensors, have different lengths, fewer than two samples, no floating images or
            no whole labels from 0 on, or an image is not finite.
    """
    if not isinstance(batch, (tuple, list)) or len(batch) != 2 or not all(isinstance(part, Tensor) for part in batch):
        raise ProxyError("the batch is no pair (images, labels) of tensors", "give (images, labels)")
    images, labels = (part.detach() for part in batch)
    if images.ndim < 2 or labels.ndim != 1 or len(images) != len(labels):
        raise ProxyError(
            f"images have shape {tuple(images.shape)} and labels {tuple(labels.shape)}",
            "expected (n, ...) and (n,) of the same n",
        )
    if len(images) < 2:
        raise ProxyError(f"the batch has {len(images)} sample", "give 2 or more; the field uses 64")
    if not images.is_floating_point() or not bool(torch.isfinite(images).all()):
        raise ProxyError(f"the images are {images.dtype} or not all finite", "give finite floating-point images")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ProxyError(f"the labels are {labels.dtype}", "give whole numbers: the index of each sample's class")
    if bool((labels < 0).any()):
        raise ProxyError(f"a label is {int(labels.min())}", "classes are counted from 0")
    return images, labels.long()


def checked_outputs(outputs: object, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """The logits (n, classes).

    Raises:
        ProxyError: they have another shape, or a label is no class of theirs.
    """
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(images):
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ProxyError(
            f"the model gives {shape} for {len(images)} samples, expected logits (samples, classes)",
            "wrap it in a module that returns the logits alone",
        )
    if labels is not None and int(labels.max()) >= outputs.shape[1]:
        raise ProxyError(
            f"a label is {int(labels.max())}, and the model has {outputs.shape[1]} classes",
            "labels run from 0 to classes - 1",
        )
    return outputs
