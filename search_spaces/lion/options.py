"""The options of the space, as a user writes them under `options:` in a run's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from evo.errors import ConfigError
from evo.program import MutationOptions
from search_spaces.lion.operators import DRAWN
from search_spaces.lion.programs import SEEDS


@dataclass(frozen=True, slots=True)
class LionOptions:
    """What is searched and how candidates are judged.

    Attributes:
        tasks: names in `search_spaces.lion.tasks.TASKS`, or classes of your own as `module:attr`.
        steps: optimizer steps a task, times the task's own pace (3 for characters, 1 for digits).
        batch: examples a step.
        schedule: what programs read as `lr`: "cosine" (1 to 0), "linear" (1 to 0) or "constant".
        replicates: initial weights and batch orders at the last rung, "search", each with its own seed.
        admission_steps: a program that diverges within so many steps of `probe_task` (or of the first of `tasks`), from
            weights and batches that are the same in every run, is worth +inf; all those are one function. 0: no such
            test.
        probe_task: the task of the first rung, "probe"; None leaves that rung out.
        probe_steps: its optimizer steps.
        probe_hurdle: quantile of the functions told so far that a function must exceed at "probe" to go on; None: all
            do.
        screen_hurdle: the same for the second rung, "screen", which is "search" with one replicate (of a seed of its
            own); None leaves that rung out.
        screen_tasks: those of `tasks` that "screen" trains, the cheap ones say; None: all of them.
        hurdle_after: functions told at a rung before its hurdle stands.
        length_objective: also minimise the number of live statements (a second objective, for `nsga2`).
        mutation: weights of the kinds of mutation, longest program, fresh constants.
        operators: what mutation and sampling draw: "paper", its 45 operators, or "matrix", also `orthogonalize`, with
            which Muon-like rules are expressed. Programs may call all of them either way.
        seeds: known programs that a warm start begins with: adamw, lion, muon, momentum. Values stay relative to AdamW.
        backend: of `kernels.programs.optimizer_step`; None: the best one that is there.
    """

    __pydantic_config__ = {"extra": "forbid"}

    tasks: tuple[str, ...] = ("digits_mlp", "digits_conv", "characters")
    steps: int = 100
    batch: int = 32
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    replicates: int = 4
    admission_steps: int = 20
    probe_task: str | None = "digits_mlp"
    probe_steps: int = 40
    probe_hurdle: float | None = 0.5
    screen_hurdle: float | None = 0.85
    screen_tasks: tuple[str, ...] | None = None
    hurdle_after: int = 50
    length_objective: bool = False
    mutation: MutationOptions = field(default_factory=MutationOptions)
    operators: Literal["paper", "matrix"] = "paper"
    seeds: tuple[str, ...] = ("adamw",)
    backend: str | None = None

    def __post_init__(self) -> None:
        # built from plain JSON, too: read verbs do without pydantic
        if isinstance(self.mutation, Mapping):
            object.__setattr__(self, "mutation", MutationOptions(**self.mutation))
        object.__setattr__(self, "tasks", tuple(self.tasks))
        object.__setattr__(self, "seeds", tuple(self.seeds))
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ConfigError(f"options.tasks is {list(self.tasks)}: name at least one task, and none twice")
        if self.screen_tasks is not None:
            object.__setattr__(self, "screen_tasks", tuple(self.screen_tasks))
            if not self.screen_tasks or not set(self.screen_tasks) <= set(self.tasks):
                raise ConfigError(
                    f"options.screen_tasks is {list(self.screen_tasks)}: name at least one task of options.tasks",
                    f"options.tasks is {list(self.tasks)}; leave screen_tasks out to screen with all of them",
                )
        unknown = [name for name in self.seeds if name not in SEEDS]
        if unknown or not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(
                f"options.seeds is {list(self.seeds)}" + (f"; no program is called {unknown[0]!r}" if unknown else ""),
                f"name at least one of {', '.join(SEEDS)}, and none twice",
            )
        if self.operators not in DRAWN:
            raise ConfigError(f"options.operators is {self.operators!r}; it must be one of {', '.join(DRAWN)}")
        for name in ("steps", "batch", "replicates", "probe_steps", "hurdle_after"):
            if getattr(self, name) < 1:
                raise ConfigError(f"options.{name} is {getattr(self, name)}; it must be at least 1")
        if self.admission_steps < 0:
            raise ConfigError(f"options.admission_steps is {self.admission_steps}; it must be at least 0 (0: none)")
        for name in ("probe_hurdle", "screen_hurdle"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value < 1.0:
                raise ConfigError(f"options.{name} is {value}; it is a quantile from 0 to below 1, or null")
