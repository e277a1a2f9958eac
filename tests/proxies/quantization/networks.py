"""Tiny networks for the tests of quantization, and ResNet-18 from its published shapes."""

from __future__ import annotations

import torch
from torch import nn


def seeded(build, seed=0):
    """A module whose parameters are drawn from a seed, the global generator left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build()


def images(count=16, channels=2, size=8, seed=1):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


class SmallNet(nn.Module):
    """Two convolutions with batch normalisation and in-place rectifiers, a residual, dropout and a linear layer."""

    def __init__(self, classes=4):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(6, classes)

    def forward(self, x):
        x = self.act(self.norm(self.conv1(x)))
        x = self.act(self.conv2(x) + x)
        return self.fc(self.drop(x.mean((2, 3))))


def small_net(seed=0):
    net = seeded(SmallNet, seed)
    net.norm.running_mean.copy_(torch.linspace(-0.2, 0.2, 6))
    net.norm.running_var.copy_(torch.linspace(0.5, 1.5, 6))
    return net.eval()


class Block(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """He et al. (2016), table 1, for 224 x 224 images and 1,000 classes."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        widths = [64, 64, 128, 256, 512]
        for stage in range(1, 5):
            first = Block(widths[stage - 1], widths[stage], 1 if stage == 1 else 2)
            setattr(self, f"layer{stage}", nn.Sequential(first, Block(widths[stage], widths[stage], 1)))
        self.fc = nn.Linear(512, 1000)

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


def resnet18_groups(names):
    """The published 18 entries: a block's downsampling shares the bits of its second convolution."""
    groups = {}
    for name in names:
        owner = name.replace("downsample.0", "conv2")
        groups.setdefault(owner, []).append(name)
    return groups
