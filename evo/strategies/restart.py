"""Restarts after a plateau: wraps any strategy and begins it anew from the seeds or from the best found so far.

Source: Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023), section 3: searches for optimizers stall
after some 300,000 programs, and a restart from the best program lifts them further.

The best is the best by pooled scores (see `evo.strategies._pool`) where the strategy has candidates evaluated again: a
lucky one is not what a restart begins from, nor what puts it off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal, NamedTuple

from evo.errors import ConfigError
from evo.seeds import Streams
from evo.space import Breed, G, Json, Proposal, SearchSpace, Told
from evo.strategies._options import check_at_least, check_choice
from evo.strategies._pool import Key, Pool
from evo.strategies.base import BaseStrategy, Fetch, Strategy
from evo.strategies.registry import build_strategy
from evo.strategies.select import score_key


@dataclass(frozen=True, slots=True)
class RestartOptions:
    """Options of restarts.

    Attributes:
        strategy: the strategy that is restarted, by name or "module:attr".
        options: its options.
        after: distinct functions told without an improvement before a restart.
        tolerance: by how much, in the first objective's own units, a value must beat the best of this start to
            count as an improvement. Reaching a later rung always counts.
        to: "seed": begin as at first; "best": begin with the best candidate so far as the space's only seed.
        limit: the largest number of restarts; None for no limit.
    """

    __pydantic_config__ = {"extra": "forbid"}

    strategy: str = "regularized"
    options: Mapping[str, Any] = field(default_factory=dict)
    after: int = 10_000
    tolerance: float = 0.0
    to: Literal["seed", "best"] = "best"
    limit: int | None = None

    def __post_init__(self) -> None:
        check_at_least("restart.after", self.after, 1)
        check_at_least("restart.tolerance", self.tolerance, 0.0)
        check_choice("restart.to", self.to, ("seed", "best"))
        if self.limit is not None:
            check_at_least("restart.limit", self.limit, 0)


class Claim(NamedTuple):
    """An improvement that nobody evaluated again yet."""

    function: int
    key: Key


class Restart(BaseStrategy[G]):
    """Restarts a strategy when it no longer improves.

    A plateau is judged against the best of the present start alone: a fresh start needs its time to come near what
    an earlier one found. Results of proposals made before the present start still count for the best ever, but are
    not told to the fresh strategy. The restart itself happens at the next `ask`.

    An improvement counts from when it is told. Where its function is evaluated again and its pooled score is no
    improvement after all, it is taken back, as if it had never been told. A strategy with a method `adopt(pool)` is
    given the pooled scores of earlier starts.
    """

    name = "restart"
    Options = RestartOptions
    options: RestartOptions

    def __init__(self, space: SearchSpace[G], options: Any = None) -> None:
        super().__init__(space, options)
        self._key = score_key(self.objectives)
        self._pool = Pool(space)
        self._owns_pool = True
        self._inner: Strategy[G] = self._build(None)
        _check_begins_from_seeds(self._inner, self.options)
        _check_rounds(self._inner, self.options)
        self._start = 0  # the first id of the present start
        self._from: int | None = None  # the candidate it began from; None for the space's seeds
        self._earlier: list[int] = []  # first ids of the starts before it
        self._begin()

    def _begin(self) -> None:
        self._here: set[int] = set()  # functions with pooled scores told in this start
        self._standing: Key | None = None  # the best of their scores
        self._since = 0  # distinct functions told since it last improved
        self._claim: Claim | None = None  # a better score without re-evaluation
        self._since_claim = 0

    @property
    def best(self) -> Told | None:
        """The best told over all starts, or None; by pooled scores alone where there are any. Of equal ones the
        first told (of pooled ones: the smallest id)."""
        return self._pool.best() or self._pool.challenger

    @property
    def starts(self) -> tuple[int, ...]:
        """The first candidate id of each start so far."""
        return (*self._earlier, self._start)

    @property
    def inner(self) -> Strategy[G]:
        """The strategy of the present start."""
        return self._inner

    def adopt(self, pool: Pool) -> None:
        """Use a pool that somebody else tells and keeps."""
        self._pool, self._owns_pool = pool, False
        self._share(self._inner)

    def _share(self, inner: Strategy[G]) -> None:
        adopt = getattr(inner, "adopt", None)
        if adopt is not None:
            adopt(self._pool)

    def _build(self, genome: G | None) -> Strategy[G]:
        space = self.space if genome is None else with_seeds(self.space, (genome,))
        inner: Strategy[G] = build_strategy(self.options.strategy, space, self.options.options)
        self._share(inner)
        return inner

    # ------------------------------------------------------------------ asking

    def _plateau(self) -> bool:
        limit = self.options.limit
        stale = self._since if self._claim is None else self._since_claim
        return stale >= self.options.after and (limit is None or len(self._earlier) < limit)

    def ask(self, first_id: int, n: int, streams: Streams) -> Sequence[Proposal[G]]:
        if n > 0 and self._plateau():
            self._restart(first_id)
        proposals = self._inner.ask(first_id, n, streams)
        if self._from is None:
            return proposals
        return [self._with_lineage(proposal, self._from) for proposal in proposals]

    def _restart(self, first_id: int) -> None:
        self._earlier.append(self._start)
        self._start = first_id
        self._begin()
        best = self.best if self.options.to == "best" else None
        self._from = None if best is None else best.id
        self._inner = self._build(None if best is None else best.genome)

    @staticmethod
    def _with_lineage(proposal: Proposal[G], origin: int) -> Proposal[G]:
        """A seed of a start from the best is a copy of that candidate: say so."""
        if isinstance(proposal, Breed) and proposal.operator == "seed":
            return replace(proposal, parents=(origin,), operator="restart")
        return proposal

    # ------------------------------------------------------------------ telling

    def tell(self, results: Sequence[Told]) -> None:
        for result in results:
            if self._owns_pool:
                self._pool.tell(result)
            if result.id >= self._start:
                self._watch(result)
                self._inner.tell((result,))

    def _watch(self, result: Told) -> None:
        """Keep count of how long this start has not improved."""
        if self._pool.known(result.function):
            self._confirm(result)
        elif result.operator != "reevaluate":
            key = self._key(result)
            if key is not None and self._improves(key, self._claim.key if self._claim else self._standing):
                self._claim, self._since_claim = Claim(result.function, key), 0
                self._since += result.new
                return
        # A re-evaluation is another measurement of somebody known: it does not age a start.
        if result.new and result.operator != "reevaluate":
            self._since += 1
            self._since_claim += 1

    def _confirm(self, result: Told) -> None:
        """A function with a pooled score was told, or its score changed."""
        if result.operator != "reevaluate" and result.function in self._here:
            return
        self._here.add(result.function)
        self._here = {function for function in self._here if self._pool.known(function)}
        claimed = self._claim is not None and self._claim.function == result.function
        if claimed:
            self._claim = None
        keys = [key for function in self._here if (key := self._pool.key(function)) is not None]
        best = max(keys, default=None)
        if best is not None and self._improves(best, self._standing):
            self._since = self._since_claim if claimed else 0
        self._standing = best
        if self._claim is not None and not self._improves(self._claim.key, best):
            self._claim = None

    def _improves(self, key: Key, on: Key | None) -> bool:
        """Whether it is better in the first objective by more than the tolerance, or in the rung."""
        if on is None or key[0] > on[0]:
            return True
        return key[0] == on[0] and key[1] > on[1] + self.options.tolerance

    # ------------------------------------------------------------------ state

    def state(self) -> Json:
        return {
            "pool": self._pool.state() if self._owns_pool else None,
            "inner": self._inner.state(),
            "start": self._start,
            "from": self._from,
            "earlier": list(self._earlier),
            "here": sorted(self._here),
            "standing": _key_to_json(self._standing),
            "since": self._since,
            "claim": None if self._claim is None else [self._claim.function, _key_to_json(self._claim.key)],
            "since_claim": self._since_claim,
        }

    def restore(self, state: Json, fetch: Fetch) -> None:
        if self._owns_pool:
            self._pool.restore(state["pool"], fetch)
        self._start, self._from, self._earlier = state["start"], state["from"], list(state["earlier"])
        self._here, self._standing = set(state["here"]), _key_from_json(state["standing"])
        self._since, self._since_claim = state["since"], state["since_claim"]
        claim = state["claim"]
        self._claim = None if claim is None else Claim(claim[0], _key_from_json(claim[1]) or ())
        self._inner = self._build(None if self._from is None else fetch([self._from])[0].genome)
        self._inner.restore(state["inner"], fetch)


class _SpaceWithSeeds:
    """A space seen through, but for its seeds."""

    def __init__(self, space: SearchSpace[Any], genomes: tuple[Any, ...]) -> None:
        self._space = space
        self._genomes = genomes

    def seeds(self) -> Sequence[Any]:
        return self._genomes

    def __getattr__(self, name: str) -> Any:
        if name == "_space":  # not there yet, as while being copied: do not ask oneself for it
            raise AttributeError(name)
        return getattr(self._space, name)


def with_seeds(space: SearchSpace[G], genomes: Sequence[G]) -> SearchSpace[G]:
    """The same space with other seed genomes: to warm-start from what an earlier search found."""
    seen: Any = _SpaceWithSeeds(space, tuple(genomes))
    return seen  # type: ignore[no-any-return]


def _check_begins_from_seeds(inner: Strategy[Any], options: RestartOptions) -> None:
    initial = getattr(getattr(inner, "options", None), "initial", None)
    if options.to == "best" and initial == "sample":
        raise ConfigError(
            f"restart.to is 'best', but {options.strategy!r} begins from samples alone and would ignore the best",
            "set restart.options.initial to 'seed', 'mutated' or 'mixed', or restart.to to 'seed'",
        )


def _check_rounds(inner: Strategy[Any], options: RestartOptions) -> None:
    every = getattr(getattr(inner, "options", None), "reevaluate_every", None)
    if every is not None and every >= options.after:
        raise ConfigError(
            f"restart.after is {options.after}, not more than the {every} distinct functions between two rounds of"
            " re-evaluation: a start would end before its best is known",
            "raise restart.after, or lower reevaluate_every",
        )


def _key_to_json(key: Key | None) -> list[float | str] | None:
    """JSON has no infinities; `float` reads these strings back."""
    return None if key is None else [float(part) if abs(part) != inf else str(float(part)) for part in key]


def _key_from_json(given: Json) -> Key | None:
    return None if given is None else tuple(float(part) for part in given)
