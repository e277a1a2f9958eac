"""Small problems with known answers, for the strategies' tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evo.space import BaseSpace, Objective, Observation, Rung, Told, Variation


class BitsEvaluator:
    """The number of ones, with noise that depends on genome and seed where asked for."""

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def evaluate(self, requests):
        return [[self._one(request.genome, seed) for seed in request.seeds] for request in requests]

    def _one(self, genome, seed):
        noise = 0.0
        if self.noise:
            noise = self.noise * np.random.default_rng([seed, int("".join(map(str, genome)), 2)]).standard_normal()
        return Observation((sum(genome) + noise,), behaviour=(float(genome[0]), float(genome[-1])))


@dataclass(frozen=True)
class BitsOptions:
    """`length` bits; `seeds`: whether there is a seed genome (all zeros); `noise`: standard deviation."""

    length: int = 40
    seeds: bool = True
    noise: float = 0.0


class Bits(BaseSpace):
    """OneMax: maximise the number of ones of a bit string."""

    name = "bits"
    Options = BitsOptions
    objectives = (Objective("ones", "maximise"),)
    rungs = (Rung("search"),)

    def sample(self, rng):
        return tuple(rng.integers(2, size=self.options.length).tolist())

    def mutate(self, genome, rng):
        place = int(rng.integers(len(genome)))
        return Variation((*genome[:place], 1 - genome[place], *genome[place + 1 :]), "flip")

    def crossover(self, a, b, rng):
        take = rng.integers(2, size=len(a)).tolist()
        return Variation(tuple(x if t else y for x, y, t in zip(a, b, take, strict=True)), "uniform")

    def seeds(self):
        return ((0,) * self.options.length,) if self.options.seeds else ()

    def canonical(self, genome):
        return bytes(genome)

    def evaluator(self, prepared):
        return BitsEvaluator(self.options.noise)

    def encode(self, genome):
        return list(genome)

    def decode(self, value):
        return tuple(value)


class BitsWithoutCrossover(Bits):
    """As Bits, but mutation alone."""

    crossover = BaseSpace.crossover


class SchafferEvaluator:
    def evaluate(self, requests):
        return [
            [Observation((sum(x * x for x in r.genome), sum((x - 2.0) ** 2 for x in r.genome)))] * len(r.seeds)
            for r in requests
        ]


class Schaffer(BaseSpace):
    """Schaffer's problem 1 in three dimensions: the Pareto set is x = y = z in [0, 2], so that the front is
    (3 t^2, 3 (t - 2)^2)."""

    name = "schaffer"
    objectives = (Objective("to_zero"), Objective("to_two"))

    def sample(self, rng):
        return tuple(rng.uniform(-10.0, 10.0, size=3).tolist())

    def mutate(self, genome, rng):
        step = 10.0 ** rng.uniform(-2, 0.5) * rng.standard_normal(3)
        return Variation(tuple((np.array(genome) + step).tolist()), "gauss")

    def crossover(self, a, b, rng):
        share = rng.uniform(-0.25, 1.25)
        return Variation(tuple(share * x + (1.0 - share) * y for x, y in zip(a, b, strict=True)), "blend")

    def canonical(self, genome):
        return np.array(genome).tobytes()

    def evaluator(self, prepared):
        return SchafferEvaluator()

    def encode(self, genome):
        return list(genome)

    def decode(self, value):
        return tuple(value)


def told(
    candidate_id: int,
    values: Sequence[float] = (),
    status: str = "ok",
    rung: int | None = None,
    function: int | None = None,
    operator: str = "sample",
    **rest,
) -> Told:
    """A told result with defaults; without values it failed."""
    if rung is None:
        rung = 0 if values else -1
    if not values and status == "ok":
        status = "failed"
    own = candidate_id if function is None else function
    return Told(
        candidate_id, rest.pop("genome", candidate_id), tuple(values), status, rung, own, operator,
        rest.pop("parents", ()), None, rest.pop("new", own == candidate_id),
    )  # fmt: skip
