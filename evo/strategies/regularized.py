"""Regularized (aging) evolution: a tournament picks the parent, the oldest member dies, however good it is.

Source: Real, Aggarwal, Huang, Le, "Regularized Evolution for Image Classifier Architecture Search" (AAAI 2019),
algorithm 1; with the warm start of Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023), section 3.

It is a steady-state algorithm, so it never waits: results may be told long after their proposals were made (the
engine's lag), and the population is simply the youngest `population` results told so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evo.seeds import Streams
from evo.space import Breed, G, Json, Proposal, SearchSpace, Told
from evo.strategies._breeding import INITIAL_KINDS, Breeder, InitialCandidates, InitialKind, Parent, draw_indices
from evo.strategies._options import check_at_least, check_choice, check_probability
from evo.strategies.base import BaseStrategy, Fetch
from evo.strategies.select import score_key


@dataclass(frozen=True, slots=True)
class RegularizedOptions:
    """Options of regularized evolution.

    Attributes:
        population: members that are alive, P; also the number of initial candidates.
        tournament: members drawn, uniformly with replacement, for each parent, T.
        initial: the first candidates (see `InitialKind`); "seed" fills the population with the space's seeds, as
            the search for Lion did.
        crossover: probability that a child is first crossed from two parents, each the winner of a tournament.
        mutation: probability that a crossed child is mutated as well.
    """

    __pydantic_config__ = {"extra": "forbid"}

    population: int = 1000
    tournament: int = 2
    initial: InitialKind = "mixed"
    crossover: float = 0.0
    mutation: float = 1.0

    def __post_init__(self) -> None:
        check_at_least("regularized.population", self.population, 1)
        check_at_least("regularized.tournament", self.tournament, 1)
        check_choice("regularized.initial", self.initial, INITIAL_KINDS)
        check_probability("regularized.crossover", self.crossover)
        check_probability("regularized.mutation", self.mutation)


class RegularizedEvolution(BaseStrategy[G]):
    """Aging evolution.

    Results are compared by the rung reached, then by the first objective, then by the next ones. Equal contestants
    tie, and the first drawn wins: which one that is, is uniformly random. Candidates that gave no value (failed,
    invalid, NaN) do not enter the population, so that a run of failures cannot push out every working parent. While
    the population is empty, further initial candidates are proposed.
    """

    name = "regularized"
    Options = RegularizedOptions
    options: RegularizedOptions

    def __init__(self, space: SearchSpace[G], options: Any = None) -> None:
        super().__init__(space, options)
        self._initial = InitialCandidates(space, self.options.initial, "regularized.initial")
        self._breeder = Breeder(space, self.options.crossover, self.options.mutation, "regularized")
        self._key = score_key(self.objectives)
        # A ring: once full, `_oldest` is the next member to die. Members are drawn by age, never by place in the
        # ring, so that a ring restored from a snapshot (which starts at 0) gives the same parents.
        self._members: list[Parent] = []
        self._keys: list[tuple[float, ...]] = []
        self._oldest = 0

    def ask(self, first_id: int, n: int, streams: Streams) -> Sequence[Proposal[G]]:
        proposals: list[Proposal[G]] = []
        population = self.options.population
        for candidate_id in range(first_id, first_id + n):
            beyond = self._initial.proposed >= population
            if beyond and self._members:
                proposals.append(self._child(candidate_id, streams))
            else:
                proposals.append(self._initial.propose(candidate_id, streams, explore=beyond))
        return proposals

    def _child(self, candidate_id: int, streams: Streams) -> Breed[G]:
        alive, keys, members = len(self._members), self._keys, self._members
        size, wanted = self.options.tournament, self._breeder.parents_wanted
        drawn = draw_indices(streams(candidate_id, "tournament"), alive, size * wanted)
        if self._oldest:
            drawn = [(age + self._oldest) % alive for age in drawn]
        if wanted == 1:
            return self._breeder.child(candidate_id, streams, (members[max(drawn, key=keys.__getitem__)],))
        parents = [members[max(drawn[start : start + size], key=keys.__getitem__)] for start in (0, size)]
        return self._breeder.child(candidate_id, streams, parents)

    def tell(self, results: Sequence[Told]) -> None:
        for result in results:
            key = self._key(result)
            if key is None:
                continue
            member = Parent(result.id, result.genome)
            if len(self._members) < self.options.population:
                self._members.append(member)
                self._keys.append(key)
            else:
                self._members[self._oldest] = member
                self._keys[self._oldest] = key
                self._oldest = (self._oldest + 1) % self.options.population

    def state(self) -> Json:
        by_age = self._members[self._oldest :] + self._members[: self._oldest]
        return {"initial": self._initial.state(), "population": [member.id for member in by_age]}

    def restore(self, state: Json, fetch: Fetch) -> None:
        self._initial.restore(state["initial"])
        self._members, self._keys, self._oldest = [], [], 0
        self.tell(fetch(state["population"]))
