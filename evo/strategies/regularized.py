"""Regularized (aging) evolution: a tournament picks the parent, the oldest member dies, however good it is.

Source: Real, Aggarwal, Huang, Le, "Regularized Evolution for Image Classifier Architecture Search" (AAAI 2019),
algorithm 1; with the warm start of Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023), section 3.

It is a steady-state algorithm, so it never waits: results may be told long after their proposals were made (the
engine's lag), and the population is simply the youngest `population` results told so far.

Where scores are noisy and cached by function, a lucky one would be inherited for ever. With `reevaluate_every` the best
are evaluated again from time to time, and a function's score becomes the mean over all its observations.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, inf, isfinite, log
from typing import Any

from evo.errors import ConfigError
from evo.seeds import Streams
from evo.space import Breed, G, Json, Proposal, Reevaluate, SearchSpace, Told
from evo.strategies._breeding import INITIAL_KINDS, Breeder, InitialCandidates, InitialKind, Parent, draw_indices
from evo.strategies._options import check_at_least, check_choice, check_probability
from evo.strategies._pool import Key, Pool
from evo.strategies.base import BaseStrategy, Fetch
from evo.strategies.select import score_key

ROUNDS = 16
"""Re-evaluations of one function after which it is left alone: its mean moves no more."""


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
        tie: first-objective values in the same cell of this relative width (cells of the logarithm of their size)
            count as equal, and the next objectives decide before the value itself does; 0: only equal values are.
            With a second objective like `lion`'s length it keeps programs short that are no better for being long.
        reevaluate_every: distinct functions told between two rounds of re-evaluation; None: no rounds.
        reevaluate_top: distinct functions of a round: the best of the living population that reached the last rung,
            and the best told so far beside them.
        reevaluate_replicates: fresh replicates each of them gets at the last rung.
    """

    __pydantic_config__ = {"extra": "forbid"}

    population: int = 1000
    tournament: int = 2
    initial: InitialKind = "mixed"
    crossover: float = 0.0
    mutation: float = 1.0
    tie: float = 0.0
    reevaluate_every: int | None = None
    reevaluate_top: int = 8
    reevaluate_replicates: int = 4

    def __post_init__(self) -> None:
        check_at_least("regularized.population", self.population, 1)
        check_at_least("regularized.tournament", self.tournament, 1)
        check_choice("regularized.initial", self.initial, INITIAL_KINDS)
        check_probability("regularized.crossover", self.crossover)
        check_probability("regularized.mutation", self.mutation)
        if not 0.0 <= self.tie < inf:
            raise ConfigError(f"regularized.tie is {self.tie}; it must be a finite width, at least 0 (0: no ties)")
        if self.reevaluate_every is not None:
            check_at_least("regularized.reevaluate_every", self.reevaluate_every, 1)
        check_at_least("regularized.reevaluate_top", self.reevaluate_top, 1)
        check_at_least("regularized.reevaluate_replicates", self.reevaluate_replicates, 1)


class RegularizedEvolution(BaseStrategy[G]):
    """Aging evolution.

    Results are compared by the rung reached, then by the first objective, then by the next ones. Equal contestants
    tie, and the first drawn wins: which one that is, is uniformly random. Candidates that gave no value (failed,
    invalid, NaN) do not enter the population, so that a run of failures cannot push out every working parent. While
    the population is empty, further initial candidates are proposed.

    A pooled score stands for every living member of its function, for its later hits, and for the best told so far; a
    member whose function failed when it was evaluated again loses every tournament against one that did not.
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
        self._keys: list[Key] = []
        self._oldest = 0
        self._worst: Key = (-1.0, *(-inf for _ in self.objectives))
        self._last = len(space.rungs) - 1
        # What follows is there only where somebody re-evaluates: this strategy, or who shares a pool with it.
        self._pool: Pool | None = None if self.options.reevaluate_every is None else Pool(space)
        self._owns_pool = True
        self._version = 0  # of the pool, when the keys were last brought up to date
        self._results: list[Told] = []  # of the members, as told
        self._fresh = 0  # distinct functions told since the last round
        self._queue: deque[Told] = deque()  # members to be evaluated again

    def ask(self, first_id: int, n: int, streams: Streams) -> Sequence[Proposal[G]]:
        proposals: list[Proposal[G]] = []
        population, every = self.options.population, self.options.reevaluate_every
        self._rescore()
        if n > 0 and every is not None and self._fresh >= every and self._members:
            self._begin_round()
        for candidate_id in range(first_id, first_id + n):
            if self._queue:
                proposals.append(self._reevaluate(candidate_id))
                continue
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

    # ------------------------------------------------------------------ telling

    def tell(self, results: Sequence[Told]) -> None:
        pool = self._pool
        for result in results:
            if pool is not None:
                if self._owns_pool:
                    pool.tell(result)
                self._fresh += result.new
            if result.operator != "reevaluate":
                self._admit(result)

    def _admit(self, result: Told) -> None:
        """Let a result into the population, in place of the oldest member where that is full."""
        if self._key(result) is None:
            return
        member, key = Parent(result.id, result.genome), self._score(result)
        if len(self._members) < self.options.population:
            self._members.append(member)
            self._keys.append(key)
            if self._pool is not None:
                self._results.append(result)
            return
        self._members[self._oldest] = member
        self._keys[self._oldest] = key
        if self._pool is not None:
            self._results[self._oldest] = result
        self._oldest = (self._oldest + 1) % self.options.population

    def _score(self, result: Told) -> Key:
        """Pooled where the function was evaluated again."""
        key = self._key(result if self._pool is None else self._pool.score(result))
        if key is None:
            return self._worst
        tie = self.options.tie
        if not tie or not isfinite(key[1]):
            return key
        sign = float((key[1] > 0.0) - (key[1] < 0.0))
        return (key[0], sign, sign * floor(log(abs(key[1])) / tie) if sign else 0.0, *key[2:], key[1])

    def _rescore(self) -> None:
        """Bring the members' scores up to date with the pool."""
        if self._pool is not None and self._pool.version != self._version:
            self._keys = [self._score(result) for result in self._results]
            self._version = self._pool.version

    # ------------------------------------------------------------------ evaluating again

    def adopt(self, pool: Pool) -> None:
        """Use a pool that somebody else tells and keeps, over several starts of a search, say."""
        self._pool, self._owns_pool = pool, False

    def _begin_round(self) -> None:
        """Queue the best functions for re-evaluation, best first; not those that are out for one already."""
        assert self._pool is not None
        self._fresh = 0
        best = self._pool.best_told()
        chosen = {} if best is None or best.rung != self._last else {best.function: best}
        most, queued = self.options.reevaluate_top, {result.function for result in self._queue}
        functions: set[int] = set()
        order = sorted(range(len(self._keys)), key=lambda row: (self._keys[row], -self._members[row].id), reverse=True)
        for row in order:
            if len(functions) == most or self._keys[row][0] < self._last:
                break
            member = self._results[row]
            functions.add(member.function)
            chosen.setdefault(member.function, member)
        enough = ROUNDS * self.options.reevaluate_replicates
        for function, member in chosen.items():
            if function not in queued and not self._pool.flying(function) and self._pool.asked(function) < enough:
                self._queue.append(member)

    def _reevaluate(self, candidate_id: int) -> Reevaluate:
        assert self._pool is not None
        member = self._queue.popleft()
        numbers = self._pool.numbers(member.function, candidate_id, self.options.reevaluate_replicates)
        return Reevaluate(member.id, None, numbers)

    # ------------------------------------------------------------------ state

    def state(self) -> Json:
        by_age = self._members[self._oldest :] + self._members[: self._oldest]
        return {
            "initial": self._initial.state(),
            "population": [member.id for member in by_age],
            "fresh": self._fresh,
            "queue": [member.id for member in self._queue],
            "pool": self._pool.state() if self._pool is not None and self._owns_pool else None,
        }

    def restore(self, state: Json, fetch: Fetch) -> None:
        self._initial.restore(state["initial"])
        if state["pool"] is not None and self._pool is not None:
            self._pool.restore(state["pool"], fetch)
        self._members, self._keys, self._results, self._oldest = [], [], [], 0
        for result in fetch(state["population"]):
            self._admit(result)
        self._version = 0 if self._pool is None else self._pool.version
        self._fresh = state["fresh"]
        self._queue = deque(fetch(state["queue"]))
