"""What a user may set of a build: `evo bench build robot --set KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evo.errors import ConfigError
from evo.options import from_json
from evo.settings import unknown_setting


@dataclass(frozen=True, slots=True)
class Settings:
    """A build.

    Attributes:
        cells: functionally distinct cells, drawn from all classes with equal chances.
        long_cells: the first so many of them are trained on the long schedule, too.
        seeds: trainings of each cell on each schedule.
        epochs: of the short schedule.
        long_epochs: of the long one.
        train: training images.
        validation: validation images.
        test: test images.
        source: of Fashion-MNIST: "installed", "shipped" or a folder; none: the whole set if it is installed.
        batches: batches (and initial weights) that every metric is computed on.
        draw: seed of the cells' drawing.
        workers: processes.
    """

    __pydantic_config__ = {"extra": "forbid"}

    cells: int = 420
    long_cells: int = 160
    seeds: int = 2
    epochs: int = 2
    long_epochs: int = 6
    train: int = 12_800
    validation: int = 5_000
    test: int = 10_000
    source: str | None = None
    batches: int = 2
    draw: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        least = {
            "cells": 2, "long_cells": 0, "seeds": 1, "epochs": 1, "train": 1, "validation": 1, "test": 1, "batches": 0,
            "draw": 0, "workers": 1,
        }  # fmt: skip
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ConfigError(f"settings.{name} is {getattr(self, name)}", f"give {low} or more")
        if self.long_cells > self.cells:
            raise ConfigError(
                f"settings.long_cells is {self.long_cells}, of {self.cells} cells", "give as many or fewer"
            )
        if self.long_epochs <= self.epochs:
            raise ConfigError(
                f"settings.long_epochs is {self.long_epochs}, beside {self.epochs} of the short schedule", "give more"
            )


def build_settings(values: Mapping[str, Any]) -> Settings:
    """Settings from what a user gave.

    Raises:
        ConfigError: an unknown key, or a value that does not fit.
    """
    unknown_setting(values, Settings, "evo bench build robot --settings")
    return from_json(Settings, dict(values), "settings")
