"""A space whose genomes are chains, stored as a parent's id and one link, as `deep_ga`'s are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evo.space import BaseSpace, Json, Objective, Observation, Request, Variation

Chain = tuple[int, ...]


class ChainSpace(BaseSpace[Chain]):
    """A chain of small integers; its value is their mean distance from 7."""

    name = "chain"
    objectives = (Objective("distance"),)
    links = True

    def sample(self, rng: np.random.Generator) -> Chain:
        return (int(rng.integers(100)),)

    def mutate(self, genome: Chain, rng: np.random.Generator) -> Variation:
        return Variation((*genome, int(rng.integers(100))), "append")

    def canonical(self, genome: Chain) -> bytes:
        return repr(genome).encode()

    def encode_link(self, genome: Chain, parents: tuple[int, ...]) -> Json:
        return {"parent": parents[0], "link": genome[-1]} if parents else list(genome)

    def decode_link(self, value: Json, parent: Chain | None) -> Chain:
        return tuple(value) if parent is None else (*parent, value["link"])

    def evaluator(self, prepared: Any) -> ChainEvaluator:
        return ChainEvaluator()


class ChainEvaluator:
    def evaluate(self, requests: Sequence[Request]) -> list[list[Observation]]:
        return [
            [
                Observation((sum(abs(g - 7) for g in r.genome) / len(r.genome) + (seed % 997) * 1e-4,))
                for seed in r.seeds
            ]
            for r in requests
        ]
