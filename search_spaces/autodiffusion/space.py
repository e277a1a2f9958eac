"""The search space of sampling schedules: what the engine sees of `autodiffusion`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evo.errors import ConfigError, EvaluatorError
from evo.space import BaseSpace, Evaluator, Json, Judgement, Objective, Preparation, Rung, Variation
from search_spaces.autodiffusion.budget import Profile, profile_path, read_profile
from search_spaces.autodiffusion.genome import Schedule
from search_spaces.autodiffusion.options import AutoDiffusionOptions
from search_spaces.autodiffusion.text import described, one_line

if TYPE_CHECKING:
    import numpy as np

    from search_spaces.autodiffusion.problem import Problem
    from search_spaces.autodiffusion.variation import Draws


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` gives.

    Attributes:
        profile: the model's blocks and costs.
        folder: for what the report keeps.
    """

    profile: Profile
    folder: str


class AutoDiffusion(BaseSpace[Schedule]):
    """When a diffusion model's network is called, with which solver, and which of its blocks are skipped at each call.

    After Li et al., "AutoDiffusion" (ICCV 2023). The objective is the Fréchet distance of images to real ones, all
    candidates' from the same noise. Identity is structural: a schedule's masks name no block that is not skipped.

    Args:
        options: of the space.
        problem: a model and its score that are there already; None: those of the options.
    """

    name = "autodiffusion"
    Options = AutoDiffusionOptions
    options: AutoDiffusionOptions
    defaults: Mapping[str, Any] = {
        "strategy": {"name": "search_spaces.autodiffusion.two_stage:TwoStage"},
        "budget": {"evaluations": 300, "stall": 3000},
        "loop": {"chunk": 4, "lag": 12, "block": 4, "span": 4},
        "executor": {"kind": "ray", "timeout_s": 600},
        "report": {"candidates": 1, "seeds": 5, "confirm": 3, "confirm_seeds": 4},
    }

    def __init__(self, options: AutoDiffusionOptions | None = None, problem: Problem | None = None) -> None:
        super().__init__(options)
        given = self.options
        self.objectives = (Objective("fid"),) + ((Objective(given.cost, cost=True),) if given.cost != "none" else ())
        look = (Rung("screen", hurdle=given.hurdle, hurdle_after=20),) if given.screen else ()
        self.rungs = (*look, Rung("search"))
        self.samples = {"screen": given.screen, "search": given.samples}
        self._problem = problem
        self._given = problem
        self.profile: Profile | None = None
        self.share = given.max_skip
        """Of a step's blocks that a mask may name; strategies open it by and by through `at`."""

    @property
    def problem(self) -> Problem:
        """Model and score; read when they are first asked for."""
        if self._problem is None:
            from search_spaces.autodiffusion.problem import problem_of

            self._problem = problem_of(self.options.model)
        return self._problem

    def locate(self, folder: Path) -> None:
        """Where `prepare` left the profile: see `evo.space.BaseSpace.locate`."""
        if self.profile is None and self._given is None:
            self.profile = read_profile(profile_path(folder, self._profile_name))

    # Genomes.

    def at(self, share: float) -> Draws:
        """What draws schedules whose masks name at most this share of a step's blocks."""
        from search_spaces.autodiffusion.variation import Draws

        if self.options.masks != "none" and self.profile is None:
            self.profile = self._structure()
        return Draws(self.options, self.problem.model.schedule.steps, self.profile, share)

    def sample(self, rng: np.random.Generator) -> Schedule:
        return self.at(self.share).sample(rng)

    def mutate(self, genome: Schedule, rng: np.random.Generator) -> Variation:
        return Variation(*self.at(self.share).mutate(genome, rng))

    def crossover(self, a: Schedule, b: Schedule, rng: np.random.Generator) -> Variation:
        return Variation(*self.at(self.share).cross(a, b, rng))

    def seeds(self) -> Sequence[Schedule]:
        """The closed forms with each solver, without masks; those that coincide once."""
        from search_spaces.autodiffusion.schedules import closed_forms

        grids = closed_forms(self.problem.model.schedule.alphas_cumprod.tolist(), self.options.steps)
        return tuple(
            Schedule(times, solver) for solver in self.options.solvers for times in dict.fromkeys(grids.values())
        )

    def encode(self, genome: Schedule) -> Json:
        return genome.to_json()

    def decode(self, value: Json) -> Schedule:
        """Raises InvalidGenomeError for what is no schedule."""
        return Schedule.from_json(value)

    # Identity.

    def canonical(self, genome: Schedule) -> bytes | None:
        """The schedule. Whether its timesteps and blocks are the model's, the evaluator says, which has the model:
        what is drawn here is within them."""
        return genome.key()

    def namespace(self) -> Mapping[str, str]:
        from search_spaces.autodiffusion.evaluator import VERSION

        given = self.options
        images = " ".join(f"{rung.name} {self.samples[rung.name]}" for rung in self.rungs)
        calls = f"{given.rows} rows in tiles of {given.tile or given.rows} on {given.device}"
        return {"problem": self.problem.digest, "fitness": f"Fréchet distance, {images}, {calls}, version {VERSION}"}

    # Evaluation.

    @property
    def _profile_name(self) -> str:
        import hashlib

        given = self.options
        text = f"{given.model} {given.rows} {given.device}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _structure(self) -> Profile:
        """The model's blocks without their measured times, before `prepare`."""
        from search_spaces.autodiffusion.profiling import profiled

        if self.options.budget == "time" or self.options.cost == "time":
            raise EvaluatorError("what a block's time is, is known once the run is prepared", "call prepare first")
        return profiled(self.problem, 2, rounds=1)

    def prepare(self, preparation: Preparation) -> Prepared:
        """The model's profile: measured once for a model, and kept: a run goes on with the times it began with."""
        path = profile_path(preparation.folder, self._profile_name)
        found = None if self._given is not None and self._given is not self.problem else read_profile(path)
        if found is None or found.model != self.problem.model.digest or found.blocks != self.problem.blocks:
            from search_spaces.autodiffusion.profiling import profiled

            preparation.progress(0, 1, "profile")
            found = profiled(self.problem, self.options.rows, self.options.device)
            found.write(path)
        self.profile = found
        if (self.options.most_steps - 1) * self.options.gap >= found.steps:
            raise ConfigError(
                f"{self.options.most_steps} timesteps {self.options.gap} apart do not fit {found.steps}",
                "lower options.gap or options.max_steps",
            )
        return Prepared(found, str(preparation.folder))

    def evaluator(self, prepared: Any) -> Evaluator:
        from search_spaces.autodiffusion.evaluator import AutoDiffusionEvaluator

        return AutoDiffusionEvaluator(self.options, self.samples, self._given)

    def costs(self, genome: Schedule) -> Mapping[str, float]:
        """steps: network calls. macs, time: in full calls; not known where no profile is."""
        found = {"steps": float(genome.steps)}
        if self.profile is not None:
            found |= {"macs": self.profile.cost(genome, "macs"), "time": self.profile.cost(genome, "time")}
        elif not genome.masks:
            found |= {"macs": float(genome.steps), "time": float(genome.steps)}
        return found

    def report(self, genomes: Sequence[Schedule], seeds: Sequence[int], prepared: Any) -> list[dict[str, Any]]:
        """Found schedules beside closed forms, random search and DDPM, on fresh noise; see `report.py`."""
        from search_spaces.autodiffusion.report import rows

        return rows(self, genomes, seeds, prepared)

    # For people.

    def describe(self, genome: Schedule) -> str:
        return described(genome, self.profile)

    def summary(self, genome: Schedule) -> str:
        return one_line(genome)

    def build_benchmark(
        self, settings: Mapping[str, Any], folder: Path, progress: Callable[[int, int, str], None]
    ) -> Judgement:
        """A model with what its images are judged by, as those that ship; or of one's own images. See `training/`."""
        from search_spaces.autodiffusion.training.building import build

        return build(settings, folder, progress)

    def benchmark_settings(self) -> type:
        from search_spaces.autodiffusion.training.settings import Settings

        return Settings


__all__ = ["AutoDiffusion", "Prepared"]
