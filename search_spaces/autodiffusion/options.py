"""The options of the space, as a user writes them under `options:` in a run's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from evo.errors import ConfigError
from search_spaces.autodiffusion.genome import SOLVERS

Budget = Literal["steps", "macs", "time"]
MaskKinds = Literal["none", "attention", "resnet", "transformer", "all"]
CostObjective = Literal["none", "macs", "time"]


@dataclass(frozen=True, slots=True)
class AutoDiffusionOptions:
    """What is searched, on which model, and how a candidate is judged.

    Attributes:
        model: "digits", "digits_other" or "fashion", which ship; a folder that `evo bench build autodiffusion` wrote;
            or module:attr of a function that returns a `search_spaces.autodiffusion.problem.Problem`.
        solvers: of "ddim", "dpmpp_2m", "euler", "unipc" (`sampling/solvers.py`); a schedule names one of them.
        steps: network calls, K.
        budget: "steps": every schedule has K timesteps. "macs" or "time": a schedule may cost what K full calls cost,
            in multiply-adds or in measured time, and has as many timesteps as that buys: skipped blocks buy steps.
        max_steps: timesteps of a schedule at most, where skipping buys some; null: 2 K.
        masks: which blocks may be skipped, each at each step: "none", "attention", "resnet", "transformer" or "all".
        max_skip: share of a step's blocks that a mask may name at most.
        gap: timesteps lie so far apart at least.
        cost: a second objective, for strategy `nsga2`: "macs" or "time" in full calls; "none".
        samples: images a candidate is judged by, all from the same noise.
        screen: images of a first look; candidates below the hurdle go no further; 0: none.
        hurdle: quantile of what was told of first looks that a candidate must exceed.
        held_out: images of each seed in the report.
        random: schedules that the random search beside the found ones draws; 0: none.
        rows: images of a network call, always so many; a part of the numbers, as rounding depends on it.
        tile: consecutive images of one schedule that stay together in a call; null: all rows. Smaller ones fill calls
            with several schedules, which pays on a GPU.
        limit_mb: memory for the samples of a call to the evaluator.
        device: where the network runs: "cpu", "cuda".
    """

    __pydantic_config__ = {"extra": "forbid"}

    model: str = "digits"
    solvers: tuple[str, ...] = ("ddim",)
    steps: int = 4
    budget: Budget = "steps"
    max_steps: int | None = None
    masks: MaskKinds = "none"
    max_skip: float = 0.5
    gap: int = 5
    cost: CostObjective = "none"
    samples: int = 250
    screen: int = 0
    hurdle: float = 0.5
    held_out: int = 1500
    random: int = 300
    rows: int = 250
    tile: int | None = None
    limit_mb: int = 512
    device: str = "cpu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "solvers", tuple(self.solvers))
        if not self.solvers or len(set(self.solvers)) != len(self.solvers) or not set(self.solvers) <= set(SOLVERS):
            raise ConfigError(
                f"options.solvers is {list(self.solvers)}", f"name some of {', '.join(SOLVERS)}, none twice"
            )
        for name, kinds in (("budget", Budget), ("masks", MaskKinds), ("cost", CostObjective)):
            _one_of(name, getattr(self, name), get_args(kinds))
        least_of = {"steps": 1, "gap": 1, "samples": 2, "screen": 0, "held_out": 2, "random": 0, "rows": 1,
                    "limit_mb": 1}  # fmt: skip
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise ConfigError(f"options.{name} is {getattr(self, name)}; it must be at least {least}")
        if not 0.0 < self.max_skip <= 1.0:
            raise ConfigError(f"options.max_skip is {self.max_skip}; it is a share in (0, 1]")
        if not 0.0 <= self.hurdle < 1.0:
            raise ConfigError(f"options.hurdle is {self.hurdle}; it is a quantile in [0, 1)")
        if self.screen == 1 or self.screen >= self.samples:
            raise ConfigError(f"options.screen is {self.screen}", "2 or more, below options.samples; or 0 for none")
        if self.max_steps is not None and self.max_steps < self.steps:
            raise ConfigError(f"options.max_steps is {self.max_steps}, below options.steps {self.steps}")
        if self.tile is not None and (self.tile < 1 or self.rows % self.tile):
            raise ConfigError(f"options.tile is {self.tile}, which does not divide options.rows {self.rows}")
        if self.budget != "steps" and self.masks == "none":
            raise ConfigError(
                f"options.budget is {self.budget!r}, but nothing may be skipped", "set options.masks, or budget: steps"
            )

    @property
    def most_steps(self) -> int:
        """Timesteps of a schedule at most."""
        return self.steps if self.budget == "steps" else self.max_steps or 2 * self.steps


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"options.{name}: {value!r} is none of {', '.join(allowed)}")
