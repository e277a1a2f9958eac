"""DEAP's record keeping over told results: HallOfFame, ParetoFront, MultiStatistics, Logbook.

For people who know DEAP. Records observe a search and never steer it, and they are rebuilt by telling them the run's
results again, so they are no part of a strategy's state. DEAP is imported when a `Records` is made.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from evo.space import Objective, Told
from evo.strategies._options import check_at_least


class Individual:
    """A told candidate in the form that DEAP's tools take. Treat it as immutable.

    Attributes:
        id, genome, function, operator, parents, status, rung, behaviour: as in `Told`.
        fitness: a `deap.base.Fitness`; `fitness.values` are raw values in their natural direction, and its weights
            (-1.0 to minimise, 1.0 to maximise) make the larger fitness the better one.
    """

    __slots__ = ("behaviour", "fitness", "function", "genome", "id", "operator", "parents", "rung", "status")

    def __init__(self, told: Told, fitness: Any) -> None:
        self.id = told.id
        self.genome = told.genome
        self.function = told.function
        self.operator = told.operator
        self.parents = told.parents
        self.status = told.status
        self.rung = told.rung
        self.behaviour = told.behaviour
        self.fitness = fitness

    def __deepcopy__(self, memo: Any) -> Individual:
        """DEAP copies what it keeps, for fear of operators that work in place; genomes here are immutable."""
        return self

    def __repr__(self) -> str:
        return f"Individual(id={self.id}, fitness={self.fitness})"


class Records:
    """Keeps DEAP's records over told results.

    Only results with status "ok" and no NaN become individuals: a candidate that a hurdle stopped has a value of
    another protocol, which says nothing beside the others. `Reevaluate` results are left out too. The hall of fame
    keeps one individual a function and fitness, the Pareto front one a fitness (or a plateau would fill it): the
    first told.

    Args:
        objectives: the space's objectives.
        hall_of_fame: places in the hall of fame.
        every: told results a row of the logbook.

    Attributes:
        hall_of_fame: `deap.tools.HallOfFame`, best first, compared objective by objective; ties as DEAP orders them.
        pareto_front: `deap.tools.ParetoFront` of all told.
        statistics: `deap.tools.MultiStatistics` with a chapter an objective (avg, std, min, max over finite values);
            `statistics.register(name, function)` adds a figure, `statistics[name] = Statistics(key)` a chapter.
        logbook: `deap.tools.Logbook`; a row every `every` results: row, told (in all), evals (individuals of the
            row), new (distinct functions first seen in the row), failed, and the statistics.

    Raises:
        ConfigError: a size below 1.
    """

    def __init__(self, objectives: Sequence[Objective], hall_of_fame: int = 10, every: int = 1000) -> None:
        from deap import base, tools

        check_at_least("records.hall_of_fame", hall_of_fame, 1)
        check_at_least("records.every", every, 1)
        weights = tuple(1.0 if objective.direction == "maximise" else -1.0 for objective in objectives)
        # A class of its own: deap.creator would put it into a global module, where two searches would collide.
        self._fitness: type[Any] = type("Fitness", (base.Fitness,), {"weights": weights})
        self._every = every
        self._pending: list[Individual] = []
        self._counts: Counter[str] = Counter()
        self._told = 0
        self.hall_of_fame = tools.HallOfFame(hall_of_fame, similar=_same)
        self.pareto_front = tools.ParetoFront(similar=lambda one, other: True)  # asked of equal fitness alone
        self.statistics = tools.MultiStatistics(
            **{objective.name: tools.Statistics(_nth_value(index)) for index, objective in enumerate(objectives)}
        )
        for name, function in (("avg", np.mean), ("std", np.std), ("min", np.min), ("max", np.max)):
            self.statistics.register(name, _over_finite(function))
        self.logbook = tools.Logbook()
        self.logbook.header = ["row", "told", "evals", "new", "failed", *self.statistics.fields]

    def individual(self, told: Told) -> Individual | None:
        """The individual of a result, or None where it has no comparable value."""
        if told.status != "ok" or told.operator == "reevaluate" or len(told.values) != len(self._fitness.weights):
            return None
        if any(math.isnan(value) for value in told.values):
            return None
        return Individual(told, self._fitness(told.values))

    def tell(self, results: Iterable[Told]) -> None:
        """Take results in, in the order told; how they are cut into calls does not matter."""
        for result in results:
            self._told += 1
            individual = self.individual(result)
            if individual is not None:
                self._pending.append(individual)
                self._counts["evals"] += 1
            elif result.status not in ("ok", "stopped"):
                self._counts["failed"] += 1
            self._counts["new"] += result.new
            if self._told % self._every == 0:
                self.flush()

    def flush(self) -> None:
        """Bring the halls up to date and write a row for the results since the last one, if there are any."""
        since = self._told - (self.logbook[-1]["told"] if self.logbook else 0)
        if since == 0:
            return
        if self._pending:
            self.hall_of_fame.update(self._pending)
            self.pareto_front.update(self._pending)
        self.logbook.record(
            row=len(self.logbook),
            told=self._told,
            evals=self._counts["evals"],
            new=self._counts["new"],
            failed=self._counts["failed"],
            **self.statistics.compile(self._pending),
        )
        self._pending = []
        self._counts.clear()


def _same(one: Individual, other: Individual) -> bool:
    return one.function == other.function and bool(one.fitness == other.fitness)


def _nth_value(index: int) -> Callable[[Individual], float]:
    def value(individual: Individual) -> float:
        return float(individual.fitness.values[index])

    return value


def _over_finite(function: Callable[[Any], Any]) -> Callable[[Sequence[float]], float]:
    """One diverged candidate would make every mean infinite; a row without a finite value gives NaN."""

    def over_finite(values: Sequence[float]) -> float:
        array = np.asarray(values, np.float64)
        finite = array[np.isfinite(array)]
        return float(function(finite)) if finite.size else math.nan

    return over_finite
