"""Which architectures are in the pool: distinct ones in the order in which they are drawn."""

from __future__ import annotations

import traceback
from functools import lru_cache

import numpy as np

from evo.errors import ConfigError, EvoError
from search_spaces.robot.live.recipe import Recipe

PATIENCE = 50
"""So many draws in a row, times the size of the pool, without a new one: there are no more."""


@lru_cache(maxsize=4)
def drawn(recipe: Recipe, count: int, seed: int) -> tuple[str, ...]:
    """Texts of up to `count` architectures that compute different functions; fewer are the beginning of more.

    Raises:
        ConfigError: there are fewer than two, or the user's class raised.
    """
    space = recipe.space()
    rng = np.random.Generator(np.random.Philox(key=[seed, 0x9001]))
    found: dict[bytes, str] = {}
    idle = 0
    while len(found) < count and idle < PATIENCE * count:
        try:
            architecture = space.sample(rng)
            text = space.encode(architecture)
            key = text.encode() if recipe.identity == "architecture" else space.canonical(architecture)
        except EvoError:
            raise
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            raise ConfigError(
                f"{space.name} cannot be sampled: {type(error).__name__}: {error}",
                f"raised in {place.name}, {place.filename}:{place.lineno}",
            ) from error
        idle = idle + 1 if key in found else 0
        found.setdefault(key, text)
    if len(found) < 2:
        raise ConfigError(
            f"{idle:,} draws from {space.name} gave one architecture",
            "does `sample` use its generator? does `encode` tell architectures apart?",
        )
    return tuple(found.values())
