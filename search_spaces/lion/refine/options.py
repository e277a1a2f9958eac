"""The settings of `evo refine` for this space: which tasks select, and how much is spent on each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evo.errors import ConfigError
from evo.options import from_json
from evo.settings import unknown_setting
from search_spaces.lion.options import LionOptions


@dataclass(frozen=True, slots=True)
class RefineOptions:
    """What `evo refine RUN --set KEY=VALUE` may set. Counts of seeds are initial weights and data orders.

    `evo refine lion --settings` prints what follows.

    Attributes:
        selection: selection tasks, of about ten times the search's cost (parameters x steps); the search never saw
            those of the default.
        selection_stretch: their optimizer steps, times those of the search (`LionOptions.steps`) and the task's pace.
        final: tasks of about a hundred times the cost, for those that survive; also those of the final comparison.
        final_stretch: their optimizer steps, as selection_stretch.
        leaders: leaders of the search that are evaluated again on the search's tasks.
        elite_seeds: fresh seeds on which the leaders are evaluated again.
        entrants: how many of the leaders, the best of them then, enter the funnel.
        scales: exponents k of the inner tuning of a program's overall rate, update * 4^k; must hold 0. Where the best
            lies at an end, more are tried.
        scale_seeds: seeds that rates are tuned on, and the grids of the baselines.
        baseline_seeds: further seeds that the best few settings of each baseline are judged on.
        selection_seeds: further seeds that judge at the selection tasks.
        survivors: how many go on from the selection to the final tasks.
        final_seeds: seeds that judge at the final tasks.
        curve_points: points of the meta-overfitting curve; below 2: no curve.
        curve_seeds: seeds that judge the points of the curve.
        finalists: how many have their constants tuned.
        generations: of CMA-ES; 0: no tuning of constants.
        population: candidates a generation; None: 4 + 3 ln(number of constants).
        spread: initial step of CMA-ES in the logarithm of a constant.
        tuning_seeds: seeds a generation, fresh ones each time.
        tuning_stretch: steps on the search's tasks while constants are tuned, times the search's: about as long as the
            selection tasks, beside which they stand, or the short courses' higher rates win.
        test_seeds: seeds of the paired tests of tuned against untuned constants.
        simplify: whether to simplify the winner.
        simplify_tasks: tasks that judge simplifications beside the search's; a test of half a percent takes dozens of
            seeds, so they must be cheap.
        simplify_seeds: most seeds of a simplification's test.
        simplify_tests: most tests; the result says so where they did not suffice.
        comparison_seeds: seeds of the final comparison.
    """

    selection: tuple[str, ...] = ("fashion_mlp_10x", "fashion_conv_10x", "transformer_10x")
    selection_stretch: float = 1.0
    final: tuple[str, ...] = ("fashion_mlp_100x", "fashion_conv_100x", "transformer_100x")
    final_stretch: float = 1.0
    leaders: int = 32
    elite_seeds: int = 4
    entrants: int = 16
    scales: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5)
    scale_seeds: int = 1
    baseline_seeds: int = 2
    selection_seeds: int = 3
    survivors: int = 4
    final_seeds: int = 3
    curve_points: int = 20
    curve_seeds: int = 3
    finalists: int = 2
    generations: int = 8
    population: int | None = 8
    spread: float = 0.3
    tuning_seeds: int = 1
    tuning_stretch: float = 4.0
    test_seeds: int = 8
    simplify: bool = True
    simplify_tasks: tuple[str, ...] = ("fashion_mlp_10x",)
    simplify_seeds: int = 32
    simplify_tests: int = 200
    comparison_seeds: int = 4

    def __post_init__(self) -> None:
        for name in ("selection", "final", "scales", "simplify_tasks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("selection", "final"):
            tasks = getattr(self, name)
            if not tasks or len(set(tasks)) != len(tasks):
                raise ConfigError(f"{name} is {list(tasks)}: name at least one task, and none twice")
        if 0.0 not in self.scales:
            raise ConfigError(f"scales is {list(self.scales)}: 0 (the program as it was found) must be among them")
        for name in ("selection_stretch", "final_stretch", "tuning_stretch", "spread"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("curve_points", "generations"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 0")
        if self.population is not None and self.population < 3:
            raise ConfigError(f"population is {self.population}; CMA-ES needs at least 3")
        for name in COUNTS:
            if getattr(self, name) < LEAST.get(name, 1):
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {LEAST.get(name, 1)}")


COUNTS = (
    "leaders", "elite_seeds", "entrants", "scale_seeds", "baseline_seeds", "selection_seeds", "survivors",
    "final_seeds", "curve_seeds", "finalists", "tuning_seeds", "test_seeds", "simplify_seeds", "simplify_tests",
    "comparison_seeds",
)  # fmt: skip
LEAST = {"test_seeds": 4, "simplify_seeds": 8, "comparison_seeds": 2}
"""A paired test says nothing on fewer."""


def seen_tasks(options: LionOptions, settings: RefineOptions) -> tuple[str, ...]:
    """Selection and final tasks that are the search's own. Meta-validation is what is judged on none of them."""
    return tuple(dict.fromkeys(task for task in (*settings.selection, *settings.final) if task in options.tasks))


def quick(options: LionOptions) -> dict[str, Any]:
    """What `--quick` sets: a rehearsal within a minute or two. The search's own tasks, trained longer, stand for the
    selection tasks, so its choice is no evidence of anything beyond them, and no meta-validation."""
    return {
        "selection": options.tasks,
        "selection_stretch": 2.0,
        "final": options.tasks,
        "final_stretch": 4.0,
        "leaders": 12,
        "elite_seeds": 3,
        "entrants": 6,
        "scale_seeds": 1,
        "baseline_seeds": 1,
        "selection_seeds": 3,
        "survivors": 3,
        "final_seeds": 3,
        "curve_points": 6,
        "curve_seeds": 3,
        "finalists": 2,
        "generations": 4,
        "population": 6,
        "tuning_stretch": 2.0,
        "test_seeds": 6,
        "simplify_tasks": (),
        "simplify_seeds": 8,
        "simplify_tests": 4,
        "comparison_seeds": 4,
    }


def from_settings(settings: Mapping[str, Any], options: LionOptions) -> RefineOptions:
    """The options of a refinement from what a user set; "quick": true takes `quick` for what is not set.

    Raises:
        ConfigError: an unknown key, or a value that does not fit.
    """
    given = dict(settings)
    is_quick = given.pop("quick", False)
    if not isinstance(is_quick, bool):
        raise ConfigError(f"refine.quick is {is_quick!r}, not true or false")
    unknown_setting(given, RefineOptions, "evo refine lion --settings")
    found: RefineOptions = from_json(RefineOptions, {**(quick(options) if is_quick else {}), **given}, "refine")
    return found
