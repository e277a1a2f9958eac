"""The search space of optimizer programs: what the engine sees of `lion`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evo.errors import ConfigError
from evo.program import Mutator, Program, canonical, simplify
from evo.space import (
    BaseSpace,
    Evaluator,
    Figure,
    Fingerprints,
    Json,
    Judgement,
    Objective,
    Preparation,
    Rung,
    Variation,
)
from search_spaces.lion.judge.names import HELD_OUT
from search_spaces.lion.language import LION
from search_spaces.lion.operators import DRAWN
from search_spaces.lion.options import LionOptions
from search_spaces.lion.programs import SEEDS
from search_spaces.lion.text import described, one_line

if TYPE_CHECKING:
    import numpy as np

    from evo.run.reader import RunReader
    from evo.space import Refined, Refinement


SUMMARY = 1000
"""Characters of a summary at most: what shows it cuts it, and has to know where programs that begin alike differ."""


class Lion(BaseSpace[Program]):
    """Programs train(w, g, v1, v2, lr) -> (update, v1, v2) over the paper's 45 primitives and, where asked
    for, one on matrices; judged by the networks they train.

    After Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023). The objective is the validation loss
    relative to the AdamW seed program's, see `LionEvaluator`; lower is better.
    """

    name = "lion"
    Options = LionOptions
    options: LionOptions
    defaults: Mapping[str, Any] = {
        "strategy": {"name": "regularized", "options": {"population": 300, "tournament": 8, "initial": "seed"}},
        "budget": {"proposals": 20_000},
        "loop": {"chunk": 64, "lag": 256, "block": 32, "span": 256},
        "report": {"candidates": 3, "seeds": 5, "confirm": 10, "confirm_seeds": 8},
    }
    judge_tasks: Mapping[str, str] = HELD_OUT

    def __init__(self, options: LionOptions | None = None) -> None:
        super().__init__(options)
        given = self.options
        self.objectives = (Objective("loss"),) + ((Objective("length", cost=True),) if given.length_objective else ())
        rungs = [Rung("search", given.replicates)]
        if given.screen_hurdle is not None:
            rungs.insert(0, Rung("screen", 1, given.screen_hurdle, given.hurdle_after))
        if given.probe_task is not None:
            rungs.insert(0, Rung("probe", 1, given.probe_hurdle, given.hurdle_after))
        self.rungs = tuple(rungs)
        self._mutator = Mutator(LION, given.mutation, DRAWN[given.operators])

    # Genomes.

    def sample(self, rng: np.random.Generator) -> Program:
        return self._mutator.sample(rng)

    def mutate(self, genome: Program, rng: np.random.Generator) -> Variation:
        return self._mutator.mutate(genome, rng)

    def seeds(self) -> Sequence[Program]:
        """Those that the option `seeds` names: AdamW with the constants of the paper's seed program, unless changed."""
        return tuple(SEEDS[name]() for name in self.options.seeds)

    def encode(self, genome: Program) -> Json:
        return genome.to_json()

    def decode(self, value: Json) -> Program:
        """Raises InvalidGenomeError for what is no program of this language."""
        program = Program.from_json(value)
        LION.infer(program)
        return program

    # Identity.

    def canonical(self, genome: Program) -> bytes:
        return canonical(LION, genome)

    def fingerprint(self, genomes: Sequence[Program]) -> Fingerprints:
        from search_spaces.lion.admission import admitted
        from search_spaces.lion.evaluator import lowered, one_thread
        from search_spaces.lion.probe import fingerprint

        programs = [lowered(genome) for genome in genomes]
        found = fingerprint(programs, self.options.backend)
        with one_thread():
            found.values[~admitted(self.options, programs)] = float("nan")  # one function: worth +inf by definition
        return found

    def namespace(self) -> Mapping[str, str]:
        from search_spaces.lion.evaluator import course_digest, numeric_backend
        from search_spaces.lion.probe import VERSION

        self._check_backend()
        return {
            "tasks": "+".join(self.options.tasks),
            "course": course_digest(self.options),
            "probe": str(VERSION),
            "backend": numeric_backend(self.options.backend),
        }

    def _check_backend(self) -> None:
        """Raise ConfigError where the backend that was asked for is not there."""
        from kernels.dispatch import choose
        from kernels.errors import KernelError

        try:
            choose(self.options.backend)
        except KernelError as error:
            if self.options.backend is None:  # the environment asked for it
                raise ConfigError(error.message, error.hint) from error
            hint = "c, numpy and torch train on this machine's processor; null takes the best one that is there"
            raise ConfigError(f"options.backend: {error.message}", hint) from error

    # Evaluation.

    def prepare(self, preparation: Preparation) -> dict[str, dict[str, float]]:
        """The losses that relate all others to the AdamW seed program: seconds, and kept for the next run."""
        from search_spaces.lion.evaluator import course_digest, numeric_backend, references

        key = f"{course_digest(self.options)}-{numeric_backend(self.options.backend)}"
        path = preparation.folder / f"lion-reference-{key}.json"
        if path.is_file():
            return json.loads(path.read_text())
        preparation.progress(0, 1, "reference losses of the AdamW seed program")
        found = references(self.options)
        preparation.folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(found))
        partial.replace(path)
        preparation.progress(1, 1, "reference losses of the AdamW seed program")
        return found

    def evaluator(self, prepared: Any) -> Evaluator:
        from search_spaces.lion.evaluator import LionEvaluator

        return LionEvaluator(self.options, prepared)

    def costs(self, genome: Program) -> Mapping[str, float]:
        """length: statements of the simplified program."""
        return {"length": float(len(simplify(LION, genome)))}

    def report(self, genomes: Sequence[Program], seeds: Sequence[int], prepared: Any) -> list[dict[str, Any]]:
        from search_spaces.lion.report import rows

        return rows(self.options, genomes, seeds, prepared["search"])

    def refine(self, work: Refinement[Program]) -> Refined[Program]:
        """Selection on larger tasks that the search never saw, tuning of constants, simplification."""
        from search_spaces.lion.refine.pipeline import refine

        return refine(self.options, work)

    def refine_settings(self) -> type:
        from search_spaces.lion.refine.options import RefineOptions

        return RefineOptions

    def judge(self, modules: Sequence[Path], settings: Mapping[str, Any], work: Preparation) -> Judgement:
        """Exported modules beside tuned baselines on held-out tasks, as AlgoPerf would; see the package `judge`."""
        from search_spaces.lion.judge.session import judge

        return judge(modules, settings, work)

    # For people.

    def notes(self) -> Sequence[str]:
        """Where a seed calls what mutation does not draw."""
        drawn = set(DRAWN[self.options.operators])
        found = []
        for name in self.options.seeds:
            others = sorted({step.operator for step in SEEDS[name]().instructions} - drawn)
            if others:
                found.append(
                    f"the seed {name} calls {', '.join(others)}, which mutation does not draw with options.operators "
                    f"{self.options.operators}: children inherit it and can lose it; operators=matrix draws it too"
                )
        return found

    def describe(self, genome: Program) -> str:
        return described(genome)

    def summary(self, genome: Program) -> str:
        return one_line(genome, width=SUMMARY)

    def figures(self, run: RunReader) -> Iterable[Figure]:
        from search_spaces.lion.figures import figures

        return figures(run)

    def export(self, genome: Program, path: Path, origin: Mapping[str, Any]) -> Path:
        from search_spaces.lion.export import export

        return export(genome, path, origin)
