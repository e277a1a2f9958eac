"""A small classifier and a batch that an exported metric tests itself on. Exports hold it, word for word."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def probe_batch() -> tuple[Tensor, Tensor]:
    """Images (16, 2, 12, 12) and labels (16,)."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn(16, 2, 12, 12, generator=generator), torch.arange(16) % 4


def probe_model() -> nn.Module:
    """Three blocks of a convolution, batch normalisation and a ReLU, and a linear layer to four classes."""
    generator = torch.Generator().manual_seed(11)
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((2, 4, 1), (4, 6, 2), (6, 6, 1)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                drawn = torch.randn(module.weight.shape, generator=generator)
                module.weight.copy_(drawn * (2.0 / module.weight[0].numel()) ** 0.5)
                if module.bias is not None:
                    module.bias.zero_()
    return model
