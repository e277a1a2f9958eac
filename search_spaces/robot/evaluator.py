"""The evaluator of a table: the validation accuracy of the architecture that a genome stands for."""

from __future__ import annotations

from collections.abc import Sequence

from evo.errors import EvaluatorError
from evo.space import Observation, Request
from search_spaces.robot.problem import Problem

VERSION = 1
"""Raise it when equal genomes would get other values."""


class TableEvaluator:
    """Looks accuracies up.

    An observation's `extra` names the architecture and, where the table says so, the seconds that its training took.

    Args:
        problem: with accuracies.
    """

    def __init__(self, problem: Problem) -> None:
        if problem.accuracy is None:
            raise EvaluatorError(f"{problem.name} has no accuracies: its architectures have to be trained")
        self._problem = problem
        self._accuracy = problem.accuracy

    def evaluate(self, requests: Sequence[Request]) -> list[list[Observation]]:
        return [[self._observe(request.genome)] * len(request.seeds) for request in requests]

    def _observe(self, genome: tuple[float, ...] | str) -> Observation:
        pool = self._problem.pool
        row = pool.row.get(genome) if isinstance(genome, str) else pool.top(genome)
        if row is None:
            return Observation((), "invalid", message=f"{genome} is not in {self._problem.name}")
        value = float(self._accuracy[row])
        extra: dict[str, object] = {"architecture": pool.architectures[row]}
        if self._problem.seconds is not None:
            extra["seconds"] = float(self._problem.seconds[row])
        return Observation((value,), "ok" if value == value else "nan", None, extra)
