"""The search space of metric weights and architectures: what the engine sees of `robot`."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evo.errors import EvaluatorError, InvalidGenomeError
from evo.space import Axis, BaseSpace, Evaluator, Figure, Json, Judgement, Objective, Preparation, Rung, Variation
from search_spaces.robot.options import RobotOptions
from search_spaces.robot.stored import StoredPool, pool_path, read_pool

if TYPE_CHECKING:
    import numpy as np

    from evo.run.reader import RunReader
    from search_spaces.robot.live.recipe import Recipe
    from search_spaces.robot.neighbours import Neighbours
    from search_spaces.robot.problem import Problem

Genome = tuple[float, ...] | str
"""Weights of the metrics, which stand for the architecture that they rank first; or an architecture."""

SHORT = {"nor_conv_3x3": "3x3", "nor_conv_1x1": "1x1", "avg_pool_3x3": "pool", "skip_connect": "skip", "none": "0"}
"""Operations of NAS-Bench-201's cells as leaderboards show them."""
STEP = 0.3
"""Standard deviation of a weight's mutation."""


def short(architecture: str) -> str:
    """A NAS-Bench-201 cell as the operations into each node, those from the first node first ("3x3 | skip 1x1 | 0 0
    pool"); any other architecture as it is."""
    edges = [edge.rpartition("~")[0] for edge in architecture.replace("+", "").split("|") if edge]
    if len(edges) != 6 or not set(edges) <= set(SHORT):
        return architecture
    names = [SHORT[edge] for edge in edges]
    return " | ".join((names[0], " ".join(names[1:3]), " ".join(names[3:])))


class Robot(BaseSpace[Genome]):
    """Architectures of a pool, found by weighting training-free metrics of them.

    With a table, it is read; without one, networks are scored and trained (`live/`), and `prepare` makes the pool:
    before it, weights stand for no architecture yet. An architecture may then be any of the space, in the pool or not.

    After He et al., "Robustifying and Boosting Training-Free Neural Architecture Search" (RoBoT; ICLR 2024). Two
    genomes are the same where they stand for the same architecture, so that a repeat costs nothing; the number of
    queries is the run's `budget.evaluations`.

    Args:
        options: of the space.
        problem: a pool with accuracies that is there already; None: that of the options.

    Attributes:
        live: whether networks are scored and trained.
        folder: where a run prepared the pool, as `locate` was told.
    """

    name = "robot"
    Options = RobotOptions
    options: RobotOptions
    objectives = (Objective("accuracy", "maximise"),)
    rungs = (Rung("search"),)
    defaults: Mapping[str, Any] = {
        "strategy": {"name": "bayesian", "options": {"batch": 2, "explore": 22}},
        "budget": {"evaluations": 20, "stall": 2000},
        "loop": {"chunk": 8, "lag": 8, "block": 1, "span": 8},
        "executor": {"kind": "ray", "timeout_s": 3600},
        "report": {"candidates": 1, "seeds": 3},
    }
    """Of a live run."""
    table_defaults: Mapping[str, Any] = {
        **defaults,
        "strategy": {"name": "bayesian", "options": {"explore": 0}},
        "executor": {"kind": "inline"},
        "report": {"candidates": 1, "seeds": 1},
    }
    """Of a run on a table, which costs nothing: neither processes nor batches are worth their while."""

    def __init__(self, options: RobotOptions | None = None, problem: Problem | None = None) -> None:
        super().__init__(options)
        self._problem = problem
        self._given = problem is not None
        self.live = self.options.live and problem is None
        self._neighbours: Neighbours | None = None
        self.folder: Path | None = None
        self._stored: StoredPool | None = None

    @classmethod
    def defaults_for(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Those of a live run, or of one on a table."""
        return cls.defaults if options.get("tables") is None else cls.table_defaults

    @property
    def problem(self) -> Problem:
        """Read from the table when it is first asked for; in a live run made by `prepare`.

        Raises:
            EvaluatorError: a live run that was not prepared.
        """
        if self._problem is None:
            if self.live:
                raise EvaluatorError("the pool of a live run is known once it is prepared", "call prepare first")
            from search_spaces.robot.problem import problem_of

            self._problem = problem_of(self.options)
        return self._problem

    @property
    def recipe(self) -> Recipe:
        """How a live run builds, scores and trains networks."""
        from search_spaces.robot.live.recipe import recipe_of

        return recipe_of(self.options)

    def locate(self, folder: Path) -> None:
        """Where `prepare` left the pool, for commands that read a stored run: see `evo.space.BaseSpace.locate`."""
        self.folder = folder

    @property
    def stored(self) -> StoredPool | None:
        """The pool as `prepare` left it, read without numpy; None: it is not there, or nobody said where."""
        if self._stored is None and self.folder is not None:
            self._stored = read_pool(pool_path(self.folder, self.options))
        return self._stored

    # Genomes.

    def sample(self, rng: np.random.Generator) -> Genome:
        """An architecture of the table or pool, uniform; or weights, uniform in the box, where the option `sample` says
        so."""
        if self.options.sample == "weights":
            return tuple(float(rng.uniform(axis.low, axis.high)) for axis in self.box())
        if self.live and self._problem is None:
            from search_spaces.robot.live.drawing import drawn

            known = drawn(self.recipe, self.options.pool, self.options.draw)
        else:
            known = tuple(self.problem.pool.row)
        return known[int(rng.integers(len(known)))]

    def mutate(self, genome: Genome, rng: np.random.Generator) -> Variation:
        """One operation of an architecture, or one weight."""
        if isinstance(genome, str) and self.live:
            space = self.recipe.space()
            return Variation(space.encode(space.mutate(space.decode(genome), rng)), "operation")
        if isinstance(genome, str):
            if self._neighbours is None:
                from search_spaces.robot.neighbours import Neighbours

                self._neighbours = Neighbours(self.problem.pool.row)
            return Variation(self._neighbours.mutate(genome, rng), "operation")
        axes = self.box()
        which = int(rng.integers(len(axes)))
        changed = genome[which] + STEP * float(rng.standard_normal())
        inside = min(max(changed, axes[which].low), axes[which].high)
        return Variation((*genome[:which], inside, *genome[which + 1 :]), "weight")

    def encode(self, genome: Genome) -> Json:
        return genome if isinstance(genome, str) else list(genome)

    def decode(self, value: Json) -> Genome:
        """Raises InvalidGenomeError for what is neither text nor numbers."""
        if isinstance(value, str):
            return value
        if isinstance(value, list) and value and all(isinstance(x, int | float) for x in value):
            return tuple(float(x) for x in value)
        raise InvalidGenomeError(
            f"{value!r} is no genome of robot", "it is a list of weights, or an architecture's text"
        )

    # Identity.

    def canonical(self, genome: Genome) -> bytes | None:
        """The architecture that a genome stands for, of its functional class the first; None: it is not in the pool.

        In a live run: that architecture's own canonical form, None where it is none of the space; and of weights that
        nothing is prepared for, the weights.
        """
        if self.live:
            if self._problem is None and not isinstance(genome, str):
                return b"weights" + struct.pack(f"<{len(genome)}d", *genome)
            row = None if isinstance(genome, str) else self.row(genome)
            if not isinstance(genome, str) and row is None:
                return None
            text = genome if isinstance(genome, str) else self.problem.pool.architectures[row or 0]
            return self.recipe.canonical(text)
        row = self.row(genome)
        return None if row is None else self.problem.pool.architectures[row].encode()

    def row(self, genome: Genome) -> int | None:
        """The row of the pool that a genome stands for; None: it is not there."""
        pool = self.problem.pool
        if isinstance(genome, str):
            return pool.row.get(genome)
        if len(genome) != len(pool.metrics):
            return None
        return pool.top(genome)

    def namespace(self) -> Mapping[str, str]:
        if self.live:
            from search_spaces.robot.live.problem import namespace

            return namespace(self.options)
        from search_spaces.robot.evaluator import VERSION

        problem = self.problem
        return {"table": problem.digest, "objective": f"{problem.objective}, version {VERSION}"}

    # What strategy `bayesian` asks (`evo.space.BoxSpace`).

    def box(self) -> Sequence[Axis]:
        """One axis a metric; in a live run, before it is prepared, one for each that is asked for."""
        low = -1.0 if self.options.weights == "signed" else 0.0
        if self.live and self._problem is None:
            from search_spaces.robot.live.names import checked_metrics

            return tuple(Axis(name, low, 1.0) for name in checked_metrics(self.options))
        return tuple(Axis(name, low, 1.0) for name in self.problem.pool.metrics)

    def from_vector(self, vector: Sequence[float]) -> Genome:
        return tuple(float(x) for x in vector)

    def to_vector(self, genome: Genome) -> tuple[float, ...] | None:
        return None if isinstance(genome, str) else genome

    def greedy(self, genome: Genome) -> Iterator[Genome]:
        """The pool's architectures as weights rank them; of an architecture, none."""
        if not isinstance(genome, str):
            pool = self.problem.pool
            for row in pool.order(genome).tolist():
                yield pool.architectures[row]

    def features(self, genome: Genome) -> tuple[float, ...] | None:
        """Scaled metrics of the architecture that a genome stands for."""
        row = self.row(genome)
        return None if row is None else tuple(self.problem.pool.scaled[row].tolist())

    # Evaluation.

    def prepare(self, preparation: Preparation) -> StoredPool | None:
        """The pool; None where one was given. In a live run its networks are scored by the workers: a minute or so,
        and kept for the next run."""
        if self._given:
            return None
        from search_spaces.robot.preparing import prepared

        self._problem, self._stored = prepared(self.options, preparation)
        return self._stored

    def evaluator(self, prepared: Any) -> Evaluator:
        if self.live:
            from search_spaces.robot.live.evaluator import LiveEvaluator

            return LiveEvaluator(self.recipe, prepared)
        from search_spaces.robot.evaluator import TableEvaluator

        return TableEvaluator(self.problem)

    def report(self, genomes: Sequence[Genome], seeds: Sequence[int], prepared: Any) -> list[dict[str, Any]]:
        """Test accuracy of the finalists: read beside the pool's best and its median (`report.py`), or trained beside
        random members of the pool (`live/report.py`)."""
        if self.live:
            from search_spaces.robot.live.report import rows as live_rows

            return live_rows(self.recipe, prepared, [str(self.architecture(genome)) for genome in genomes], seeds)
        from search_spaces.robot.report import rows

        return rows(self, genomes)

    # For people.

    def architecture(self, genome: Genome) -> str | None:
        """The architecture that a genome stands for; None where that is not known here."""
        if isinstance(genome, str):
            return genome
        if self._problem is None and self.stored is not None:
            row = self.stored.top(genome)
            return None if row is None else self.stored.architectures[row]
        if self._problem is None and self.live:
            return None
        row = self.row(genome)
        return None if row is None else self.problem.pool.architectures[row]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the weights, as far as they are known here."""
        if self._problem is None and self.stored is not None:
            return self.stored.metrics
        return tuple(axis.name for axis in self.box())

    def describe(self, genome: Genome) -> str:
        """The architecture that weights stand for, and these, largest first."""
        if isinstance(genome, str):
            return genome
        names = self.metrics
        if len(names) != len(genome):
            return f"{len(genome)} weights, which do not fit the {len(names)} metrics of this pool"
        weights = sorted(zip(names, genome, strict=True), key=lambda pair: -abs(pair[1]))
        found = self.architecture(genome)
        first = "architecture not known: the pool is not here" if found is None else found
        used = [f"  {weight:+.3f} {name}" for name, weight in weights if weight]
        rest = [f"  0 for the other {len(weights) - len(used)}"] if len(used) < len(weights) else []
        return "\n".join([first, "ranks first by", *used, *rest])

    def summary(self, genome: Genome) -> str:
        """A cell's operations in short, those into one node together; of weights also these, largest first."""
        found = self.architecture(genome)
        if isinstance(genome, str):
            return short(genome)
        names = self.metrics if len(self.metrics) == len(genome) else [f"metric {i}" for i in range(len(genome))]
        named = sorted(zip(genome, names, strict=True), key=lambda pair: -abs(pair[0]))
        weights = " ".join(f"{weight:+.2f} {name}" for weight, name in named if weight) or "no weight"
        return weights if found is None else f"{short(found)} by {weights}"

    def figures(self, run: RunReader) -> Iterable[Figure]:
        """The found architecture, accuracy against queries, weights, metrics against accuracy, training curves."""
        from search_spaces.robot.figures import figures

        return figures(self, run)

    def export(self, genome: Genome, path: Path, origin: Mapping[str, Any]) -> Path:
        """A module that builds the architecture; of weights also one that scores as they do (`export/`)."""
        from search_spaces.robot.export import export

        return export(self, genome, path, origin)

    def build_benchmark(
        self, settings: Mapping[str, Any], folder: Path, progress: Callable[[int, int, str], None]
    ) -> Judgement:
        """A table of trained cells with all metrics, as the one that ships; see `benchmark/`."""
        from search_spaces.robot.benchmark.building import build

        return build(settings, folder, progress)

    def benchmark_settings(self) -> type:
        from search_spaces.robot.benchmark.settings import Settings

        return Settings
