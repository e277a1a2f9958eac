"""Random search: independent samples, the baseline every search has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evo.seeds import Streams
from evo.space import G, Json, Proposal, SearchSpace, Told
from evo.strategies._breeding import InitialCandidates
from evo.strategies._options import check_choice
from evo.strategies.base import BaseStrategy, Fetch


@dataclass(frozen=True, slots=True)
class RandomOptions:
    """Options of random search.

    Attributes:
        initial: "sample": samples alone; "mixed": each of the space's seed genomes once, then samples.
    """

    __pydantic_config__ = {"extra": "forbid"}

    initial: Literal["sample", "mixed"] = "sample"

    def __post_init__(self) -> None:
        check_choice("random.initial", self.initial, ("sample", "mixed"))


class RandomSearch(BaseStrategy[G]):
    """Samples the space; learns nothing."""

    name = "random"
    Options = RandomOptions
    options: RandomOptions

    def __init__(self, space: SearchSpace[G], options: Any = None) -> None:
        super().__init__(space, options)
        self._initial = InitialCandidates(space, self.options.initial, "random.initial")

    def ask(self, first_id: int, n: int, streams: Streams) -> Sequence[Proposal[G]]:
        return [self._initial.propose(candidate_id, streams) for candidate_id in range(first_id, first_id + n)]

    def tell(self, results: Sequence[Told]) -> None:
        pass

    def state(self) -> Json:
        return {"initial": self._initial.state()}

    def restore(self, state: Json, fetch: Fetch) -> None:
        self._initial.restore(state["initial"])
