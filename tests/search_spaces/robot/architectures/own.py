"""Architecture spaces as users write them: the least that is needed, and one with everything."""

from __future__ import annotations

import itertools

from torch import nn


class Least:
    """Widths of a perceptron; nothing but what is required."""

    def __init__(self, layers: int = 2) -> None:
        self.layers = layers

    def sample(self, rng):
        return tuple(int(width) for width in rng.integers(2, 9, self.layers))

    def encode(self, architecture):
        return "-".join(map(str, architecture))

    def build(self, architecture):
        widths = (4, *architecture, 3)
        return nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(widths)))


class Whole(Least):
    name = "widths"

    def decode(self, text):
        return tuple(map(int, text.split("-")))

    def mutate(self, architecture, rng):
        return (*architecture[:-1], 2 + (architecture[-1] - 1) % 7)

    def canonical(self, architecture):
        return repr(sorted(architecture)).encode()

    def all(self):
        return ((a, b) for a in range(2, 9) for b in range(2, 9))


class Seeded(Least):
    """Takes the seed itself."""

    def build(self, architecture, seed):
        model = super().build(architecture)
        model.seed = seed
        return model


class NoModule(Least):
    def build(self, architecture):
        return "net"


class Lacking:
    def sample(self, rng):
        return 1


OBJECT = Whole()
