"""The reference in torch operations, on any device: one multiplication and one sum at a time, in a fixed order."""

from __future__ import annotations

import torch
from torch import Tensor


def advance(
    x: Tensor, output: Tensor, history: Tensor, reads: Tensor, matrix: Tensor, clip: float | None
) -> tuple[Tensor, Tensor]:
    """`kernels.diffusion.advance` of checked tensors."""
    image = reads[:, :1] * x + reads[:, 1:] * output
    if clip is not None:
        image = image.clamp(-clip, clip)
    sources = [x, image, *history.unbind(1)]
    found = []
    for row in range(matrix.shape[1]):
        total = matrix[:, row, 0, None] * sources[0]
        for column, source in enumerate(sources[1:], 1):
            total = total + matrix[:, row, column, None] * source
        found.append(total)
    later = torch.stack(found[1:], 1) if len(found) > 1 else torch.empty_like(history)
    return found[0], later
