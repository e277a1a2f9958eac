"""Variants of the no-op space, each with one peculiarity that the engine must get right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from evo.space import BaseSpace, Fingerprints, Json, Objective, Observation, Request, Variation
from evo.testing.noop import NoOpEvaluator, NoOpOptions, NoOpSpace

HERE = "tests.evo.odd_spaces"


class Maximising(NoOpSpace):
    """The only objective is maximised."""

    name = "maximising"

    def __init__(self, options: NoOpOptions | None = None) -> None:
        super().__init__(options)
        self.objectives = (Objective("gain", "maximise"),)


class Unidentifiable(NoOpSpace):
    """`canonical` raises for multiples of 7, `fingerprint` for batches that hold a multiple of 11."""

    name = "unidentifiable"

    def canonical(self, genome: int) -> bytes | None:
        if genome % 7 == 0:
            raise ZeroDivisionError("canonical")
        return super().canonical(genome)

    def fingerprint(self, genomes: Sequence[int]) -> Fingerprints | None:
        if any(genome % 11 == 0 for genome in genomes):
            raise FloatingPointError("fingerprint")
        return super().fingerprint(genomes)


class FailsAbove(NoOpSpace):
    """Multiples of 3 raise at every rung but the first."""

    name = "fails_above"

    def evaluator(self, prepared: Any) -> FailsAboveEvaluator:
        return FailsAboveEvaluator(self.options)


class FailsAboveEvaluator(NoOpEvaluator):
    def evaluate(self, requests: Sequence[Request]) -> list[list[Observation]]:
        if any(r.genome % 3 == 0 and r.rung != "rung0" for r in requests):
            raise ArithmeticError("fails above")
        return super().evaluate(requests)


class Speechless(NoOpSpace):
    """Can neither summarise a genome nor report on finalists."""

    name = "speechless"

    def summary(self, genome: int) -> str:
        raise LookupError("no words")

    def report(self, genomes: Sequence[int], seeds: Sequence[int], prepared: Any) -> list[dict[str, Any]]:
        raise RuntimeError("no report")


class Unbounded(BaseSpace[tuple[float, ...]]):
    """Genomes and extras hold infinities, and extras a null beside them."""

    name = "unbounded"
    objectives = (Objective("loss"),)

    def sample(self, rng: np.random.Generator) -> tuple[float, ...]:
        return (float(rng.random()), (math.inf, -math.inf, 0.5)[int(rng.integers(3))])

    def mutate(self, genome: tuple[float, ...], rng: np.random.Generator) -> Variation:
        return Variation((float(rng.random()), -genome[1] if rng.random() < 0.5 else genome[1]), "mutate")

    def canonical(self, genome: tuple[float, ...]) -> bytes:
        return repr(genome).encode()

    def decode(self, value: Json) -> tuple[float, ...]:
        return tuple(float(v) for v in value)

    def evaluator(self, prepared: Any) -> UnboundedEvaluator:
        return UnboundedEvaluator()


class UnboundedEvaluator:
    def evaluate(self, requests: Sequence[Request]) -> list[list[Observation]]:
        return [
            [Observation((r.genome[0],), "ok", None, {"spread": r.genome[1], "none": None}) for _ in r.seeds]
            for r in requests
        ]
