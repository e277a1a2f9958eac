"""The search space of quantization proxies: what the engine sees of `emq`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evo.space import BaseSpace, Evaluator, Figure, Json, Judgement, Objective, Preparation, Rung, Variation
from search_spaces.emq.expression import expression, formula, size
from search_spaces.emq.known import KNOWN, RELEASED
from search_spaces.emq.language import Genome
from search_spaces.emq.options import EMQOptions
from search_spaces.emq.scaling import screened
from search_spaces.emq.text import described, one_line
from search_spaces.emq.variation import Variation as Draws

if TYPE_CHECKING:
    import numpy as np

    from evo.run.reader import RunReader


class EMQ(BaseSpace[Genome]):
    """Proxies that rank bit configurations of a network without training or measuring them.

    After Dong et al., "EMQ: Evolving Training-free Proxies for Automated Mixed Precision Quantization" (ICCV 2023). The
    objective is the rank correlation of a proxy's scores with measured accuracies on the search rows of a benchmark.
    """

    name = "emq"
    Options = EMQOptions
    options: EMQOptions
    rungs = (Rung("search"),)
    defaults: Mapping[str, Any] = {
        "strategy": {"name": "diversity", "options": {"population": 50}},
        "budget": {"proposals": 200_000, "stall": None},
        "loop": {"chunk": 64, "lag": 128, "block": 64, "span": 128},
        "report": {"candidates": 3, "seeds": 1},
    }

    def __init__(self, options: EMQOptions | None = None) -> None:
        super().__init__(options)
        given = self.options
        self.objectives = (Objective("fitness", "maximise"),) + (
            (Objective("size", cost=True),) if given.size_objective else ()
        )
        self._draws = Draws(given.mode, given.operators, given.structures, given.gene_mutation)

    # Genomes.

    def sample(self, rng: np.random.Generator) -> Genome:
        return self._drawn(lambda: self._draws.sample(rng))

    def mutate(self, genome: Genome, rng: np.random.Generator) -> Variation:
        return Variation(self._drawn(lambda: self._draws.mutate(genome, rng)), "mutate")

    def crossover(self, a: Genome, b: Genome, rng: np.random.Generator) -> Variation:
        return Variation(self._drawn(lambda: self._draws.cross(a, b, rng)), "crossover")

    def _drawn(self, draw: Callable[[], Genome]) -> Genome:
        """What is drawn first that would not be rejected unseen; the last draw where the option `redraws` ends it."""
        genome = draw()
        for _ in range(self.options.redraws):
            if self.canonical(genome) is not None:
                break
            genome = draw()
        return genome

    def seeds(self) -> Sequence[Genome]:
        """Those that the option `seeds` names; none by default."""
        known = KNOWN if self.options.mode == "corrected" else RELEASED
        return tuple(known[name] for name in self.options.seeds)

    def encode(self, genome: Genome) -> Json:
        return genome.to_json()

    def decode(self, value: Json) -> Genome:
        """Raises InvalidGenomeError for what is no proxy of this language."""
        return Genome.from_json(value)

    # Identity: canonical form here, the rank vector with the evaluation (`Observation.fingerprint`).

    def canonical(self, genome: Genome) -> bytes | None:
        """The simplified expression; None where it can give no number, cannot depend on the bits, or depends on what
        changes no network (option `invariance`)."""
        return screened(genome, self.options.invariance).key

    def namespace(self) -> Mapping[str, str]:
        from search_spaces.emq.benchmark.loading import load
        from search_spaces.emq.evaluator import VERSION
        from search_spaces.emq.problem import VERSION as GATHERED

        given = self.options
        top = f" {given.top}" if given.fitness == "spearman_top" else ""
        return {
            "table": load(given.search).checksum,
            "model": f"{given.model} {given.data} {given.batches} x {given.batch} above {given.screen} {given.samples}",
            "fitness": f"{given.fitness}{top} on {given.rows} rows, version {VERSION}, statistics {GATHERED}",
        }

    # Evaluation.

    def prepare(self, preparation: Preparation) -> dict[str, Any]:
        """Statistics of the search network and of the held-out one: a minute or two, and kept for the next run."""
        from search_spaces.emq.problem import gather_missing, problem_of

        gather_missing(self.options, preparation)
        return {
            which: problem_of(self.options, which == "held_out", preparation.folder, preparation.progress)
            for which in ("search", "held_out")
        }

    def evaluator(self, prepared: Any) -> Evaluator:
        from search_spaces.emq.evaluator import EMQEvaluator

        return EMQEvaluator(self.options, replace(prepared["search"], fresh=()))  # what the search never sees

    def costs(self, genome: Genome) -> Mapping[str, float]:
        """size: operators and inputs of the simplified proxy; of one that is rejected, its genes."""
        term = expression(genome).term
        return {"size": float(len(genome.genes) if term is None else size(term))}

    def report(self, genomes: Sequence[Genome], seeds: Sequence[int], prepared: Any) -> list[dict[str, Any]]:
        """Finalists beside hand-made proxies, on held-out rows and on the held-out network; see `report.py`."""
        from search_spaces.emq.report import rows

        return rows(self.options, genomes, prepared)

    # For people.

    def describe(self, genome: Genome) -> str:
        return described(genome)

    def summary(self, genome: Genome) -> str:
        return one_line(genome)

    def figures(self, run: RunReader) -> Iterable[Figure]:
        from search_spaces.emq.figures import figures

        return figures(run)

    def export(self, genome: Genome, path: Path, origin: Mapping[str, Any]) -> Path:
        """A module `score(model, bits, batch)` that needs torch alone."""
        from search_spaces.emq.export import export

        return export(genome, path, origin, self.options.samples)

    def allocate(
        self, settings: Mapping[str, Any], folder: Path, progress: Callable[[int, int, str], None]
    ) -> Judgement:
        """Bits of each layer of a model under a budget, by a proxy, quantized and measured; see `allocate/`."""
        from search_spaces.emq.allocate import allocate

        return allocate(settings, folder, progress)

    def build_benchmark(
        self, settings: Mapping[str, Any], folder: Path, progress: Callable[[int, int, str], None]
    ) -> Judgement:
        """Tables of measured configurations, of the shipped networks or of a user's own; see `benchmark/`."""
        from search_spaces.emq.benchmark.building import build

        return build(settings, folder, progress)

    def benchmark_settings(self) -> type:
        from search_spaces.emq.benchmark.settings import Settings

        return Settings


__all__ = ["EMQ", "formula"]
