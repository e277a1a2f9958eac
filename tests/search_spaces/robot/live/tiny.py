"""Live runs that take seconds: synthetic images, a user's own spaces of tiny networks, options, a preparation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evo.space import Preparation
from search_spaces.robot import Robot, RobotOptions
from search_spaces.robot.options import ScheduleOptions

HERE = "tests.search_spaces.robot.live.tiny"
METRICS = ("params", "snip", "naswot", "synflow")


@dataclass(frozen=True)
class Data:
    train: Tensor
    train_labels: Tensor
    validation: Tensor
    validation_labels: Tensor
    test: Tensor
    test_labels: Tensor


def stripes() -> Data:
    """Grey images of 8 x 8 with one of three patterns under noise."""
    generator = torch.Generator().manual_seed(1)

    def part(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(count) % 3
        line, flat = torch.linspace(-1, 1, 8), torch.ones(8)
        pattern = torch.stack([line.outer(flat), flat.outer(line), torch.eye(8)])
        return (pattern[labels] + 0.8 * torch.randn(count, 8, 8, generator=generator))[:, None], labels

    return Data(*part(96), *part(60), *part(30))


class Widths:
    """A user's own space: two convolutions, each of a width, with ReLUs; nothing but what must be there."""

    def sample(self, rng: Any) -> tuple[int, int]:
        return int(rng.integers(2, 5)), int(rng.integers(2, 5))

    def encode(self, architecture: tuple[int, int]) -> str:
        return f"{architecture[0]} then {architecture[1]}"

    def build(self, architecture: tuple[int, int]) -> nn.Module:
        first, second = architecture
        return nn.Sequential(
            nn.Conv2d(1, first, 3, 2, 1), nn.BatchNorm2d(first), nn.ReLU(), nn.Conv2d(first, second, 3, 1, 1),
            nn.BatchNorm2d(second), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(second, 3),
        )  # fmt: skip


class Smooth(Widths):
    """The same without a ReLU: naswot and swap cannot be computed."""

    def build(self, architecture: tuple[int, int]) -> nn.Module:
        model = super().build(architecture)
        return nn.Sequential(*(nn.Tanh() if isinstance(layer, nn.ReLU) else layer for layer in model))


class Broken(Widths):
    """Its networks do not take images."""

    def build(self, architecture: tuple[int, int]) -> nn.Module:
        return nn.Linear(5, 3)


class Raising(Widths):
    """It cannot be sampled."""

    def sample(self, rng: Any) -> tuple[int, int]:
        raise ZeroDivisionError("no widths")


class Exploded(Widths):
    """Its weights are not finite."""

    def build(self, architecture: tuple[int, int]) -> nn.Module:
        model = super().build(architecture)
        nn.init.constant_(model[0].weight, float("nan"))
        return model


class Short(Widths):
    """It tells two classes of the three."""

    def build(self, architecture: tuple[int, int]) -> nn.Module:
        model = super().build(architecture)
        return nn.Sequential(*list(model)[:-1], nn.Linear(architecture[1], 2))


def no_data() -> Data:
    raise OSError("the disk is gone")


def with_nan() -> Data:
    data = stripes()
    data.validation[3] = float("nan")
    return data


def with_negative_label() -> Data:
    data = stripes()
    data.test_labels[0] = -1
    return data


def options(**given: Any) -> RobotOptions:
    """Small: six cells of the small space, or what is said."""
    small: dict[str, Any] = {
        "pool": 6, "images": f"{HERE}:stripes", "schedule": ScheduleOptions(epochs=2, batch=32, watched=20),
        "metric_batch": 8, "metrics": METRICS,
    }  # fmt: skip
    return RobotOptions(**(small | given))


class Counted:
    """A preparation in a folder; counts what the workers are given."""

    def __init__(self, folder: Path) -> None:
        self.items = 0
        self.said: list[tuple[int, int, str]] = []
        self.work = Preparation(folder, self._map, lambda *words: self.said.append(words))

    def _map(self, function: Any, items: Any) -> list[Any]:
        self.items += len(items)
        return [function(item) for item in items]


def prepared(folder: Path, **given: Any) -> Robot:
    """A space that has its pool."""
    space = Robot(options(**given))
    space.prepare(Counted(folder).work)
    return space
