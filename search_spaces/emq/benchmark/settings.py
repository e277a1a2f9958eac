"""What a user may set of a build: `evo bench build emq --set KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evo.errors import ConfigError
from evo.options import from_json
from evo.settings import unknown_setting
from search_spaces.emq.benchmark.loading import SHIPPED

ADAROUND_ROWS = 60
"""By default, of at least as many rows."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A build.

    Attributes:
        networks: which of the package's networks.
        weights: "train" them, or take the "shipped" weights.
        epochs: of training.
        model: instead of `networks`: "module:attr" of a function without arguments that returns a trained model.
        data: with `model`: "module:attr" of a function that returns (training inputs, labels), (test inputs, labels):
            tensors whose first dimension is examples; whatever the model is called with, labels whole numbers.
        layers: of the model, which to quantize; none: all Conv2d and Linear.
        source: of Fashion-MNIST: "installed", "shipped" or a folder; none: the whole set if it is installed.
        rows: random configurations.
        adaround_rows: the first so many of them are measured with learned rounding, too; none: 60, or all of fewer.
        rounding_iterations: steps of learned rounding for each layer and choice.
        seeds: calibration seeds.
        choices: bits that a layer may have.
        activation_bits: of every quantized layer's input.
        calibration: images a seed.
        norms: whether the means and variances of batch normalisations are estimated anew for each configuration:
            that repairs much of what low bits break, and with it most of what tells configurations apart.
        test: test images; none: all.
        seed: of the configurations.
        workers: processes.
    """

    __pydantic_config__ = {"extra": "forbid"}

    networks: tuple[str, ...] = SHIPPED
    weights: Literal["train", "shipped"] = "train"
    epochs: int = 16
    model: str | None = None
    data: str | None = None
    layers: tuple[str, ...] | None = None
    source: str | None = None
    rows: int = 400
    adaround_rows: int | None = None
    rounding_iterations: int = 300
    seeds: int = 3
    choices: tuple[int, ...] = (2, 3, 4, 8)
    activation_bits: int = 8
    calibration: int = 256
    norms: bool = False
    test: int | None = None
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if self.adaround_rows is None:
            object.__setattr__(self, "adaround_rows", max(0, min(ADAROUND_ROWS, self.rows)))
        least = {
            "epochs": 1, "rows": 2, "adaround_rows": 0, "rounding_iterations": 1, "seeds": 1, "calibration": 1,
            "seed": 0, "workers": 1,
        }  # fmt: skip
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ConfigError(f"settings.{name} is {getattr(self, name)}", f"give {low} or more")
        if self.test is not None and self.test < 1:
            raise ConfigError(f"settings.test is {self.test}", "give 1 or more")
        if (self.adaround_rows or 0) > self.rows:
            raise ConfigError(
                f"settings.adaround_rows is {self.adaround_rows}, of {self.rows} rows", "give as many or fewer"
            )
        if not 2 <= self.activation_bits <= 16:
            raise ConfigError(f"settings.activation_bits is {self.activation_bits}", "give 2 to 16")
        ascending = len(self.choices) > 1 and all(a < b for a, b in zip(self.choices, self.choices[1:], strict=False))
        if not ascending or not all(2 <= bits <= 16 for bits in self.choices):
            raise ConfigError(f"settings.choices is {list(self.choices)}", "give two or more, ascending, from 2 to 16")
        if (self.model is None) != (self.data is None):
            raise ConfigError("settings.model and settings.data belong together", "give both, or neither")
        if self.layers is not None and self.model is None:
            raise ConfigError("settings.layers is for a model of one's own", "give model and data, too")
        unknown = [name for name in self.networks if name not in SHIPPED]
        if unknown or not self.networks or len(set(self.networks)) < len(self.networks):
            raise ConfigError(f"settings.networks is {list(self.networks)}", f"some of {', '.join(SHIPPED)}, each once")


def build_settings(values: Mapping[str, Any]) -> Settings:
    """Settings from what a user gave; "a,b" and "a" are lists of names, too.

    Raises:
        ConfigError: an unknown key, or a value that does not fit.
    """
    unknown_setting(values, Settings, "evo bench build emq --settings")
    given = dict(values)
    for key in ("networks", "layers"):
        if isinstance(given.get(key), str):
            given[key] = [name.strip() for name in given[key].split(",") if name.strip()]
    return from_json(Settings, given, "settings")
