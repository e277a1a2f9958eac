"""How strategies make new candidates: the first ones, and children of one or two parents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple

from evo.errors import ConfigError
from evo.seeds import Streams
from evo.space import BaseSpace, Breed, G, Json, SearchSpace

if TYPE_CHECKING:
    import numpy as np

InitialKind = Literal["seed", "mutated", "mixed", "sample"]
"""What the first candidates are.

seed: the space's seed genomes in turn, over and over: a population filled with them. mutated: each seed once, then
mutants of the seeds. mixed: each seed once, then random samples. sample: random samples alone.
"""

INITIAL_KINDS: tuple[InitialKind, ...] = ("seed", "mutated", "mixed", "sample")


class Parent(NamedTuple):
    """What breeding needs of a parent."""

    id: int
    genome: Any


class InitialCandidates(Generic[G]):
    """Proposes a strategy's first candidates, and more of them while nothing has been learned yet.

    Args:
        space: the space.
        kind: see `InitialKind`.
        where: the option's name, for messages.

    Raises:
        ConfigError: `kind` needs seeds and the space has none.
    """

    def __init__(self, space: SearchSpace[G], kind: InitialKind, where: str) -> None:
        self._space = space
        self._kind = kind
        self._seeds: Sequence[G] = () if kind == "sample" else tuple(space.seeds())
        if kind in ("seed", "mutated") and not self._seeds:
            raise ConfigError(
                f"{where} is {kind!r}, but space {space.name!r} has no seed genomes",
                f"set {where} to 'sample', or give the space seeds",
            )
        self.proposed = 0
        self._seed_ids: list[int] = []

    def propose(self, candidate_id: int, streams: Streams, *, explore: bool = False, salt: int = 0) -> Breed[G]:
        """The next initial candidate.

        Args:
            candidate_id: its id.
            streams: draws from "sample" or "mutate".
            explore: True for a candidate beyond the initial population (nothing has been told yet that could be a
                parent): where `kind` is "seed" it is then a mutant of a seed instead of one more copy.
            salt: as in `Breed`.
        """
        index = self.proposed
        self.proposed += 1
        if index < len(self._seeds):
            self._seed_ids.append(candidate_id)
            return Breed(self._seeds[index], (), "seed", salt)
        if self._kind == "seed" and not explore:
            return Breed(self._seeds[index % len(self._seeds)], (), "seed", salt)
        if self._kind in ("seed", "mutated"):
            which = index % len(self._seeds)
            genome, operator = self._space.mutate(self._seeds[which], streams(candidate_id, "mutate"))
            return Breed(genome, (self._seed_ids[which],), operator, salt)
        return Breed(self._space.sample(streams(candidate_id, "sample")), (), "sample", salt)

    def state(self) -> Json:
        return {"proposed": self.proposed, "seed_ids": list(self._seed_ids)}

    def restore(self, state: Json) -> None:
        self.proposed = state["proposed"]
        self._seed_ids = list(state["seed_ids"])


class Breeder(Generic[G]):
    """Makes children by mutation, and by crossover where asked for.

    Args:
        space: the space.
        crossover: probability that a child is first crossed from two parents.
        mutation: probability that a crossed child is mutated as well. A child that is not crossed is always mutated:
            a plain copy would teach nothing.
        where: the strategy's name, for messages.

    Raises:
        ConfigError: `crossover` is positive and the space has none.
    """

    def __init__(self, space: SearchSpace[G], crossover: float, mutation: float, where: str) -> None:
        if crossover > 0 and not has_crossover(space):
            raise ConfigError(
                f"{where}.crossover is {crossover}, but space {space.name!r} has no crossover",
                f"set {where}.crossover to 0, or write {type(space).__name__}.crossover",
            )
        self._space = space
        self._crossover = crossover
        self._mutation = mutation
        self.parents_wanted = 2 if crossover > 0 else 1

    def child(self, candidate_id: int, streams: Streams, parents: Sequence[Parent], salt: int = 0) -> Breed[G]:
        """A child of `parents` (`parents_wanted` of them; two that are one candidate are not crossed).

        The operator of a child that was crossed and mutated reads "crossover+mutation" with the operators' names.
        """
        first = parents[0]
        if self._crossover > 0 and parents[1].id != first.id:
            crossed, mutated = streams(candidate_id, "variation").random(2)
            if crossed < self._crossover:
                second = parents[1]
                genome, operator = self._space.crossover(
                    first.genome, second.genome, streams(candidate_id, "crossover")
                )
                if mutated < self._mutation:
                    genome, mutation = self._space.mutate(genome, streams(candidate_id, "mutate"))
                    operator = f"{operator}+{mutation}"
                return Breed(genome, (first.id, second.id), operator, salt)
        genome, operator = self._space.mutate(first.genome, streams(candidate_id, "mutate"))
        return Breed(genome, (first.id,), operator, salt)


def draw_indices(rng: np.random.Generator, n_members: int, count: int) -> list[int]:
    """`count` indices below `n_members`, uniform, with replacement.

    Scaled uniform doubles: at a handful of draws a candidate, `rng.integers` with a size costs four times as much,
    and the bias is below 2**-40 for any population that fits in memory.
    """
    return [int(number * n_members) for number in rng.random(count).tolist()]


def has_crossover(space: SearchSpace[Any]) -> bool:
    """Whether the space has a crossover of its own, written in its class or set on the instance."""
    crossover = getattr(space, "crossover", None)
    return crossover is not None and getattr(crossover, "__func__", None) is not BaseSpace.crossover
