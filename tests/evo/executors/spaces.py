"""A space that uses what `prepare` returned; importable by workers."""

from __future__ import annotations

from evo.space import Observation
from evo.testing.misbehaving import MisbehavingSpace


class ShiftedEvaluator:
    def __init__(self, shift):
        self.shift = shift

    def evaluate(self, requests):
        return [[Observation((r.genome["x"] ** 2 + self.shift,))] * len(r.seeds) for r in requests]


class Shifted(MisbehavingSpace):
    name = "shifted"

    def evaluator(self, prepared):
        return ShiftedEvaluator(prepared["shift"])
