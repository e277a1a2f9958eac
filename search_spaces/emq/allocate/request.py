"""What an allocation is asked for, checked before any work. Imports neither torch nor numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from evo.errors import ConfigError
from evo.options import from_json


@dataclass(frozen=True, slots=True)
class Request:
    """Settings of `evo allocate emq`.

    Attributes:
        budget: "0.12MiB", "1.5GBOPs", "3bits", or several joined by commas.
        model: "resnet", "mobilenet" (the networks that ship), or "module:attr": a torch module, or a function without
            arguments that makes one.
        data: "module:attr", see `own_data.py`; None for the shipped networks alone, which bring their own.
        proxy: a proxy's name, an exported file, "module:attr", RUN or RUN:CANDIDATE.
        choices: bits that a layer may have.
        fixed: layer to bits that it has in any case.
        fix_ends: whether the first and the last layer have 8 bits.
        layers: names of the layers to quantize; None for all Conv2d and Linear.
        activation_bits: of every quantized layer's input; null leaves inputs float.
        method: "auto", "milp" or "evolution".
        batch: samples that the proxy looks at, the first of the calibration samples.
        calibration: samples to fit scales, roundings and batch normalisations on: the first of the training part;
            of one set of data alone the first, and the rest is for the test.
        adaround: steps of the rounding optimisation a layer; 0: rounding to nearest.
        finetune: epochs of fine-tuning on the calibration samples; 0: none.
        batch_norm: whether batch normalisations are estimated anew.
        front: points of the Pareto front; 0: none.
        runs_dir: where runs are looked for.
        seed: of everything that draws.
    """

    __pydantic_config__ = {"extra": "forbid"}

    budget: str
    model: str = "resnet"
    data: str | None = None
    proxy: str = "hawq_v2"
    choices: tuple[int, ...] = (2, 3, 4, 8)
    fixed: Mapping[str, int] = field(default_factory=dict)
    fix_ends: bool = False
    layers: tuple[str, ...] | None = None
    activation_bits: int | None = 8
    method: Literal["auto", "milp", "evolution"] = "auto"
    batch: int = 64
    calibration: int = 512
    adaround: int = 0
    finetune: int = 0
    batch_norm: bool = True
    front: int = 25
    runs_dir: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("batch", 2), ("calibration", 2), ("adaround", 0), ("finetune", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if self.front == 1 or self.front < 0:
            raise ConfigError(f"front is {self.front}; a front has 2 points or more", "0 for none")
        if self.activation_bits is not None and not 2 <= self.activation_bits <= 16:
            raise ConfigError(f"activation_bits is {self.activation_bits}", "2 to 16, or none")


def request_of(settings: Mapping[str, Any]) -> Request:
    """A request from plain settings.

    Raises:
        ConfigError: an unknown setting, no budget, or a value that does not fit.
    """
    if "budget" not in settings:
        raise ConfigError("an allocation needs a budget", "--budget 0.12MiB, --budget 3bits or --bops 1.5GBOPs")
    found: Request = from_json(Request, dict(settings), "allocate")
    return found
