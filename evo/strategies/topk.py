"""The best k functions of all time breed: elitist, steady-state, with newcomers.

The scheme of searches whose candidates are dear and few, as AutoDiffusion's (Li et al., ICCV 2023): a running list of
the best k, children by mutation and crossing, and fresh random candidates. Here without generations: it never waits,
and a result told late enters the list late.
"""

from __future__ import annotations

from bisect import insort
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
class TopKOptions:
    """Options of the running top k.

    Attributes:
        population: distinct functions that are kept, k.
        first: initial candidates.
        initial: what they are (see `InitialKind`).
        tournament: members drawn, uniformly with replacement, for each parent.
        crossover: probability that a child is first crossed from two parents.
        mutation: probability that a crossed child is mutated as well.
        newcomers: probability that a candidate is a random sample instead of a child.
    """

    __pydantic_config__ = {"extra": "forbid"}

    population: int = 10
    first: int = 50
    initial: InitialKind = "mixed"
    tournament: int = 1
    crossover: float = 0.0
    mutation: float = 1.0
    newcomers: float = 0.0

    def __post_init__(self) -> None:
        check_at_least("topk.population", self.population, 1)
        check_at_least("topk.first", self.first, 1)
        check_at_least("topk.tournament", self.tournament, 1)
        check_choice("topk.initial", self.initial, INITIAL_KINDS)
        check_probability("topk.crossover", self.crossover)
        check_probability("topk.mutation", self.mutation)
        check_probability("topk.newcomers", self.newcomers)


class TopK(BaseStrategy[G]):
    """The running top k.

    Results are compared by the rung reached, then by the first objective, then by the next ones; of equal ones the
    smaller id stays. A function is there once, with its first result. Candidates without a value never enter; while
    nobody has, further initial candidates are proposed. A subclass that changes operators during a search overrides
    `operators`.
    """

    name = "topk"
    Options = TopKOptions
    options: TopKOptions

    def __init__(self, space: SearchSpace[G], options: Any = None) -> None:
        super().__init__(space, options)
        self.fresh = 0
        """Distinct functions told so far."""
        self._initial = InitialCandidates(self.operators(), self.options.initial, "topk.initial")
        self._key = score_key(self.objectives)
        self._members: list[tuple[tuple[float, ...], Told]] = []  # best first, by negated key and id
        self._functions: set[int] = set()
        self._breeder = Breeder(space, self.options.crossover, self.options.mutation, "topk")

    def operators(self) -> SearchSpace[G]:
        """What samples, mutates and crosses now. What it gives before anything is told makes the first candidates."""
        return self.space

    @property
    def best(self) -> Told | None:
        """The best told so far, or None."""
        return self._members[0][1] if self._members else None

    def ask(self, first_id: int, n: int, streams: Streams) -> Sequence[Proposal[G]]:
        space = self.operators()
        breeder = self._breeder
        if space is not self.space:
            breeder = Breeder(space, self.options.crossover, self.options.mutation, "topk")
        return [self._propose(candidate_id, streams, space, breeder) for candidate_id in range(first_id, first_id + n)]

    def _propose(self, candidate_id: int, streams: Streams, space: SearchSpace[G], breeder: Breeder[G]) -> Breed[G]:
        beyond = self._initial.proposed >= self.options.first
        if not beyond or not self._members:
            return self._initial.propose(candidate_id, streams, explore=beyond)
        if self.options.newcomers > 0 and streams(candidate_id, "newcomer").random() < self.options.newcomers:
            return Breed(space.sample(streams(candidate_id, "sample")), (), "sample")
        size, wanted = self.options.tournament, breeder.parents_wanted
        drawn = draw_indices(streams(candidate_id, "tournament"), len(self._members), size * wanted)
        # members stand in order: the winner of a tournament is the smallest index
        winners = [self._members[min(drawn[start : start + size])][1] for start in range(0, size * wanted, size)]
        return breeder.child(candidate_id, streams, [Parent(told.id, told.genome) for told in winners])

    def tell(self, results: Sequence[Told]) -> None:
        for result in results:
            if result.operator == "reevaluate":
                continue
            self.fresh += result.new
            self._admit(result)

    def _admit(self, result: Told) -> None:
        key = self._key(result)
        if key is None or result.function in self._functions:
            return
        # the id decides between equals, before a comparison could reach the results themselves
        insort(self._members, ((*(-part for part in key), float(result.id)), result), key=lambda entry: entry[0])
        self._functions.add(result.function)
        if len(self._members) > self.options.population:
            _, gone = self._members.pop()
            self._functions.discard(gone.function)

    def state(self) -> Json:
        return {
            "initial": self._initial.state(),
            "members": [told.id for _, told in self._members],
            "fresh": self.fresh,
        }

    def restore(self, state: Json, fetch: Fetch) -> None:
        self._initial.restore(state["initial"])
        self._members, self._functions, self.fresh = [], set(), state["fresh"]
        for result in fetch(state["members"]):
            self._admit(result)
