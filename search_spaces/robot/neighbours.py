"""Mutation of an architecture's text: one operation is another one, and the result is in the table.

The operations are what stands between punctuation, in the same number of places in every architecture:
`|nor_conv_3x3~0|+|...|`, `(2, 0, 3, 2, 3, 1)`. So any table of a cell with fixed edges can be evolved on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np

from evo.errors import ConfigError

BETWEEN = re.compile(r"([\s|,()+~\[\]:;/]+)")
DRAWS = 1000


class Neighbours:
    """The operations that each place of a table's architectures knows.

    Args:
        architectures: all of the table.

    Raises:
        ConfigError: they have different numbers of places, or all are alike.
    """

    def __init__(self, architectures: Collection[str]) -> None:
        self._known = architectures
        parts = [BETWEEN.split(text) for text in architectures]
        lengths = {len(part) for part in parts}
        if len(lengths) != 1:
            raise ConfigError(
                "the table's architectures do not all have the same number of operations, so that none can be mutated",
                "use strategy bayesian, or random",
            )
        seen: list[dict[str, None]] = [{} for _ in range(lengths.pop())]
        for part in parts:
            for place, word in enumerate(part):
                seen[place][word] = None
        self._choices = {place: tuple(words) for place, words in enumerate(seen) if place % 2 == 0 and len(words) > 1}
        if not self._choices:
            raise ConfigError("the table's architectures do not differ in any operation")

    def mutate(self, architecture: str, rng: np.random.Generator) -> str:
        """A uniformly drawn place gets another of its operations; drawn again until the result is in the table.

        Raises:
            ConfigError: nothing in the table differs in one operation, as far as many draws say.
        """
        parts = BETWEEN.split(architecture)
        places: Sequence[int] = tuple(self._choices)
        for _ in range(DRAWS):
            place = places[int(rng.integers(len(places)))]
            others = [word for word in self._choices[place] if word != parts[place]]
            changed = "".join([*parts[:place], others[int(rng.integers(len(others)))], *parts[place + 1 :]])
            if changed in self._known:
                return changed
        raise ConfigError(
            f"no architecture of the table differs from {architecture} in one operation",
            "the table is too sparse for evolution: use strategy bayesian, or random",
        )
