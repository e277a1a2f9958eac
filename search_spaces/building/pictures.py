"""Grey images as networks take them: normalised; mirrored and shifted for training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

MEAN, DEVIATION = 0.2860, 0.3530
"""Of the pixels of Fashion-MNIST's training images, in [0, 1]."""


def normalised(pixels: np.ndarray) -> Tensor:
    """(n, 1, height, width) float32 of pixels (n, height, width) uint8."""
    return (torch.from_numpy(pixels.astype(np.float32)).div_(255).sub_(MEAN).div_(DEVIATION))[:, None]


def distorted(pictures: Tensor, shift: int, mirror: bool, generator: torch.Generator) -> Tensor:
    """Pictures (n, c, h, w), each moved by up to `shift` pixels (edges repeated), mirrored with probability a half."""
    n, _, height, width = pictures.shape
    if mirror:
        mirrored = torch.rand(n, generator=generator) < 0.5
        pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
    if not shift:
        return pictures
    padded = functional.pad(pictures, (shift,) * 4, mode="replicate")
    moves = torch.randint(2 * shift + 1, (2, n), generator=generator)
    rows = moves[0][:, None] + torch.arange(height)
    columns = moves[1][:, None] + torch.arange(width)
    return padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
