"""The contract of a strategy: ask for proposals, tell results, keep plain state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, runtime_checkable

from evo.seeds import Streams
from evo.space import Breed, G, Json, Objective, Proposal, SearchSpace, Told

Fetch = Callable[[Sequence[int]], list[Told]]
"""Gives the told results of candidate ids, in the order asked, from the run's journal."""


@runtime_checkable
class Strategy(Protocol[G]):
    """Proposes candidates and learns from results.

    Rules. `ask` may return fewer than `n` proposals; it returns an empty list where it cannot go on before it is told
    more (a generation's end); the engine then tells the next result and asks again. Its i-th proposal has the id
    `first_id + i` and draws random numbers from `streams(first_id + i, purpose)` alone. What is proposed depends on
    the sequence of told results, not on how it was cut into calls of `tell`. No clock, no global generator.
    `state` is plain JSON data that refers to candidates by id; `restore(state, fetch)` on a fresh strategy gives one
    that goes on identically.
    """

    def ask(self, first_id: int, n: int, streams: Streams) -> Sequence[Proposal[G]]: ...
    def tell(self, results: Sequence[Told]) -> None: ...
    def state(self) -> Json: ...
    def restore(self, state: Json, fetch: Fetch) -> None: ...


class BaseStrategy(Generic[G]):
    """Holds the space; subclasses set `Options` (a frozen dataclass, unknown keys forbidden) and the four methods."""

    name: str = ""
    Options: type[Any]

    def __init__(self, space: SearchSpace[G], options: Any = None) -> None:
        self.space = space
        self.options = self.Options() if options is None else options
        self.objectives: tuple[Objective, ...] = space.objectives

    def warm_start(self, candidate_id: int, streams: Streams, seeds_first: Sequence[G]) -> Breed[G]:
        """The seed genomes in turn, then samples."""
        if candidate_id < len(seeds_first):
            return Breed(seeds_first[candidate_id], (), "seed")
        return Breed(self.space.sample(streams(candidate_id, "sample")), (), "sample")
