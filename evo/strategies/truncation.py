"""Truncation selection in generations, with an elite that is re-evaluated under fresh noise: the Deep GA's scheme.

Source: Such et al., "Deep Neuroevolution" (2017), algorithm 1 and its published GPU code. A generation:

1. `population` children, each of a parent drawn uniformly from the parents (generation 0: the initial candidates).
2. The best `elites` children of different functions, with the sitting elite in front of them instead of the last,
   are evaluated again, all under the same replicate numbers, which nobody was evaluated under before. The best mean
   is the new elite.
3. The best `parents` children breed next; the elite takes the last of these places if it is not among them.

Re-evaluation is what makes an elite out of noisy scores: the best of a thousand single episodes is mostly lucky.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evo.errors import ConfigError
from evo.seeds import Streams
from evo.space import Breed, G, Json, Proposal, Reevaluate, Rung, SearchSpace, Told
from evo.strategies._breeding import INITIAL_KINDS, Breeder, InitialCandidates, InitialKind, Parent, draw_indices
from evo.strategies._options import check_at_least, check_choice, check_probability, did_you_mean
from evo.strategies.base import BaseStrategy, Fetch
from evo.strategies.select import Scores, ranking, scores, truncation


@dataclass(frozen=True, slots=True)
class TruncationOptions:
    """Options of the truncation genetic algorithm.

    Attributes:
        population: children a generation, N.
        parents: candidates that breed, T.
        elites: candidates evaluated again each generation to find the elite, 2 or more. 0: none is, and the elite
            is the best score told so far, which suits objectives without noise alone.
        replicates: fresh replicates each of them gets.
        rung: the protocol of re-evaluation; None for the space's last rung.
        salt: "generation": each generation is evaluated under seeds of its own, so that no candidate can live on
            one lucky seed; "none": the same seeds for the whole run, so that equal functions are evaluated once.
        initial: generation 0 (see `InitialKind`).
        crossover: probability that a child is first crossed from two parents.
        mutation: probability that a crossed child is mutated as well.
    """

    __pydantic_config__ = {"extra": "forbid"}

    population: int = 1000
    parents: int = 20
    elites: int = 10
    replicates: int = 30
    rung: str | None = None
    salt: Literal["none", "generation"] = "none"
    initial: InitialKind = "mixed"
    crossover: float = 0.0
    mutation: float = 1.0

    def __post_init__(self) -> None:
        check_at_least("truncation.population", self.population, 1)
        check_at_least("truncation.parents", self.parents, 1)
        check_at_least("truncation.elites", self.elites, 0)
        check_at_least("truncation.replicates", self.replicates, 1)
        check_choice("truncation.salt", self.salt, ("none", "generation"))
        check_choice("truncation.initial", self.initial, INITIAL_KINDS)
        check_probability("truncation.crossover", self.crossover)
        check_probability("truncation.mutation", self.mutation)
        if self.elites == 1:
            raise ConfigError(
                "truncation.elites is 1: the sitting elite would have no challenger",
                "set truncation.elites to 2 or more, or to 0 for no re-evaluation",
            )
        for name, value in (("parents", self.parents), ("elites", self.elites)):
            if value > self.population:
                raise ConfigError(
                    f"truncation.{name} is {value}, more than the {self.population} children of a generation",
                    f"set truncation.{name} to {self.population} or less, or raise truncation.population",
                )


class TruncationGA(BaseStrategy[G]):
    """The truncation genetic algorithm.

    Results are compared by the rung reached, then by the first objective, then by the next ones; ties go to the
    sitting elite, then to the smaller id. Candidates without a value are never parents. A generation in which no
    child gave a value leaves the parents as they were (in generation 0: more initial candidates are tried).

    It proposes nothing while it waits for the end of a generation or of its re-evaluations. A subclass that selects
    by something else than fitness overrides `selection_scores`.
    """

    name = "truncation"
    Options = TruncationOptions
    options: TruncationOptions

    def __init__(self, space: SearchSpace[G], options: Any = None) -> None:
        super().__init__(space, options)
        self._initial = InitialCandidates(space, self.options.initial, "truncation.initial")
        self._breeder = Breeder(space, self.options.crossover, self.options.mutation, "truncation")
        rung = _find_rung(space, self.options.rung)
        self._first_fresh = rung.replicates  # ordinary evaluation uses the replicate numbers below
        self.generation = 0
        self._asked = 0  # proposals of the present phase
        self._told: list[Told] = []  # results of the present phase
        self._validating: list[Parent] = []  # whom the present phase re-evaluates; empty while breeding
        self._ranked: list[Parent] = []  # the generation's best children, while its elite is being found
        self._parents: list[Parent] = []
        self._elite: Told | None = None

    @property
    def elite(self) -> Told | None:
        """The elite's result when it became the elite (a re-evaluation's where `elites` > 0), or None yet."""
        return self._elite

    def selection_scores(self, generation: Sequence[Told]) -> Scores:
        """What children are ranked by, one row a result, in order. Fitness here."""
        return scores(generation, self.objectives)

    def ask(self, first_id: int, n: int, streams: Streams) -> Sequence[Proposal[G]]:
        wanted = len(self._validating) or self.options.population
        ids = range(first_id, first_id + min(n, wanted - self._asked))
        start = self._asked
        self._asked += len(ids)
        if self._validating:
            return [self._reevaluate(self._validating[start + offset].id) for offset in range(len(ids))]
        return [self._breed(candidate_id, streams) for candidate_id in ids]

    def _salt(self) -> int:
        return self.generation if self.options.salt == "generation" else 0

    def _breed(self, candidate_id: int, streams: Streams) -> Breed[G]:
        if not self._parents:
            return self._initial.propose(candidate_id, streams, salt=self._salt(), explore=self.generation > 0)
        drawn = draw_indices(streams(candidate_id, "parent"), len(self._parents), self._breeder.parents_wanted)
        parents = [self._parents[row] for row in drawn]
        return self._breeder.child(candidate_id, streams, parents, self._salt())

    def _reevaluate(self, candidate: int) -> Reevaluate:
        first = self._first_fresh + self.generation * self.options.replicates
        numbers = tuple(range(first, first + self.options.replicates))
        return Reevaluate(candidate, self.options.rung, numbers, self._salt())

    def tell(self, results: Sequence[Told]) -> None:
        for result in results:
            self._told.append(result)
            if self._validating:
                if len(self._told) == len(self._validating):
                    self._crown(self._told)
                    self._select()
            elif len(self._told) == self.options.population:
                self._close_generation()

    def _close_generation(self) -> None:
        children = self._told
        order = truncation(self.selection_scores(children), len(children))
        self._ranked = [_parent(children[row]) for row in order[: self.options.parents]]
        self._told, self._asked = [], 0
        if self.options.elites:
            self._validating = self._candidates_for_elite([children[row] for row in order])
            if self._validating:
                return
        else:
            self._crown(children)
        self._select()

    def _candidates_for_elite(self, best_first: Sequence[Told]) -> list[Parent]:
        """The sitting elite, then the best children, one of each function: copies would spend replicates in vain."""
        chosen, functions = [], set()
        if self._elite is not None:
            chosen.append(_elite_as_parent(self._elite))
            functions.add(self._elite.function)
        for child in best_first:
            if len(chosen) == self.options.elites:
                break
            if child.function not in functions:
                functions.add(child.function)
                chosen.append(_parent(child))
        return [] if self._elite is not None and len(chosen) == 1 else chosen  # no challenger, nothing to find out

    def _crown(self, results: Sequence[Told]) -> None:
        """Let the best of `results` be the elite. Re-evaluated, the sitting elite is one of them; else it defends
        its old score. It wins ties: re-evaluations have ascending ids and its own comes first, and an old score has
        the smallest id."""
        contest = list(results)
        if not self._validating and self._elite is not None:
            contest.insert(0, self._elite)
        given = scores(contest, self.objectives)
        winner = int(ranking(given)[0])
        if given.rungs[winner] >= 0:
            self._elite = contest[winner]

    def _select(self) -> None:
        """Choose the next generation's parents and begin it."""
        if self._ranked:
            parents = self._ranked[: self.options.parents]
            if self._elite is not None:
                elite = _elite_as_parent(self._elite)
                if all(parent.id != elite.id for parent in parents):
                    parents = [elite, *parents[: self.options.parents - 1]]
            self._parents = parents
        self._ranked, self._validating, self._told, self._asked = [], [], [], 0
        self.generation += 1

    def state(self) -> Json:
        return {
            "initial": self._initial.state(),
            "generation": self.generation,
            "asked": self._asked,
            "told": [result.id for result in self._told],
            "validating": [parent.id for parent in self._validating],
            "ranked": [parent.id for parent in self._ranked],
            "parents": [parent.id for parent in self._parents],
            "elite": None if self._elite is None else self._elite.id,
        }

    def restore(self, state: Json, fetch: Fetch) -> None:
        self._initial.restore(state["initial"])
        self.generation, self._asked = state["generation"], state["asked"]
        self._told = list(fetch(state["told"]))
        self._validating = [_parent(result) for result in fetch(state["validating"])]
        self._ranked = [_parent(result) for result in fetch(state["ranked"])]
        self._parents = [_parent(result) for result in fetch(state["parents"])]
        self._elite = None if state["elite"] is None else fetch([state["elite"]])[0]


def _parent(result: Told) -> Parent:
    return Parent(result.id, result.genome)


def _elite_as_parent(elite: Told) -> Parent:
    """The elite under the id of the candidate it is, not under that of its re-evaluation."""
    return Parent(elite.parents[0] if elite.operator == "reevaluate" else elite.id, elite.genome)


def _find_rung(space: SearchSpace[Any], name: str | None) -> Rung:
    if name is None:
        return space.rungs[-1]
    for rung in space.rungs:
        if rung.name == name:
            return rung
    raise ConfigError(
        f"truncation.rung is {name!r}, which is no rung of space {space.name!r}",
        did_you_mean(name, [rung.name for rung in space.rungs]),
    )
