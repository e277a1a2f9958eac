"""The classifiers whose hidden features images are compared by, where Inception's would see nothing in 8 x 8 pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """A small convolutional classifier whose last hidden layer is what images are compared by.

    Three convolutions of 3 x 3, the second and third with stride 2, each with a ReLU; one hidden linear layer, a ReLU;
    logits.

    Args:
        channels, height, width: of an image.
        classes: how many.
        features: width of the hidden layer.
        seed: of the first weights.
    """

    def __init__(self, channels: int, height: int, width: int, classes: int, features: int = 64, seed: int = 0) -> None:
        super().__init__()
        self.settings = {
            "channels": channels, "height": height, "width": width, "classes": classes, "features": features,
        }  # fmt: skip
        high, wide = ((size + 3) // 4 for size in (height, width))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Sequential(
                nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(),
                nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
                nn.Conv2d(64, 64, 3, stride=2, padding=1), nn.ReLU(),
                nn.Flatten(), nn.Linear(64 * high * wide, features), nn.ReLU(),
            )  # fmt: skip
            self.head = nn.Linear(features, classes)

    def features(self, images: Tensor) -> Tensor:
        """(n, features) of images (n, c, h, w) in [-1, 1]."""
        found: Tensor = self.body(images)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes)."""
        logits: Tensor = self.head(self.body(images))
        return logits
