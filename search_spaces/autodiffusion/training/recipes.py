"""What is trained: the networks' sizes, the noise levels, and how long; the recipes of the models that ship."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evo.errors import ConfigError

BETAS = ("linear", "squaredcos_cap_v2", "scaled_linear")
"""Of diffusers' schedulers."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model: a UNet that predicts noise, and the classifier whose features its images are judged by.

    Attributes:
        data: "digits", "fashion" or "module:attr".
        betas: how the noise grows with t, of `BETAS`.
        levels: T, the number of noise levels.
        channels: of the UNet at each resolution, finest first.
        attention: whether a resolution's blocks have self-attention, one a resolution; the middle always has.
        layers: residual blocks at each resolution on the way down; one more on the way up.
        groups: of the group normalisations.
        steps: of training.
        batch: images a step.
        rate: peak learning rate of AdamW, reached after `warmup` steps, then a half cosine to a twentieth.
        warmup: steps.
        decay: weight decay.
        average: the weights that are kept are an exponential average with this rate.
        clip: largest norm of a gradient.
        classifier_epochs: of the classifier's training.
        classifier_noise: standard deviation of the noise on its images.
        features: width of its last hidden layer, whose values the Fréchet distance is taken on.
        seed: of weights, order and noise.
    """

    __pydantic_config__ = {"extra": "forbid"}

    data: str = "digits"
    betas: str = "linear"
    levels: int = 1000
    channels: tuple[int, ...] = (24, 48)
    attention: tuple[bool, ...] = (False, True)
    layers: int = 1
    groups: int = 8
    steps: int = 3000
    batch: int = 128
    rate: float = 2e-3
    warmup: int = 200
    decay: float = 1e-4
    average: float = 0.999
    clip: float = 1.0
    classifier_epochs: int = 30
    classifier_noise: float = 0.1
    features: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        least = {
            "levels": 2, "layers": 1, "groups": 1, "steps": 1, "batch": 1, "warmup": 0, "classifier_epochs": 1,
            "features": 2, "seed": 0,
        }  # fmt: skip
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ConfigError(f"{name} is {getattr(self, name)}", f"give {low} or more")
        if self.betas not in BETAS:
            raise ConfigError(f"betas is {self.betas!r}", f"one of {', '.join(BETAS)}")
        if not self.channels or len(self.attention) != len(self.channels):
            raise ConfigError(
                f"{len(self.channels)} resolutions in channels, {len(self.attention)} in attention",
                "give one value a resolution in each",
            )
        if any(width < 1 or width % self.groups for width in self.channels):
            raise ConfigError(f"channels {list(self.channels)}, groups of {self.groups}", "give multiples of groups")
        for name in ("rate", "clip"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}", "give a number above 0")
        if not 0 <= self.average < 1:
            raise ConfigError(f"average is {self.average}", "give 0 to below 1")


RECIPES: Mapping[str, Recipe] = {
    "digits": Recipe(),
    # another network, trained half as long: for what a schedule found on one model is worth on the other
    "digits_other": Recipe(channels=(32, 48), steps=1500, rate=1.5e-3, seed=1),
    "fashion": Recipe(
        data="fashion", channels=(24, 48, 96), attention=(False, True, False), steps=6000, batch=64, rate=1.5e-3,
        warmup=300, classifier_epochs=3,
    ),
}  # fmt: skip
"""By the name of the shipped model."""
