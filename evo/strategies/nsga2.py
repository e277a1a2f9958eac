"""NSGA-II: many objectives at once, by Pareto fronts and crowding, (mu + lambda) in generations.

Source: Deb, Pratap, Agarwal, Meyarivan, "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II" (2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evo.seeds import Streams
from evo.space import Breed, G, Json, Proposal, SearchSpace, Told
from evo.strategies._breeding import INITIAL_KINDS, Breeder, InitialCandidates, InitialKind, Parent, draw_indices
from evo.strategies._options import check_at_least, check_choice, check_probability
from evo.strategies.base import BaseStrategy, Fetch
from evo.strategies.select import nsga2_order, scores


@dataclass(frozen=True, slots=True)
class NSGA2Options:
    """Options of NSGA-II.

    Attributes:
        population: members kept, mu; also the number of initial candidates.
        children: children a generation, lambda; None for as many as `population`.
        tournament: members drawn, uniformly with replacement, for each parent.
        initial: the first candidates (see `InitialKind`).
        crossover: probability that a child is first crossed from two parents (the paper's own choice is 0.9).
        mutation: probability that a crossed child is mutated as well.
    """

    __pydantic_config__ = {"extra": "forbid"}

    population: int = 100
    children: int | None = None
    tournament: int = 2
    initial: InitialKind = "mixed"
    crossover: float = 0.0
    mutation: float = 1.0

    def __post_init__(self) -> None:
        check_at_least("nsga2.population", self.population, 1)
        if self.children is not None:
            check_at_least("nsga2.children", self.children, 1)
        check_at_least("nsga2.tournament", self.tournament, 1)
        check_choice("nsga2.initial", self.initial, INITIAL_KINDS)
        check_probability("nsga2.crossover", self.crossover)
        check_probability("nsga2.mutation", self.mutation)


class NSGA2(BaseStrategy[G]):
    """The elitist non-dominated sorting genetic algorithm.

    Members and children are sorted together by `select.nsga2_order` and the first mu live on. Two things differ from
    the paper: a candidate that reached a later rung comes before all that did not, and copies (same function, same
    values) come last, so that the engine's many equal candidates cannot crowd out the front. Candidates without a
    value never live on. It proposes nothing while it waits for a generation's end.
    """

    name = "nsga2"
    Options = NSGA2Options
    options: NSGA2Options

    def __init__(self, space: SearchSpace[G], options: Any = None) -> None:
        super().__init__(space, options)
        self._initial = InitialCandidates(space, self.options.initial, "nsga2.initial")
        self._breeder = Breeder(space, self.options.crossover, self.options.mutation, "nsga2")
        self.generation = 0
        self._asked = 0  # of this generation
        self._told: list[Told] = []  # of this generation
        self._population: list[Told] = []  # best first

    @property
    def population(self) -> tuple[Told, ...]:
        """The living members, best first."""
        return tuple(self._population)

    def _size(self) -> int:
        """Proposals of the present generation."""
        return self.options.population if self.generation == 0 else self.options.children or self.options.population

    def ask(self, first_id: int, n: int, streams: Streams) -> Sequence[Proposal[G]]:
        ids = range(first_id, first_id + min(n, self._size() - self._asked))
        self._asked += len(ids)
        return [self._breed(candidate_id, streams) for candidate_id in ids]

    def _breed(self, candidate_id: int, streams: Streams) -> Breed[G]:
        if not self._population:
            return self._initial.propose(candidate_id, streams, explore=self.generation > 0)
        size, wanted = self.options.tournament, self._breeder.parents_wanted
        drawn = draw_indices(streams(candidate_id, "tournament"), len(self._population), size * wanted)
        # The population is sorted, so the least row drawn wins.
        winners = [self._population[min(drawn[start : start + size])] for start in range(0, size * wanted, size)]
        return self._breeder.child(candidate_id, streams, [Parent(winner.id, winner.genome) for winner in winners])

    def tell(self, results: Sequence[Told]) -> None:
        for result in results:
            self._told.append(result)
            if len(self._told) == self._size():
                self._survive()

    def _survive(self) -> None:
        together = self._population + self._told
        given = scores(together, self.objectives)
        functions = np.fromiter((result.function for result in together), np.int64, len(together))
        order = nsga2_order(given, functions)
        living = order[given.rungs[order] >= 0][: self.options.population]
        self._population = [together[row] for row in living]
        self._told, self._asked = [], 0
        self.generation += 1

    def state(self) -> Json:
        return {
            "initial": self._initial.state(),
            "generation": self.generation,
            "asked": self._asked,
            "told": [result.id for result in self._told],
            "population": [result.id for result in self._population],
        }

    def restore(self, state: Json, fetch: Fetch) -> None:
        self._initial.restore(state["initial"])
        self.generation, self._asked = state["generation"], state["asked"]
        self._told = list(fetch(state["told"]))
        self._population = list(fetch(state["population"]))
