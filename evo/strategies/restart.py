"""Restarts after a plateau: wraps any strategy and begins it anew from the seeds or from the best found so far.

Source: Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023), section 3: searches for optimizers stall
after some 300,000 programs, and a restart from the best program lifts them further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from evo.errors import ConfigError
from evo.seeds import Streams
from evo.space import Breed, G, Json, Proposal, SearchSpace, Told
from evo.strategies._options import check_at_least, check_choice
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


class Restart(BaseStrategy[G]):
    """Restarts a strategy when it no longer improves.

    A plateau is judged against the best of the present start alone: a fresh start needs its time to come near what
    an earlier one found. Results of proposals made before the present start still count for the best ever, but are
    not told to the fresh strategy. The restart itself happens at the next `ask`.
    """

    name = "restart"
    Options = RestartOptions
    options: RestartOptions

    def __init__(self, space: SearchSpace[G], options: Any = None) -> None:
        super().__init__(space, options)
        self._key = score_key(self.objectives)
        self._inner: Strategy[G] = self._build(None)
        _check_begins_from_seeds(self._inner, self.options)
        self._start = 0  # the first id of the present start
        self._from: int | None = None  # the candidate it began from; None for the space's seeds
        self._earlier: list[int] = []  # first ids of the starts before it
        self._stale = 0  # distinct functions told since the last improvement of this start
        self._best_here: tuple[float, ...] | None = None  # key of this start's best
        self._best: Told | None = None
        self._best_key: tuple[float, ...] | None = None

    @property
    def best(self) -> Told | None:
        """The best result told over all starts, or None; of equal ones the first told."""
        return self._best

    @property
    def starts(self) -> tuple[int, ...]:
        """The first candidate id of each start so far."""
        return (*self._earlier, self._start)

    @property
    def inner(self) -> Strategy[G]:
        """The strategy of the present start."""
        return self._inner

    def _build(self, genome: G | None) -> Strategy[G]:
        space = self.space if genome is None else with_seeds(self.space, (genome,))
        return build_strategy(self.options.strategy, space, self.options.options)

    def _plateau(self) -> bool:
        limit = self.options.limit
        return self._stale >= self.options.after and (limit is None or len(self._earlier) < limit)

    def ask(self, first_id: int, n: int, streams: Streams) -> Sequence[Proposal[G]]:
        if n > 0 and self._plateau():
            self._restart(first_id)
        proposals = self._inner.ask(first_id, n, streams)
        if self._from is None:
            return proposals
        return [self._with_lineage(proposal, self._from) for proposal in proposals]

    def _restart(self, first_id: int) -> None:
        self._earlier.append(self._start)
        self._start, self._stale, self._best_here = first_id, 0, None
        best = self._best if self.options.to == "best" else None
        self._from = None if best is None else best.id
        self._inner = self._build(None if best is None else best.genome)

    @staticmethod
    def _with_lineage(proposal: Proposal[G], origin: int) -> Proposal[G]:
        """A seed of a start from the best is a copy of that candidate: say so."""
        if isinstance(proposal, Breed) and proposal.operator == "seed":
            return replace(proposal, parents=(origin,), operator="restart")
        return proposal

    def tell(self, results: Sequence[Told]) -> None:
        for result in results:
            key = self._key(result)
            # A re-evaluation is another measurement of somebody known: it neither improves nor ages a start.
            counts = result.operator != "reevaluate"
            if counts and key is not None and (self._best_key is None or key > self._best_key):
                self._best, self._best_key = result, key
            if result.id < self._start:
                continue
            if counts:
                self._watch(result, key)
            self._inner.tell((result,))

    def _watch(self, result: Told, key: tuple[float, ...] | None) -> None:
        if key is not None and self._improves(key):
            self._best_here, self._stale = key, 0
        elif result.new:
            self._stale += 1

    def _improves(self, key: tuple[float, ...]) -> bool:
        """Whether it beats this start's best in the first objective by more than the tolerance, or in the rung."""
        if self._best_here is None or key[0] > self._best_here[0]:
            return True
        return key[0] == self._best_here[0] and key[1] > self._best_here[1] + self.options.tolerance

    def state(self) -> Json:
        return {
            "inner": self._inner.state(),
            "start": self._start,
            "from": self._from,
            "earlier": list(self._earlier),
            "stale": self._stale,
            "best_here": None if self._best_here is None else [_to_json(part) for part in self._best_here],
            "best": None if self._best is None else self._best.id,
        }

    def restore(self, state: Json, fetch: Fetch) -> None:
        self._start, self._from, self._stale = state["start"], state["from"], state["stale"]
        self._earlier = list(state["earlier"])
        best_here = state["best_here"]
        self._best_here = None if best_here is None else tuple(float(part) for part in best_here)
        self._best = None if state["best"] is None else fetch([state["best"]])[0]
        self._best_key = None if self._best is None else self._key(self._best)
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


def _to_json(value: float) -> float | str:
    """JSON has no infinities; `float` reads these strings back."""
    return float(value) if abs(value) != float("inf") else str(float(value))
