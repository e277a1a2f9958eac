"""A space whose genomes are weights that rank a few items, or items: what strategy `bayesian` searches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evo.space import Axis, BaseSpace, Objective, Observation, Rung, Variation


@dataclass(frozen=True)
class RankedOptions:
    """`items` with `features` each; `noise` of their values; `hidden`: the weights that make the values."""

    items: int = 80
    features: int = 3
    noise: float = 0.0
    hidden: tuple[float, ...] = (1.0, -0.5, 0.25)
    direction: str = "maximise"


class RankedEvaluator:
    def __init__(self, space):
        self.space = space

    def evaluate(self, requests):
        return [[Observation((float(self.space.values[self.space.item(r.genome)]),))] * len(r.seeds) for r in requests]


class Ranked(BaseSpace):
    """Weights (a tuple) stand for the item of the highest product with its features; a number is an item."""

    name = "ranked"
    Options = RankedOptions
    rungs = (Rung("search"),)

    def __init__(self, options=None):
        super().__init__(options)
        given = self.options
        self.objectives = (Objective("value", given.direction),)
        rng = np.random.Generator(np.random.Philox(key=5))
        self.table = rng.random((given.items, given.features))
        noise = given.noise * rng.standard_normal(given.items)
        self.values = (self.table @ np.array(given.hidden) + noise) * (1 if given.direction == "maximise" else -1)

    def item(self, genome):
        return genome if isinstance(genome, int) else int(np.argmax(self.table @ np.array(genome)))

    def sample(self, rng):
        return int(rng.integers(len(self.table)))

    def mutate(self, genome, rng):
        return Variation(self.sample(rng), "another")

    def canonical(self, genome):
        return str(self.item(genome)).encode()

    def evaluator(self, prepared):
        return RankedEvaluator(self)

    def encode(self, genome):
        return genome if isinstance(genome, int) else list(genome)

    def decode(self, value):
        return value if isinstance(value, int) else tuple(value)

    def box(self):
        return tuple(Axis(f"w{i}", -1.0, 1.0) for i in range(self.options.features))

    def from_vector(self, vector):
        return tuple(vector)

    def to_vector(self, genome):
        return None if isinstance(genome, int) else genome

    def greedy(self, genome):
        if not isinstance(genome, int):
            yield from np.argsort(-(self.table @ np.array(genome)), kind="stable").tolist()

    def features(self, genome):
        return tuple(self.table[self.item(genome)].tolist())


class Featureless(Ranked):
    def features(self, genome):
        return None
