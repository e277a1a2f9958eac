"""What a user may set of a build: `evo bench build autodiffusion --set KEY=VALUE`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from evo.errors import ConfigError
from evo.options import did_you_mean, from_json
from evo.settings import unknown_setting
from search_spaces.autodiffusion.training.recipes import RECIPES, Recipe


@dataclass(frozen=True, slots=True)
class Settings:
    """A build.

    Attributes:
        model: recipe to start from: digits, digits_other (judged by the shipped classifier of digits, so that the two
            compare) or fashion; none: that of the data, or digits.
        data: digits, fashion, or module:attr of images of one's own, alone or with labels; none: the recipe's.
        source: of Fashion-MNIST: "installed", "shipped" or a folder; none: the whole set if it is installed.
        betas: how the noise grows with t: linear, squaredcos_cap_v2 or scaled_linear; this and what follows up to
            seed: none: the recipe's.
        levels: T, the number of noise levels.
        channels: of the UNet at each resolution, finest first.
        attention: whether a resolution has self-attention, one a resolution.
        layers: residual blocks a resolution.
        steps: of training.
        batch: images a step.
        rate: peak learning rate.
        warmup: steps until it.
        classifier_epochs: of the training of the classifier whose features images are judged by.
        seed: of weights, order and noise.
        features: instead of a classifier: module:attr of a network or function from images to (n, d).
        ddpm_seeds: sets of images sampled with all T steps of DDPM, to compare with: minutes to hours.
        ddpm_samples: images in each.
    """

    __pydantic_config__ = {"extra": "forbid"}

    model: str | None = None
    data: str | None = None
    source: str | None = None
    betas: str | None = None
    levels: int | None = None
    channels: tuple[int, ...] | None = None
    attention: tuple[bool, ...] | None = None
    layers: int | None = None
    steps: int | None = None
    batch: int | None = None
    rate: float | None = None
    warmup: int | None = None
    classifier_epochs: int | None = None
    seed: int | None = None
    features: str | None = None
    ddpm_seeds: int = 0
    ddpm_samples: int = 1500

    def __post_init__(self) -> None:
        if self.model is not None and self.model not in RECIPES:
            raise ConfigError(
                f"settings.model is {self.model!r}",
                did_you_mean(self.model, RECIPES) or f"one of {', '.join(RECIPES)}",
            )
        for name, low in (("ddpm_seeds", 0), ("ddpm_samples", 2)):
            if getattr(self, name) < low:
                raise ConfigError(f"settings.{name} is {getattr(self, name)}", f"give {low} or more")
        self.recipe()  # complains now

    @property
    def name(self) -> str:
        """Of the recipe that is started from."""
        return self.model or (self.data if self.data in RECIPES else None) or "digits"

    def recipe(self) -> Recipe:
        """The recipe with what was set."""
        # a recipe's `features` is a width, a user's a network
        names = {field.name for field in fields(Recipe)} & {field.name for field in fields(self)} - {"features"}
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(RECIPES[self.name], **given)


def build_settings(values: Mapping[str, Any]) -> Settings:
    """Settings from what a user gave; "24,48" is a list, too.

    Raises:
        ConfigError: an unknown key, or a value that does not fit.
    """
    unknown_setting(values, Settings, "evo bench build autodiffusion --settings")
    given = dict(values)
    for key in ("channels", "attention"):
        if isinstance(given.get(key), str):
            with contextlib.suppress(ValueError):  # from_json complains about what is no list
                given[key] = json.loads(f"[{given[key]}]")
    return from_json(Settings, given, "settings")
