"""The search space of metric weights and architectures: what the engine sees of `robot`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evo.errors import InvalidGenomeError
from evo.space import Axis, BaseSpace, Evaluator, Json, Objective, Rung, Variation
from search_spaces.robot.options import RobotOptions

if TYPE_CHECKING:
    import numpy as np

    from search_spaces.robot.neighbours import Neighbours
    from search_spaces.robot.problem import Problem

Genome = tuple[float, ...] | str
"""Weights of the metrics, which stand for the architecture that they rank first; or an architecture."""

STEP = 0.3
"""Standard deviation of a weight's mutation."""


class Robot(BaseSpace[Genome]):
    """Architectures of a pool, found by weighting training-free metrics of them.

    After He et al., "Robustifying and Boosting Training-Free Neural Architecture Search" (RoBoT; ICLR 2024). Two
    genomes are the same where they stand for the same architecture, so that a repeat costs nothing; the number of
    queries is the run's `budget.evaluations`.

    Args:
        options: of the space.
        problem: a pool that is there already; None: that of the table which the options name.
    """

    name = "robot"
    Options = RobotOptions
    options: RobotOptions
    objectives = (Objective("accuracy", "maximise"),)
    rungs = (Rung("search"),)
    defaults: Mapping[str, Any] = {
        "strategy": {"name": "bayesian", "options": {}},
        "budget": {"evaluations": 20, "stall": 2000},
        "loop": {"chunk": 8, "lag": 8, "block": 1, "span": 8},
        "executor": {"kind": "inline"},
        "report": {"candidates": 1, "seeds": 1},
    }

    def __init__(self, options: RobotOptions | None = None, problem: Problem | None = None) -> None:
        super().__init__(options)
        self._problem = problem
        self._neighbours: Neighbours | None = None

    @property
    def problem(self) -> Problem:
        """Read from the table when it is first asked for."""
        if self._problem is None:
            from search_spaces.robot.problem import problem_of

            self._problem = problem_of(self.options)
        return self._problem

    # Genomes.

    def sample(self, rng: np.random.Generator) -> Genome:
        """An architecture of the table, uniform; or weights, uniform in the box, where the option `sample` says so."""
        if self.options.sample == "weights":
            return tuple(float(rng.uniform(axis.low, axis.high)) for axis in self.box())
        known = tuple(self.problem.pool.row)
        return known[int(rng.integers(len(known)))]

    def mutate(self, genome: Genome, rng: np.random.Generator) -> Variation:
        """One operation of an architecture, or one weight."""
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
        """The architecture that a genome stands for, of its functional class the first; None: it is not in the pool."""
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
        from search_spaces.robot.evaluator import VERSION

        problem = self.problem
        return {"table": problem.digest, "objective": f"{problem.objective}, version {VERSION}"}

    # What strategy `bayesian` asks (`evo.space.BoxSpace`).

    def box(self) -> Sequence[Axis]:
        """One axis a metric."""
        low = -1.0 if self.options.weights == "signed" else 0.0
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

    def evaluator(self, prepared: Any) -> Evaluator:
        from search_spaces.robot.evaluator import TableEvaluator

        return TableEvaluator(self.problem)

    def report(self, genomes: Sequence[Genome], seeds: Sequence[int], prepared: Any) -> list[dict[str, Any]]:
        """Test accuracy of the finalists, beside the pool's best and its median; see `report.py`."""
        from search_spaces.robot.report import rows

        return rows(self, genomes)

    # For people.

    def describe(self, genome: Genome) -> str:
        """The weights, largest first, and the architecture that they stand for."""
        if isinstance(genome, str):
            return genome
        names = self.problem.pool.metrics
        if len(names) != len(genome):
            return f"{len(genome)} weights, which do not fit the {len(names)} metrics of this pool"
        weights = sorted(zip(names, genome, strict=True), key=lambda pair: -abs(pair[1]))
        lines = [f"{weight:+.3f} {name}" for name, weight in weights]
        return "\n".join([*lines, f"first: {self.problem.pool.architectures[self.problem.pool.top(genome)]}"])

    def summary(self, genome: Genome) -> str:
        if isinstance(genome, str):
            return genome
        row = self.row(genome)
        weights = " ".join(f"{weight:+.2f}" for weight in genome)
        return weights if row is None else f"{self.problem.pool.architectures[row]} by {weights}"
