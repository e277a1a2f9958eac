"""A no-op space whose evaluation itself yields the identity, as `emq`'s does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evo.space import Fingerprints, Observation, Request
from evo.testing.noop import NoOpEvaluator, NoOpSpace


class LateSpace(NoOpSpace):
    """Genomes that agree modulo `functions` are one function, which only their evaluation tells."""

    name = "late"

    def fingerprint(self, genomes: Sequence[int]) -> Fingerprints | None:
        return None

    def evaluator(self, prepared: Any) -> LateEvaluator:
        return LateEvaluator(self.options)


class LateEvaluator(NoOpEvaluator):
    """Adds the function's number as fingerprint."""

    def evaluate(self, requests: Sequence[Request]) -> list[list[Observation]]:
        modulus = self.options.functions or 1
        return [
            [o._replace(fingerprint=(r.genome % modulus).to_bytes(8, "big")) for o in observations]
            for r, observations in zip(requests, super().evaluate(requests), strict=True)
        ]
