"""Small classifiers for the tests of network metrics, and direct ways to look at them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxies.network.settings import Batch

CLASSES = 4


class Block(nn.Module):
    """Residual block whose ReLUs are modules, functions or methods, in place or not: it computes the same."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, relu: str = "module") -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut = None if (inputs, stride) == (outputs, 1) else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.way = relu
        self.module = nn.ReLU(inplace=relu == "inplace")

    def relu(self, x: Tensor) -> Tensor:
        if self.way in ("module", "inplace"):
            return self.module(x)
        if self.way == "functional":
            return F.relu(x)
        if self.way == "torch":
            return torch.relu(x)
        if self.way == "clamp":
            return x.clamp(min=0)
        return x.relu_()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return self.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Residual(nn.Module):
    """Stem, three blocks, the second of stride 2, global average, classifier."""

    def __init__(self, relu: str = "module", inputs: int = 2) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(inputs, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4))
        self.blocks = nn.Sequential(Block(4, 4, 1, relu), Block(4, 6, 2, relu), Block(6, 6, 1, relu))
        self.classifier = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.blocks(self.stem(x)).mean((2, 3)))


def residual(relu: str = "module", seed: int = 0) -> Residual:
    """A `Residual` with default weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Residual(relu)


def plain(seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """No normalisation: samples do not meet, so that each can be looked at by itself. The ReLUs work in place."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(inplace=True),
            nn.Flatten(), nn.Linear(36, 5), nn.ReLU(inplace=True), nn.Linear(5, CLASSES),
        ).to(dtype)  # fmt: skip


def batch(
    count: int = 8, shape: tuple[int, ...] = (2, 6, 6), seed: int = 1, dtype: torch.dtype = torch.float32
) -> Batch:
    """Normal images, and labels in which every class has two samples at least."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn((count, *shape), generator=generator).to(dtype)
    return images, torch.arange(count) % CLASSES


def weights_of(model: nn.Module) -> list[nn.Parameter]:
    """Weights of Conv2d and Linear modules."""
    return [module.weight for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


def loss_gradients(model: nn.Module, images: Tensor, labels: Tensor, create_graph: bool = False) -> tuple[Tensor, ...]:
    """dL/dW in the mode the model is in."""
    loss = F.cross_entropy(model(images), labels)
    return torch.autograd.grad(loss, weights_of(model), create_graph=create_graph)
