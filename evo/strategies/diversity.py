"""Evolution with diversity-prompting selection: each child competes with a fresh random newcomer for its place.

Source: Dong et al., "EMQ: Evolving Training-free Proxies for Automated Mixed Precision Quantization" (ICCV 2023,
arXiv 2307.10554). Its released code lacks the loop; details are those of later projects of its authors. A step:

1. Two parents are drawn, uniformly and independently, from the best share `top` of the population. Their child is
   crossed with probability `crossover` and mutated with probability `mutation`.
2. The child and one fresh random candidate are evaluated.
3. The worst of the population leaves, and the better of the two enters, however it compares with the rest.

It is a steady-state algorithm and never waits: parents are drawn from what was told when a child is asked for, and the
two of a step, which may be told at different times, are paired in the order in which they are told.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from evo.errors import ConfigError
from evo.seeds import Streams
from evo.space import Breed, G, Json, Proposal, SearchSpace, Told
from evo.strategies._breeding import INITIAL_KINDS, Breeder, InitialCandidates, InitialKind, Parent, draw_indices
from evo.strategies._options import check_at_least, check_choice, check_probability
from evo.strategies.base import BaseStrategy, Fetch
from evo.strategies.select import score_key

NEWCOMER = "newcomer"
"""The operator of a fresh random candidate beside a child; those that fill the population are samples like any."""


@dataclass(frozen=True, slots=True)
class DiversityOptions:
    """Options of evolution with diversity-prompting selection.

    Attributes:
        population: members that are alive, 2 or more; all of different functions.
        top: share of the population, best first, that parents are drawn from; rounded down to whole members, but at
            least one.
        crossover: probability that a child is crossed from its two parents. Where both draws gave one member it is
            mutated instead.
        mutation: probability that a crossed child is mutated as well. One that was not crossed is always mutated: EMQ
            evaluates it as the copy it is, in vain.
        newcomers: False: no newcomers; every child enters and the worst leaves.
        initial: the candidates that fill the population (see `InitialKind`). As copies cannot live in it, "seed" is
            here what "mutated" is: each seed once, then mutants of the seeds.
    """

    __pydantic_config__ = {"extra": "forbid"}

    population: int = 50
    top: float = 0.5
    crossover: float = 0.5
    mutation: float = 0.5
    newcomers: bool = True
    initial: InitialKind = "sample"

    def __post_init__(self) -> None:
        check_at_least("diversity.population", self.population, 2)  # of one, the worst to leave would be the best
        check_probability("diversity.top", self.top)
        check_probability("diversity.crossover", self.crossover)
        check_probability("diversity.mutation", self.mutation)
        check_choice("diversity.initial", self.initial, INITIAL_KINDS)
        if self.crossover > 0 and self.n_parents < 2:
            raise ConfigError(
                f"diversity.top is {self.top}: of a population of {self.population} that leaves one parent, and"
                f" diversity.crossover is {self.crossover}",
                "raise diversity.top or diversity.population, or set diversity.crossover to 0",
            )

    @property
    def n_parents(self) -> int:
        """Members that parents are drawn from."""
        return max(1, int(self.top * self.population + 1e-9))  # 0.29 * 100 is 28.999999999999996


class Member(NamedTuple):
    """A living candidate.

    Attributes:
        place: sorts members from best to worst; all different.
        id: candidate id.
        genome: its genome.
        function: function id.
    """

    place: tuple[float, ...]
    id: int
    genome: Any
    function: int


class DiversityPrompting(BaseStrategy[G]):
    """EMQ's evolution: truncated parents, and newcomers that keep the population diverse.

    Results are compared by the rung reached, then by the first objective, then by the next ones; of equal ones the
    smaller id is the better. What gave no value (failed, invalid, NaN), or computes a function that already lives in
    the population, does not enter; the other of the two then does, and where neither can, nobody leaves.

    Initial candidates are proposed until the population is full: in a space with fewer functions than members, that is
    for ever. Those told later (the engine's lag) enter in place of the worst where they are better.
    """

    name = "diversity"
    Options = DiversityOptions
    options: DiversityOptions

    def __init__(self, space: SearchSpace[G], options: Any = None) -> None:
        super().__init__(space, options)
        self._initial = InitialCandidates(space, self.options.initial, "diversity.initial")
        self._breeder = Breeder(space, self.options.crossover, self.options.mutation, "diversity")
        self._key = score_key(self.objectives)
        self._members: list[Member] = []  # best first
        self._functions: set[int] = set()  # of the members
        self._first_child: int | None = None  # its id: all before it are initial candidates
        self._newcomer_next = False
        self._unpaired: deque[Told] = deque()  # children alone, or newcomers alone, in the order told

    @property
    def population(self) -> tuple[int, ...]:
        """Ids of the living members, best first."""
        return tuple(member.id for member in self._members)

    # ------------------------------------------------------------------ asking

    def ask(self, first_id: int, n: int, streams: Streams) -> Sequence[Proposal[G]]:
        return [self._propose(candidate_id, streams) for candidate_id in range(first_id, first_id + n)]

    def _propose(self, candidate_id: int, streams: Streams) -> Breed[G]:
        if len(self._members) < self.options.population:
            return self._initial.propose(candidate_id, streams, explore=True)
        if self._first_child is None:
            self._first_child = candidate_id
        if self._newcomer_next:
            self._newcomer_next = False
            return Breed(self.space.sample(streams(candidate_id, "sample")), (), NEWCOMER)
        self._newcomer_next = self.options.newcomers
        drawn = draw_indices(streams(candidate_id, "parent"), self.options.n_parents, self._breeder.parents_wanted)
        parents = [Parent(self._members[row].id, self._members[row].genome) for row in drawn]
        return self._breeder.child(candidate_id, streams, parents)

    # ------------------------------------------------------------------ telling

    def tell(self, results: Sequence[Told]) -> None:
        for result in results:
            if self._first_child is None or result.id < self._first_child:
                self._fill(result)
            elif not self.options.newcomers:
                self._step(result)
            elif self._unpaired and _is_newcomer(self._unpaired[0]) != _is_newcomer(result):
                self._step(self._unpaired.popleft(), result)
            else:
                self._unpaired.append(result)

    def _fill(self, result: Told) -> None:
        """Let an initial candidate in; beyond the population's size the best stay."""
        member = self._member(result)
        if member is not None:
            self._enter(member)
            if len(self._members) > self.options.population:
                self._drop_worst()

    def _step(self, *contenders: Told) -> None:
        """The worst leaves, and the best contender enters."""
        fit = [member for result in contenders if (member := self._member(result)) is not None]
        if fit:
            self._drop_worst()
            self._enter(min(fit, key=_place))

    def _member(self, result: Told) -> Member | None:
        """What would enter; None for a candidate that may not."""
        key = self._key(result)
        if key is None or result.function in self._functions:
            return None
        return Member((*(-part for part in key), result.id), result.id, result.genome, result.function)

    def _enter(self, member: Member) -> None:
        insort(self._members, member, key=_place)
        self._functions.add(member.function)

    def _drop_worst(self) -> None:
        self._functions.remove(self._members.pop().function)

    # ------------------------------------------------------------------ state

    def state(self) -> Json:
        return {
            "initial": self._initial.state(),
            "population": list(self.population),
            "first_child": self._first_child,
            "newcomer_next": self._newcomer_next,
            "unpaired": [result.id for result in self._unpaired],
        }

    def restore(self, state: Json, fetch: Fetch) -> None:
        self._initial.restore(state["initial"])
        for result in fetch(state["population"]):
            self._fill(result)
        self._first_child, self._newcomer_next = state["first_child"], state["newcomer_next"]
        self._unpaired = deque(fetch(state["unpaired"]))


def _place(member: Member) -> tuple[float, ...]:
    return member.place


def _is_newcomer(result: Told) -> bool:
    return result.operator == NEWCOMER
