"""The two networks of the benchmark: a residual one and a MobileNetV2-like one, for 28 x 28 grey images.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016), and Sandler et al., "MobileNetV2:
Inverted Residuals and Linear Bottlenecks" (CVPR 2018), made narrow: 10,000 images go through either in about a second
on one core. The residual one has ResNet-18's layers by name and number: stem, eight blocks, three downsamplings, fc.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from evo.options import did_you_mean
from search_spaces.emq.benchmark.errors import BenchmarkError

CLASSES = 10


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside an identity, or a 1 x 1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return torch.relu(y + self.downsample(x))


class ResNet(nn.Module):
    """ResNet-18's layout: four stages of two blocks; 21 layers with weights.

    Args:
        widths: channels of the stages; the stem has the first.
    """

    def __init__(self, widths: tuple[int, ...] = (8, 16, 32, 64)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, widths[0], 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inputs = widths[0]
        for number, width in enumerate(widths, 1):
            stride = 1 if number == 1 else 2
            self.add_module(
                f"layer{number}", nn.Sequential(ResidualBlock(inputs, width, stride), ResidualBlock(width, width, 1))
            )
            inputs = width
        self.stages = len(widths)
        self.fc = nn.Linear(inputs, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, 10) of images (n, 1, 28, 28)."""
        x = torch.relu(self.bn1(self.conv1(x)))
        for number in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return self.fc(x.mean((2, 3)))


class InvertedResidual(nn.Module):
    """1 x 1 expansion (none where the factor is 1), 3 x 3 depthwise, linear 1 x 1 projection."""

    def __init__(self, inputs: int, outputs: int, stride: int, factor: int) -> None:
        super().__init__()
        hidden = inputs * factor
        self.expand: nn.Module = nn.Identity()
        if factor != 1:
            self.expand = _normalised(nn.Conv2d(inputs, hidden, 1, bias=False), nn.ReLU6())
        self.depthwise = _normalised(nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.ReLU6())
        self.project = _normalised(nn.Conv2d(hidden, outputs, 1, bias=False))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


class MobileNet(nn.Module):
    """Seven inverted residuals between a stem and a head; 23 layers with weights.

    Args:
        blocks: (channels, stride, expansion factor) of each.
        head: channels before the classifier.
    """

    def __init__(
        self,
        blocks: tuple[tuple[int, int, int], ...] = (
            (8, 1, 1), (16, 2, 4), (16, 1, 4), (24, 2, 4), (24, 1, 4), (48, 2, 4), (48, 1, 4),
        ),
        head: int = 128,
    ) -> None:  # fmt: skip
        super().__init__()
        inputs = blocks[0][0]
        self.stem = _normalised(nn.Conv2d(1, inputs, 3, 2, 1, bias=False), nn.ReLU6())
        self.blocks = nn.Sequential()
        for outputs, stride, factor in blocks:
            self.blocks.append(InvertedResidual(inputs, outputs, stride, factor))
            inputs = outputs
        self.head = _normalised(nn.Conv2d(inputs, head, 1, bias=False), nn.ReLU6())
        self.classifier = nn.Linear(head, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, 10) of images (n, 1, 28, 28)."""
        x = self.head(self.blocks(self.stem(x)))
        return self.classifier(x.mean((2, 3)))


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {"resnet": ResNet, "mobilenet": MobileNet}
"""The benchmark's networks by name, without weights."""


def untrained(name: str, seed: int) -> nn.Module:
    """A network with fresh weights; the global random state stays as it was.

    Raises:
        BenchmarkError: no network has this name.
    """
    if name not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise BenchmarkError(f"no network is called {name!r}", did_you_mean(name, NETWORKS) or f"known: {known}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return NETWORKS[name]()


def _normalised(layer: nn.Conv2d, *after: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels), *after)
